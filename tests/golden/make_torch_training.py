"""Make what a user of PyTorch's brings along in the middle of a run. Run it as `make_torch_keras.py` says, with `safetensors` as well.

`torch_training.npz`: a script with parameter groups, clipping, accumulation, LambdaLR and a moving average of the parameters, on
`training.py`: its losses, and weights and averages after half of the updates and at the end. `torch_adamw.pt` and
`torch_adamw.safetensors`: its optimizer's `state_dict` after half of them, as `torch.save` writes it and in the form that
`load_torch_state` reads without PyTorch.

`torch_states.npz`: for each setting of `problem.py` the `state_dict` after the fourth of `problem.KEPT` updates in float64, under
`optimizer/setting/` in that form. `torch_evil.pt`: a pickle that would write a file called `evil` where it is unpickled.
"""

import json
import pathlib
import pickle

import numpy as np
import safetensors.torch
import torch
from make_torch_keras import CLASSES
from problem import KEPT, TORCH, problem, schedule, shapes_for
from training import ACCUMULATED, EMA, HALF, LR, MAX_NORM, NAMES, STEPS, WEIGHT_DECAY, batches, first_weights, warm_cosine

HERE = pathlib.Path(__file__).parent


def flat(state_dict):
    """A `state_dict` as arrays by name, and its groups as JSON."""
    arrays = {f"state.{i}.{k}": torch.as_tensor(x) for i, s in state_dict["state"].items() for k, x in s.items() if x is not None}
    return arrays, json.dumps(state_dict["param_groups"])


def train():
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Tanh(), torch.nn.Linear(12, 4))
    model.load_state_dict({name: torch.from_numpy(w) for name, w in first_weights().items()})
    named = dict(model.named_parameters())
    decay, rest = [named[n] for n in NAMES if n.endswith("weight")], [named[n] for n in NAMES if n.endswith("bias")]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}], lr=LR)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA))
    x, y = map(torch.from_numpy, batches())
    found = {"losses": []}
    for step in range(STEPS):
        optimizer.zero_grad()
        losses = []
        for i in range(ACCUMULATED):
            loss = torch.nn.functional.mse_loss(model(x[step, i]), y[step, i])
            (loss / ACCUMULATED).backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        scheduler.step()
        average.update_parameters(model)
        found["losses"].append(losses)
        if step + 1 in (HALF, STEPS):
            found |= {f"weights/{step + 1}/{n}": p.detach().numpy().copy() for n, p in model.named_parameters()}
            found |= {f"average/{step + 1}/{n}": p.detach().numpy().copy() for n, p in average.module.named_parameters()}
        if step + 1 == HALF:
            torch.save(optimizer.state_dict(), HERE / "torch_adamw.pt")
            arrays, groups = flat(optimizer.state_dict())
            safetensors.torch.save_file(arrays, HERE / "torch_adamw.safetensors", metadata={"param_groups": groups})
    np.savez_compressed(HERE / "torch_training.npz", **found)


def middle(name, arguments):
    """The `state_dict` of a setting of `problem.py` in the middle of its run."""
    torch.set_default_dtype(torch.float64)
    first, gradients = problem("float64", shapes_for(name))
    params = {k: torch.nn.Parameter(torch.from_numpy(v.copy())) for k, v in first.items()}
    scheduled = arguments.get("lr") == "schedule"
    arguments = {**arguments, "lr": schedule(0)} if scheduled else arguments
    optimizer = getattr(torch.optim, CLASSES[name])(params.values(), **arguments)
    for step in range(KEPT[3] + 1):
        if scheduled:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        g = gradients(step, {k: v.detach().numpy() for k, v in params.items()}, arguments.get("maximize", False))
        for k, v in params.items():
            v.grad = torch.from_numpy(g[k])
        optimizer.step()
    return optimizer.state_dict()


class Evil:
    def __reduce__(self):
        return open, ("evil", "w")


if __name__ == "__main__":
    train()
    arrays = {}
    for name, setting, arguments in TORCH:
        found, groups = flat(middle(name, arguments))
        arrays |= {f"{name}/{setting}/{k}": x.numpy() for k, x in found.items()}
        arrays[f"{name}/{setting}/param_groups"] = np.array(groups)
    np.savez_compressed(HERE / "torch_states.npz", **arrays)
    (HERE / "torch_evil.pt").write_bytes(pickle.dumps({"state": {0: Evil()}, "param_groups": []}, protocol=2))
