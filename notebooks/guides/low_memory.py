# %% [markdown]
# # Low memory and narrow dtypes
#
# What rounds where in bfloat16, why small updates vanish and what to do about it, and how to keep Adam's state in a quarter of the memory; measured on digits.
#
# Adam holds two numbers for every parameter: in float32, eight bytes beside the parameter's four. Narrow numbers save memory, and lose small changes
# in silence. First the loss, then the remedies.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx

# %% [markdown]
# ## What rounds
#
# A bfloat16 has eight significant bits. Near 1 its neighbours are 1/128 above and 1/256 below, so a decay of 0.999 is not a bfloat16 at all: it is 1. And a parameter
# of size 1 does not feel an update of 0.001.

# %%
one = jnp.ones([], jnp.bfloat16)
print("0.999 in bfloat16:", jnp.asarray(0.999, jnp.bfloat16))
print("1 - 0.001 in bfloat16:", one - jnp.asarray(0.001, jnp.bfloat16))

# %% [markdown]
# Here an optimizer's averages are float32 whatever the parameters are, so the first trap is closed. The second is not, because the parameters are yours. A
# thousand updates of -0.001 should move 1 to 0:


# %%
def walk(tx, add=gx.apply_updates):
    p = jnp.ones(64, jnp.bfloat16)
    state = tx.init(p)

    def step(run, key):
        p, state = run
        updates, state = tx.update(jnp.ones_like(p), state, p)
        p = add(p, updates, key)
        return (p, state), p.astype(jnp.float32).mean()

    return jax.lax.scan(step, (p, state), jax.random.split(jax.random.key(0), 1000))[1]


sgd, nearest = gx.sgd(0.001), lambda p, u, key: gx.apply_updates(p, u)
paths = {
    "rounded to nearest": walk(sgd, nearest),
    "rounded at random": walk(sgd, gx.precision.apply_updates_stochastically),
    "master weights": walk(gx.precision.master_weights(sgd), nearest),
}
for name, path in paths.items():
    print(f"{name:20} after 1000 updates {path[-1]:.3f}")

# %% tags=["thumbnail"]
figure, axes = plt.subplots(figsize=(7, 3))
for name, path in paths.items():
    axes.plot(path, label=name)
axes.set(xlabel="updates of -0.001", ylabel="mean of bfloat16 parameters")
axes.legend()
plt.show()

# %% [markdown]
# Rounded to nearest, nothing ever moves. `apply_updates_stochastically` rounds up or down at random so that the mean is right, and costs no
# memory. `master_weights` keeps the exact sum beside the parameters.
#
# ## Master weights, in how many bytes?
#
# A bfloat16 is the upper half of a float32, so the state need only hold the lower half. `bits=16` gives the same numbers with two bytes less for every
# parameter.

# %%
narrow = {"kernel": jnp.ones((1024, 1024), jnp.bfloat16), "bias": jnp.zeros(1024, jnp.bfloat16)}
size = sum(x.size for x in jax.tree.leaves(narrow))


def bytes_per_parameter(tx, params):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tx.init(params))) / size


for way, tx in {
    "adamw": gx.adamw(1e-3),
    "adamw, master weights": gx.precision.master_weights(gx.adamw(1e-3)),
    "adamw, master weights of 16 bits": gx.precision.master_weights(gx.adamw(1e-3), bits=16),
    "adamw, master weights of 8 bits": gx.precision.master_weights(gx.adamw(1e-3), bits=8, key=0),
    "store(adamw), master weights of 16 bits": gx.precision.master_weights(gx.store(gx.adamw(1e-3)), bits=16),
}.items():
    print(f"{way:42} {bytes_per_parameter(tx, narrow):5.2f} bytes of state per parameter")

# %% [markdown]
# ## The state in fewer bits
#
# `store` is put around an optimizer and keeps its moments narrow between updates: `mu` as one byte relative to the root of `nu`, and `nu` as one byte with an
# exponent. Each is decoded, updated in float32 and encoded where a parameter is updated. `summary` shows it.

# %%
params = {"kernel": jnp.ones((1024, 1024)), "bias": jnp.zeros(1024)}
print(gx.summary(gx.store(gx.adamw(1e-3)), params))

# %% [markdown]
# ## Does it train as well?
#
# A network on digits, the same batches for all, ten seeds each. Float8 rounded at random is not float32; the question is whether one can tell.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])


def loss(params, x, y):
    h = jax.nn.relu(x @ params["hidden"])
    return gx.softmax_cross_entropy_with_integer_labels((h @ params["out"]).astype(jnp.float32), y).mean()


def held_out(make, dtype, seed, steps=400):
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {"hidden": jax.random.normal(keys[0], (64, 64)) * 0.15, "out": jax.random.normal(keys[1], (64, 10)) * 0.12}
    params = jax.tree.map(lambda p: p.astype(dtype), params)
    tx = make(gx.warmup_cosine_decay_schedule(0.0, 0.01, 40, steps), seed)

    def step(run, key):
        params, state = run
        chosen = jax.random.randint(key, (32,), 0, 1400)
        updates, state = tx.update(jax.grad(loss)(params, x[chosen].astype(dtype), y[chosen]), state, params)
        return (gx.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(keys[2], steps))
    return loss(params, x[1400:].astype(dtype), y[1400:])


ways = {
    "float32": (lambda rate, seed: gx.adamw(rate), jnp.float32, 8),
    '"16bit" state': (lambda rate, seed: gx.store(gx.adamw(rate), "16bit", seed=seed), jnp.float32, 4),
    '"8bit" state': (lambda rate, seed: gx.store(gx.adamw(rate), "8bit", seed=seed), jnp.float32, 2),
    "bfloat16 parameters": (lambda rate, seed: gx.adamw(rate), jnp.bfloat16, 8),
    "bfloat16, master weights": (lambda rate, seed: gx.precision.master_weights(gx.adamw(rate), bits=16), jnp.bfloat16, 10),
}
seeds = jnp.arange(10)
losses = {
    name: np.asarray(jax.jit(jax.vmap(lambda s, m=make, d=dtype: held_out(m, d, s)))(seeds))
    for name, (make, dtype, _) in ways.items()
}

# %% [markdown]
# Seeds share their first weights and their batches, so each run is compared with its own float32 run: the mean of the differences, and the standard error of that
# mean.

# %%
for name, values in losses.items():
    apart = values - losses["float32"]
    print(f"{name:26} loss {values.mean():.4f}   differs by {apart.mean():+.4f} +- {apart.std(ddof=1) / len(apart) ** 0.5:.4f}")

# %%
figure, axes = plt.subplots(figsize=(7, 3))
for i, values in enumerate(losses.values()):
    axes.plot(values, np.full(len(values), -i), "o", alpha=0.6)
    axes.plot(values.mean(), -i, "k|", markersize=18)
axes.set_yticks([-i for i in range(len(losses))], [f"{name}\n{ways[name][2]} bytes of state" for name in losses])
axes.set(xlabel="held-out loss, ten seeds and their mean")
plt.show()

# %% [markdown]
# ## Which to choose
#
# - The state is too large: `gx.store(tx)`, two bytes per parameter in place of Adam's eight. `"16bit"` is the cautious half of the way.
# - Only matrices are large: `gx.store(tx, where=gx.by_ndim(2))`.
# - The parameters are bfloat16: `gx.precision.master_weights(tx, bits=16)`, or rounding at random where even two bytes are too many.
# - Both: one inside the other, as in the table above.
