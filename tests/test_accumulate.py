"""Gradient accumulation: the large batch in pieces, nothing between the updates, and nothing lost or leaked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from oracle import optax
from trees import assert_close, is_zero

import gradxform as gx
from gradxform._types import Extra
from gradxform.testing import examine

PARAMS = {"w": jnp.asarray([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]), "b": jnp.zeros(2)}
by_way = pytest.mark.parametrize("branch_free", [False, True], ids=["cond", "select"])


def gradients(n, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), dtype), PARAMS) for _ in range(n)]


def run(tx, grads, params=PARAMS, jit=True):
    state, updates, update = tx.init(params), [], jax.jit(tx.update) if jit else tx.update
    for g in grads:
        u, state = update(g, state, params)
        updates.append(u)
    return updates, state


@pytest.mark.parametrize("inner", [gx.sgd(0.1, 0.9), gx.adamw(0.1), gx.chain(gx.clip_by_global_norm(0.3), gx.lion(0.1))], ids=repr)
@by_way
def test_equals_the_large_batch(x64, inner, branch_free):
    """A mean loss over 12 examples: 3 pieces of 4, six updates."""
    rng = np.random.default_rng(3)
    xs, ys = jnp.asarray(rng.normal(size=(6, 12, 3))), jnp.asarray(rng.normal(size=(6, 12, 2)))
    loss = lambda p, x, y: jnp.mean((x @ p["w"].T + p["b"][None] - y) ** 2)
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)

    def train(tx, pieces):
        @jax.jit
        def step(carry, batch):
            p, s = carry
            u, s = tx.update(jax.grad(loss)(p, *batch), s, p)
            return (gx.apply_updates(p, u), s), None

        split = lambda a: a.reshape(6 * pieces, 12 // pieces, -1)
        return jax.lax.scan(step, (params, tx.init(params)), (split(xs), split(ys)))[0]

    large, _ = train(inner, 1)
    small, state = train(gx.accumulate(inner, 3, branch_free), 3)
    assert_close(small, large, rtol=1e-13, atol=1e-14)
    assert (state.mini_step, state.gradient_step) == (0, 6)
    assert is_zero(state.acc_grads)


@pytest.mark.fast
@by_way
@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
def test_zeros_between_and_the_mean_at_the_end(branch_free, jit):
    grads = gradients(5)
    updates, state = run(gx.accumulate(gx.scale(-1.0), 4, branch_free), grads, jit=jit)
    assert [is_zero(u) for u in updates] == [True, True, True, False, True]
    assert_close(updates[3], jax.tree.map(lambda *gs: -np.mean(gs, 0), *grads[:4]))
    assert_close(state.acc_grads, grads[4])


@pytest.mark.fast
def test_agrees_with_optax_multi_steps():
    grads = gradients(9)
    theirs = optax.MultiSteps(optax.adam(0.1), 3)
    ours, state = run(gx.accumulate(gx.adam(0.1), 3), grads)
    expected, after = run(theirs, grads)
    assert_close(ours, expected)
    assert_close(state.acc_grads, after.acc_grads)


@pytest.mark.fast
def test_a_state_of_optax_goes_on():
    grads = gradients(6)
    theirs, tx = optax.MultiSteps(optax.adam(0.1), 3), gx.accumulate(gx.adam(0.1), 3)
    _, state = run(theirs, grads[:4])
    expected, _ = run(theirs, grads)
    for g, u in zip(grads[4:], expected[4:], strict=True):
        ours, state = tx.update(g, state, PARAMS)
        assert_close(ours, u)
    assert type(state) is optax.MultiStepsState


@pytest.mark.fast
@pytest.mark.parametrize("whole", [True, False], ids=["integers", "record of floats"])
def test_every_k_by_a_function_of_the_updates(whole):
    every_k = (lambda n: jnp.where(n < 2, 1, 3)) if whole else gx.piecewise_constant_schedule(1.0, {2: 3.0})
    updates, state = run(gx.accumulate(gx.scale(1.0), every_k), gradients(9))
    assert [not is_zero(u) for u in updates] == [True, True, False, False, True, False, False, True, False]
    assert state.gradient_step == 4


@pytest.mark.fast
def test_the_inner_update_is_executed_once_in_k():
    calls = []

    def update(g, s, p=None, **extra):
        jax.debug.callback(lambda: calls.append(1))
        return g, s

    tx = gx.accumulate(gx.GradientTransformationExtraArgs(lambda p: (), update), 4)
    run(tx, gradients(8))
    jax.effects_barrier()
    assert len(calls) == 2


@pytest.mark.fast
@by_way
def test_no_nan_of_a_partial_mean_gets_out(branch_free):
    """Optax's `MultiSteps` multiplies the discarded update by 0, and 0 * NaN is NaN."""
    log = gx.GradientTransformationExtraArgs(
        lambda p: jnp.zeros(()), lambda g, s, p=None, **extra: (jax.tree.map(jnp.log, g), s + jnp.log(g["b"]).sum())
    )
    filled = lambda x: jax.tree.map(lambda p: jnp.full_like(p, x), PARAMS)
    updates, state = run(gx.accumulate(log, 2, branch_free), [filled(-1.0), filled(3.0)])
    assert is_zero(updates[0])
    assert is_zero(updates[1])  # log(1)
    assert state.inner_opt_state == 0


