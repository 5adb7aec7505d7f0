"""ZeRO-1: the state is split among devices that hold the same parameters, and the results are those of one device."""

import math

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import gradxform as gx
from gradxform.distributed._shardings import leaves_left_whole
from gradxform.distributed._zero import zero_spec
from gradxform.kernels import entry
from gradxform.testing import case_for

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")

MESH = AbstractMesh((4, 2), ("data", "tp"))
SPECS = [
    (P(), (64, 32), "data", P("data")),
    (P("tp"), (6, 8), "data", P("tp", "data")),
    (P("tp", None), (6, 8), "data", P("tp", "data")),
    (P(None, "tp"), (7, 8), "data", P(None, ("tp", "data"))),
    (P(None, ("tp",)), (7, 16), "data", P(None, ("tp", "data"))),
    (P("tp"), (6,), "data", P("tp")),
    (P(None, "data"), (8, 8), "data", P(None, "data")),
    (P(("tp", "data"), None), (8, 8), "data", P(("tp", "data"), None)),
    (P(), (), "data", P()),
    (P(), (0, 8), "data", P(None, "data")),
    (P(), (7, 16), ("data", "tp"), P(None, ("data", "tp"))),
    (P("tp"), (2, 16), ("data", "tp"), P("tp", "data")),
    (P("tp"), (8, 16), ("data", "tp"), P(("tp", "data"))),  # "tp" is one of the batch's axes: to it "data" is added
    (P(None, "tp"), (8, 16), ("tp", "data"), P(None, ("tp", "data"))),
    (P(None, "tp"), (8, 6), ("data", "tp"), P("data", "tp")),
    (P(), (6, 7), ("data", "tp"), P("tp")),  # as many as fit, the largest first
    (P(), (12, 7), ("data", "tp"), P("data")),
    (P(), (7, 3), ("data", "tp"), P()),
]
CUBE = AbstractMesh((2, 2, 2), ("data", "fsdp", "tensor"))
OF_BOTH = [
    (P("fsdp", "tensor"), P(("fsdp", "data"), "tensor")),
    (P("tensor", "fsdp"), P("tensor", ("fsdp", "data"))),
    (P("tensor"), P("tensor", ("data", "fsdp"))),
    (P(None, "tensor"), P(("data", "fsdp"), "tensor")),
]


@pytest.mark.fast
@pytest.mark.parametrize(("spec", "shape", "axis", "expected"), SPECS)
def test_the_first_axis_that_can_be_divided_further(spec, shape, axis, expected):
    assert tuple(zero_spec(spec, shape, MESH, axis)) == tuple(expected)


@pytest.mark.fast
@pytest.mark.parametrize(("spec", "expected"), OF_BOTH)
def test_the_axes_of_the_batch_are_together_and_those_of_matrices_apart(spec, expected):
    assert tuple(zero_spec(spec, (8, 8), CUBE, ("data", "fsdp"))) == tuple(expected)


LARGE = {**{f"w{i}": (4096, 4096) for i in range(4)}, "b": (4096,), "odd": (1000, 7), "tiny": (3,)}


def of_eight(shapes, dtype=jnp.float32):
    whole = NamedSharding(AbstractMesh((8,), ("data",)), P())
    return {name: jax.ShapeDtypeStruct(shape, dtype, sharding=whole) for name, shape in shapes.items()}


def share(tx, params, zero="data"):
    """The bytes of the state, and those of them on each device."""
    state = jax.tree.leaves(jax.eval_shape(tx.init, jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)))
    where = jax.tree.leaves(gx.state_shardings(tx, params, zero=zero))
    size = lambda shape, x: math.prod(shape) * (x.dtype.itemsize if hasattr(x.dtype, "itemsize") else 4)
    return sum(size(x.shape, x) for x in state), sum(size(s.shard_shape(x.shape), x) for x, s in zip(state, where, strict=True))


DENSE = {"ssbfgs", "ssbroyden", "scale_by_ss_quasi_newton"}
"""Of few parameters: a matrix of all pairs of them, which is whole on every device."""


