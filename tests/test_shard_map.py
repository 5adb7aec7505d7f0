"""`shard_map` and `pmap`: with whole parameters as on one device, with parts of them as each docstring says."""

import functools
from typing import Any, NamedTuple

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_day import EXAMPLES
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import gradxform as gx
from gradxform._docs import section
from gradxform.testing import case_for
from tests import sharded

N = 8
NAMES = [*gx.names(kind="*"), *gx.names("*.*", kind="*")]
SCOPES = {name: case_for(name).scope for name in NAMES}
ELEMENTWISE = [name for name in NAMES if SCOPES[name] == "elementwise"]
SENTENCES = dict(sharded.sentences())

pytestmark = pytest.mark.skipif(jax.device_count() < N, reason="needs eight devices; tests/conftest.py fakes them on the CPU")


together = lambda p: sum(jnp.sum(x) for x in jax.tree.leaves(p)) ** 2  # not a sum of functions of the parts


class Subject(NamedTuple):
    case: Any
    tx: Any

    def step(self, params, state, grads):
        extra = self.case.extra(params, grads)
        extra |= {"obj_fn": together} if "obj_fn" in extra else {}
        u, state = self.tx.update(grads, state, params, **extra)
        return gx.apply_updates(params, jax.tree.map(lambda x: x * jnp.asarray(0.1, x.dtype), u)), state, u

    def steps(self, params, *grads):
        """The updates, beginning with `init`."""
        state, us = self.tx.init(params), []
        for g in grads:
            params, state, u = self.step(params, state, g)
            us.append(u)
        return us


@functools.cache
def subject(name, stored=False, **options):
    case = case_for(name)
    return Subject(case, gx.store(case.tx, **options) if stored else case.tx)


def stores(name):
    """Whether there is something to store in it."""
    try:
        jax.eval_shape(subject(name, True).tx.init, {"w": jnp.zeros((2, 2))})
    except gx.StructureError:
        return False
    return True


STORED = [name for name in gx.names() if stores(name)]


FIRST = EXAMPLES | {names[0] for names in sharded.kinds().values()}  # and the first of each kind
STORE = {"store adamw", "store lion"}
by_name = functools.partial(by_day.by_name, also=FIRST)


def mesh(shape=(N,), names=("d",)):
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names))


def placed(tree, specs, over=None):
    """Where a step leaves it, so that the second step is the program of the first."""
    over = over or mesh()
    return jax.device_put(tree, jax.tree.map(lambda spec: NamedSharding(over, spec), specs, is_leaf=lambda x: isinstance(x, P)))


def arrays(tree):
    """As NumPy's, random keys by their numbers."""
    plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(plain(x)) for x in jax.tree.leaves(tree)]


def close(ours, expected, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), arrays(ours), arrays(expected))


def same(ours, expected):
    jax.tree.map(np.testing.assert_array_equal, arrays(ours), arrays(expected))


# ---- whole parameters, and the mean of the devices' gradients


def on_each(s, params, state, grads, how):
    """Two steps, from each device's own gradients: what each device holds then."""
    averaged = lambda p, s_, g: s.step(p, s_, jax.lax.pmean(g, "d"))
    first = lambda tree: jax.tree.map(lambda x: x[0], tree)
    spread = lambda tree: jax.tree.map(lambda x: jnp.stack([x] * N), tree)
    if how == "pmap":
        step = jax.pmap(averaged, axis_name="d")
    else:
        alone = lambda p, s_, g: jax.tree.map(lambda x: x[None], averaged(first(p), first(s_), first(g)))
        step = jax.jit(jax.shard_map(alone, mesh=mesh(), in_specs=P("d"), out_specs=P("d"), check_vma=how == "checked"))
    held = spread(params), spread(state)
    held = held if how == "pmap" else placed(held, P("d"))
    for _ in range(2):
        *held, u = step(*held, grads)
    return *held, u


