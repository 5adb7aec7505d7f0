"""Rounding by a seed: what it shares with rounding by a key, and that it makes no keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradxform as gx

KEY = jax.random.key(0)
SEEDS = {
    "int": 3,
    "beyond 2^32": 3 + 2**32,
    "int64": np.int64(3),
    "uint32": np.uint32(3),
    "0-d": np.array(3),
    "jnp uint32": jnp.uint32(3),
    "jnp int32": jnp.int32(3),
}
STOCHASTIC = {
    "stochastic_round": lambda x, key: gx.stochastic_round(x, jnp.bfloat16, key),
    "apply_updates_stochastically": lambda x, key: gx.apply_updates_stochastically(x.astype(jnp.bfloat16), x * 1e-3, key),
    "master_weights": lambda x, key: _after_a_step(gx.master_weights(gx.sgd(1e-3), key=key), x.astype(jnp.bfloat16), x),
}
everywhere = pytest.mark.parametrize("name", STOCHASTIC)


def _after_a_step(tx, p, g):
    return gx.apply_updates(p, tx.update(g, tx.init(p), p)[0])


def some(n=512):
    return jnp.asarray(np.random.default_rng(0).normal(size=n).astype(np.float32))


def bits(x):
    return np.asarray(x).view(np.uint16)


@pytest.mark.fast
@everywhere
def test_a_seed_may_have_any_form_of_a_whole_number(name):
    expected = bits(STOCHASTIC[name](some(), 3))
    for form, seed in SEEDS.items():
        np.testing.assert_array_equal(bits(STOCHASTIC[name](some(), seed)), expected, err_msg=form)
    assert (bits(STOCHASTIC[name](some(), 4)) != expected).any()


@pytest.mark.fast
@everywhere
def test_a_seed_makes_no_key_and_a_key_does(name):
    text = lambda key: str(jax.make_jaxpr(STOCHASTIC[name])(some(), key))
    assert not any(word in text(jnp.uint32(3)) for word in ("threefry", "random_bits", "random_wrap", "key<"))
    assert any(word in text(KEY) for word in ("threefry", "random_bits"))


@pytest.mark.fast
@everywhere
def test_keys_round_as_they_did(name):
    """Typed and raw keys alike, by `jax.random.bits` of the leaf's own key."""
    x = some()
    typed = STOCHASTIC[name](x, KEY)
    np.testing.assert_array_equal(bits(typed), bits(STOCHASTIC[name](x, jax.random.PRNGKey(0))))
    if name == "stochastic_round":
        noise = np.asarray(jax.random.bits(KEY, x.shape, jnp.uint32)) & np.uint32(0xFFFF)
        np.testing.assert_array_equal(bits(typed), ((np.asarray(x).view(np.uint32) + noise) >> np.uint32(16)).astype(np.uint16))


