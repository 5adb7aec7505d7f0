"""Other systems' optimizers: their argument names, their defaults, their numbers.

    from gradxform.dialects import torch
    tx = torch.adamw(lr=3e-4, betas=(0.9, 0.95))

Each function makes a short chain of ours whose updates are ready for `apply_updates`. Where ours give other numbers, a kernel beside
the function gives that system's. `entries()` lists all; `gradxform.entry("torch.adamw")` finds one.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.dialects import keras as keras
    from gradxform.dialects import mxnet as mxnet
    from gradxform.dialects import neon as neon
    from gradxform.dialects import torch as torch
    from gradxform.dialects._dialect import entries as entries
else:
    TABLE = {
        ".": "keras mxnet neon torch",
        "._dialect": "entries",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
