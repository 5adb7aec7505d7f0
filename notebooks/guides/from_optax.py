# %% [markdown]
# # From Optax: one import, a live checkpoint, another optimizer in mid-run
#
# A script of Optax's changes one import, goes on from a checkpoint that Optax wrote, and then does what Optax cannot: change the optimizer of a run that is under way.
#
# The names, the arguments and the layout of the state are Optax's, so nothing else in a script changes, and a state goes back and forth.

# %%
import pickle
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import gradxform as gx

images, labels = load_digits(return_X_y=True)
x, y = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)


def logits(params, x):
    h = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return h @ params["out"]["kernel"] + params["out"]["bias"]


first, second = jax.random.split(jax.random.key(0))
start = {
    "hidden": {"kernel": jax.random.normal(first, (64, 32)) * (2 / 64) ** 0.5, "bias": jnp.zeros(32)},
    "out": {"kernel": jax.random.normal(second, (32, 10)) * 32**-0.5, "bias": jnp.zeros(10)},
}

# %% [markdown]
# ## One import
#
# Here is a script as one would write it with Optax: the library is its argument, `lib`, so that the same lines run with both.


# %%
def optimizer(lib):
    schedule = lib.warmup_cosine_decay_schedule(0.0, 0.02, warmup_steps=20, decay_steps=400)
    return lib.chain(lib.clip_by_global_norm(1.0), lib.adamw(schedule, weight_decay=1e-3))


def train(lib, tx, params, state, steps):
    """Some updates, each on the batch of its number; and after each the loss of all data."""

    @jax.jit
    def step(params, state, chosen):
        loss = lambda p, x, y: lib.softmax_cross_entropy_with_integer_labels(logits(p, x), y).mean()
        grads = jax.grad(loss)(params, x[chosen], y[chosen])
        updates, state = tx.update(grads, state, params)
        params = lib.apply_updates(params, updates)
        return params, state, loss(params, x, y)

    losses = []
    for k in steps:
        chosen = np.random.default_rng(k).integers(len(y), size=64)
        params, state, value = step(params, state, chosen)
        losses.append(float(value))
    return params, state, losses


of_optax, of_gradxform = [train(lib, optimizer(lib), start, optimizer(lib).init(start), range(250))[2] for lib in (optax, gx)]
print(f"the losses of 250 updates differ by at most {np.abs(np.array(of_optax) - np.array(of_gradxform)).max():.1e}")

# %% [markdown]
# For code that you cannot edit, such as a library that imports Optax itself, `import gradxform.as_optax` first: it takes Optax's name in that
# process.
#
# ## A checkpoint of Optax's
#
# Optax trains for 250 updates and writes its state. Any way of saving arrays will do; here it is `pickle`.

# %%
file = Path(tempfile.mkdtemp()) / "checkpoint"
params, state, before = train(optax, optimizer(optax), start, optimizer(optax).init(start), range(250))
size = file.write_bytes(pickle.dumps(jax.device_get((params, state))))
print(f"{size:,} bytes")

# %% [markdown]
# The state that was saved has Optax's classes. It is taken as it is; there is nothing to convert.

# %%
params, state = pickle.loads(file.read_bytes())
tx = optimizer(gx)
_, _, here = train(gx, tx, params, state, range(250, 350))
_, _, there = train(optax, optimizer(optax), params, state, range(250, 350))
print(f"the next 100 losses differ by at most {np.abs(np.array(here) - np.array(there)).max():.1e}")

# %% [markdown]
# ## What is the rate, and can it be another one?
#
# In Optax, numbers can be read and changed only where `inject_hyperparams` was put around the optimizer before the run began. Here they can in
# any chain, of a state from anywhere.

# %%
print(gx.get_hyperparams(tx, state))
slower, state_of_slower = gx.set_hyperparams(tx, state, learning_rate=1e-3)
print(gx.get_hyperparams(slower, state_of_slower)["learning_rate"])

# %% [markdown]
# ## Another optimizer in the middle
#
# Suppose the run should go on with per-element clipping, Nesterov momentum in Adam, no decay of biases, and a schedule that ends later. The new
# chain has other stages and a state of another structure. Giving it the old state is an error, and the error says what to do:

# %%
new = gx.chain(
    gx.clip(0.1),
    gx.nadamw(gx.cosine_decay_schedule(0.01, 400), weight_decay=1e-3, mask={"*/bias": False, "default": True}),
)
try:
    train(gx, new, params, (), [250])
except gx.StructureError as error:
    print(error)

# %% [markdown]
# `transfer_state` matches the stages of both, carries the moments over leaf by leaf with their clocks, and reports what it did.

# %%
transfer = gx.transfer_state(tx, state, new, params)
print(transfer)

# %% [markdown]
# Is that worth it? We compare going on with the carried state against what one does without it: begin the new optimizer afresh, its moments zero
# and its schedule back at its start. `resume_at` is the middle way, when only the parameters were kept: it sets the clock of the schedule.

# %%
afresh = new.init(params)
clocks = gx.resume_at(new, afresh, 250, clocks="schedules")
runs = {
    "state carried over": train(gx, new, params, transfer.state, range(250, 350))[2],
    "afresh, the schedule's clock set": train(gx, new, params, clocks, range(250, 350))[2],
    "afresh": train(gx, new, params, afresh, range(250, 350))[2],
}
for name, losses in runs.items():
    print(f"{name:34} worst loss {max(losses):.3f}, last loss {losses[-1]:.4f}")

# %% tags=["thumbnail"]
figure, axes = plt.subplots()
axes.plot(np.arange(200, 250), before[200:], color="black", label="Optax's run, until 250")
for name, losses in runs.items():
    axes.plot(np.arange(250, 350), losses, label=name)
axes.axvline(250, color="#b0b0b0", linestyle=":")
axes.set(xlabel="updates", ylabel="loss of all data", yscale="log")
axes.legend()
plt.show()

# %% [markdown]
# Afresh, the schedule begins again at its top, and the loss jumps. With its clock set it does not; what remains comes of moments that begin at zero.
# Both end lower than the run that was carried over, for larger steps still pay here. That is a reason to choose another schedule, and not one to
# lose the state by accident.
#
# ## Going back
#
# The leaves are in Optax's order, so a state returns to Optax by its structure alone.

# %%
params, state, _ = train(gx, tx, params, state, range(250, 260))
returned = jax.tree.unflatten(jax.tree.structure(optimizer(optax).init(params)), jax.tree.leaves(state))
_, _, losses = train(optax, optimizer(optax), params, returned, range(260, 265))
print(f"losses there: {np.round(losses, 4)}")

# %% [markdown]
# [Coming from Optax](../../tests/optax_suite/README.md) lists the names, how Optax's own tests fare here, and what differs on purpose.
