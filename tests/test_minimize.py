"""The driver: what it finds, when it ends, and that it compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

import gradxform as gx


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_it_finds_what_scipy_finds(x64):
    x = np.full(8, -1.0)
    theirs = scipy.optimize.minimize(rosenbrock, x, jac=jax.jit(jax.grad(rosenbrock)), method="L-BFGS-B", options={"gtol": 1e-8})
    ours = gx.minimize(rosenbrock, jnp.asarray(x), tol=1e-8)
    assert ours.converged
    assert 0 < int(ours.steps) <= 1.3 * theirs.nit
    np.testing.assert_allclose(ours.params, theirs.x, rtol=1e-5)
    np.testing.assert_allclose(ours.grad, jax.grad(rosenbrock)(ours.params), rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(ours.value, rosenbrock(ours.params), rtol=1e-6, atol=1e-15)


def test_args_and_aux_and_one_compilation(compiled):
    def f(p, target):
        error = p["x"] - target
        return jnp.sum(error**2), {"error": error}

    def find(target):
        found = gx.minimize(f, {"x": jnp.zeros(3)}, args=(jnp.full(3, target),), has_aux=True)
        np.testing.assert_allclose(found.params["x"], target, rtol=1e-5)
        np.testing.assert_allclose(found.aux["error"], found.params["x"] - target, atol=1e-6)

    with compiled() as first:
        find(1.0)
    with compiled() as second:
        find(2.0)
    assert "jit(traced)" in first
    assert "jit(traced)" not in second


def test_when_it_ends():
    far, flat = jnp.full(2, 3.0), lambda x: 1.0 + 1e-9 * jnp.sum(x**2)
    assert int(gx.minimize(rosenbrock, far, max_steps=3).steps) == 3
    still = gx.minimize(lambda x: jnp.sum(x) * jnp.nan, far, max_steps=50)
    assert int(still.steps) == 0
    assert not still.converged
    assert int(gx.minimize(flat, far).steps) == 0
    with pytest.raises(gx.StructureError, match="minimize: expected a GradientTransformation"):
        gx.minimize(rosenbrock, far, 0.1)


LATE = gx.join_schedules([gx.constant_schedule(0.0), gx.constant_schedule(0.1)], [5])


@pytest.mark.fast
@pytest.mark.parametrize(
    "tx",
    [
        gx.sgd(LATE),
        gx.sgd(gx.warmup_cosine_decay_schedule(0.0, 0.1, 5, 500)),
        gx.adam(gx.linear_schedule(0.0, 0.1, 10)),
        gx.accumulate(gx.sgd(0.1), 4),
        gx.MultiSteps(gx.sgd(0.1), 4),
        gx.contrib.adopt(0.1),
        gx.chain(gx.sgd(0.1), gx.conditionally_mask(gx.identity(), lambda k: k >= 3)),
        gx.chain(gx.sgd(0.1), gx.ema(0.5)),
    ],
    ids=lambda tx: repr(tx)[:40],
)
def test_an_update_of_zero_is_not_the_end(tx):
    found = gx.minimize(lambda x: jnp.sum((x - 0.3) ** 2), jnp.zeros(2), tx, max_steps=1000, tol=1e-4)
    assert found.converged
    np.testing.assert_allclose(found.params, 0.3, atol=1e-3)


@pytest.mark.fast
def test_it_ends_where_nothing_moves():
    """At the second step, because the first may be 0 of every kind."""
    f = lambda x: jnp.sum((x - 0.3) ** 2)
    for tx in (gx.sgd(0.0), gx.set_to_zero(), gx.chain(gx.trace(0.0), gx.scale(0.0))):
        found = gx.minimize(f, jnp.zeros(2), tx)
        assert int(found.steps) == 2
        assert not found.converged


@pytest.mark.fast
@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_value_that_is_not_finite_has_not_converged(value):
    """Though its gradient is 0, at the start and on the way."""
    at_once = gx.minimize(lambda x: 0 * jnp.sum(x) + value, jnp.ones(2))
    later = gx.minimize(lambda x: jnp.where(x > 0.5, x, value), jnp.asarray(1.0), gx.sgd(0.3))
    assert int(at_once.steps) == 0
    assert int(later.steps) == 2
    assert not at_once.converged
    assert not later.converged
    assert not np.any(later.grad)


def test_other_transformations_and_vmap():
    f = lambda x, c: jnp.sum((x - c) ** 2)
    for tx in (gx.adam(0.1), gx.chain(gx.sgd(1.0), gx.scale_by_backtracking_linesearch(10)), gx.lbfgs(linesearch=None)):
        found = gx.minimize(f, jnp.zeros(2), tx, args=(jnp.ones(2),), max_steps=400, tol=1e-3)
        assert found.converged
    centres = jnp.asarray([[1.0, 2.0], [3.0, -1.0]])
    found = jax.jit(jax.vmap(lambda c: gx.minimize(f, jnp.zeros(2), args=(c,)).params))(centres)
    np.testing.assert_allclose(found, centres, rtol=1e-5)


def test_complex(x64):
    target = jnp.asarray([1 + 2j, -1j])
    found = gx.minimize(lambda z: jnp.sum(jnp.abs(z - target) ** 4) + jnp.sum(jnp.abs(z) ** 2), jnp.zeros(2, complex))
    assert found.converged
