"""Plans held against what the compiler of the H100 makes of a training step."""

import math

import aot
import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import gradxform as gx

P = PartitionSpec
SHAPES = {f"w{i}": (1024, 1024) for i in range(4)} | {"tall": (2048, 512), "norm": (1024,), "odd": (7, 11)}
TOKENS = 2**16  # so many that the compiler brings the matrices to them
OPTIMIZERS = {
    "adamw": lambda: gx.adamw(1e-3),
    "clip": lambda: gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)),
    "8bit": lambda: gx.store(gx.adamw(1e-3), "8bit"),
    "adafactor": lambda: gx.adafactor(1e-3),
    "lion": lambda: gx.lion(1e-4),
    "lamb": lambda: gx.lamb(1e-3),
    "sgd": lambda: gx.sgd(0.1),
    "muon": lambda: gx.muon(0.02),
    "muon, spread": lambda: gx.muon(0.02, spread="fsdp"),
}
MESHES = {  # sizes of the axes, how matrices are split, zero
    "data=8": ({"data": 8}, P(), None),
    "data=8, zero": ({"data": 8}, P(), "data"),
    "fsdp=8": ({"fsdp": 8}, P("fsdp"), None),
    "fsdp=8, columns": ({"fsdp": 8}, P(None, "fsdp"), None),
    "data=2,fsdp=4": ({"data": 2, "fsdp": 4}, P("fsdp"), None),
    "data=2,fsdp=4, zero": ({"data": 2, "fsdp": 4}, P("fsdp"), ("data", "fsdp")),
    "data=2,fsdp=4, zero of one": ({"data": 2, "fsdp": 4}, P("fsdp"), "data"),
    "fsdp=4,tensor=2": ({"fsdp": 4, "tensor": 2}, P("fsdp", "tensor"), None),
    "data=4,tensor=2, zero": ({"data": 4, "tensor": 2}, P(None, "tensor"), "data"),
}
pytestmark = pytest.mark.aot


@pytest.fixture(scope="module")
def devices():
    pytest.importorskip("jax_cuda12_plugin")
    return aot.h100()


def params_on(mesh, spec):
    """Matrices that are split; what the mesh does not divide is whole."""
    splits = lambda shape: len(shape) == 2 and min(shape) > 8
    return {
        name: jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=NamedSharding(mesh, spec if splits(shape) else P()))
        for name, shape in SHAPES.items()
    }


def loss(params, x):
    """Each parameter by itself, so that activations need not travel."""
    total = 0.0
    for p in params.values():
        seen = x[:, : p.shape[0]]
        total += jnp.mean(jnp.tanh(seen @ p if p.ndim == 2 else seen * p[None]).astype(jnp.float32) ** 2)
    return total


def compiled(tx, params, zero, mesh):
    """The step, and the bytes of its state on one device."""
    batch = tuple(a for a in mesh.axis_names if a != "tensor")
    x = jax.ShapeDtypeStruct((TOKENS, 2048), jnp.bfloat16, sharding=NamedSharding(mesh, P(batch, None)))
    where = jax.tree.map(lambda p: p.sharding, params)
    grad = jax.grad(loss) if AxisType.Auto in mesh.axis_types else jax.sharding.auto_axes(jax.grad(loss), out_sharding=where)
    state_where = gx.state_shardings(tx, params, zero=zero)
    shaped = lambda s, w: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=w)
    state = jax.tree.map(shaped, jax.eval_shape(tx.init, params), state_where)

    def step(params, state, x):
        updates, state = tx.update(grad(params, x), state, params)
        return gx.apply_updates(params, updates), state

    made = aot.compiled(step, params, state, x, donate=(0, 1), out_shardings=(where, state_where))
    local = lambda a: math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize
    return made, hlo.memory(made)["argument"] - sum(map(local, jax.tree.leaves((params, x))))


EVERY = ("data=8, zero", "fsdp=8", "fsdp=4,tensor=2")
CASES = [(where, name) for where in MESHES for name in OPTIMIZERS if where in EVERY or name in ("adamw", "muon")]
CASES = [(where, name) for where, name in CASES if "spread" not in name]
CASES += [(where, "muon, spread") for where in ("fsdp=8", "data=2,fsdp=4", "fsdp=4,tensor=2")]
SHOWN = {  # each mesh, each optimizer, each kind of collective once; the rest at night
    ("data=8", "adamw"), ("data=8, zero", "8bit"), ("data=8, zero", "clip"), ("fsdp=8", "adafactor"), ("fsdp=8", "lion"),
    ("fsdp=8", "muon"), ("fsdp=8, columns", "muon"), ("data=2,fsdp=4", "adamw"), ("data=2,fsdp=4, zero", "adamw"),
    ("fsdp=4,tensor=2", "lamb"),
    ("fsdp=4,tensor=2", "sgd"), ("fsdp=4,tensor=2", "muon, spread"), ("data=4,tensor=2, zero", "adamw"),
}  # fmt: skip
PARAMS = [pytest.param(*case, marks=[] if case in SHOWN else [pytest.mark.nightly]) for case in CASES]


@pytest.mark.parametrize(("where", "name"), PARAMS)
def test_bytes_are_those_of_the_compiled_step(where, name, devices):
    sizes, spec, zero = MESHES[where]
    types = AxisType.Explicit if "spread" in name else AxisType.Auto
    mesh = Mesh(np.array(devices).reshape(tuple(sizes.values())), tuple(sizes), axis_types=(types,) * len(sizes))
    tx, params = OPTIMIZERS[name](), params_on(mesh, spec)
    found = gx.plan(tx, params, mesh, zero=zero, gathers=1)
    step, state_bytes = compiled(tx, params, zero, mesh)
    assert found.state_bytes == pytest.approx(state_bytes, rel=0.01, abs=256)
    moved = hlo.collectives(step)
    assert found.collective_bytes == pytest.approx(sum(n for _, n in moved), rel=0.05), (found.collectives, moved)