def whole(name):
    """What is stepped, from where, and the gradients of all devices; parameters, state and updates after two steps by their mean."""
    s = subject(name.removeprefix("store "), name.startswith("store "))
    params, grads = s.case.params(), jax.tree.map(lambda *xs: jnp.stack(xs), *map(s.case.grads, range(N)))
    state, step = s.tx.init(params), jax.jit(s.step)
    expected = (params, state)
    for _ in range(2):
        *expected, u = step(*expected, jax.tree.map(lambda x: x.mean(0), grads))
    return s, (params, state), grads, (*expected, u)


WHOLE = [*NAMES, *(f"store {name}" for name in STORED)]


@by_name(WHOLE)
def test_with_whole_parameters_each_device_has_what_one_has(name):
    """JAX proves that the devices agree: it keeps account of what varies (`check_vma`)."""
    s, held, grads, expected = whole(name)
    proved = lambda p, s_, g: s.step(p, s_, jax.lax.pmean(jax.tree.map(lambda x: x[0], g), "d"))
    step = jax.jit(jax.shard_map(proved, mesh=mesh(), in_specs=(P(), P(), P("d")), out_specs=P()))
    held = placed(held, P())
    for _ in range(2):
        *held, v = step(*held, grads)
    close((*held, v), expected)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.nightly] * (name not in FIRST | STORE)) for name in WHOLE])
def test_they_agree_bit_by_bit_where_jax_keeps_no_account(name):
    s, start, grads, expected = whole(name)
    for how in ("unchecked", "pmap"):
        found = on_each(s, *start, grads, how)
        for x in arrays(found):
            np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))
        close(jax.tree.map(lambda x: x[0], found), expected)


# ---- parts of the parameters

SPECS = {"b": P("d"), "s": P(), "v": P(None, "d"), "w": P("d")}
SHAPES = {"b": (16,), "s": (), "v": (8, 16), "w": (16, 6)}
by_check = pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])