@pytest.mark.fast
def test_the_state_of_every_optimizer_is_an_eighth_on_each_of_eight_devices():
    """But for what weighs nothing beside 268 MB of parameters: means over rows and columns, keys."""
    params = of_eight(LARGE)
    for name in sorted({*gx.names()} - DENSE):
        total, each = share(entry(name)(), params)
        assert each <= total / 7.9 or total < 2e5, f"{name}: {each} of {total}"
    for storage in ("8bit", "16bit", "torchao:8bit", "flash:8bit"):
        total, each = share(gx.store(gx.adamw(0.1), storage), params)
        assert each <= total / 7.9, storage
    total, each = share(gx.master_weights(gx.adamw(0.1), bits=16), of_eight(LARGE, jnp.bfloat16))
    assert each <= total / 7.9


WHOLE = {"adamw": 4 + 2 * 4 * (77 + 60 + 1), "muon": 4 + 4 + 12 + 4 * 77 + 2 * 4 * (60 + 1), "8bit": 4 + 2 * (77 + 60 + 4 + 4 * 8)}


@pytest.mark.fast
@pytest.mark.parametrize("name", WHOLE)
def test_what_stays_whole_on_small_leaves_is_what_eight_does_not_divide(name):
    """Leaves of 7 x 11, 60 and 1 numbers, clocks, coefficients, and two numbers of four bytes for each leaf that is stored in 8 bits."""
    total, each = share(CASES[name][0], of_eight(SMALL))
    assert each == (total - WHOLE[name]) / 8 + WHOLE[name]


@pytest.mark.fast
def test_what_stays_whole_is_listed():
    assert leaves_left_whole(of_eight({**LARGE, "s": ()}), zero="data") == ["s", "tiny"]
    split = NamedSharding(AbstractMesh((8,), ("data",)), P(None, "data"))
    params = {"fsdp": jax.ShapeDtypeStruct((3, 8), jnp.float32, sharding=split), "layers": of_eight({"odd": (7, 11)})}
    assert leaves_left_whole(params, zero="data") == ["layers/odd"]
    square = NamedSharding(AbstractMesh((4, 2), ("data", "fsdp")), P())
    params = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=square) for name, shape in {"some": (6, 3), "odd": (7, 3)}.items()
    }
    assert leaves_left_whole(params, zero=("data", "fsdp")) == ["odd"]


# ---- on eight devices

SMALL = {"a": (64, 128), "b": (128, 60), "odd": (7, 11), "v": (60,), "s": ()}
STEPS = 5
CASES = {  # an optimizer, and how far rounding may carry two runs apart
    "adamw": (gx.adamw(0.1), 1e-6),
    "clip, adamw": (gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)), 2e-6),
    "muon": (gx.muon(0.1), 5e-5),  # Newton-Schulz multiplies a last digit by up to 3.44^5
    "lamb": (gx.lamb(0.1), 2e-5),
    "adafactor": (gx.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9), 2e-6),
    "8bit": (gx.store(gx.adamw(0.1), "8bit"), 9e-4),  # where a last digit differs, a stochastic rounding may fall otherwise
    "16bit": (gx.store(gx.adamw(0.1), "16bit"), 9e-4),
    "master_weights": (gx.master_weights(gx.adamw(0.1)), 2.0**-6),  # bfloat16 numbers up to 4, the last digit
    "accumulate": (gx.accumulate(gx.adamw(0.1), 2), 1e-6),
}


def loss(params, batch):
    far = lambda p, b: jnp.mean(jnp.sum((b - p.astype(jnp.float32)[None]) ** 2, axis=tuple(range(1, b.ndim))))
    return 0.5 * sum(far(params[name], batch[name]) for name in SMALL)


def stepper(tx):
    def step(params, state, batch):
        updates, state = tx.update(jax.grad(loss)(params, batch), state, params)
        return gx.apply_updates(params, updates), state

    return step


def drawn(dtype):
    rng = np.random.default_rng(0)
    params = {name: np.asarray(jnp.asarray(rng.normal(size=shape), dtype)) for name, shape in SMALL.items()}
    return params, [{name: rng.normal(size=(16, *shape)).astype(np.float32) for name, shape in SMALL.items()} for _ in range(STEPS)]


