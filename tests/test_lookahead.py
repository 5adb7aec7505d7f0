"""`lookahead`: the paper's two loops, Optax's numbers, extra arguments, resets, evaluation with the slow parameters."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform.testing._value_laws import public_names

START = {"w": jnp.asarray([1.0, -2.0, 3.0]), "b": jnp.asarray(0.5)}
grad = jax.grad(lambda p: 0.5 * jnp.sum((p["w"] - 1) ** 2) + jnp.cos(p["b"]))


def train(o, tx, n, start=START, state=None, **extra):
    params = o.LookaheadParams.init_synced(start) if isinstance(start, dict) else start
    state = tx.init(params) if state is None else state
    step = jax.jit(tx.update)
    for _ in range(n):
        u, state = step(grad(params.fast), state, params, **extra)
        params = gx.apply_updates(params, u)
    return params, state


def assert_close(a, b, rtol=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=1e-6)


def test_algorithm_1():
    """Zhang et al. 2019, Algorithm 1, as the two nested loops of the paper, in float64."""
    slow = {"w": np.array([1.0, -2.0, 3.0]), "b": np.array(0.5)}
    for _ in range(4):
        fast = {k: v.copy() for k, v in slow.items()}
        for _ in range(3):
            g = {"w": fast["w"] - 1, "b": -np.sin(fast["b"])}
            fast = {k: fast[k] - 0.2 * g[k] for k in fast}
        slow = {k: slow[k] + 0.7 * (fast[k] - slow[k]) for k in slow}
    params, state = train(gx, gx.lookahead(gx.sgd(0.2), 3, 0.7), 12)
    assert_close(params.slow, slow)
    assert_close(params.fast, slow)
    assert state.steps_since_sync == 0


@pytest.mark.parametrize("reset", [False, True])
def test_agrees_with_optax_and_states_go_both_ways(reset):
    ours, theirs = gx.lookahead(gx.adam(0.1), 3, 0.5, reset), optax.lookahead(optax.adam(0.1), 3, 0.5, reset)
    expected = train(optax, theirs, 7)
    assert_close(train(gx, ours, 7), expected)
    half_theirs, half_ours = train(optax, theirs, 4), train(gx, ours, 4)
    handed_over = train(gx, ours, 3, *half_theirs)
    assert jax.tree.structure(handed_over[1]) == jax.tree.structure(half_theirs[1])
    assert_close(handed_over, expected)
    back = jax.tree.unflatten(jax.tree.structure(half_theirs[1]), jax.tree.leaves(half_ours[1]))
    assert_close(train(optax, theirs, 3, optax.LookaheadParams(*half_ours[0]), back), expected)


def test_extra_arguments_reach_the_fast_optimizer():
    """In Optax they vanish in a chain, for `lookahead` takes none."""

    @gx.elementwise(needs=("value",))
    def scale_by_value(g, s, p, c):
        return g * c.value, s

    tx = gx.chain(gx.lookahead(gx.chain(scale_by_value(), gx.scale(-0.1)), 5, 0.5))
    (params, _), (expected, _) = train(gx, tx, 1, value=2.0, unknown=0), train(gx, gx.lookahead(gx.sgd(0.2), 5, 0.5), 1)
    assert_close(params, expected)


def test_a_state_with_nan_flags_and_keys_can_be_reset():
    """Optax blends by multiplication: 0 * NaN is NaN, and a flag becomes a number."""
    inner = gx.chain(gx.zero_nans(), gx.add_noise(0.1, 0.5, 0), gx.trace(0.9), gx.scale(-0.1))
    tx = gx.lookahead(inner, 2, 0.5, reset_state=True)
    params = gx.LookaheadParams.init_synced(START)
    state = tx.init(params)
    poisoned = state.fast_state[2]._replace(trace=jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), START))
    state = state._replace(fast_state=(*state.fast_state[:2], poisoned, state.fast_state[3]), steps_since_sync=jnp.asarray(1))
    _, after = jax.jit(tx.update)(START, state, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert not any(np.any(x) for x in jax.tree.leaves(after.fast_state[2]))
    assert after.fast_state[0].found_nan["w"].dtype == bool


def test_evaluation_uses_the_slow_parameters():
    tx = gx.lookahead(gx.sgd(0.1), 5, 0.5)
    params, state = train(gx, tx, 2)
    assert gx.eval_params(tx, state, params) is params.slow
    assert gx.eval_params(gx.chain(gx.identity(), tx), (gx.EmptyState(), state), params) is params.slow


def test_scan_donation_holes_and_narrow_parameters():
    start = {"h": jnp.ones(3, jnp.bfloat16), "none": None, "c": jnp.ones(2, jnp.complex64)}
    params = gx.LookaheadParams(start, jax.tree.map(jnp.copy, start))
    tx = gx.lookahead(gx.adam(0.1), 2, 0.5, reset_state=True)

    def step(carry, _):
        p, s = carry
        u, s = tx.update(p.fast, s, p)
        return (gx.apply_updates(p, u), s), None

    many = jax.jit(lambda p, s: jax.lax.scan(step, (p, s), None, length=4)[0], donate_argnums=(0, 1))
    params, _ = many(params, tx.init(start))
    assert params.slow["h"].dtype == jnp.bfloat16
    assert params.slow["none"] is None
    assert_close(params.fast, params.slow, rtol=1e-2)


def test_map_params():
    tx = gx.lookahead(gx.adam(0.1), 2, 0.5)
    doubled = gx.tree_map_params(tx, lambda x: x + 1, tx.init(START))
    assert (doubled.fast_state[0].mu["w"] == 1).all()
    assert doubled.steps_since_sync == 0


def test_it_is_a_value():
    tx = gx.lookahead(gx.adam(0.1), 3, 0.5, True)
    assert eval(repr(tx), public_names()) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx


def test_bad_arguments():
    with pytest.raises(gx.HyperparameterError, match="lookahead: `sync_period` must be a whole number"):
        gx.lookahead(gx.sgd(0.1), 0, 0.5)
    with pytest.raises(gx.HyperparameterError, match=r"lookahead: `slow_step_size` .* \(-inf, inf\)"):
        gx.lookahead(gx.sgd(0.1), 5, float("inf"))
    tx = gx.lookahead(gx.sgd(0.1), 5, 0.5)
    with pytest.raises(gx.MissingArgumentError, match="lookahead: needs the parameters"):
        tx.update(START, tx.init(START))
    with pytest.raises(gx.StructureError, match="should be LookaheadParams"):
        tx.update(START, tx.init(START), START)
