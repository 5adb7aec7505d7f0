"""Sharpness-aware minimization."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx

P = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}
RATE, RHO = 0.1, 0.5


def loss(p):
    return 0.5 * (p["a"] @ p["a"] + p["b"] ** 2) + p["b"] ** 3 / 30


GRAD = jax.grad(loss)


def paper(o=gx, **options):
    normalize = gx.normalize if o is gx else optax.contrib.normalize
    make = gx.sam if o is gx else optax.contrib.sam
    return make(o.sgd(RATE), o.chain(normalize(), o.sgd(RHO)), **options)


def algorithm_1(w):
    """Foret et al. 2021: w - rate grad(w + rho grad(w) / ||grad(w)||)."""
    g = GRAD(w)
    size = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(g)))
    above = jax.tree.map(lambda x, y: x + RHO * y / size, w, g)
    return jax.tree.map(lambda x, y: x - RATE * y, w, GRAD(above))


def same(a, b, **close):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-5, "atol": 1e-6, **close})


def steps(tx, n, params=P, state=None, **extra):
    state = tx.init(params) if state is None else state
    for _ in range(n):
        u, state = tx.update(GRAD(params), state, params, **extra)
        params = gx.apply_updates(params, u)
    return params, state


@pytest.mark.parametrize("mode", ["transparent", "opaque", "jit"])
def test_two_steps_of_the_paper(mode):
    if mode == "opaque":
        params, _ = steps(paper(opaque_mode=True), 2, grad_fn=lambda p, i: GRAD(p))
    elif mode == "jit":
        tx = paper()
        params, state = P, tx.init(P)
        for _ in range(4):
            u, state = jax.jit(tx.update)(GRAD(params), state, params)
            params = gx.apply_updates(params, u)
    else:
        params, _ = steps(paper(), 4)
    same(params, algorithm_1(algorithm_1(P)))


@pytest.mark.parametrize("options", [{}, {"sync_period": 3}, {"sync_period": 3, "reset_state": False}], ids=str)
def test_it_is_optax_s(options):
    adam = lambda o: o.adam(0.3)
    ours = steps(gx.sam(gx.sgd(0.1, 0.9), adam(gx), **options), 7)
    theirs = steps(optax.contrib.sam(optax.sgd(0.1, 0.9), adam(optax), **options), 7)
    same(ours, theirs)


def test_unknown_extra_arguments_are_accepted_and_passed_on():
    seen = []
    spy = gx.GradientTransformationExtraArgs(lambda p: (), lambda g, s, p=None, **extra: (seen.append(extra), (g, s))[1])
    for options, call in [({}, {}), ({"opaque_mode": True}, {"grad_fn": lambda p, i: GRAD(p)})]:
        steps(gx.sam(spy, spy, **options), 2, value=1.0, **call)
    assert len(seen) == 2 + 4
    assert all(extra["value"] == 1.0 for extra in seen)


def test_a_foreign_optimizer_gets_what_it_takes():
    plain = gx.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, s))
    steps(gx.sam(optax.sgd(0.1), plain), 2, value=1.0)


def test_opaque_mode_needs_grad_fn():
    with pytest.raises(gx.MissingArgumentError, match="sam: with opaque_mode=True it needs the extra argument `grad_fn`"):
        steps(paper(opaque_mode=True), 1)


def test_grad_fn_gets_the_number_of_the_step():
    seen = []
    steps(paper(opaque_mode=True, sync_period=4), 1, grad_fn=lambda p, i: (seen.append(i), GRAD(p))[1])
    assert seen == [0, 1, 2]


def test_gradients_on_top_are_averaged_over_an_axis():
    tx = paper(opaque_mode=True, batch_axis_name="batch")
    scales = jnp.array([1.0, 3.0])

    def update(k):
        grad_fn = lambda p, i: jax.tree.map(lambda g: k * g, GRAD(p))
        return tx.update(GRAD(P), tx.init(P), P, grad_fn=grad_fn)[0]

    u = jax.vmap(update, axis_name="batch")(scales)
    expected, _ = paper(opaque_mode=True).update(
        GRAD(P), paper(opaque_mode=True).init(P), P, grad_fn=lambda p, i: jax.tree.map(lambda g: 2 * g, GRAD(p))
    )
    same(jax.tree.map(lambda x: x[1], u), expected)


def test_nan_of_the_idle_optimizer_does_not_leak():
    nan = gx.GradientTransformation(lambda p: (), lambda g, s, p=None: (jax.tree.map(lambda x: x * jnp.nan, g), s))
    tx = gx.sam(nan, gx.sgd(0.1))
    u, _ = jax.jit(tx.update)(P, tx.init(P), P)
    same(u, jax.tree.map(lambda x: 0.1 * x, P))


def test_a_period_of_one_is_the_optimizer():
    same(steps(gx.sam(gx.adam(0.1), gx.sgd(1.0), sync_period=1), 3)[0], steps(gx.adam(0.1), 3)[0])


def test_evaluate_at_the_foot_of_the_climb():
    tx = paper()
    params, state = steps(tx, 3)
    same(gx.eval_params(tx, state, params), algorithm_1(P))
    down, state = steps(tx, 1, params, state)
    same(gx.eval_params(tx, state, down), down)


def test_parameters_and_state_can_be_donated():
    tx, params = paper(), jax.tree.map(jnp.copy, P)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        u, state = tx.update(GRAD(params), state, params)
        return gx.apply_updates(params, u), state

    step(params, tx.init(params))


def test_normalize():
    u, _ = gx.normalize().update({"a": jnp.array([3.0]), "b": jnp.array(4.0)}, gx.EmptyState())
    same(u, {"a": jnp.array([0.6]), "b": jnp.array(0.8)})
    zero = {"a": jnp.zeros(2, jnp.float16)}
    assert not gx.normalize().update(zero, gx.EmptyState())[0]["a"].any()
    assert gx.NormalizeState is gx.EmptyState


def test_errors():
    with pytest.raises(gx.HyperparameterError, match=r"sam: `sync_period` must be a whole number in \[1, inf\), but got 0"):
        paper(sync_period=0)
    with pytest.raises(gx.StructureError, match="sam, adv_optimizer: expected a GradientTransformation"):
        gx.sam(gx.sgd(0.1), gx.sgd)
    with pytest.raises(gx.MissingArgumentError, match="sam: needs the parameters"):
        paper().update(P, paper().init(P))