def on_a_mesh(axis_type, dtype=jnp.float32):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))
    params, batches = drawn(dtype)
    put = lambda tree, spec: jax.device_put(tree, NamedSharding(mesh, spec))
    return put(params, P()), [put(batch, P("data")) for batch in batches]


def trained(step, params, state, batches):
    for batch in batches:
        params, state = step(params, state, batch)
    return params, state


def alone(tx, dtype=jnp.float32):
    params, batches = drawn(dtype)
    params = jax.tree.map(jnp.asarray, params)
    return trained(jax.jit(stepper(tx)), params, tx.init(params), batches)[0]


def close(ours, expected, atol):
    for name in SMALL:
        np.testing.assert_allclose(*(np.asarray(x[name], np.float64) for x in (ours, expected)), rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_one_device(name):
    tx, atol = CASES[name]
    dtype = jnp.bfloat16 if name == "master_weights" else jnp.float32
    params, batches = on_a_mesh(AxisType.Auto, dtype)
    where, state_where = jax.tree.map(lambda p: p.sharding, params), gx.state_shardings(tx, params, zero="data")
    step = jax.jit(stepper(tx), in_shardings=(where, state_where, None), out_shardings=(where, state_where), donate_argnums=(0, 1))
    params, state = trained(step, params, gx.init_sharded(tx, params, zero="data"), batches)
    assert step._cache_size() == 1
    close(params, alone(tx, dtype), atol)
    arrays = jax.tree.leaves(state)
    assert all(x.sharding == s for x, s in zip(arrays, jax.tree.leaves(state_where), strict=True))
    if name == "adamw":
        assert sum(x.addressable_shards[0].data.nbytes for x in arrays) <= sum(x.nbytes for x in arrays) / 7.5


# ---- on explicit axes

CHAINS = by_day.chains(gx.names(kind="*"))
OWN = [name for name in gx.names(kind="*") if name not in CHAINS]
REGISTERED = {"own": OWN, "chains": CHAINS, "dialects": gx.names("*.*", kind="*")}
EXPLICIT = {  # a mesh, how its parameters are split, and what `zero` names
    "whole": ({"data": 8}, {}, "data"),
    "split": ({"fsdp": 4, "tp": 2}, {"a": P("fsdp", "tp"), "b": P("tp", "fsdp"), "e": P(None, "tp", "fsdp"), "v": P("fsdp")}, None),
    "split further": ({"data": 4, "tp": 2}, {"a": P(None, "tp"), "b": P("tp"), "e": P(None, "tp"), "v": P("tp")}, "data"),
}
SHAPES = {"a": (64, 128), "b": (128, 64), "e": (2, 16, 8), "odd": (7, 11), "v": (64,), "s": ()}


def on_explicit_axes(where, shapes=SHAPES):
    sizes, specs, zero = EXPLICIT[where]
    mesh = jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Explicit,) * len(sizes))
    rng = np.random.default_rng(0)
    put = lambda name, x: jax.device_put(jnp.asarray(x, jnp.float32), NamedSharding(mesh, specs.get(name, P())))
    return {name: put(name, rng.normal(size=shape)) for name, shape in shapes.items()}, zero


def takes(case, params):
    """Whether it takes leaves of these shapes, as one of matrices alone does not."""
    try:
        case.abstract(params, params)
    except gx.StructureError:
        return False
    return True


