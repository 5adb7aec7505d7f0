# %% [markdown]
# # From PyTorch, side by side
#
# Parameter groups, a learning-rate function with an `if`, gradient accumulation, clipping and an average of the weights: PyTorch's lines, ours, and the same losses.
#
# The script `_pytorch_side.py`, beside this notebook, trains a network on digits with PyTorch and saves its losses, its weights, and the
# optimizer's state after half of the run. Here the same run is written with JAX, from the same first weights and on the same batches. Then we
# take over PyTorch's run in its middle. This notebook needs no PyTorch; it reads what the script saved.

# %%
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx
from gradxform.dialects import torch

STEPS, WARM, SAVED = 150, 20, 75
images, labels = load_digits(return_X_y=True)
x, y = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
theirs = np.load("from_pytorch.npz")

# %% [markdown]
# ## The network
#
# ```python
# model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
# ```
#
# In JAX the parameters are a tree of arrays, apart from the function that uses them. PyTorch keeps a kernel as (outputs, inputs); here it is
# (inputs, outputs), so it is transposed when it comes over.


# %%
def came_over(when):
    layer = lambda i: {"kernel": jnp.asarray(theirs[f"{when}/{i}.weight"].T), "bias": jnp.asarray(theirs[f"{when}/{i}.bias"])}
    return {"hidden": layer(0), "out": layer(2)}


def logits(params, x):
    h = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return h @ params["out"]["kernel"] + params["out"]["bias"]


def loss(params, x, y):
    return gx.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()


jax.tree.map(jnp.shape, came_over("start"))

# %% [markdown]
# ## The schedule
#
# ```python
# def factor(step):
#     if step < WARM:
#         return (step + 1) / WARM
#     return 0.5 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM)))
#
#
# scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
# ```
#
# The same function serves. Because it has an `if` and calls `math.cos`, which JAX cannot trace, `tabulate` calls it once for every step and keeps
# the numbers.


# %%
def factor(step):
    if step < WARM:
        return (step + 1) / WARM
    return 0.5 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM)))


schedule = torch.lr_scheduler.LambdaLR(0.01, gx.tabulate(factor, STEPS))

# %% [markdown]
# ## The groups, clipping and accumulation
#
# ```python
# decayed = [p for p in model.parameters() if p.ndim == 2]
# others = [p for p in model.parameters() if p.ndim < 2]
# optimizer = torch.optim.AdamW(
#     [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=0.01, betas=(0.9, 0.95)
# )
# ```
#
# Groups are labels, given by patterns on the paths of the parameters. `gradxform.dialects.torch` has PyTorch's optimizers under PyTorch's argument
# names and with its defaults. Clipping stands before the optimizer in a chain, and `accumulate` makes one update of the mean of two gradients.

# %%
group = lambda decay: torch.adamw(schedule, betas=(0.9, 0.95), weight_decay=decay)
groups = gx.partition({"decayed": group(0.1), "others": group(0.0)}, {"*/kernel": "decayed", "default": "others"})
tx = gx.accumulate(gx.chain(torch.clip_grad_norm(1.0), groups), 2)

# %% [markdown]
# ## The loop
#
# ```python
# for step in range(STEPS):
#     optimizer.zero_grad()
#     for chosen in rng.integers(len(x), size=(2, 32)):
#         loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
#         (loss / 2).backward()
#         losses.append(loss.item())
#     torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
#     optimizer.step()
#     scheduler.step()
#     average.update_parameters(model)
# ```
#
# Gradients are values that a function returns, so there is nothing to zero. Every half batch is one call of `update`: the first of two returns
# zeros, the second the step. The schedule's clock is part of the state and needs no call of its own. The average of the weights is one line.


# %%
@jax.jit
def step(params, state, x, y):
    value, grads = jax.value_and_grad(loss)(params, x, y)
    updates, state = tx.update(grads, state, params)
    return gx.apply_updates(params, updates), state, value


def go_on(params, state, average, batches):
    losses = []
    for k, pair in enumerate(batches):
        for chosen in pair:
            params, state, value = step(params, state, x[chosen], y[chosen])
            losses.append(float(value))
        average = params if k == 0 else gx.incremental_update(params, average, 0.05)
    return params, state, average, losses


rng = np.random.default_rng(0)
batches = [rng.integers(len(x), size=(2, 32)) for _ in range(STEPS)]
start = came_over("start")
params, state, average, ours = go_on(start, tx.init(start), start, batches)

# %% [markdown]
# ## The same numbers
#
# Two frameworks add numbers in another order, so the last digits part; how far apart are the losses, the weights at the end, and the average?

# %%
farthest = lambda a, b: max(float(jnp.abs(p - q).max()) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
print(f"losses  {np.abs(np.array(ours) - theirs['losses']).max():.1e}")
print(f"weights {farthest(params, came_over('end')):.1e}")
print(f"average {farthest(average, came_over('average')):.1e}")

# %% [markdown]
# ## Taking over in the middle
#
# The script saved `optimizer.state_dict()` after 75 of its 150 steps. `load_torch_state` reads it: for each parameter, in the order in which the
# optimizer was given them, it is told which leaf that is here, and how its axes lie. What comes over is reported.

# %%
names = {
    "0.weight": ("hidden/kernel", (1, 0)),
    "2.weight": ("out/kernel", (1, 0)),
    "0.bias": "hidden/bias",
    "2.bias": "out/bias",
}
middle = came_over("middle")
loaded = gx.load_torch_state(tx, middle, "from_pytorch_optimizer.npz", names, step=2 * SAVED)
print(loaded)

# %%
taken_over, _, _, second_half = go_on(middle, loaded.state, middle, batches[SAVED:])
print(f"losses  {np.abs(np.array(second_half) - theirs['losses'][2 * SAVED :]).max():.1e}")
print(f"weights {farthest(taken_over, came_over('end')):.1e}")

# %% tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2)
half_batches = np.arange(2 * STEPS)
left.plot(half_batches, theirs["losses"], linewidth=4, color="#d8d8d8", label="PyTorch")
left.plot(half_batches, ours, linewidth=1, label="here, from the start")
left.plot(half_batches[2 * SAVED :], second_half, "--", linewidth=1, label="here, from the middle")
left.set(xlabel="half batches", ylabel="loss", yscale="log")
left.legend()
apart = np.abs(np.array(ours) - theirs["losses"])
right.semilogy(half_batches[apart > 0], apart[apart > 0], ".", label="from the start")
apart = np.abs(np.array(second_half) - theirs["losses"][2 * SAVED :])
right.semilogy(half_batches[2 * SAVED :][apart > 0], apart[apart > 0], ".", label="from the middle")
right.set(xlabel="half batches", ylabel="difference from PyTorch's loss", ylim=(1e-9, 1e-4))
right.legend()
plt.show()

# %% [markdown]
# The whole table, for Keras, MXNet and neon as well, is in
# [Coming from PyTorch, Keras, MXNet or neon](../../gradxform/dialects/README.md).
