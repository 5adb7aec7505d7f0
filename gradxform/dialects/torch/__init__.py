"""PyTorch's optimizers: the arguments and the numbers of `torch.optim` 2.13.

Every function takes what the class of that name takes, without the parameters; its updates are ready for `apply_updates`. `lr` may be
a schedule: a function of the number of completed updates, as if `scheduler.step()` followed every `optimizer.step()`. PyTorch's are in
`lr_scheduler`. `clip_grad_norm` stands before an optimizer in a chain.

Not taken are `foreach`, `fused`, `capturable` and `differentiable`, which choose among implementations of one formula: compile the
step with `jax.jit`; every update is differentiable. For parameter groups use `gradxform.partition`, for `closure` compute the gradient
yourself. PyTorch keeps its step counts and the scalars that depend on them in its default dtype: with float64 parameters its numbers
are ours if that is float64 too.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.dialects.torch import lr_scheduler as lr_scheduler
    from gradxform.dialects.torch._adadelta import adadelta as adadelta
    from gradxform.dialects.torch._adafactor import adafactor as adafactor
    from gradxform.dialects.torch._adagrad import adagrad as adagrad
    from gradxform.dialects.torch._adam import adam as adam
    from gradxform.dialects.torch._adam import adamw as adamw
    from gradxform.dialects.torch._adamax import adamax as adamax
    from gradxform.dialects.torch._asgd import asgd as asgd
    from gradxform.dialects.torch._clip_grad_norm import clip_grad_norm as clip_grad_norm
    from gradxform.dialects.torch._load_state import Loaded as Loaded
    from gradxform.dialects.torch._load_state import load_torch_state as load_torch_state
    from gradxform.dialects.torch._load_state import torch_groups as torch_groups
    from gradxform.dialects.torch._muon import muon as muon
    from gradxform.dialects.torch._nadam import nadam as nadam
    from gradxform.dialects.torch._radam import radam as radam
    from gradxform.dialects.torch._rmsprop import rmsprop as rmsprop
    from gradxform.dialects.torch._rprop import rprop as rprop
    from gradxform.dialects.torch._sgd import sgd as sgd
else:
    TABLE = {
        ".": "lr_scheduler",
        "._adadelta": "adadelta",
        "._adafactor": "adafactor",
        "._adagrad": "adagrad",
        "._adam": "adam adamw",
        "._adamax": "adamax",
        "._asgd": "asgd",
        "._clip_grad_norm": "clip_grad_norm",
        "._load_state": "Loaded load_torch_state torch_groups",
        "._muon": "muon",
        "._nadam": "nadam",
        "._radam": "radam",
        "._rmsprop": "rmsprop",
        "._rprop": "rprop",
        "._sgd": "sgd",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