@pytest.mark.fast
def test_extra_arguments_are_those_of_the_emitting_step():
    @gx.elementwise(needs=("value", Extra("diagonal", per_leaf=True), "params"))
    def product(g, s, p, c):
        return g * c.value * c.diagonal + p, s

    tx = gx.accumulate(product(), 2)
    one, state = jax.tree.map(jnp.ones_like, PARAMS), tx.init(PARAMS)
    step = jax.jit(lambda s, v: tx.update(one, s, jax.tree.map(lambda p: v * p, PARAMS), value=v, diagonal=PARAMS, unknown=0))
    _, state = step(state, 5.0)
    u, _ = step(state, 7.0)
    assert_close(u, jax.tree.map(lambda p: 7 * p + 7 * p, PARAMS))


@pytest.mark.fast
def test_narrow_gradients_are_averaged_in_float32():
    """A bfloat16 mean of 256 gradients stands still when its steps become smaller than 1/256 of it."""
    p = jnp.zeros(2, jnp.bfloat16)
    tx = gx.accumulate(gx.scale(1.0), 256)
    state = tx.init(p)
    assert state.acc_grads.dtype == jnp.float32
    gs = jnp.ones((256, 2), jnp.bfloat16).at[::2].set(3.0)
    state, us = jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], state, gs)
    assert us.dtype == jnp.bfloat16
    assert (us[-1] == 2).all()
    assert (us[:-1] == 0).all()


@pytest.mark.fast
def test_holes_masks_and_random_keys():
    params = {**PARAMS, "n": jnp.arange(3), "none": None}
    grads = {**gradients(1)[0], "n": np.zeros(3, jax.dtypes.float0), "none": None}
    tx = gx.masked(gx.accumulate(gx.chain(gx.add_noise(0.1, 0.5, 0), gx.adam(0.1)), 2, True), {"b": False, "default": True})
    state = tx.init(params)
    for _ in range(2):
        u, state = tx.update(grads, state, params)
    assert u["n"].dtype == jax.dtypes.float0
    assert u["none"] is None
    assert (u["b"] == grads["b"]).all()
    assert state.inner_state.gradient_step == 1


@pytest.mark.fast
def test_vmap_runs_several_at_once():
    tx = gx.accumulate(gx.adam(0.1), 2)
    g = jax.tree.map(lambda *xs: jnp.stack(xs), *gradients(3))
    states = jax.vmap(lambda _: tx.init(PARAMS))(jnp.arange(3))
    update = jax.vmap(lambda g, s: tx.update(g, s, PARAMS))
    _, states = update(g, states)
    u, _ = update(g, states)
    expected, _ = run(tx, [gradients(3)[1]] * 2)
    assert_close(jax.tree.map(lambda x: x[1], u), expected[1])


@pytest.mark.fast
@pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices")
@by_way
def test_shard_map(branch_free):
    """Replicated, and each device updating its own shard."""
    tx, mesh = gx.accumulate(gx.adam(0.1), 2, branch_free), jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
    params = {"w": jnp.ones((16, 4))}
    grads = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(16, 4)), jnp.float32)}

    def two(params, grads):
        state = tx.init(params)
        for _ in range(2):
            u, state = tx.update(grads, state, params)
        return u

    expected = two(params, grads)
    for spec in (PartitionSpec(), PartitionSpec("d")):
        sharded = jax.jit(functools.partial(jax.shard_map, mesh=mesh, in_specs=(spec, spec), out_specs=spec)(two))
        assert_close(sharded(params, grads), expected)


@pytest.mark.fast
def test_wide_updates_pass():
    """`master_weights` returns float32 updates of bfloat16 parameters; so do the zeros between them."""
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = gx.accumulate(gx.apply_if_finite(gx.master_weights(gx.sgd(0.1)), 3), 2)
    updates, _ = run(tx, gradients(2, jnp.bfloat16), params)
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.float32)}


@pytest.mark.fast
def test_eager_steps_compile_nothing_new(compiled):
    """Without jit the branch is taken in Python: a `lax.cond` there would be compiled at every step."""
    tx = gx.accumulate(gx.adam(0.1), 2)
    _, state = run(tx, gradients(3), jit=False)
    with compiled() as names:
        for g in gradients(3):
            _, state = tx.update(g, state, PARAMS)
    assert not names


@pytest.mark.fast
def test_repr():
    assert repr(gx.accumulate(gx.scale(-1.0), 2)) == "accumulate(scale(-1.0), 2)"
    assert repr(gx.accumulate(gx.scale(-1.0), 2, True)) == "accumulate(scale(-1.0), 2, branch_free=True)"


@pytest.mark.fast
@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "often", None])
def test_a_bad_k_is_refused(bad):
    with pytest.raises(gx.HyperparameterError, match=r"accumulate: `every_k` must be a whole number in \[1, inf\), but got"):
        gx.accumulate(gx.adam(0.1), bad)


@pytest.mark.fast
def test_a_bad_inner_or_gradient_is_refused():
    with pytest.raises(gx.StructureError, match="accumulate: expected a GradientTransformation"):
        gx.accumulate(gx.adam, 2)
    tx = gx.accumulate(gx.adam(0.1), 2)
    with pytest.raises(gx.StructureError, match="accumulate: at 'b' the update has shape"):
        tx.update({**PARAMS, "b": jnp.zeros(3)}, tx.init(PARAMS), PARAMS)


def test_laws_with_a_function_and_selection():
    report = examine(gx.accumulate(gx.sgd(0.1, 0.9), lambda n: n + 1, True), laws=[2, 3, 6, 9, 12, 13, 16])
    assert report.ok, report
