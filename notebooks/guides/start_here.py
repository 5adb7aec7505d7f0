# %% [markdown]
# # Start here
#
# Train a classifier of handwritten digits: a training loop, a schedule, clipping, and how to see the learning rate of every step.
#
# An optimizer here is a pair of functions. `init` makes a state for your parameters; `update` turns gradients into updates and returns the
# next state. Nothing is hidden in an object, so `jit`, `scan`, `vmap` and checkpoints treat it as any other tree of arrays.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx

# %% [markdown]
# ## The data and the network
#
# 1,797 images of 8 x 8 pixels come with scikit-learn. We train on 1,400 and keep the rest to judge by.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, held_out = (x[:1400], y[:1400]), (x[1400:], y[1400:])

figure, panels = plt.subplots(1, 8, figsize=(7, 1.2))
for panel, image, label in zip(panels, x, y, strict=False):
    panel.imshow(image.reshape(8, 8), cmap="gray_r")
    panel.set_title(int(label))
    panel.axis("off")
plt.show()


# %% [markdown]
# Parameters are a tree: dictionaries, lists or tuples of arrays, or what Flax, Equinox and Haiku make.


# %%
def init(key):
    first, second = jax.random.split(key)
    return {
        "hidden": {"kernel": jax.random.normal(first, (64, 64)) * (2 / 64) ** 0.5, "bias": jnp.zeros(64)},
        "out": {"kernel": jax.random.normal(second, (64, 10)) * 64**-0.5, "bias": jnp.zeros(10)},
    }


def logits(params, x):
    h = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return h @ params["out"]["kernel"] + params["out"]["bias"]


def loss(params, batch):
    x, y = batch
    return gx.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()


def accuracy(params):
    return float(jnp.mean(logits(params, held_out[0]).argmax(-1) == held_out[1]))


# %% [markdown]
# ## A training loop
#
# Five lines do the work: the gradient, the update, the sum. `jit` compiles them into one program.


# %%
def train_with(tx, steps=400, seed=0):
    params = init(jax.random.key(seed))
    state = tx.init(params)

    @jax.jit
    def step(params, state, batch):
        value, grads = jax.value_and_grad(loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, value

    rng, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        chosen = rng.integers(len(train[1]), size=32)
        params, state, value = step(params, state, (train[0][chosen], train[1][chosen]))
        losses.append(float(value))
    return params, state, losses


params, state, constant = train_with(gx.adam(0.01))
print(f"held-out accuracy {accuracy(params):.1%}")

# %% [markdown]
# ## A schedule, and clipping
#
# Where a learning rate is taken, a schedule is taken too: a function of the number of updates so far. `chain` runs transformations one after
# another: first the gradient is clipped to a norm of at most 1, then Adam with decoupled weight decay sees what is left. The decay should pull
# on matrices but not on biases, so `mask` says which leaves decay, by a pattern on their paths.

# %%
schedule = gx.warmup_cosine_decay_schedule(init_value=0.0, peak_value=0.02, warmup_steps=40, decay_steps=400)
tx = gx.chain(
    gx.clip_by_global_norm(1.0),
    gx.adamw(schedule, weight_decay=1e-3, mask={"*/bias": False, "default": True}),
)
params, state, scheduled = train_with(tx)
print(f"held-out accuracy {accuracy(params):.1%}")

# %% [markdown]
# ## Seeing the rate
#
# The state knows how many updates it has made, so the rate can be asked for at any time; here, after the last update, it is at its end.

# %%
print(gx.get_hyperparams(tx, state))

# %% [markdown]
# The whole schedule is a picture. Below it, the losses of both runs, each a running mean over twenty steps.

# %% tags=["thumbnail"]
figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4.5), sharex=True, height_ratios=[1, 2])
gx.schedules.plot({"constant": 0.01, "warm-up and cosine": schedule}, steps=400, ax=above)
above.set(ylabel="learning rate", xlabel="")
smooth = lambda values: np.convolve(values, np.ones(20) / 20, mode="valid")
below.plot(smooth(constant), label="adam, constant rate")
below.plot(smooth(scheduled), label="clipping, adamw, warm-up and cosine")
below.set(xlabel="updates", ylabel="loss", yscale="log")
below.legend()
plt.show()

# %% [markdown]
# What does the optimizer hold? `summary` lists its stages, the arrays of each and their bytes.

# %%
print(gx.summary(tx, params, state))

# %% [markdown]
# ## Where to go from here
#
# `python -m gradxform names` lists every optimizer, `python -m gradxform show adamw` explains one, and `help(gx.adamw)` says what each argument
# takes. The other guides show one subject each.
