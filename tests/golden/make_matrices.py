"""Make `matrices.npz`: where the references of matrix optimizers go on `matrices.py`. Run it in a virtual environment of its own:

    python -m venv /tmp/golden
    /tmp/golden/bin/pip install torch==2.13.0 numpy pytorch-optimizer==4.1.0 heavyball==3.2.1 kron-torch==0.3.3
    /tmp/golden/bin/python tests/golden/make_matrices.py

Everything runs in float64 on one thread of the CPU. What the references do against their papers is undone where it can be:

    pytorch-optimizer   computes SOAP's QR and SPlus's eigenvectors in float32 and Newton-Schulz in bfloat16: those dtypes are
                        float64 here. SOAP and SPlus decay the stepped parameters: no decay here.
    kron-torch          solves triangular systems in float32; and adds the noise of the fit to the momentum itself, so that it is in the
                        update too: here it gets a copy. Balance is by chance: here every `balance_every`-th update of Q.
    heavyball           compiles, keeps its state in float32, adds noise to the gradients of which KL-Shampoo's factors are made, and
                        ε of the largest eigenvalue times the old basis before QR: none of it here.

The random numbers of the fit of Q are those of `matrices.normal`. An array is named `oracle/setting/leaf` and holds the parameters
after the updates in `matrices.KEPT`.
"""

import os
import pathlib

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import heavyball
import kron_torch.kron as kron
import numpy as np
import pytorch_optimizer
import torch
from matrices import KEPT, LR, MAX_LOGITS, SETTINGS, normal, problem
from pytorch_optimizer.optimizer import soap
from pytorch_optimizer.optimizer.utils import matrix

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
heavyball.utils.compile_mode = None
turn_bases = heavyball.utils.get_orthogonal_matrix_QR
heavyball.utils.get_orthogonal_matrix_QR = lambda *args, **kwargs: turn_bases(*args, **{**kwargs, "floor": 0.0})


class Wide:
    """The module torch, in which narrow dtypes are float64."""

    float32 = bfloat16 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


soap.torch = Wide()
torch.Tensor.float = torch.Tensor.double
newton_schulz = matrix.zero_power_via_newton_schulz_5
newton_schulz.__defaults__ = tuple(torch.float64 if d is torch.bfloat16 else d for d in newton_schulz.__defaults__)
torch.randn_like = lambda x: torch.from_numpy(normal(None, tuple(x.shape), None))
calc_A_and_conjB = kron._calc_A_and_conjB
kron._calc_A_and_conjB = lambda exprA, G, Q: calc_A_and_conjB(exprA, G.clone(), Q)


class Turn:
    """Random numbers of which every n-th is below any probability."""

    def __init__(self, n):
        self.n, self.k = n, 0

    def random(self):
        self.k += 1
        return float(self.k % self.n != 0)


def of_pytorch_optimizer(name):
    def make(p, leaf, given):
        if name in ("NorMuon", "AdaMuon"):
            group = {"params": [p], "use_muon": True}
            return getattr(pytorch_optimizer, name)([group], lr=LR, **given)
        if name == "MuonClip":
            group = {"params": [p], "use_muon": False, "attention_name": "it", "qk_clip": "query"}  # behind AdamW, not Muon
            return pytorch_optimizer.MuonClip([group], adamw_lr=LR, adamw_betas=(0.9, 0.95), adamw_eps=1e-8, **given)
        if name == "ScalableShampoo":
            plain = {"nesterov": False, "use_svd": True, "shape_interpretation": False}
            given = {"start_preconditioning_step": 1, "preconditioning_compute_steps": 1, **plain, **given}
            optimizer = pytorch_optimizer.ScalableShampoo([p], lr=LR, **given)
            optimizer.param_groups[0]["betas"] = (0.0, 1.0)  # no momentum; the sum: an argument may not say so
            return optimizer
        if name in ("SOAP", "SPlus"):
            given = {"weight_decay": 0.0, **given}
        return getattr(pytorch_optimizer, name)([p], lr=LR, **given)

    return make


def of_heavyball(name):
    def make(p, leaf, given):
        plain = {"weight_decay": 0.0, "merge_dims": False, "storage_dtype": "float64", "compile_step": False}
        plain = {**plain, "dampening": 0.0} if name == "KLShampoo" else plain
        return getattr(heavyball, name)([p], lr=LR, **plain, **given)

    return make


def of_kron_torch(name):
    def make(p, leaf, given):
        arguments = {"preconditioner_update_probability": 1.0, "merge_dims": False, "precond_dtype": torch.float64, **given}
        turn = Turn(arguments.pop("balance_every", 1000))
        if callable(arguments["preconditioner_update_probability"]):
            chosen = arguments["preconditioner_update_probability"]
            arguments["preconditioner_update_probability"] = lambda n: torch.tensor(chosen(int(n)), dtype=torch.float64)
        optimizer = getattr(kron, name)([p], lr=LR, **arguments)
        optimizer.rng = turn
        return optimizer

    return make


ROOMS = {"pytorch_optimizer": of_pytorch_optimizer, "heavyball": of_heavyball, "kron_torch": of_kron_torch}
OUTPUTS_FIRST = ("normuon", "adamuon", "scion")


def run(oracle, reference, given, leaf):
    """The parameters after each kept update."""
    first, gradients = problem()
    # matrices of ours are (inputs, outputs), kernels (height, width, inputs, outputs)
    turn = (lambda x: np.moveaxis(x, (-1, -2), (0, 1))) if oracle in OUTPUTS_FIRST and first[leaf].ndim > 1 else (lambda x: x)
    back = (lambda x: np.moveaxis(x, (0, 1), (-1, -2))) if oracle in OUTPUTS_FIRST and first[leaf].ndim > 1 else (lambda x: x)
    p = torch.nn.Parameter(torch.from_numpy(turn(first[leaf]).copy()))
    room, _, name = reference.partition(".")
    optimizer = ROOMS[room](name)(p, leaf, given)
    kept = []
    for step, g in enumerate(gradients):
        p.grad = torch.from_numpy(turn(g[leaf]).copy())
        extra = {"attention_max_logits": {"it": torch.from_numpy(MAX_LOGITS)}} if name == "MuonClip" else {}
        optimizer.step(**extra)
        if step in KEPT:
            kept.append(back(p.detach().numpy()).copy())
    return np.stack(kept)


if __name__ == "__main__":
    arrays = {}
    for oracle, setting, reference, given, _, leaves, _ in SETTINGS:
        for leaf in leaves:
            found = run(oracle, reference, given, leaf)
            assert found.dtype == np.float64
            assert np.all(np.isfinite(found))
            arrays[f"{oracle}/{setting}/{leaf}"] = found
    np.savez_compressed(pathlib.Path(__file__).parent / "matrices.npz", **arrays)
