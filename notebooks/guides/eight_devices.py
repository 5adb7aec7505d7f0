# %% [markdown]
# # Eight devices: data parallel, sharded parameters, ZeRO, sharded Muon, compressed means
#
# Where the optimizer's state lives and what travels, in measured bytes, with the same losses every way; a checkpoint checked to the bit on four devices; gradients sent in two bits.
#
# The eight devices are made of one CPU, which computes slowly and counts rightly. The code is that for eight GPUs or TPU chips.

# %%
import os
import re
import tempfile
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import orbax.checkpoint as ocp
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
# ## Muon where matrices are split
#
# Muon multiplies whole matrices, several times in every update. Where they are split, the compiler has the devices exchange what each product needs.
# `spread="data"` deals whole matrices out instead: each travels to one device, is iterated on there, and travels back. `wire` is the dtype in which it
# travels, bfloat16 by default.
#
# A deeper network has matrices to deal out, each split by rows over all devices. Its other parameters are AdamW's.


# %%
def init_deep(key):
    first, out, *hidden = jax.random.split(key, 10)
    layers = {f"layer{i}": jax.random.normal(k, (128, 128)) * 0.02 for i, k in enumerate(hidden)}
    return {"first": jax.random.normal(first, (64, 128)) * 0.15, "hidden": layers, "out": jax.random.normal(out, (128, 10)) * 0.06}


def loss_deep(params, batch):
    h = batch[0] @ params["first"]
    for layer in params["hidden"].values():
        h = h + jax.nn.relu(h) @ layer
    return gx.softmax_cross_entropy_with_integer_labels(h @ params["out"], batch[1]).mean()


def muon(**options):
    rate = gx.cosine_decay_schedule(0.02, 60)
    return gx.partition({"matrices": gx.muon(rate, **options), "rest": gx.adamw(rate)}, {"hidden/*": "matrices", "default": "rest"})


ways = {"left to the compiler": muon(), "spread": muon(spread="data", wire=None), "spread in bfloat16": muon(spread="data")}
rows = NamedSharding(mesh, P("data"))
deep = jax.device_put(init_deep(jax.random.key(1)), rows)

# %% [markdown]
# What travels stands in the compiled program: the results of its collective operations, which are counted here for the update alone.
# `gx.plan` foresees it without a compiler or a device.

# %%
COLLECTIVE = re.compile(r" = (\(.*?\)|\S+) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\(")


