"""`reduce_on_plateau`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from oracles import ORACLES

import gradxform as gx

G = {"w": jnp.array([1.0, -2.0])}


def scales(tx, values):
    state, seen = tx.init(G), []
    update = jax.jit(lambda s, v: tx.update(G, s, value=v))
    for value in values:
        u, state = update(state, value)
        seen.append(float(u["w"][0]))
    return seen, state


@pytest.mark.parametrize("worse", [0.0, 0.1, 2.0])
def test_a_negative_value_has_to_be_undercut(worse):  # optax #1767
    seen, state = scales(gx.reduce_on_plateau(patience=2, rtol=0.1), [-1.0, -1.0 + worse, -1.0 + worse])
    assert seen == pytest.approx([1.0, 1.0, 0.1])
    assert state.best_value == -1


def test_a_negative_value_improves():
    assert scales(gx.reduce_on_plateau(patience=1, rtol=0.1), [-1.0, -1.2, -1.4])[0] == [1.0, 1.0, 1.0]
    assert scales(gx.reduce_on_plateau(patience=1, rtol=0.1), [-1.0, -1.05])[0] == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"patience": 3, "cooldown": 2, "factor": 0.5, "rtol": 0.05},
        {"patience": 1, "accumulation_size": 3, "min_scale": 0.02},
        {"patience": 2, "rtol": 0.0, "atol": 0.1},
    ],
    ids=str,
)
def test_positive_values_as_in_optax_and_all_as_in_pytorch(options):
    r = np.random.default_rng(0)
    values = np.abs(1 / np.arange(1, 25) + 0.3 * r.normal(size=24)).astype(np.float32)
    seen, state = scales(gx.reduce_on_plateau(**options), values)
    theirs, their_state = scales(optax.contrib.reduce_on_plateau(**options), values)
    assert seen == pytest.approx(theirs)
    np.testing.assert_allclose([*state], [*their_state], rtol=1e-6)
    step = ORACLES["reduce_on_plateau"](**options)
    signed = values - 0.5
    expected = [float(step([np.ones(1)], None, value=[v])[0][0]) for v in signed]
    assert scales(gx.reduce_on_plateau(**options), signed)[0] == pytest.approx(expected)


def test_a_relative_margin_of_nothing_around_infinity():
    assert scales(gx.reduce_on_plateau(patience=1, rtol=0.0, atol=0.1), [5.0, 1.0])[0] == [1.0, 1.0]
    assert scales(gx.reduce_on_plateau(patience=1), [jnp.inf, 5.0, 1.0])[0] == pytest.approx([0.1, 0.1, 0.1])


def test_without_patience_every_miss_counts():
    assert scales(gx.reduce_on_plateau(patience=0), [3.0, 2.0, 2.0, 1.0])[0] == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_nan_is_a_miss():
    seen, state = scales(gx.reduce_on_plateau(patience=1), [1.0, jnp.nan, 0.5])
    assert seen == pytest.approx([1.0, 0.1, 0.1])
    assert state.best_value == 0.5


@pytest.mark.parametrize("x64", [False, True])
def test_dtypes_stay(x64):  # optax #976
    with jax.enable_x64(x64):
        for dtype in (jnp.bfloat16, jnp.float32, jnp.float64 if x64 else jnp.float16):
            g = jnp.ones(2, dtype)
            tx = gx.reduce_on_plateau(patience=1)
            state = tx.init(g)
            assert state.scale.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
            for value in (0.5, jnp.asarray(0.5, float), np.float16(0.5), 1):
                u, after = jax.jit(lambda s, v, g=g, tx=tx: tx.update(g, s, value=v))(state, value)
                kinds = lambda t: [(x.dtype, x.weak_type) for x in jax.tree.leaves(t)]
                assert kinds(after) == kinds(state)
                assert u.dtype == dtype


def test_a_scale_is_not_rounded_to_a_narrow_dtype():
    g = jnp.full(2, 3.0, jnp.bfloat16)
    tx = gx.reduce_on_plateau(patience=1, factor=0.7)
    state = tx.init(g)
    for _ in range(2):
        u, state = tx.update(g, state, value=1.0)
    assert u[0] == jnp.bfloat16(2.1)
    assert state.scale == jnp.float32(0.7)


def test_it_chains_and_holes_stay():
    tx = gx.chain(gx.sgd(0.1), gx.reduce_on_plateau())
    u, _ = tx.update({"w": jnp.ones(2), "hole": None}, tx.init({"w": jnp.ones(2), "hole": None}), value=1.0)
    assert u["hole"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 1.0}, r"`factor` must be .* in \(0, 1\), but got 1.0"),
        ({"rtol": -0.1}, r"`rtol` must be .* in \[0, 1\]"),
        ({"rtol": 2.0}, r"`rtol` must be .* in \[0, 1\]"),
        ({"atol": -0.1}, r"`atol` must be"),
        ({"rtol": 0.0}, r"`rtol` or `atol` must be more than 0, but got 0.0 and 0.0"),
        ({"accumulation_size": 0}, r"`accumulation_size` must be"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(gx.HyperparameterError, match="reduce_on_plateau: " + message):
        gx.reduce_on_plateau(**arguments)


def test_the_value_is_needed():
    tx = gx.reduce_on_plateau()
    with pytest.raises(gx.MissingArgumentError, match="reduce_on_plateau: needs the extra argument `value`"):
        tx.update(G, tx.init(G))


def test_arguments_may_be_traced():
    def second(factor):
        tx = gx.reduce_on_plateau(factor=factor, patience=1)
        state = tx.init(G)
        for _ in range(2):
            u, state = tx.update(G, state, value=1.0)
        return u["w"][0]

    np.testing.assert_allclose(jax.vmap(second)(jnp.array([0.1, 0.5])), [0.1, 0.5], rtol=1e-6)
