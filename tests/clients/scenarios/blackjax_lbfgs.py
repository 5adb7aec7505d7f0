"""BlackJAX's L-BFGS and Pathfinder, built from `lbfgs`, `scale_by_zoom_linesearch` and `value_and_grad_from_state`."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.optimizers.lbfgs import minimize_lbfgs

ERROR = 1e-5
MEAN = np.array([1.0, -2.0, 0.5])
PRECISION = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 4.0]])


def energy(x):
    d = x - jnp.asarray(MEAN, jnp.float32)
    return 0.5 * d @ jnp.asarray(PRECISION, jnp.float32) @ d


def run():
    (minimum, _), history = minimize_lbfgs(energy, jnp.zeros(3), maxiter=30)
    approximate = jax.jit(lambda key: blackjax.vi.pathfinder.approximate(key, lambda x: -energy(x), jnp.zeros(3)))
    path, _ = approximate(jax.random.key(0))
    draws, _ = blackjax.vi.pathfinder.sample(jax.random.key(1), path, 4000)
    return {"minimum": minimum, "path": history.x[:4], "mean": draws.mean(0), "covariance": jnp.cov(draws.T)}


def check(results):
    np.testing.assert_allclose(results["minimum"], MEAN, atol=1e-3)
    np.testing.assert_allclose(results["mean"], MEAN, atol=0.05)
    np.testing.assert_allclose(results["covariance"], np.linalg.inv(PRECISION), atol=0.1)
