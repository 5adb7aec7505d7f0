# %% [markdown]
# # Eight devices: data parallel, sharded parameters, ZeRO, compressed means
#
# Where the optimizer's state lives follows from where the parameters live: measured bytes on each device, the same losses every way, and gradients sent in two bits.
#
# The eight devices are made of one CPU, which computes slowly and counts rightly. The code is that for eight GPUs or TPU chips.

# %%
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn.datasets import load_digits

import gradxform as gx

mesh = Mesh(np.array(jax.devices()), ("data",))
print(mesh)

# %% [markdown]
# ## The problem
#
# Digits, and a network that is a little larger than it need be. Every step's batch of 64 is split over the devices, eight images each.

# %%
images, labels = load_digits(return_X_y=True)
x, y = (images / 16).astype(np.float32), labels.astype(np.int32)


def init(key):
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (64, 256)) * 0.15,
        "out": jax.random.normal(second, (256, 10)) * 0.06,
        "bias": jnp.zeros(10),
    }


def loss(params, batch):
    x, y = batch
    scores = jax.nn.relu(x @ params["hidden"]) @ params["out"] + params["bias"]
    return gx.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def batch(k):
    chosen = np.random.default_rng(k).integers(len(y), size=64)
    return jax.device_put((x[chosen], y[chosen]), NamedSharding(mesh, P("data")))


start = init(jax.random.key(0))
tx = gx.adamw(gx.cosine_decay_schedule(0.01, 100), weight_decay=1e-3)


def on_one_device(tree):
    """Bytes of a tree on the first device."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


# %% [markdown]
# ## Three ways to lay it out
#
# - **data parallel**: every device has all parameters and all of the state.
# - **ZeRO**: every device has all parameters, and an eighth of the state. `zero="data"` says along which axis of the mesh.
# - **sharded parameters**: every device has an eighth of the parameters, and so of the state.
#
# `init_sharded` makes the state where it belongs, so that no device ever holds the whole of it. `state_shardings` says where that is, and the compiled
# step is told to leave it there.

# %%
whole, split = NamedSharding(mesh, P()), {"hidden": P(None, "data"), "out": P("data"), "bias": P()}
layouts = {
    "data parallel": (jax.tree.map(lambda _: whole, start), None),
    "ZeRO": (jax.tree.map(lambda _: whole, start), "data"),
    "sharded parameters": ({name: NamedSharding(mesh, spec) for name, spec in split.items()}, None),
}


def train(where, zero, steps=100):
    params = jax.device_put(start, where)
    state = gx.init_sharded(tx, params, zero=zero)
    size = on_one_device(params), on_one_device(state)
    state_where = gx.state_shardings(tx, params, zero=zero)

    def step(params, state, batch):
        value, grads = jax.value_and_grad(loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, value

    step = jax.jit(step, out_shardings=(where, state_where, whole))
    losses = []
    for k in range(steps):
        params, state, value = step(params, state, batch(k))
        losses.append(float(value))
    return losses, size


found = {name: train(*layout) for name, layout in layouts.items()}
reference = np.array(found["data parallel"][0])
for name, (losses, (of_params, of_state)) in found.items():
    apart = np.abs(np.array(losses) - reference).max()
    print(
        f"{name:19} on each device: parameters {of_params:7,} bytes, state {of_state:7,} bytes; losses differ by at most {apart:.0e}"
    )

# %% tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2, width_ratios=[3, 2])
for (name, (losses, _)), style in zip(found.items(), ("-", "--", ":"), strict=True):
    left.semilogy(losses, style, linewidth=2, label=name)
left.set(xlabel="updates", ylabel="loss")
left.legend()
sizes = np.array([size for _, size in found.values()]) / 1024
right.bar(range(3), sizes[:, 0], color="#b0b0b0", label="parameters")
right.bar(range(3), sizes[:, 1], bottom=sizes[:, 0], label="state")
right.set_xticks(range(3), [name.replace(" ", "\n") for name in found])
right.set(ylabel="KiB on each device")
right.legend()
plt.show()

# %% [markdown]
# The three curves are one. What does each device hold of a moment?

# %%
state = gx.init_sharded(tx, jax.device_put(start, whole), zero="data")
for name, leaf in gx.tree.get(state, "mu").items():
    print(f"{name:7} {leaf.shape!s:10} of which a device has {leaf.addressable_shards[0].data.shape}")

# %% [markdown]
# The bias of ten numbers is not divisible by eight, so each device keeps it whole.
#
# ## Compressed gradients
#
# In data-parallel training the gradients are what is sent. `shard_map` shows each device its own part of the batch, and the first stage of the chain says how
# the devices' gradients are put together: their mean, a vote on each sign, or a few bits with a memory of what was left out (`error_feedback`).
# What is left out comes later and at once, which momentum would enlarge, so the step is plain gradient descent.


# %%
def compressed(first, rest, steps=100):
    tx = gx.chain(first, rest)
    specs = gx.distributed.per_device_specs(jax.eval_shape(tx.init, start), "data")

    def step(params, state, batch):
        own = jax.tree.map(lambda p: jax.lax.pcast(p, "data", to="varying"), params)
        value, grads = jax.value_and_grad(loss)(own, batch)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, jax.lax.pmean(value, "data")

    step = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), specs, P("data")), out_specs=(P(), specs, P())))
    params = jax.device_put(start, whole)
    state = jax.jit(jax.shard_map(tx.init, mesh=mesh, in_specs=P(), out_specs=specs))(params)
    losses = []
    for k in range(steps):
        params, state, value = step(params, state, batch(k))
        losses.append(float(value))
    return losses


d = gx.distributed
rate = gx.cosine_decay_schedule(0.3, 100)
ways = {
    "mean, 32 bits": (d.mean_over("data"), gx.sgd(rate)),
    "2 bits, error feedback": (d.error_feedback(d.two_bit(0.02), "data"), gx.sgd(rate)),
    "signs, error feedback": (d.error_feedback(d.scaled_sign(), "data"), gx.sgd(rate)),
    "majority vote": (d.majority_vote("data"), gx.scale_by_learning_rate(gx.cosine_decay_schedule(0.005, 100))),
}
curves = {name: compressed(*way) for name, way in ways.items()}
for name, losses in curves.items():
    print(f"{name:23} mean loss of the last ten updates {np.mean(losses[-10:]):.3f}")

# %%
figure, axes = plt.subplots()
for name, losses in curves.items():
    axes.semilogy(losses, label=name)
axes.set(xlabel="updates", ylabel="loss")
axes.legend()
plt.show()

# %% [markdown]
# What each way sends, and what it assumes, stands in its docstring under `Sent`. Compression pays where the wire is slow; within one machine it rarely is.
