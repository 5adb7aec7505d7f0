"""What golden trajectories of optimizers of vectors are made with, on the problem of `matrices.py`; it imports neither JAX nor torch.

A setting is (function, name, reference, its arguments, the function's arguments, leaves, tolerance), as there. Where a reference adds ε
elsewhere, the tolerance says so. Leaves of ours are (inputs, outputs), those of the references are turned.
"""

from __future__ import annotations

MATRICES = ("square", "wide", "tall")
ALL = (*MATRICES, "cube", "vector")
B = {"b1": 0.8, "b2": 0.9}
DECAY = {"weight_decay": 0.1}
SOME = ("square", "vector")

SETTINGS = [
    ("came", "plain", "came_pytorch.CAME", {"betas": (0.8, 0.9, 0.95), **DECAY}, {**B, "b3": 0.95, **DECAY}, ALL, 1e-12),
    ("came", "clipped", "came_pytorch.CAME", {"clip_threshold": 0.3}, {"clip_threshold": 0.3}, ALL, 1e-12),
    ("grams", "plain", "grams.Grams", {"betas": (0.8, 0.9), **DECAY}, {**B, **DECAY}, ALL, 1e-12),
    ("adamp", "plain", "adamp.AdamP", {"betas": (0.8, 0.9), **DECAY}, {**B, **DECAY}, ALL, 1e-12),
    ("adamp", "projected", "adamp.AdamP", {"delta": 2.0, "wd_ratio": 0.3, **DECAY}, {"delta": 2.0, "wd_ratio": 0.3, **DECAY}, ALL, 1e-12),
    ("adamp", "ahead", "adamp.AdamP", {"delta": 9.0, "nesterov": True}, {"delta": 9.0, "nesterov": True}, ALL, 1e-12),
    ("ano", "plain", "ano_optimizer.Ano", {"betas": (0.8, 0.9), **DECAY}, {**B, **DECAY}, SOME, 1e-12),
    ("stable_adamw", "plain", "optimi.StableAdamW", {"betas": (0.8, 0.9), **DECAY}, {**B, **DECAY}, ALL, 1e-12),
    ("adam_mini", "outputs", "adam_mini.Adam_mini", {"name": "mlp", **DECAY}, {"b1": 0.9, "b2": 0.999, **DECAY}, MATRICES, 1e-12),
    ("adam_mini", "tokens", "adam_mini.Adam_mini", {"name": "embd"}, {"blocks": "output"}, MATRICES, 1e-12),
    ("adam_mini", "heads", "adam_mini.Adam_mini", {"name": "q_proj", "dim": 6, "n_heads": 3}, {"blocks": ("heads", 2)}, ("tall",), 1e-12),
    (
        "apollo", "channel", "apollo_torch.APOLLOAdamW", {"rank": 2, "scale_type": "channel", "scale": 4.0},
        {"rank": 2, "scale": 4.0}, MATRICES, 1e-12,
    ),
    (
        "apollo", "front", "apollo_torch.APOLLOAdamW", {"rank": 3, "scale_type": "channel", "scale": 4.0, "scale_front": True},
        {"rank": 3, "scale": 4.0, "scale_front": True}, MATRICES, 1e-12,
    ),
    ("apollo", "no matrix", "apollo_torch.APOLLOAdamW", {}, {}, ("vector",), 1e-12),
    (
        "apollo_mini", "plain", "apollo_torch.APOLLOAdamW", {"rank": 1, "scale_type": "tensor", "scale": 128.0}, {}, MATRICES, 1e-12,
    ),
    # its LaProp decays the new parameters: no decay here; LaProp and QHAdam count in float32; MARS adds ε before v is debiased
    ("laprop", "plain", "pytorch_optimizer.LaProp", {"betas": (0.8, 0.9)}, B, SOME, 1e-7),
    (
        "qhadam", "plain", "pytorch_optimizer.QHAdam", {"betas": (0.8, 0.9), "nus": (0.6, 0.7)}, {**B, "nu1": 0.6, "nu2": 0.7}, SOME,
        1e-7,
    ),
    ("qhm", "plain", "pytorch_optimizer.QHM", {"momentum": 0.9, "nu": 0.6}, {"b1": 0.9, "nu1": 0.6}, SOME, 1e-12),
    ("aggmo", "plain", "pytorch_optimizer.AggMo", {}, {}, SOME, 1e-12),
    ("mars", "adamw", "pytorch_optimizer.MARS", {"eps": 1e-14, **DECAY}, {"eps": 1e-14, "optimize_1d": True, **DECAY}, MATRICES, 1e-9),
    ("mars", "lion", "pytorch_optimizer.MARS", {"mars_type": "lion"}, {"kind": "lion"}, MATRICES, 1e-12),
    ("mars", "muon", "pytorch_optimizer.MARS", {"mars_type": "shampoo", "eps": 1e-12}, {"kind": "muon", "eps": 1e-12}, MATRICES, 1e-9),
    ("mars", "no matrix", "pytorch_optimizer.MARS", {"eps": 1e-14}, {"eps": 1e-14}, ("vector",), 1e-11),
    ("adahessian", "plain", "pytorch_optimizer.AdaHessian", {"betas": (0.8, 0.9), "eps": 1e-8, **DECAY}, {**B, **DECAY}, SOME, 1e-12),
    ("adahessian", "root", "pytorch_optimizer.AdaHessian", {"hessian_power": 0.5, "eps": 1e-8}, {"hessian_power": 0.5}, SOME, 1e-12),
    # modifiers, around an Adam whose ε is 1e-14, as it is the least root there
    ("cautious", "plain", "heavyball.AdamW", {"betas": (0.8, 0.9), "eps": 1e-14, "caution": True}, B, ALL, 1e-12),
    ("cautious", "decay", "heavyball.AdamW", {"betas": (0.8, 0.9), "eps": 1e-14, "caution": True, **DECAY}, {**B, **DECAY}, ALL, 1e-12),
    (
        "grokfast", "plain", "pytorch_optimizer.GrokFastAdamW",
        {"betas": (0.8, 0.9), "eps": 1e-14, "grokfast_alpha": 0.9, "normalize_lr": False, **DECAY},
        {**B, "decay": 0.9, **DECAY}, SOME, 1e-12,
    ),
    ("hyperball", "plain", "heavyball.HyperBallAdamW", {"betas": (0.8, 0.9), "eps": 1e-14}, {"b2": 0.9}, (*MATRICES, "cube"), 1e-12),
]  # fmt: skip
