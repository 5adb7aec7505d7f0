"""What ZeRO-1 sends between eight H100s, and between eight chips of a TPU v5e, as their compilers have it."""

import aot
import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import gradxform as gx

pytestmark = pytest.mark.aot

SHAPES = {**{f"w{i}": (4096, 4096) for i in range(4)}, "b": (4096,), "odd": (1000, 7), "tiny": (3,)}
MIB = 2**20
COMBINED = {"xla_gpu_reduce_scatter_combine_threshold_bytes": 2**30}  # else XLA sends no more than 30 MiB at once


@pytest.fixture(scope="module", autouse=True)
def compilers():
    pytest.importorskip("libtpu")
    pytest.importorskip("jax_cuda12_plugin")


def loss(params, x):
    """Of a batch of 64 on eight devices; every leaf gets a gradient."""
    h = x.astype(params["w0"].dtype) + params["b"][None].astype(params["w0"].dtype)
    for i in range(4):
        w = params[f"w{i}"]
        h = jnp.tanh(h.astype(w.dtype) @ w)
    odd = x[:, :1000].astype(params["odd"].dtype) @ params["odd"]
    tiny = x[:, :3] * params["tiny"][None].astype(jnp.float32)
    return sum(jnp.mean(y.astype(jnp.float32) ** 2) for y in (h, odd, tiny))


def step_of(tx):
    def step(params, state, x):
        updates, state = tx.update(jax.grad(loss)(params, x), state, params)
        return gx.apply_updates(params, updates), state

    return step


def compiled(tx, devices, dtypes=jnp.bfloat16, zero="data", **options):
    mesh = Mesh(np.array(devices), ("data",))
    dtype = lambda name: dtypes.get(name, jnp.bfloat16) if isinstance(dtypes, dict) else dtypes
    shaped = lambda shape, dtype, spec: jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
    params = {name: shaped(shape, dtype(name), P()) for name, shape in SHAPES.items()}
    where = gx.state_shardings(tx, params, zero=zero)
    state = jax.tree.map(lambda x, s: shaped(x.shape, x.dtype, s.spec), jax.eval_shape(tx.init, params), where)
    x = shaped((64, 4096), jnp.float32, P("data"))
    places = jax.tree.map(lambda y: y.sharding, (params, state))
    jitted = jax.jit(step_of(tx), donate_argnums=(0, 1), in_shardings=(*places, x.sharding), out_shardings=places)
    return jitted.lower(params, state, x).compile(**options)


def of(kind, step):
    return [n for found, n in hlo.collectives(step) if found == kind]