def drawn(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def specs_of(state, shapes=SHAPES, specs=SPECS):
    """What has a parameter's shape is split as it is, and all else is whole; no two parameters have one shape.

    What `per_device` keeps has an axis more.
    """
    by_shape = {shapes[name]: spec for name, spec in specs.items()}
    by_shape |= {(1, *shapes[name]): P(None, *spec) for name, spec in specs.items()}
    return jax.tree.map(lambda x: by_shape.get(x.shape, P()), state)


def by_parts(s, params, state, grads, check=True, specs=SPECS, shapes=SHAPES, axes=((N,), ("d",))):
    """Some steps in `shard_map`, each device with its own part of parameters, state and gradients."""
    kept = specs_of(state, shapes, specs)
    split = {"in_specs": (specs, kept, specs), "out_specs": (specs, kept, specs)}
    step = jax.jit(jax.shard_map(s.step, mesh=mesh(*axes), **split, check_vma=check))
    params, state = placed((params, state), (specs, kept), mesh(*axes))
    for g in grads:
        params, state, u = step(params, state, g)
    return params, state, u


def in_one_piece(s, params, state, grads):
    step = jax.jit(s.step)
    for g in grads:
        params, state, u = step(params, state, g)
    return params, state, u


@by_name(ELEMENTWISE)
def test_elementwise_ones_update_parts_as_the_whole(name):
    s = subject(name)
    params, grads = drawn(0), [drawn(1), drawn(2)]
    state = s.tx.init(params)
    close(by_parts(s, params, state, grads), in_one_piece(s, params, state, grads))


MATRICES = {"b": (16,), "v": (16, 16), "w": (16, 16)}
NONFINITE = {"apply_if_finite", "loss_scale", "zero_nans"}


@by_name(SENTENCES)
def test_others_compute_of_a_part_what_they_compute_of_it_alone(name):
    """So a device's own part is all that it looks at, and the first of each kind differs from the update in one piece where it is said."""
    s = subject(name)
    shapes = {k: shape for k, shape in MATRICES.items() if s.case.entry.ndim in (None, len(shape))}
    params, *grads = (drawn(i, shapes) for i in range(3))
    if name in NONFINITE:
        grads = [{**g, "w": g["w"].at[0, 0].set(jnp.nan)} for g in grads]
    specs = {k: SPECS[k] for k in shapes}
    steps = jax.jit(s.steps)
    inside = jax.shard_map(s.steps, mesh=mesh(), in_specs=(specs,) * 3, out_specs=[specs] * 2, check_vma=False)
    found, whole = jax.jit(inside)(params, *grads), steps(params, *grads)
    for i in (0, 5):
        part = lambda tree, i=i: {k: jnp.split(x, N, axis=specs[k].index("d"))[i] for k, x in tree.items()}
        close(list(map(part, found)), steps(*map(part, (params, *grads))))
    if "as unsharded" in SENTENCES[name]:
        close(found, whole)
    elif name == next(names[0] for names in sharded.kinds().values() if name in names):
        with pytest.raises(AssertionError):
            close(found, whole)


@pytest.mark.fast
@pytest.mark.parametrize("name", NAMES)
def test_every_one_that_is_not_elementwise_says_so(name):
    said = SENTENCES.get(name, "")
    assert bool(said) == (SCOPES[name] != "elementwise")
    assert section(gx.entry(name).make, sharded.PART) == said, "python -m tests.sharded writes it"


def test_a_compressed_leaf_that_is_split_over_another_axis_is_compressed_by_parts():
    """Four devices have gradients of the same leaf, each pair of devices a half of it."""
    tx = gx.compressed_mean(gx.scaled_sign(), "data")
    g = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    update = lambda g: tx.update({"w": g[0]}, tx.init({"w": g[0]}))[0]["w"]
    over = mesh((4, 2), ("data", "model"))
    found = jax.jit(jax.shard_map(update, mesh=over, in_specs=P("data", "model"), out_specs=P("model")))(g)
    halves = g.reshape(4, 2, 8)
    expected = (np.sign(halves) * np.abs(halves).mean(-1, keepdims=True)).mean(0).ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---- random bits of parts

ROWS = {"b": (16,), "w": (16, 6)}  # split along the first axis


@by_check
@pytest.mark.parametrize(("name", "storage"), [("adamw", "8bit"), ("lion", "16bit"), ("adan", "8bit")])
def test_stored_parts_have_the_bits_of_the_whole(name, storage, check):
    """Of leaves that are split along the first axis; without `axis_name` parts of one shape are rounded by the same bits."""
    tx = gx.store(gx.entry(name)(), storage, axis_name="d")
    s, whole = Subject(case_for(name), tx), Subject(case_for(name), gx.store(gx.entry(name)(), storage))
    params, grads = drawn(0, ROWS), [drawn(1, ROWS), drawn(2, ROWS), drawn(3, ROWS)]
    state = whole.tx.init(params)
    same(tx.init(params), state)
    specs = {name: P("d") for name in ROWS}
    expected = in_one_piece(whole, params, state, grads)
    p, found, _ = by_parts(s, params, state, grads, check, specs, ROWS)
    same(found, expected[1])
    close(p, expected[0])
    _, other, _ = by_parts(whole, params, state, grads, check, specs, ROWS)
    with pytest.raises(AssertionError):
        same(other, expected[1])


def test_stored_parts_in_pmap_and_over_two_axes():
    params, g = drawn(0, ROWS), drawn(1, ROWS)
    state = gx.store(gx.adamw(1e-3)).init(params)
    one = gx.store(gx.adamw(1e-3)).update(g, state, params)[1]
    split = lambda tree: jax.tree.map(lambda x: x.reshape(N, -1, *x.shape[1:]) if x.ndim else jnp.stack([x] * N), tree)
    tx = gx.store(gx.adamw(1e-3), axis_name="d")
    parts = jax.pmap(lambda g, s, p: tx.update(g, s, p)[1], axis_name="d")(split(g), split(state), split(params))
    same(parts, split(one))
    s = Subject(case_for("adamw"), gx.store(gx.adamw(1e-3), axis_name=("r", "c")))
    specs = {name: P(("r", "c")) for name in ROWS}
    same(by_parts(s, params, state, [g], True, specs, ROWS, ((4, 2), ("r", "c")))[1], one)


def test_parts_along_another_axis_have_bits_of_their_own():
    tx, x = gx.store(gx.ema(0.9, debias=False), "16bit", axis_name="d"), {"w": jnp.full((64, N), 1.003)}
    update = lambda g: tx.update(g, tx.init(g))[1]
    found = jax.jit(jax.shard_map(update, mesh=mesh(), in_specs=P(None, "d"), out_specs=specs_of(jax.eval_shape(gx.store(
        gx.ema(0.9, debias=False), "16bit").init, x), {"w": (64, N)}, {"w": P(None, "d")})))(x)  # fmt: skip
    columns = np.asarray(found.ema["w"].rounded, np.float32).T
    assert len({column.tobytes() for column in columns}) == N


def test_a_state_of_another_library_in_parts():
    optax = pytest.importorskip("optax")
    params, g = drawn(0, ROWS), drawn(1, ROWS)
    make = lambda axis: gx.store(optax.adam(1e-3), {"mu": "bfloat16", "nu": "float8"}, axis_name=axis)
    state = make(None).init(params)
    kept = specs_of(state, ROWS, {name: P("d") for name in ROWS})
    update = lambda g, s, p: make("d").update(g, s, p)[1]
    found = jax.shard_map(update, mesh=mesh(), in_specs=(P("d"), kept, P("d")), out_specs=kept)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        same(jax.jit(found)(g, state, params), jax.jit(make(None).update)(g, state, params)[1])


def rounded(x, key, axis_name):
    return jax.tree.map(lambda y: gx.precision.stochastic_round(y, jnp.bfloat16, key, axis_name=axis_name), x)


def added(x, key, axis_name):
    narrow = jax.tree.map(lambda y: y.astype(jnp.bfloat16), x)
    return gx.precision.apply_updates_stochastically(narrow, x, key, axis_name=axis_name)


def mastered(x, key, axis_name, bits=32):
    narrow = jax.tree.map(lambda y: y.astype(jnp.bfloat16), x)
    tx = gx.precision.master_weights(gx.sgd(0.01), key=key, bits=bits, axis_name=axis_name)
    u, state = tx.update(x, tx.init(narrow), narrow)
    return gx.apply_updates(narrow, u), (state.low if bits == 8 else state.master)


@by_check
@pytest.mark.parametrize(
    "f", [rounded, added, mastered, functools.partial(mastered, bits=8)], ids=["round", "add", "master", "low"]
)
def test_rounded_parts_have_the_bits_of_the_whole(f, check):
    """By a seed; by a key they have others, and each its own."""
    x = drawn(0, {"w": (16, 40), "z": (64,)})
    inside = lambda key, axis: jax.jit(
        jax.shard_map(lambda x: f(x, key, axis), mesh=mesh(), in_specs=P("d"), out_specs=P("d"), check_vma=check)
    )
    same(inside(3, "d")(x), jax.jit(lambda x: f(x, 3, None))(x))
    alike = {"w": jnp.tile(x["w"][:2], (N, 1))}
    for key in (3, jax.random.key(3)):
        for axis, different in (("d", True), (None, False)):
            found = jax.tree.leaves(inside(key, axis)(alike))
            parts = {b"".join(np.asarray(jnp.split(y, N)[i], np.float32).tobytes() for y in found) for i in range(N)}
            assert len(parts) == (N if different else 1)
