"""A noisy quadratic bowl, a thousand times steeper along some directions than along others. It runs in an instant."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Params
from gradxform.race._problem import Problem, host_rng

SIZE = 32
CONDITION = 1e3
NOISE = 0.01


def problem() -> Problem:
    hessian = _hessian()

    def loss(params: Params, batch: tuple[Array, Array]) -> Array:
        hessian, noise = batch
        x = params["x"]
        return 0.5 * x @ hessian @ x + noise @ x

    def batch(rng: np.random.Generator, step: int) -> tuple[np.ndarray, np.ndarray]:
        return hessian, rng.normal(scale=NOISE, size=SIZE).astype(np.float32)

    def evaluate(params: Params) -> dict[str, Any]:
        x = np.asarray(params["x"], np.float64)
        with np.errstate(all="ignore"):
            return {"loss": 0.5 * x @ hessian @ x}

    return Problem(
        init, loss, batch, evaluate, target=0.05, name="quadratic", description=f"condition {CONDITION:g}, turned", steps=300
    )  # fmt: skip


def init(key: Array) -> Params:
    return {"x": jnp.asarray(host_rng(key).normal(size=SIZE), jnp.float32)}


def _hessian() -> np.ndarray:
    """Eigenvalues from 1 to 1 / CONDITION, along directions that are not the axes."""
    directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(SIZE, SIZE)))
    steepness = np.geomspace(1, 1 / CONDITION, SIZE)
    return ((directions * steepness) @ directions.T).astype(np.float32)
