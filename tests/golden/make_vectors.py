"""Make `vectors.npz`: where the references of optimizers of vectors go on the problem of `matrices.py`. In a virtual environment:

    python -m venv /tmp/golden
    /tmp/golden/bin/pip install torch==2.13.0 numpy pytorch-optimizer==4.1.0 torch-optimi==0.3.3 packaging ano-optimizer==1.0.0 adamp==0.3.0
    /tmp/golden/bin/pip install heavyball==3.2.1
    /tmp/golden/bin/pip install --no-deps came-pytorch==0.1.3 grams-pytorch==0.0.2 adam-mini==1.1.1 apollo-torch==1.0.3
    /tmp/golden/bin/python tests/golden/make_vectors.py [FUNCTION ...]

All functions by default; of the others the values stay as they are.
Everything runs in float64 on one thread of the CPU. What the references need or do beside their papers is undone where it can be:

    apollo-torch        imports transformers and bitsandbytes, which are stood in for; its random numbers are those of `matrices.normal`.
    pytorch-optimizer   computes Newton-Schulz in bfloat16: that is float64 here. AdaHessian is given a diagonal, sin(g).
    heavyball           compiles, and keeps its state in float32: not here.
    Adam-mini           finds its blocks by the names of parameters, which the settings give.

An array is named `function/setting/leaf` and holds the parameters after the updates in `matrices.KEPT`.
"""

import math
import os
import pathlib
import sys
import types

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import pytorch_optimizer
import torch
from matrices import KEPT, LR, normal, problem
from pytorch_optimizer.optimizer.utils import matrix
from vectors import SETTINGS

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


STOOD_IN_FOR = (
    "transformers", "transformers.utils", "transformers.utils.versions",
    "bitsandbytes", "bitsandbytes.functional", "bitsandbytes.optim", "bitsandbytes.optim.optimizer",
)  # fmt: skip


def of_apollo_torch(name, p, given):
    for module in STOOD_IN_FOR:
        sys.modules[module] = types.ModuleType(module)
    sys.modules["transformers.utils.versions"].require_version = lambda *_: None
    sys.modules["bitsandbytes.optim.optimizer"].Optimizer2State = object
    from apollo_torch import apollo, random_projector

    def drawn(self, x, rank, seed, **side):
        left = side["type"] == "left"
        P = torch.from_numpy(normal(None, (rank, x.shape[0] if left else x.shape[1]), None)) / math.sqrt(rank)
        return P.T if left else P

    random_projector.GradientProjector.get_orthogonal_matrix = drawn
    front = given.pop("scale_front", False)
    group = {"params": [p], **({"proj": "random", "proj_type": "std", "update_proj_gap": 200, **given} if given else {})}
    return apollo.AdamW([group], lr=LR, scale_front=front, no_deprecation_warning=True)


def of_adam_mini(name, p, given):
    import adam_mini

    named = [(given.pop("name"), p)]
    return adam_mini.Adam_mini(named, lr=LR, verbose=False, **{"dim": 4, "n_heads": 1, "weight_decay": 0.0, **given})


def of_pytorch_optimizer(name, p, given):
    newton_schulz = matrix.zero_power_via_newton_schulz_5
    newton_schulz.__defaults__ = tuple(torch.float64 if d is torch.bfloat16 else d for d in newton_schulz.__defaults__)
    given = {"lr_1d": LR, "foreach": False, **given} if name == "MARS" else given
    return getattr(pytorch_optimizer, name)([p], lr=LR, **given)


def of_heavyball(name, p, given):
    import heavyball

    heavyball.utils.compile_mode = None
    plain = {"weight_decay": 0.0, "storage_dtype": "float64", "compile_step": False}
    return getattr(heavyball, name)([p], lr=LR, **{**plain, **given})


def of_others(module):
    def make(name, p, given):
        given = {"foreach": False, "triton": False, **given} if module == "optimi" else given
        return getattr(__import__(module), name)([p], lr=LR, **given)

    return make


ROOMS = {
    "apollo_torch": of_apollo_torch,
    "adam_mini": of_adam_mini,
    "pytorch_optimizer": of_pytorch_optimizer,
    "heavyball": of_heavyball,
}


def run(reference, given, leaf):
    """The parameters after each kept update."""
    first, gradients = problem()
    # those of came are factored over the last two axes of both
    turn = (lambda x: np.moveaxis(x, -1, 0)) if first[leaf].ndim > 1 and "CAME" not in reference else (lambda x: x)
    back = (lambda x: np.moveaxis(x, 0, -1)) if first[leaf].ndim > 1 and "CAME" not in reference else (lambda x: x)
    p = torch.nn.Parameter(torch.from_numpy(turn(first[leaf]).copy()))
    room, _, name = reference.partition(".")
    optimizer = ROOMS.get(room, of_others(room))(name, p, dict(given))
    kept = []
    for step, g in enumerate(gradients):
        p.grad = torch.from_numpy(turn(g[leaf]).copy())
        optimizer.step(**({"hessian": [torch.sin(p.grad)]} if name == "AdaHessian" else {}))
        if step in KEPT:
            kept.append(back(p.detach().numpy()).copy())
    return np.stack(kept)


if __name__ == "__main__":
    path, chosen = pathlib.Path(__file__).parent / "vectors.npz", sys.argv[1:] or {s[0] for s in SETTINGS}
    made = {f"{s[0]}/{s[1]}/{leaf}": run(s[2], s[3], leaf) for s in SETTINGS if s[0] in chosen for leaf in s[5]}
    kept = {name: x for name, x in np.load(path).items() if name.partition("/")[0] not in chosen} if sys.argv[1:] else {}
    np.savez_compressed(path, **kept, **made)
