"""OTT where it uses Optax: a semi-discrete solver, the conjugate of a convex function by L-BFGS, and the Hungarian algorithm."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import ott.math
from ott.geometry import pointcloud, semidiscrete_pointcloud
from ott.problems.linear import semidiscrete_linear_problem
from ott.solvers.linear import semidiscrete
from ott.tools import unreg

ERROR = 1e-5
POINTS = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
TARGETS = np.random.default_rng(1).standard_normal((5, 2)).astype(np.float32)
PRECISION = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)


def masses():
    """How much of a Gaussian the solver sends to each of five points, which want a fifth each."""
    geometry = semidiscrete_pointcloud.SemidiscretePointCloud(jax.random.normal, jnp.asarray(TARGETS), epsilon=0.05)
    problem = semidiscrete_linear_problem.SemidiscreteLinearProblem(geometry)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 500))
    solver = semidiscrete.SemidiscreteSolver(num_iterations=500, batch_size=128, optimizer=optimizer, error_eval_every=100)
    out = solver(jax.random.key(0), problem)
    sampled = problem.sample(jax.random.key(1), 4000)
    plan = jax.nn.softmax((out.g[None] - sampled.geom.cost_matrix) / 0.05, axis=1)
    return {"potential": out.g, "masses": plan.mean(0), "losses": out.losses}


def run():
    conjugate = ott.math.legendre(lambda x: 0.5 * x @ jnp.asarray(PRECISION) @ x)
    cost, _ = unreg.hungarian(pointcloud.PointCloud(jnp.asarray(POINTS), jnp.asarray(TARGETS)))
    at = jnp.array([1.0, -1.0])
    return {"semidiscrete": masses(), "conjugate": conjugate(at), "slope": jax.grad(conjugate)(at), "hungarian": cost}


def check(results):
    at = np.array([1.0, -1.0])
    np.testing.assert_allclose(results["semidiscrete"]["masses"], np.full(5, 0.2), atol=0.04)
    np.testing.assert_allclose(results["slope"], np.linalg.solve(PRECISION, at), atol=1e-3)
    np.testing.assert_allclose(results["conjugate"], at @ np.linalg.solve(PRECISION, at) / 2, rtol=1e-4)
    costs = ((POINTS[:, None] - TARGETS) ** 2).sum(2)
    best = min(costs[range(5), p].mean() for p in itertools.permutations(range(5)))
    np.testing.assert_allclose(results["hungarian"], best, rtol=1e-5)
