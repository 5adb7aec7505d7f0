"""JAXopt's OptaxSolver: ridge regression, and its derivative by the implicit function theorem, are known."""

import jax
import jax.numpy as jnp
import jaxopt
import numpy as np
import optax

ERROR = 1e-5

r = np.random.default_rng(0)
X = r.standard_normal((50, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5]) + 0.1 * r.standard_normal(50)).astype(np.float32)


def ridge(w, decay):
    return jnp.mean((X @ w - Y) ** 2) + decay * jnp.sum(w**2)


def run():
    solver = jaxopt.OptaxSolver(
        ridge, optax.adam(optax.exponential_decay(0.1, 100, 0.5)), maxiter=1000, tol=1e-5, implicit_diff=True
    )
    solve = lambda decay: solver.run(jnp.zeros(3), decay).params
    early = jaxopt.OptaxSolver(ridge, optax.adam(0.1), maxiter=10)
    batches = jaxopt.OptaxSolver(lambda w, data: jnp.mean((data[0] @ w - data[1]) ** 2), optax.sgd(0.1, momentum=0.5), maxiter=300)
    iterator = iter([(X[i % 2 :: 2], Y[i % 2 :: 2]) for i in range(301)])
    return {
        "solution": solve(0.1),
        "early": early.run(jnp.zeros(3), 0.1).params,
        "derivative": jax.jacobian(solve)(0.1),
        "batches": batches.run_iterator(jnp.zeros(3), iterator).params,
    }


def check(results):
    gram = X.T @ X / 50 + 0.1 * np.eye(3)
    solution = np.linalg.solve(gram, X.T @ Y / 50)
    np.testing.assert_allclose(results["solution"], solution, atol=1e-4)
    np.testing.assert_allclose(results["derivative"], -np.linalg.solve(gram, solution), rtol=1e-3)
    np.testing.assert_allclose(results["batches"], [1.0, -2.0, 0.5], atol=0.1)
