"""Conditions on updates: `conditionally_transform`, `conditionally_mask`, `apply_if_finite`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx

PARAMS = {"w": jnp.asarray([1.0, -2.0, 3.0]), "b": jnp.zeros(())}
GRADS = {"w": jnp.asarray([0.5, 0.25, -1.0]), "b": jnp.asarray(2.0)}
every_other = lambda step: step % 2 == 1
both = pytest.mark.parametrize("name", ["conditionally_transform", "conditionally_mask"])
ways = pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])


def run(tx, n, jit=True, **extra):
    state, updates = tx.init(PARAMS), []
    update = jax.jit(tx.update) if jit else tx.update
    for i in range(n):
        u, state = update(jax.tree.map(lambda g, n=i + 1: g * n, GRADS), state, PARAMS, **extra)
        updates.append(u)
    return updates, state


@both
@ways
def test_agrees_with_optax(name, jit):
    ours, state = run(getattr(gx, name)(gx.adam(0.1), every_other), 5, jit)
    theirs, after = run(getattr(optax, name)(optax.adam(0.1), every_other), 5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)
    assert state._fields == after._fields
    assert (state.step, state.inner_state[0].count) == (5, 2)


@both
def test_the_condition_may_see_extra_arguments_and_inner_always_does(name):
    @gx.elementwise(needs=("value",))
    def scale_by_value(g, s, p, c):
        return g * c.value, s

    tx = getattr(gx, name)(scale_by_value(), lambda step, *, value, **extra: value > 1, forward_extra_args=True)
    other = 1.0 if name == "conditionally_transform" else 0.0
    for value, factor in ((3.0, 3.0), (0.5, other)):
        updates, _ = run(gx.chain(gx.identity(), tx), 1, value=value, unknown=0)
        np.testing.assert_allclose(updates[0]["w"], factor * GRADS["w"])


@both
def test_the_inner_update_is_executed_only_where_wanted(name):
    calls = []

    def update(g, s, p=None, **extra):
        jax.debug.callback(lambda: calls.append(1))
        return g, s

    run(getattr(gx, name)(gx.GradientTransformation(lambda p: (), update), every_other), 6)
    jax.effects_barrier()
    assert len(calls) == 3


@both
def test_an_inner_state_that_drifts_is_kept(name):
    """Optax's sgd with momentum promotes a bfloat16 trace under float32 gradients: `lax.cond` would refuse the branch."""
    tx = getattr(gx, name)(optax.trace(0.9), every_other)
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    state = tx.init(params)
    _, after = jax.jit(tx.update)(GRADS, state, params)
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)


@both
def test_conditions_that_are_none(name):
    with pytest.raises(gx.StructureError, match=f"{name}: `should_transform_fn` must return a boolean scalar"):
        run(getattr(gx, name)(gx.adam(0.1), lambda step: jnp.ones(2)), 1)
    with pytest.raises(gx.StructureError, match=f"{name}: expected a GradientTransformation"):
        getattr(gx, name)(gx.adam, every_other)


def test_apply_if_finite_gives_up_until_a_finite_update():
    """optax #1746: the count goes on after giving up, as in Optax 0.2.8, and begins again with a finite update."""
    nan = jax.tree.map(lambda g: jnp.full_like(g, jnp.nan), GRADS)
    grads = [nan, nan, nan, nan, GRADS, nan]
    logs = []
    for o in (gx, optax):
        tx = o.apply_if_finite(o.scale(-1.0), 2)
        state, log = tx.init(PARAMS), []
        for g in grads:
            u, state = tx.update(g, state, PARAMS)
            log.append((bool(jnp.isnan(u["b"])), int(state.notfinite_count), int(state.total_notfinite)))
        logs.append(log)
    assert logs[0] == logs[1]
    assert [row[:2] for row in logs[0]] == [(False, 1), (False, 2), (True, 3), (True, 4), (False, 0), (False, 1)]
