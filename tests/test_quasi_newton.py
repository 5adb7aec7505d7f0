"""`ssbfgs`, `ssbroyden`: the papers' matrices, superlinear convergence, resuming, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES

import gradxform as gx

METHODS = ("ssbfgs", "ssbroyden")


def rosenbrock(p):
    x = jnp.concatenate([p["a"], p["b"].ravel()])
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


START = {"a": -0.3 * np.ones(4), "b": 0.4 * np.ones((2, 3))}


def start():
    return {name: jnp.asarray(x) for name, x in START.items()}


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_directions_are_the_transcriptions(method, scaled, x64):
    """Twelve steps a H g, a changing, down a convex function."""
    f = lambda p: jnp.sum(p["a"] ** 4 + p["a"] ** 2) + jnp.sum(jnp.cosh(p["b"])) + 0.1 * jnp.sum(p["a"]) * jnp.sum(p["b"])
    tx = gx.scale_by_ss_quasi_newton(method, scaled)
    oracle = ORACLES["scale_by_ss_quasi_newton"](method, scaled)
    p = {name: jnp.asarray(np.random.default_rng(i).normal(size=x.shape)) for i, (name, x) in enumerate(START.items())}
    state = tx.init(p)
    for t in range(12):
        g = jax.grad(f)(p)
        u, state = jax.jit(tx.update)(g, state, p)
        expected = oracle([np.asarray(g[k]) for k in p], [np.asarray(p[k]) for k in p])
        for k, v in zip(p, expected, strict=True):
            np.testing.assert_allclose(u[k], v, rtol=1e-9, atol=1e-9 * max(np.max(np.abs(x)) for x in expected))
        p = jax.tree.map(lambda x, d, a=0.2 * (1 + t % 3): x - a * d, p, u)


@pytest.mark.fast
@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock_to_the_last_place(method, x64):
    """In ten dimensions, in fewer than 120 steps, where L-BFGS needs as many or more; and one compilation."""
    tx, p = getattr(gx, method)(), start()
    value_and_grad = gx.value_and_grad_from_state(rosenbrock)

    @jax.jit
    def step(p, state):
        value, grad = value_and_grad(p, state=state)
        u, state = tx.update(grad, state, p, value=value, grad=grad, value_fn=rosenbrock)
        return gx.apply_updates(p, u), state

    state, taken = tx.init(p), 0
    while float(rosenbrock(p)) > 1e-22 and taken < 120:
        p, state = step(p, state)
        taken += 1
    assert float(rosenbrock(p)) <= 1e-22
    assert step._cache_size() == 1


def test_a_physics_informed_network_that_lbfgs_does_not_train(x64):
    """u'' + 9 u = f, u = sin(2 pi x), by 16 neurons: after 200 steps a hundredth of the loss of `lbfgs`, and a tenth of its error."""
    x, solution = jnp.linspace(-1, 1, 60), lambda x: jnp.sin(2 * jnp.pi * x)
    u = lambda p, x: (1 - x**2) * (jnp.tanh(x * p["in"] + p["b"]) @ p["out"])
    residual = lambda p, x: jax.grad(jax.grad(u, 1), 1)(p, x) + 9 * u(p, x) - (9 - 4 * jnp.pi**2) * solution(x)
    loss = lambda p: jnp.mean(jax.vmap(residual, (None, 0))(p, x) ** 2)
    error = lambda p: float(jnp.linalg.norm(jax.vmap(u, (None, 0))(p, x) - solution(x)))
    rng = np.random.default_rng(0)
    start = {name: jnp.asarray(scale * rng.normal(size=16)) for name, scale in (("in", 3.0), ("b", 1.0), ("out", 0.25))}
    warm = gx.minimize(loss, start, gx.adam(1e-2), max_steps=200).params
    ends = {name: gx.minimize(loss, warm, getattr(gx, name)(), max_steps=200, tol=0.0) for name in ("lbfgs", *METHODS)}
    for method in METHODS:
        assert ends[method].value < ends["lbfgs"].value / 100
        assert error(ends[method].params) < error(ends["lbfgs"].params) / 10


@pytest.mark.fast
@pytest.mark.parametrize("method", METHODS)
def test_of_a_quadratic_it_learns_the_hessian(method, x64):
    """With exact line searches, n steps in n dimensions: the last directions are Newton's."""
    A = jnp.diag(jnp.array([1.0, 3.0, 10.0, 30.0])) + 0.5
    p, tx = jnp.array([1.0, -1.0, 2.0, 0.5]), gx.scale_by_ss_quasi_newton(method)
    state = tx.init(p)
    for _ in range(8):
        g = A @ p
        u, state = tx.update(g, state, p)
        p = p - (g @ u) / jnp.maximum(u @ A @ u, 1e-300) * u
    assert float(p @ A @ p) < 1e-16


@pytest.mark.fast
def test_what_is_not_curved_teaches_nothing(x64):
    """On -|p|^2 / 2 the gradient falls along the way."""
    tx, p = gx.scale_by_ss_quasi_newton(), jnp.array([1.0, 2.0])
    u, before = tx.update(-p, tx.init(p), p)
    _, after = tx.update(-(p - u), before, p - u)
    np.testing.assert_array_equal(after.hessian_inv, before.hessian_inv)


def test_a_missing_gradient_counts_as_unchanged_and_complex_leaves_as_their_parts(x64):
    f = lambda p: jnp.sum(jnp.abs(p["c"] - (1 + 2j)) ** 2) + jnp.sum(p["r"] ** 2)
    p = {"c": jnp.zeros(2, complex), "r": jnp.ones(2)}
    tx = gx.ssbfgs()
    state = tx.init(p)
    for _ in range(4):
        value, grad = jax.value_and_grad(f)(p)
        grad = jax.tree.map(jnp.conj, grad)
        u, state = tx.update(grad, state, p, value=value, grad=grad, value_fn=f)
        p = gx.apply_updates(p, u)
    np.testing.assert_allclose(p["c"], 1 + 2j, atol=1e-6)
    core = gx.scale_by_ss_quasi_newton()
    u, state = core.update({"c": None, "r": jnp.ones(2)}, core.init(p), p)
    assert u["c"] is None
    assert state.hessian_inv.shape == (6, 6)


@pytest.mark.fast
def test_too_many_elements():
    with pytest.raises(gx.StructureError, match=r"20,001 elements, of which a dense inverse Hessian has 400,040,001"):
        gx.ssbfgs().init(jax.ShapeDtypeStruct((20_001,), jnp.float32))


@pytest.mark.fast
def test_going_on_from_a_saved_state_is_going_on(x64):
    tx, p = gx.scale_by_ss_quasi_newton("ssbroyden"), start()
    state = tx.init(p)
    for _ in range(3):
        u, state = tx.update(jax.grad(rosenbrock)(p), state, p)
        p = jax.tree.map(lambda x, d: x - 0.1 * d, p, u)
    saved = jax.tree.map(np.asarray, state)
    again = jax.tree.map(jnp.asarray, saved)
    g = jax.grad(rosenbrock)(p)
    jax.tree.map(np.testing.assert_array_equal, tx.update(g, state, p), tx.update(g, again, p))
