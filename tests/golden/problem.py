"""The problem that golden trajectories are made on: noisy gradients of a quadratic, from NumPy alone.

    gradient = A w - b + noise              A = I / 2 + C C^T / n, flattened; all in float64, rounded once

`RandomState`'s stream is frozen by NumPy, so that the script which makes the golden values and the test which reads them see the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEPS = 50
KEPT = (0, 1, 4, 19, 49)  # after these updates, counted from 0, the parameters are stored
SHAPES = {"matrix": (4, 3), "tall": (3, 2, 5), "vector": (6,), "scalar": (1,)}
MATRICES = {"matrix": (4, 3), "wide": (3, 8), "square": (5, 5)}


def problem(dtype: str, shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, np.ndarray], Callable]:
    """The first parameters, and a function (step, parameters, maximize) -> gradients, both as dictionaries.

    To be maximized is the negative of the function.
    """
    rng = np.random.RandomState(0)
    first, parts = {}, {}
    for name, shape in shapes.items():
        n = int(np.prod(shape))
        c = rng.standard_normal((n, n))
        parts[name] = 0.5 * np.eye(n) + c @ c.T / n, rng.standard_normal(n), 0.3 * rng.standard_normal((STEPS, n))
        first[name] = rng.standard_normal(shape).astype(dtype)

    def gradients(step: int, params: dict[str, np.ndarray], maximize: bool = False) -> dict[str, np.ndarray]:
        found = {}
        for name, (a, b, noise) in parts.items():
            w = np.asarray(params[name]).astype(np.float64)
            g = (a @ w.ravel() - b + noise[step]).reshape(w.shape).astype(dtype)
            found[name] = -g if maximize else g
        return found

    return first, gradients


def schedule(k):
    """A rate that changes: the same arithmetic for numbers and for traced counts."""
    return 0.01 / (1 + 0.05 * (k.astype(float) if hasattr(k, "astype") else k))


# (function of the dialect, name of the setting, its arguments); "schedule" stands for the function of that name.
TORCH = [
    ("sgd", "plain", {}),
    ("sgd", "momentum", {"lr": 0.05, "momentum": 0.9}),
    ("sgd", "dampened", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("sgd", "nesterov", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "maximize": True, "weight_decay": 0.1}),
    ("sgd", "schedule", {"lr": "schedule", "momentum": 0.9}),
    ("adam", "plain", {}),
    ("adam", "coupled", {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
    ("adam", "amsgrad", {"lr": 0.02, "amsgrad": True}),
    ("adam", "decoupled", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("adam", "schedule", {"lr": "schedule"}),
    ("adamw", "plain", {}),
    ("adamw", "large", {"lr": 0.02, "betas": (0.9, 0.95), "weight_decay": 0.3, "amsgrad": True}),
    ("adamw", "schedule", {"lr": "schedule", "weight_decay": 0.1}),
    ("nadam", "plain", {}),
    ("nadam", "coupled", {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("nadam", "decoupled", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("radam", "plain", {}),
    ("radam", "short", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("radam", "decoupled", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("adamax", "plain", {}),
    ("adamax", "coupled", {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("adagrad", "plain", {}),
    ("adagrad", "all", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    ("adagrad", "schedule", {"lr": "schedule", "lr_decay": 0.1, "maximize": True}),
    ("adadelta", "plain", {}),
    ("adadelta", "all", {"lr": 0.5, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("rmsprop", "plain", {}),
    ("rmsprop", "momentum", {"lr": 0.002, "alpha": 0.9, "momentum": 0.9, "weight_decay": 0.1}),
    ("rmsprop", "centered", {"lr": 0.005, "centered": True, "momentum": 0.5, "maximize": True}),
    ("rmsprop", "schedule", {"lr": "schedule", "momentum": 0.5}),
    ("rprop", "plain", {}),
    ("rprop", "all", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2), "maximize": True}),
    ("asgd", "plain", {}),
    ("asgd", "averaging", {"lr": 0.1, "lambd": 0.05, "alpha": 0.6, "t0": 10, "weight_decay": 0.1}),
    ("asgd", "schedule", {"lr": "schedule", "lambd": 0.5, "maximize": True}),
    ("adafactor", "plain", {}),
    ("adafactor", "all", {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 1.2, "weight_decay": 0.02}),
    ("adafactor", "schedule", {"lr": "schedule", "maximize": True, "weight_decay": 0.1}),
    ("muon", "plain", {}),
    ("muon", "all", {"lr": 0.01, "weight_decay": 0.5, "momentum": 0.8, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
    ("muon", "schedule", {"lr": "schedule", "ns_steps": 3, "ns_coefficients": (2.0, -1.5, 0.5), "adjust_lr_fn": "original"}),
]

KERAS = [
    ("sgd", "plain", {}),
    ("sgd", "momentum", {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", "nesterov", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "clipnorm": 0.5}),
    ("sgd", "schedule", {"learning_rate": "schedule", "momentum": 0.9, "weight_decay": 0.1, "global_clipnorm": 1.5}),
    ("adam", "plain", {}),
    ("adam", "amsgrad", {"learning_rate": 0.02, "amsgrad": True, "clipvalue": 0.3, "epsilon": 1e-3}),
    ("adam", "average", {"learning_rate": 0.02, "beta_2": 0.95, "use_ema": True, "ema_momentum": 0.9}),
    ("adamw", "plain", {}),
    (
        "adamw", "overwrite",
        {"learning_rate": "schedule", "weight_decay": 0.1, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 7},
    ),
    ("adamax", "plain", {}),
    ("adamax", "all", {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-2, "weight_decay": 0.1, "clipnorm": 1.0}),
    ("nadam", "plain", {}),
    ("nadam", "all", {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "weight_decay": 0.1}),
    ("adagrad", "plain", {}),
    ("adagrad", "all", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "epsilon": 1e-2, "weight_decay": 0.1}),
    ("adadelta", "plain", {}),
    ("adadelta", "all", {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-3, "weight_decay": 0.05, "clipvalue": 0.5}),
    ("rmsprop", "plain", {}),
    ("rmsprop", "momentum", {"learning_rate": "schedule", "rho": 0.95, "momentum": 0.5, "weight_decay": 0.1}),
    ("rmsprop", "centered", {"learning_rate": 0.005, "momentum": 0.5, "centered": True, "epsilon": 1e-3}),
    ("ftrl", "plain", {}),
    (
        "ftrl", "all",
        {
            "learning_rate": 0.2, "learning_rate_power": -0.4, "initial_accumulator_value": 0.3, "beta": 0.5, "weight_decay": 0.02,
            "l1_regularization_strength": 0.5, "l2_regularization_strength": 0.1, "l2_shrinkage_regularization_strength": 0.05,
        },
    ),
    ("ftrl", "schedule", {"learning_rate": "schedule", "l1_regularization_strength": 0.1}),
    ("lion", "plain", {}),
    ("lion", "all", {"learning_rate": "schedule", "beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.1, "clipnorm": 1.0}),
    ("lamb", "plain", {}),
    ("lamb", "all", {"learning_rate": 0.02, "beta_2": 0.99, "epsilon": 1e-3, "weight_decay": 0.5}),
    ("lamb", "schedule", {"learning_rate": "schedule", "weight_decay": 0.5, "use_ema": True}),
    ("adafactor", "plain", {}),
    (
        "adafactor", "all",
        {
            "learning_rate": 0.5, "beta_2_decay": -0.5, "epsilon_1": 1e-3, "epsilon_2": 0.1, "clip_threshold": 0.8,
            "relative_step": False, "weight_decay": 0.02,
        },
    ),
    ("adafactor", "schedule", {"learning_rate": "schedule", "weight_decay": 0.1}),
]  # fmt: skip


def shapes_for(name: str) -> dict[str, tuple[int, ...]]:
    return MATRICES if name == "muon" else SHAPES


# (system, name of the setting, the arguments of `average_params` that are its average); Adam trains at the rate 0.02.
AVERAGES = [
    ("torch", "ema", {"decay": 0.9, "debias": False}),
    ("torch", "ema of every third from 10 on", {"decay": 0.8, "debias": False, "start": 10, "every": 3}),
    ("torch", "swa", {"decay": None}),
    ("torch", "swa of every fourth from 10 on", {"decay": None, "start": 10, "every": 4}),
    ("keras", "use_ema", {"decay": 0.9, "debias": False}),
]
