"""The PyTorch half of the guide `from_pytorch`: `python _pytorch_side.py` trains, and writes what the guide compares with.

It needs PyTorch and scikit-learn. What it writes is in the repository, so that the guide needs no PyTorch.
"""

import json
import math

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

STEPS, WARM, SAVED = 150, 20, 75
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95))

decayed = [p for p in model.parameters() if p.ndim == 2]
others = [p for p in model.parameters() if p.ndim < 2]
optimizer = torch.optim.AdamW(
    [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=0.01, betas=(0.9, 0.95)
)


def factor(step):
    if step < WARM:
        return (step + 1) / WARM
    return 0.5 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM)))


scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def weights(net):
    return {name.removeprefix("module."): p.detach().numpy().copy() for name, p in net.named_parameters()}


def saved(at):
    """The weights and the optimizer's state, as arrays in one file."""
    d = optimizer.state_dict()
    arrays = {f"state.{i}.{k}": torch.as_tensor(value).numpy() for i, s in d["state"].items() for k, value in s.items()}
    np.savez_compressed(at, param_groups=json.dumps(d["param_groups"]), **arrays)


rng, losses, start = np.random.default_rng(0), [], weights(model)
for step in range(STEPS):
    if step == SAVED:
        saved("from_pytorch_optimizer.npz")
        middle = weights(model)
    optimizer.zero_grad()
    for chosen in rng.integers(len(x), size=(2, 32)):
        loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
        (loss / 2).backward()
        losses.append(loss.item())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    average.update_parameters(model)

kept = {"start": start, "middle": middle, "end": weights(model), "average": weights(average)}
np.savez_compressed(
    "from_pytorch.npz",
    losses=np.asarray(losses, np.float32),
    **{f"{when}/{k}": v for when, w in kept.items() for k, v in w.items()},
)