def types(tree):
    """How each array is split, as its type says: an axis at the end that is not is left out."""
    spec = lambda x: tuple(getattr(x.sharding, "spec", None) or ())
    cut = lambda s: cut(s[:-1]) if s and s[-1] is None else s
    return [cut(spec(x)) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("names", ["own", *(pytest.param(names, marks=pytest.mark.nightly) for names in ("chains", "dialects"))])
@pytest.mark.parametrize("where", EXPLICIT)
def test_every_optimizer_keeps_types_on_explicit_axes_with_nothing_said_in_the_step(where, names):
    """Updates are split as the gradients are, and the state as it is to be."""
    params, zero = on_explicit_axes(where)
    matrices = {name: params[name] for name in "ab"}
    plain = jax.tree.map(lambda p: jnp.ones(p.shape), params)
    for name in (name for name in REGISTERED[names] if name not in DENSE):
        case = case_for(name)
        own = params if takes(case, plain) else matrices
        state_where = gx.state_shardings(case.tx, own, zero=zero)
        typed = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
        state = jax.tree.map(typed, jax.eval_shape(case.tx.init, jax.tree.map(lambda p: jnp.ones(p.shape), own)), state_where)
        update = lambda g, s, p, case=case: case.tx.update(g, s, p, **case.extra(p, g))
        u, new = jax.eval_shape(update, own, state, own)
        assert (types(u), types(new)) == (types(own), types(state)), name


ACROSS = {  # what differs in its types without ZeRO, or looks across leaves that are split
    "clip, adamw": (gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)), 2e-6),
    "adan": (gx.adan(0.1), 2e-6),
    "lbfgs": (gx.chain(gx.scale_by_lbfgs(3), gx.scale(-0.1)), 1e-4),  # quotients of sums over all leaves
    "galore": (gx.contrib.galore(0.1, rank=4), 5e-5),
    "muon": (gx.muon(0.1), 5e-5),
    "adafactor": (gx.adafactor(0.1, min_dim_size_to_factor=2), 2e-6),
    "8bit": (gx.store(gx.adamw(0.1), "8bit"), 9e-4),
    "clip by units": (gx.chain(gx.adaptive_grad_clip(0.1), gx.sgd(0.1, momentum=0.9)), 2e-6),
}


@pytest.mark.parametrize("name", ACROSS)
def test_results_on_explicit_axes_are_those_of_one_device(name):
    (tx, atol), (params, batches) = ACROSS[name], on_a_mesh(AxisType.Explicit)
    state, traced = gx.init_sharded(tx, params, zero="data"), []

    def step(*args):
        traced.append(args)
        return stepper(tx)(*args)

    new, after = trained(jax.jit(step), params, state, batches)
    assert len(traced) == 1
    close(new, alone(tx), atol)
    for before, now in ((params, new), (state, after)):
        assert all(
            x.sharding.is_equivalent_to(y.sharding, x.ndim) for x, y in zip(*map(jax.tree.leaves, (before, now)), strict=True)
        )


@pytest.mark.parametrize("name", ["adan", "muon"])
def test_un_jitted_on_explicit_axes(name):
    tx, (params, batches) = ACROSS[name][0], on_a_mesh(AxisType.Explicit)
    grads, state = jax.tree.map(lambda x: jnp.mean(x, 0), batches[0]), gx.init_sharded(tx, params, zero="data")
    for ours, compiled in zip(
        *map(jax.tree.leaves, (tx.update(grads, state, params), jax.jit(tx.update)(grads, state, params))), strict=True
    ):
        assert ours.sharding.is_equivalent_to(compiled.sharding, ours.ndim)
        np.testing.assert_allclose(ours, compiled, rtol=1e-4, atol=1e-6)


def test_what_the_step_says_on_explicit_axes_holds():
    """Gradients that are split as the state is make updates that are."""
    tx = gx.adamw(0.1)
    params, batches = on_a_mesh(AxisType.Explicit)
    split = gx.state_shardings(tx, params, zero="data")[0].mu
    where = jax.tree.map(lambda p: p.sharding, params)

    def step(params, state, batch):
        to = lambda tree, places: jax.tree.map(jax.sharding.reshard, tree, places)
        updates, state = tx.update(to(jax.grad(loss)(params, batch), split), state, to(params, split))
        assert types(jax.tree.map(jax.typeof, updates)) == types(jax.tree.map(jax.typeof, state[0].mu))
        return gx.apply_updates(params, to(updates, where)), state

    params, _ = trained(jax.jit(step), params, gx.init_sharded(tx, params, zero="data"), batches)
    close(params, alone(tx), 2e-6)
