"""The schedules, metrics and overflows that golden sequences are made with."""

import numpy as np

STEPS = 120
LR = 0.1


def ramp(step):
    """The same arithmetic for numbers and for traced counts."""
    return 1 / (1 + 0.2 * (step.astype(float) if hasattr(step, "astype") else step))


# (class, setting, its arguments after the optimizer); a pair in a list stands for such a scheduler, "ramp" for the function.
TORCH = [
    ("LambdaLR", "ramp", {"lr_lambda": "ramp"}),
    ("StepLR", "plain", {"step_size": 30}),
    ("StepLR", "short", {"step_size": 7, "gamma": 0.8}),
    ("MultiStepLR", "plain", {"milestones": [10, 50, 90]}),
    ("MultiStepLR", "twice", {"milestones": [60, 20, 20], "gamma": 0.5}),
    ("ExponentialLR", "plain", {"gamma": 0.97}),
    ("ConstantLR", "plain", {}),
    ("ConstantLR", "all", {"factor": 0.5, "total_iters": 40}),
    ("LinearLR", "plain", {}),
    ("LinearLR", "falling", {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 50}),
    ("PolynomialLR", "plain", {}),
    ("PolynomialLR", "power", {"total_iters": 80, "power": 2.5}),
    ("CosineAnnealingLR", "plain", {"T_max": 100}),
    ("CosineAnnealingLR", "waves", {"T_max": 13, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", "plain", {"T_0": 25}),
    ("CosineAnnealingWarmRestarts", "growing", {"T_0": 7, "T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", "plain", {"max_lr": 0.5, "total_steps": 120}),
    ("OneCycleLR", "linear", {"max_lr": 0.5, "epochs": 12, "steps_per_epoch": 10, "anneal_strategy": "linear", "pct_start": 0.25}),
    (
        "OneCycleLR", "three",
        {
            "max_lr": 0.5, "total_steps": 119, "three_phase": True, "div_factor": 10.0, "final_div_factor": 100.0,
            "base_momentum": 0.8, "max_momentum": 0.9,
        },
    ),
    (
        "SequentialLR", "warm",
        {"schedulers": [("LinearLR", {"start_factor": 0.1, "total_iters": 20}), ("ExponentialLR", {"gamma": 0.95})], "milestones": [20]},
    ),
    (
        "SequentialLR", "three",
        {
            "schedulers": [
                ("ConstantLR", {"factor": 0.1, "total_iters": 10}), ("CosineAnnealingLR", {"T_max": 30}), ("StepLR", {"step_size": 9}),
            ],
            "milestones": [10, 40],
        },
    ),
]  # fmt: skip

KERAS = [
    ("ExponentialDecay", "plain", {"initial_learning_rate": 0.1, "decay_steps": 30, "decay_rate": 0.5}),
    ("ExponentialDecay", "stairs", {"initial_learning_rate": 0.1, "decay_steps": 30, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", "plain", {"boundaries": [10, 50], "values": [1.0, 0.5, 0.1]}),
    ("PiecewiseConstantDecay", "two", {"boundaries": [0], "values": [1.0, 0.25]}),
    ("PolynomialDecay", "plain", {"initial_learning_rate": 0.1, "decay_steps": 80}),
    ("PolynomialDecay", "root", {"initial_learning_rate": 0.1, "decay_steps": 70, "end_learning_rate": 0.01, "power": 0.5}),
    ("PolynomialDecay", "cycle", {"initial_learning_rate": 0.1, "decay_steps": 25, "power": 2.0, "cycle": True}),
    ("InverseTimeDecay", "plain", {"initial_learning_rate": 0.1, "decay_steps": 1.0, "decay_rate": 0.5}),
    ("InverseTimeDecay", "stairs", {"initial_learning_rate": 0.1, "decay_steps": 12, "decay_rate": 0.5, "staircase": True}),
    ("CosineDecay", "plain", {"initial_learning_rate": 0.1, "decay_steps": 100}),
    ("CosineDecay", "floor", {"initial_learning_rate": 0.1, "decay_steps": 60, "alpha": 0.1, "warmup_steps": 10}),
    ("CosineDecay", "warm", {"initial_learning_rate": 0.0, "decay_steps": 80, "warmup_target": 0.1, "warmup_steps": 20}),
    ("CosineDecayRestarts", "plain", {"initial_learning_rate": 0.1, "first_decay_steps": 15}),
    ("CosineDecayRestarts", "even", {"initial_learning_rate": 0.1, "first_decay_steps": 20, "t_mul": 1.0, "m_mul": 0.8}),
    (
        "CosineDecayRestarts",
        "all",
        {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 1.5, "m_mul": 0.9, "alpha": 0.1},
    ),
]

PLATEAUS = [
    ("plain", {"patience": 2}),
    ("max", {"mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.01, "cooldown": 3}),
    ("abs", {"factor": 0.3, "patience": 0, "threshold": 0.02, "threshold_mode": "abs", "min_lr": 2e-3}),
    ("max abs", {"mode": "max", "factor": 0.7, "patience": 3, "threshold": 0.1, "threshold_mode": "abs", "eps": 1e-2}),
]


def metrics():
    """A loss that falls, stays, falls again and becomes noise."""
    rng = np.random.RandomState(1)
    level = np.concatenate([np.linspace(1, 0.5, 15), np.full(15, 0.5), np.linspace(0.5, 0.2, 20), np.full(STEPS - 50, 0.2)])
    return level + 0.02 * rng.standard_normal(STEPS)


OVERFLOWS = [3, 4, 11, 24, 25, 26, 39]
SCALES = [
    ("plain", {"init_scale": 2.0**15, "growth_interval": 2000}),
    ("short", {"init_scale": 1024.0, "growth_interval": 5}),
    ("factor", {"init_scale": 8.0, "growth_interval": 3, "growth_factor": 4.0, "backoff_factor": 0.25}),
]


def scaled_problem():
    """Parameters, and gradients of the unscaled loss, of which those in `OVERFLOWS` are not finite."""
    rng = np.random.RandomState(2)
    gradients = rng.standard_normal((50, 6)).astype(np.float32)
    gradients[OVERFLOWS, [0, 5, 2, 1, 1, 3, 4]] = [np.inf, np.nan, -np.inf, np.inf, np.nan, np.inf, np.inf]
    return rng.standard_normal(6).astype(np.float32), gradients