@everywhere
def test_members_of_vmap_are_as_alone(name):
    seeds = jnp.arange(3, dtype=jnp.uint32)
    together = jax.vmap(lambda seed: STOCHASTIC[name](some(), seed))(seeds)
    for i in range(3):
        np.testing.assert_array_equal(bits(together[i]), bits(STOCHASTIC[name](some(), i)))
    assert (bits(together[0]) != bits(together[1])).any()


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
@everywhere
def test_does_not_depend_on_the_sharding(name, axis_type):
    x = some(64).reshape(16, 4)
    mesh = jax.make_mesh((8,), ("d",), axis_types=(axis_type,))
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("d", None)))
    y = jax.jit(lambda x: STOCHASTIC[name](x, 5))(sharded)
    np.testing.assert_array_equal(bits(y), bits(STOCHASTIC[name](x, 5)))
    assert y.sharding.is_equivalent_to(sharded.sharding, 2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_a_million_roundings_are_unbiased(dtype):
    """Each number's mean, over elements and over seeds that follow one another, is within four standard errors."""
    n = 2**20
    for x in np.float32([1.00123, -3.14159, 255.77, 6.0011e4, 3.3e-6]):
        spread = None
        for draws in (
            gx.stochastic_round(jnp.full(n, x), dtype, 11),
            jax.vmap(lambda seed, x=x: gx.stochastic_round(jnp.full(64, x), dtype, seed))(jnp.arange(n // 64)),
        ):
            y = np.asarray(draws, np.float64).ravel()
            values = np.unique(y)
            assert len(values) == 2
            assert values[0] < x < values[1]
            spread = np.sqrt((x - values[0]) * (values[1] - x) / n)
            assert abs(y.mean() - np.float64(x)) < 4 * spread


def test_seeds_that_follow_one_another_round_independently():
    """After a hundred steps the errors of neighbours have nothing in common: the seeds are hashed."""
    x = 1 + np.random.default_rng(1).uniform(size=4096).astype(np.float32)
    errors = sum(np.asarray(gx.stochastic_round(x, jnp.bfloat16, step), np.float64) - x for step in range(100))
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(errors[lag:], errors[:-lag])[0, 1]) < 5 / np.sqrt(4096)


def test_leaves_have_their_own_seeds():
    p = {"a": jnp.ones(512, jnp.bfloat16), "b": jnp.ones(512, jnp.bfloat16), "c": None}
    u = {"a": jnp.full(512, 1e-3), "b": jnp.full(512, 1e-3), "c": None}
    new = gx.apply_updates_stochastically(p, u, 0)
    assert (new["a"] != new["b"]).any()
    alone = gx.apply_updates_stochastically({**p, "a": gx.MaskedNode()}, {**u, "a": gx.MaskedNode()}, 0)
    np.testing.assert_array_equal(bits(alone["b"]), bits(new["b"]))
    np.testing.assert_array_equal(
        bits(gx.apply_updates_stochastically(p["a"], u["a"], 7)),
        bits(gx.stochastic_round(p["a"].astype(jnp.float32) + u["a"], jnp.bfloat16, _first(7))),
    )


def _first(seed):
    """The seed of the first leaf, as a hash makes it."""
    from gradxform.precision._counter import folded, uint32

    return folded(uint32(seed), 0)


def test_master_weights_go_on_from_their_state():
    tx, p = gx.master_weights(gx.sgd(1e-3), key=3), jnp.ones(512, jnp.bfloat16)
    state, seen = tx.init(p), []
    assert (state.rng_key.dtype, state.rng_key.shape) == (jnp.uint32, ())
    for _ in range(3):
        u, state = tx.update(jnp.ones_like(p), state, p)
        p = gx.apply_updates(p, u)
        seen.append(int(state.rng_key))
    assert seen == [(3 + i * 0x9E3779B9) % 2**32 for i in (1, 2, 3)]
    older = gx.master_weights(gx.sgd(1e-3), key=KEY).init(p)
    u, after = tx.update(jnp.ones_like(p), older, p)  # a state from a key goes on with keys
    assert jnp.issubdtype(after.rng_key.dtype, jax.dtypes.prng_key)


def test_seeds_of_wide_numbers(x64):
    """float64 has 45 bits more than bfloat16: the noise has as many."""
    x = jnp.full(2**17, 1 + 2.0**-11 * float(jnp.finfo(jnp.bfloat16).eps), jnp.float64)
    share = float((gx.stochastic_round(x, jnp.bfloat16, 5) > 1).mean())
    assert 0.5 * 2**-11 < share < 1.7 * 2**-11
    tiny = jnp.full(2**12, 1 + 2.0**-25, jnp.float64)
    z = gx.stochastic_round(jax.lax.complex(tiny, tiny), jnp.complex64, 1)
    assert 0.2 < float((z.real > 1).mean()) < 0.3
    assert (z.real != z.imag).any()


@pytest.mark.parametrize("key", [0.5, "seed", np.ones(3, np.int32)], ids=str)
@everywhere
def test_what_is_no_seed_is_refused(name, key):
    with pytest.raises((TypeError, ValueError, gx.GradxformError)):
        STOCHASTIC[name](some(), key)
