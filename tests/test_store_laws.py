"""Every optimizer of the registry with a stored state: the same structure for ever, and as good a loss as in float32."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import registry
from gradxform.testing import case_for

STEPS = 300
WORSE = 1.02  # how much larger than in float32 the loss may be
NAMES = registry.names("*", kind="optimizer")


def every_other(first):
    """By day every second optimizer, by night those in between: in one of the two tests each is by day."""
    night = lambda i: [pytest.mark.nightly] * (i % 2 != first)
    return pytest.mark.parametrize("name", [pytest.param(name, marks=night(i)) for i, name in enumerate(NAMES)])


def has_entries(state):
    return any(hasattr(x, "encode") for x in jax.tree.leaves(state, is_leaf=lambda x: hasattr(x, "encode")))


def stored(tx, params):
    """The transformation with a stored state, if it has a field that is declared apt; checked that it says so otherwise."""
    tx = gx.store(tx)
    try:
        state = jax.eval_shape(tx.init, params)
    except gx.StructureError as e:
        assert "keeps no running mean" in str(e)  # noqa: PT017  the reason is what is asked about
        return None
    assert has_entries(state)
    return tx


def forms(tree):
    return jax.tree.structure(tree), [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)]


@pytest.mark.fast
@pytest.mark.parametrize("pattern", ["*", "keras.*", "mxnet.*", "neon.*", "torch.*"])
def test_a_stored_state_is_a_fixed_point(pattern):
    """Traced only: structure, shapes, dtypes and weak types after an update are those of the first state."""
    found = 0
    for name in registry.names(pattern, kind="optimizer"):
        case = case_for(name)
        params, grads = case.params(), case.grads(0)
        tx = stored(case.tx, params)
        if tx is None:
            continue
        first = jax.eval_shape(tx.init, params)
        _, second = jax.eval_shape(lambda g, s, p, tx=tx, case=case: tx.update(g, s, p, **case.extra(p, g)), grads, first, params)
        assert forms(second) == forms(first), name
        found += 1
    assert found >= (25 if pattern == "*" else 1)


@functools.cache
def problem():
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((512, 64), (64, 32)))
    y = x @ w + 0.5 * rng.normal(size=(512, 32)).astype(np.float32)
    return x, y


def loss_of(params):
    x, y = problem()
    return jnp.mean((x @ params["w"] + params["b"].reshape(1, 32) - y) ** 2)


def is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def plain(x):
    return np.asarray(jax.random.key_data(x) if is_key(x) else x)


def wrapped(data):
    return jax.random.wrap_key_data(jnp.asarray(data))


def trained(tx, entry, params, resumed=False):
    """The loss after 300 steps at the declared rate, in one program; `resumed`: the same bits if the run is kept in a file half-way."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss_of)(params)
        known = {"value": value, "grad": grads, "value_fn": loss_of, "obj_fn": loss_of}
        extra = {name: known.get(name, make(params, grads)) for name, make in entry.needs.items()}
        updates, state = tx.update(grads, state, params, **extra)
        return (gx.apply_updates(params, updates), state), None

    train = jax.jit(lambda carry: jax.lax.scan(step, carry, None, STEPS // 2)[0])
    middle = train((params, jax.jit(tx.init)(params)))
    params, state = train(middle)
    if resumed:
        saved = pickle.loads(pickle.dumps(jax.tree.map(plain, middle)))
        again = train(jax.tree.map(lambda x, like: wrapped(x) if is_key(like) else jnp.asarray(x), saved, middle))
        jax.tree.map(np.testing.assert_array_equal, *(jax.tree.map(plain, x) for x in (again, (params, state))))
        assert train._cache_size() == 1
    return float(loss_of(gx.eval_params(tx, state, params)))


@every_other(0)
def test_it_compiles_once_resumes_to_the_bit_and_has_the_loss_of_float32(name):
    entry, case = registry.entry(name), case_for(name)
    tx = case.make(**({case.rate: entry.rates["default"]} if case.rate and "default" in entry.rates else {}))
    params = {"w": jnp.zeros((64, 32)), "b": jnp.zeros((32,) if entry.ndim is None else (1, 32))}
    narrow = stored(tx, params)
    if narrow is None:
        pytest.skip("it keeps sums, maxima, copies or nothing, which stay wide")
    wide, found = trained(tx, entry, params), trained(narrow, entry, params, resumed=True)
    assert np.isfinite(wide)
    assert found <= WORSE * wide, f"{found / wide:.4f} times the loss in float32, {wide:.4g}"


def codes_of(state):
    """What is stored at each leaf: codes as whole numbers, other arrays as they are."""
    return [plain(x.view(jnp.int16) if x.dtype == jnp.bfloat16 else x) for x in jax.tree.leaves(state)]


@pytest.mark.filterwarnings("ignore:.*look turned:UserWarning")  # its `b` is as long as `w` has rows
@every_other(1)
def test_engines_and_devices_agree(name):
    """Codes differ by one step in one of a hundred at most, as a last digit may round otherwise; the rest differs by that."""
    entry, case = registry.entry(name), case_for(name)
    shapes = {"w": (64, 32), "b": (64,) if entry.ndim is None else (64, 1)}
    rng = np.random.default_rng(0)
    params, grads = ({k: jnp.asarray(rng.normal(size=n), jnp.float32) for k, n in shapes.items()} for _ in range(2))
    tx = stored(case.tx, params)
    if tx is None:
        pytest.skip("it keeps sums, maxima, copies or nothing, which stay wide")
    rows = jax.sharding.NamedSharding(
        jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,)), jax.sharding.PartitionSpec("data")
    )
    step = lambda g, s, p: tx.update(g, s, p, **case.extra(p, g))
    one = jax.jit(step)(grads, tx.init(params), params)
    spread_params, spread_grads = jax.device_put((params, grads), rows)
    eight = jax.jit(step)(spread_grads, tx.init(spread_params), spread_params)
    with gx.kernels.engine("tree"):
        tree = step(grads, tx.init(params), params)
    for other in (eight, tree):
        for x, y in [(x, y) for x, y in zip(codes_of(one), codes_of(other), strict=True) if x.size]:
            if np.issubdtype(x.dtype, np.integer) and x.dtype.itemsize <= 2:
                steps = np.abs(x.astype(int) - y.astype(int))
                assert steps.max() <= 1
                assert (steps > 0).mean() <= 0.01
            elif np.issubdtype(x.dtype, np.floating):
                np.testing.assert_allclose(x, y, rtol=0, atol=1e-4 * max(1e-6, np.abs(x).max()))
