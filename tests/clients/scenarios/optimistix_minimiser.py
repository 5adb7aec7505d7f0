"""Optimistix's OptaxMinimiser, which passes `value`, `grad` and `value_fn`: Rosenbrock's valley, by descent and by L-BFGS."""

import jax.numpy as jnp
import numpy as np
import optax
import optimistix

ERROR = 1e-4


def rosenbrock(y, args):
    return args * (y["b"] - y["a"] ** 2) ** 2 + (1 - y["a"]) ** 2


def run():
    start = {"a": jnp.array(-0.5), "b": jnp.array(1.0)}
    results = {}
    for name, optim, curvature in [
        ("adam", optax.adam(0.05), 100.0),
        ("sgd", optax.sgd(0.1, 0.9), 1.0),
        ("lbfgs", optax.lbfgs(), 100.0),
    ]:
        solver = optimistix.BestSoFarMinimiser(optimistix.OptaxMinimiser(optim, rtol=1e-6, atol=1e-6))
        solution = optimistix.minimise(rosenbrock, solver, start, args=curvature, max_steps=5000)
        early = optimistix.minimise(rosenbrock, solver, start, args=curvature, max_steps=8, throw=False)
        results[name] = {"value": solution.value, "steps": solution.stats["num_steps"], "early": early.value}
    return results


def check(results):
    for result in results.values():
        np.testing.assert_allclose([result["value"]["a"], result["value"]["b"]], [1, 1], atol=5e-3)
    assert results["lbfgs"]["steps"] < 50