OPTIMIZERS = {
    "adamw": gx.adamw(0.1),
    "clip, adamw": gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1)),
    "master_weights": gx.master_weights(gx.adamw(0.1)),
    "8bit": gx.store(gx.adamw(0.1), "8bit"),
    "lamb": gx.lamb(0.1),
    "adafactor": gx.adafactor(0.1),
}
NUMBERS = sum(int(np.prod(shape)) for shape in SHAPES.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_gradients_are_scattered_once_and_the_parameters_gathered(name):
    step = compiled(OPTIMIZERS[name], aot.h100())
    assert of("reduce-scatter", step) == [2 * (NUMBERS - 3) // 8]
    assert sum(of("all-gather", step)) == 2 * (NUMBERS - 3)
    assert sum(of("all-reduce", step)) < 2**17  # the tiny leaf, norms, means over rows and columns
    assert not {kind for kind, _ in hlo.collectives(step)} - {"reduce-scatter", "all-gather", "all-reduce"}


def test_there_is_one_reduce_scatter_for_each_dtype_of_gradients():
    step = compiled(gx.adamw(0.1), aot.h100(), {"w3": jnp.float32}, compiler_options=COMBINED)
    wide = 4096 * 4096
    assert of("reduce-scatter", step) == sorted([4 * wide // 8, 2 * (NUMBERS - 3 - wide) // 8])
    step = compiled(gx.adamw(0.1), aot.h100(), jnp.float32, compiler_options=COMBINED)
    assert of("reduce-scatter", step) == [4 * (NUMBERS - 3) // 8]


def test_the_state_takes_an_eighth_of_the_memory():
    whole, split = (hlo.memory(compiled(gx.adamw(0.1), aot.h100(), zero=zero)) for zero in (None, "data"))
    batch = 4 * 64 * 4096 // 8
    state = lambda memory: memory["argument"] - 2 * NUMBERS - batch
    assert state(split) == pytest.approx(state(whole) / 8, rel=1e-3)
    assert split["alias"] == pytest.approx(split["argument"] - batch, rel=1e-3)


@pytest.mark.parametrize("name", ["adamw", "clip, adamw"])
def test_on_explicit_axes_as_on_automatic_ones(name):
    """With nothing said in the step but types."""
    mesh = Mesh(np.array(aot.h100()), ("data",), axis_types=(AxisType.Explicit,))
    shaped = lambda shape, dtype, spec: jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
    params = {f"w{i}": shaped((4096, 4096), jnp.bfloat16, P()) for i in range(2)}
    tx, x = OPTIMIZERS[name], shaped((64, 4096), jnp.bfloat16, P("data"))
    where = gx.state_shardings(tx, params, zero="data")
    state = jax.tree.map(lambda y, s: shaped(y.shape, y.dtype, s.spec), jax.eval_shape(tx.init, params), where)

    def step(params, state, x):
        loss = lambda p: jnp.mean(jnp.tanh(jnp.tanh(x @ p["w0"]) @ p["w1"]).astype(jnp.float32) ** 2)
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return gx.apply_updates(params, updates), state

    compiled = aot.compiled(step, params, state, x, donate=(0, 1))
    assert sum(of("reduce-scatter", compiled)) == 8 * MIB
    assert of("all-gather", compiled) == [32 * MIB] * 2
    assert sum(of("all-reduce", compiled)) < 2**10


BATCH = ("data", "fsdp")
SPLIT = {  # of parameters on a mesh, and what `zero` names
    "fsdp, rows": ({"data": 2, "fsdp": 4}, P("fsdp"), BATCH),
    "fsdp, columns": ({"data": 2, "fsdp": 4}, P(None, "fsdp"), BATCH),
    "tensor, rows": ({"data": 4, "tensor": 2}, P("tensor"), "data"),
    "tensor, columns": ({"data": 4, "tensor": 2}, P(None, "tensor"), "data"),
    "fsdp and tensor": ({"data": 2, "fsdp": 2, "tensor": 2}, P("fsdp", "tensor"), BATCH),
    "tensor and fsdp": ({"data": 2, "fsdp": 2, "tensor": 2}, P("tensor", "fsdp"), BATCH),
}


def of_one_matrix(sizes, spec, zero):
    """A step of a matrix of 8 MiB that is split already, on the batch's axes and others."""
    mesh = Mesh(np.array(aot.h100()).reshape(tuple(sizes.values())), tuple(sizes))
    shaped = lambda shape, dtype, spec: jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
    params = {"w": shaped((2048, 2048), jnp.bfloat16, spec)}
    x = shaped((2**16, 2048), jnp.bfloat16, P(tuple(a for a in sizes if a in BATCH), None))
    tx = gx.adamw(0.1)
    where = {"w": params["w"].sharding}, gx.state_shardings(tx, params, zero=zero)
    state = jax.tree.map(lambda y, s: shaped(y.shape, y.dtype, s.spec), jax.eval_shape(tx.init, params), where[1])

    def step(params, state, x):
        grads = jax.grad(lambda p: jnp.mean(jnp.tanh(x @ p["w"]).astype(jnp.float32) ** 2))(params)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    return aot.compiled(step, params, state, x, donate=(0, 1), out_shardings=where)


@pytest.mark.parametrize("name", SPLIT)
def test_gradients_of_parameters_that_are_split_are_scattered_where_zero_names_the_axes_of_the_batch(name):
    step = of_one_matrix(*SPLIT[name])
    assert of("reduce-scatter", step) == [MIB]
    assert of("all-reduce", step) == []


def test_gradients_are_reduced_whole_where_an_axis_of_the_batch_is_not_named():
    sizes, spec, _ = SPLIT["fsdp, rows"]
    step = of_one_matrix(sizes, spec, "data")
    assert of("all-reduce", step) == [8 * MIB]


@pytest.mark.nightly
def test_on_a_tpu():
    step = compiled(gx.adamw(0.1), aot.v5e())
    assert of("reduce-scatter", step) == [4 * MIB] * 4
    assert sum(of("all-gather", step)) == pytest.approx(2 * NUMBERS, rel=1e-3)
    assert sum(of("all-reduce", step)) < 2**17