def nbytes(types):
    """Bytes of arrays as compiled programs write their types, such as f32[16,128]."""
    found = re.findall(r"[a-z]+(\d+)\[([\d,]*)\]", types)
    return sum(int(bits) // 8 * int(np.prod([int(n) for n in shape.split(",") if n])) for bits, shape in found)


def travels(tx):
    """The kinds of collective operations of an update, and the bytes of their results on each device."""
    state, places = gx.init_sharded(tx, deep), jax.tree.map(lambda p: p.sharding, deep)
    update = jax.jit(tx.update, out_shardings=(places, gx.state_shardings(tx, deep))).lower(deep, state, deep).compile()
    found = [(m[2], nbytes(m[1])) for m in COLLECTIVE.finditer(update.as_text())]
    return {kind: sum(size for other, size in found if other == kind) for kind, _ in found}


sent = {name: travels(tx) for name, tx in ways.items()}
for name, tx in ways.items():
    foreseen = sum(c.bytes for c in gx.plan(tx, deep, mesh).collectives if c.part == "update")
    print(f"{name:20} {sum(sent[name].values()):9,} bytes ({', '.join(sent[name])}), foreseen {foreseen:9,}")


# %%
def train_deep(tx, steps=60):
    params, state = deep, gx.init_sharded(tx, deep)

    def step(params, state, batch):
        value, grads = jax.value_and_grad(loss_deep)(params, batch)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, value

    step = jax.jit(step, out_shardings=(rows, gx.state_shardings(tx, deep), whole))
    losses = []
    for k in range(steps):
        params, state, value = step(params, state, batch(k))
        losses.append(float(value))
    return losses, params, state


runs = {name: train_deep(tx) for name, tx in ways.items()}
first = np.array(runs["left to the compiler"][0])
for name, (losses, *_) in runs.items():
    print(f"{name:20} last loss {losses[-1]:.4f}; losses differ by at most {np.abs(np.array(losses) - first).max():.0e}")

figure, (left, right) = plt.subplots(1, 2, width_ratios=[3, 2])
for (name, (losses, *_)), style in zip(runs.items(), ("-", "--", ":"), strict=True):
    left.semilogy(losses, style, linewidth=2, label=name)
left.set(xlabel="updates", ylabel="loss")
left.legend()
bars = right.bar(range(3), [sum(kinds.values()) / 1024 for kinds in sent.values()], color=["C0", "C1", "C2"])
right.bar_label(bars, fmt="{:,.0f}")
right.set(yscale="log", ylim=(10, 30_000), ylabel="KiB that reach a device in an update")
right.set_xticks(range(3), ["left to the\ncompiler", "spread", "spread in\nbfloat16"])
plt.show()

# %% [markdown]
# Spread, the update sends a sixtieth of the bytes, and the losses are the same but for last digits where float32 travels. bfloat16 halves the bytes once more and
# rounds what travels, which shows in the second decimal of a loss.
#
# What would that be for a model of a billion parameters on eight GPUs? A plan needs shapes only.

# %%
layer = {"qkv": (2048, 6144), "proj": (2048, 2048), "up": (2048, 8192), "down": (8192, 2048)}
large = {f"layer{i}": {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in layer.items()} for i in range(24)}
specs = jax.tree.map(lambda _: P("data"), large)
print(gx.plan(gx.muon(0.02, spread="data"), large, {"data": 8}, specs, hardware="H100"))
plain = gx.plan(gx.muon(0.02), large, {"data": 8}, specs, hardware="H100")
print(f"Without spread: at least {1e3 * plain.step_seconds:.0f} ms; {plain.binds} bind.")

# %% [markdown]
# ## A checkpoint, checked to the bit
#
# A store may hand back wrong numbers without a word. `gx.digest` is a fingerprint of every array, the same on any mesh, and is saved beside the state as JSON.
# The run of Muon is saved from eight devices and restored on four: `state_shardings` says where each array is to be.

# %%
tx, (_, params, state) = ways["spread in bfloat16"], runs["spread in bfloat16"]
saved = gx.digest((params, state))
for path in list(saved)[:2]:
    print(f"{path}: {saved[path]}")

four = NamedSharding(Mesh(np.array(jax.devices()[:4]), ("data",)), P("data"))
shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=four), params)
put = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
like = shapes, jax.tree.map(put, jax.eval_shape(tx.init, shapes), gx.state_shardings(tx, shapes))

with ocp.CheckpointManager(Path(tempfile.mkdtemp())) as manager:
    manager.save(60, args=ocp.args.Composite(run=ocp.args.StandardSave((params, state)), digest=ocp.args.JsonSave(saved)))
    manager.wait_until_finished()
    found = manager.restore(60, args=ocp.args.Composite(run=ocp.args.StandardRestore(like), digest=ocp.args.JsonRestore()))

params, state = found.run
gx.check_restored(tx, params, state, found.digest)
print(f"whole and unchanged, on {len(params['out'].sharding.device_set)} devices")

# %% [markdown]
# And if one bit of one number had changed on the way?

# %%
bits = jax.lax.bitcast_convert_type(params["hidden"]["layer3"], jnp.uint32)
params["hidden"]["layer3"] = jax.lax.bitcast_convert_type(bits.at[5, 7].set(bits[5, 7] ^ 1), jnp.float32)
try:
    gx.check_restored(tx, params, state, found.digest)
except gx.StructureError as e:
    print(e)

# %% [markdown]
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
