"""The problem that golden trajectories of matrix optimizers are made on: fixed gradients, from NumPy alone.

A setting is (oracle, name, reference, its arguments, the oracle's arguments, leaves, tolerance): the largest difference of the
parameters over the largest displacement. Where the reference puts ε elsewhere than the paper, the tolerance says so.
"""

from __future__ import annotations

import numpy as np

STEPS = 12
KEPT = (0, 1, 2, 4, 11)  # after these updates, counted from 0, the parameters are stored
SHAPES = {"square": (5, 5), "wide": (3, 6), "tall": (6, 4), "cube": (4, 3, 2), "vector": (7,), "kernel": (2, 2, 3, 4)}
LR = 0.1

SQUARE = ("square",)
MATRICES = ("square", "wide", "tall")
ALL = ("square", "wide", "tall", "cube", "vector")


def problem() -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """The first parameters and the gradients of each step, in float64."""
    rng = np.random.RandomState(0)
    first = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    return first, [{name: rng.standard_normal(shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]


def normal(key: object, shape: tuple[int, ...], dtype: object) -> np.ndarray:
    """The normal numbers that every method which asks for some gets."""
    return np.random.RandomState(len(shape)).standard_normal(shape)


def probability(n: int) -> float:
    """With which kron-torch updates Q: at first always, at last every third time."""
    return min(max(float(np.exp(-0.25 * (n - 3))), 1 / 3), 1.0)


MAX_LOGITS = np.array([30.0, 250.0, -3.0, 101.0])

SETTINGS = [
    # the authors' order and equations; only QR is computed in float32 by itself, which the script undoes
    ("soap", "plain", "pytorch_optimizer.SOAP", {"precondition_frequency": 3}, {"every": 3}, SQUARE, 1e-12),
    (
        "soap", "vectors",
        "pytorch_optimizer.SOAP", {"precondition_frequency": 1, "betas": (0.9, 0.8), "shampoo_beta": 0.7},
        {"every": 1, "b1": 0.9, "b2": 0.8, "shampoo_beta": 0.7}, ("square", "vector"), 1e-12,
    ),
    (
        "soap", "one-sided",
        "pytorch_optimizer.SOAP", {"precondition_frequency": 2, "max_precondition_dim": 4, "correct_bias": False},
        {"every": 2, "max_precond_dim": 4, "bias_correction": False}, ("wide", "vector"), 1e-12,
    ),
    (
        "soap", "normalized",  # their RMS has ε = 1e-8 beside it, the authors' 1e-30
        "pytorch_optimizer.SOAP", {"precondition_frequency": 4, "normalize_gradient": True},
        {"every": 4, "normalize_grads": True}, SQUARE, 1e-7,
    ),
    # there the bases are not put in order and v is left as it is: another numbering of the same bases. ε is the least denominator: 0 here
    (
        "soap", "refreshed always", "heavyball.SOAP", {"precondition_frequency": 1, "eps": 1e-30, "betas": (0.9, 0.95)},
        {"every": 1, "eps": 0.0, "b1": 0.9}, SQUARE, 1e-11,
    ),
    # one sum per side, that begins at ε I
    ("shampoo", "plain", "pytorch_optimizer.Shampoo", {"matrix_eps": 1e-4}, {"b1": 0.0, "eps": 1e-4}, ALL, 1e-12),
    (
        "shampoo", "blocks",
        "pytorch_optimizer.ScalableShampoo", {"graft_type": 0, "block_size": 3, "matrix_eps": 1e-4},
        {"b1": 0.0, "eps": 1e-4, "block_size": 3}, ("square", "wide", "tall", "cube"), 1e-12,
    ),
    (
        "shampoo", "exponents",
        "pytorch_optimizer.ScalableShampoo", {"graft_type": 0, "inverse_exponent_override": 3, "matrix_eps": 1e-4},
        {"b1": 0.0, "eps": 1e-4, "exponents": (1 / 3, 1 / 3)}, MATRICES, 1e-12,
    ),
    (
        "shampoo", "one-sided",
        "pytorch_optimizer.ScalableShampoo",
        {"graft_type": 0, "inverse_exponent_override": 2, "pre_conditioner_type": 1, "matrix_eps": 1e-4},
        {"b1": 0.0, "eps": 1e-4, "exponents": (0.5, None)}, MATRICES, 1e-12,
    ),
    (
        "shampoo", "grafted on SGD, refreshed late",
        "pytorch_optimizer.ScalableShampoo",
        {"graft_type": 1, "matrix_eps": 1e-4, "start_preconditioning_step": 3, "preconditioning_compute_steps": 3},
        {"b1": 0.0, "eps": 1e-4, "graft": "sgd", "every": 3}, MATRICES, 1e-12,
    ),
    (
        "shampoo", "grafted on AdaGrad",
        "pytorch_optimizer.ScalableShampoo", {"graft_type": 2, "matrix_eps": 1e-4, "start_preconditioning_step": 1},
        {"b1": 0.0, "eps": 1e-4, "graft": "adagrad"}, MATRICES, 1e-12,
    ),
    # ε is the least norm there, not added to it: 0 here
    ("normuon", "authors", "pytorch_optimizer.NorMuon", {}, {"eps": 0.0}, MATRICES, 1e-12),
    (
        "normuon", "paper",
        "pytorch_optimizer.NorMuon", {"update_scale": "match_rms", "beta2": 0.8, "momentum": 0.9, "nesterov": False, "eps": 1e-16},
        {"consistent_rms": 0.2, "beta2": 0.8, "beta": 0.9, "nesterov": False, "eps": 0.0, "eps_nu": 1e-16}, MATRICES, 1e-12,
    ),
    (
        "normuon", "table",
        "pytorch_optimizer.NorMuon", {"ns_coeffs": "quintic", "use_adjusted_lr": True, "weight_decay": 0.1},
        {"ns_coeffs": "dion", "shape_scale": "match_rms_adamw", "weight_decay": 0.1, "eps": 0.0}, MATRICES, 1e-12,
    ),
    # neither sign nor Nesterov; V is debiased, which the norm takes out again but for ε
    (
        "adamuon", "unsigned",
        "pytorch_optimizer.AdaMuon", {"betas": (0.9, 0.95), "eps": 1e-16, "weight_decay": 0.1},
        {"beta": 0.9, "beta2": 0.95, "sign": False, "nesterov": False, "eps": 0.0, "eps_nu": 1e-16, "weight_decay": 0.1}, MATRICES, 1e-12,
    ),
    (
        "scion", "auto", "pytorch_optimizer.SCION", {"norm_type": 1}, {"constrained": False, "eps": 0.0},
        ("square", "wide", "kernel"), 1e-12,
    ),
    ("scion", "auto, vectors", "pytorch_optimizer.SCION", {"norm_type": 1}, {"constrained": False}, ("vector",), 1e-12),
    (
        "scion", "spectral_max", "pytorch_optimizer.SCION",
        {"norm_type": 2, "norm_kwargs": {"max_scale": True}, "constraint": True, "scale": 5.0, "momentum": 0.3},
        {"norm": "spectral_max", "radius": 5.0, "beta": 0.7, "eps": 0.0}, MATRICES, 1e-12,
    ),
    ("scion", "sign", "pytorch_optimizer.SCION", {"norm_type": 4}, {"norm": "sign", "constrained": False}, MATRICES, 1e-12),
    ("scion", "bias", "pytorch_optimizer.SCION", {"norm_type": 5}, {"norm": "bias", "constrained": False}, ("vector",), 1e-12),
    (
        "scion", "column", "pytorch_optimizer.SCION", {"norm_type": 6, "constraint": True}, {"norm": "column"}, MATRICES, 1e-12,
    ),
    ("scion", "row", "pytorch_optimizer.SCION", {"norm_type": 7, "constraint": True}, {"norm": "row"}, MATRICES, 1e-12),
    # decay and the average of the parameters take the new ones there
    ("splus", "plain", "pytorch_optimizer.SPlus", {"inverse_steps": 4}, {"every": 4, "weight_decay": 0.0}, ("square", "vector"), 1e-12),
    (
        "splus", "no room", "pytorch_optimizer.SPlus", {"max_dim": 4, "nonstandard_constant": 0.1},
        {"max_precond_dim": 4, "nonstandard_scale": 0.1, "weight_decay": 0.0}, ("vector", "cube"), 1e-12,
    ),
    (
        "clip_qk", "heads", "pytorch_optimizer.MuonClip", {"qk_clip_alpha": 0.3},
        {"head_axes": [0], "power": 0.3}, ("cube",), 1e-12,
    ),
    # Q is lifted by 64 d 2⁻⁵² of the largest eigenvalue before QR
    (
        "kl_shampoo", "plain", "heavyball.KLShampoo", {"precondition_frequency": 2, "eps": 1e-30},
        {"every": 2, "eps": 1e-30, "weight_decay": 0.0}, MATRICES, 1e-10,
    ),
    (
        "kl_shampoo", "every fourth", "heavyball.KLShampoo",
        {"precondition_frequency": 4, "eps": 0.7, "betas": (0.7, 0.99), "shampoo_beta": 0.8, "init_factor": 0.5},
        {"every": 4, "eps": 0.7, "b1": 0.7, "shampoo_beta": 0.8, "init_factor": 0.5, "weight_decay": 0.0}, MATRICES, 1e-10,
    ),
    # a decay of matrices only; the oracle's k-th gap is 1 / probability(k), theirs too
    ("psgd_kron", "plain", "kron_torch.Kron", {}, {"form": "triangular", "every": 1}, ALL, 1e-11),
    (
        "psgd_kron", "schedule", "kron_torch.Kron",
        {"preconditioner_update_probability": probability, "precond_init_scale": 0.5, "precond_lr": 0.3, "b1": 0.8},
        {"form": "triangular", "every": lambda k: 1 / probability(k), "init_scale": 0.5, "precond_lr": 0.3, "b1": 0.8}, ALL, 1e-11,
    ),
    (
        "psgd_kron", "diagonal", "kron_torch.Kron",
        {"memory_save_mode": "one_diag", "max_size_triangular": 5, "momentum_into_precond_update": False, "weight_decay": 0.1},
        {
            "form": "triangular", "every": 1, "diagonal": "largest", "max_precond_dim": 5, "whiten": "gradient", "weight_decay": 0.1,
        },
        ("square", "wide", "tall", "cube"), 1e-11,
    ),
    (
        "psgd_kron", "balanced", "kron_torch.Kron", {"balance_every": 3, "memory_save_mode": "all_diag"},
        {"form": "triangular", "every": 1, "balance_every": 3, "diagonal": "all"}, ("wide", "tall", "cube"), 1e-11,
    ),
    (
        "psgd_kron", "balanced triangles", "kron_torch.Kron", {"balance_every": 3, "precond_lr": 0.5},
        {"form": "triangular", "every": 1, "balance_every": 3, "precond_lr": 0.5}, ALL, 1e-11,
    ),
]  # fmt: skip
