# %% [markdown]
# # Averages, schedule-free, lookahead, SAM
#
# The parameters to evaluate with need not be those that are trained: an average that costs nothing in training, a schedule that it replaces, and steps that look for flat ground.
#
# All of these are transformations around an optimizer, and one function reads them: `eval_params(tx, state, params)` gives the parameters to
# evaluate with, whatever the optimizer keeps in their place. Training goes on with the parameters themselves.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx

# %% [markdown]
# ## What an average does
#
# Noisy gradients of a parabola in two variables, and a rate that stays. The parameters come near the minimum and then wander around it; how far, the
# rate says. Their average comes to rest.

# %%
curvature, start = jnp.array([1.0, 4.0]), jnp.array([-3.0, 2.0])


def descend(tx, steps, seed=0, scale=1.5):
    """The parameters after each update, and what to evaluate with."""

    def step(run, noise):
        params, state = run
        updates, state = tx.update(curvature * params + noise, state, params)
        params = gx.apply_updates(params, updates)
        return (params, state), (params, gx.eval_params(tx, state, params))

    noises = scale * jax.random.normal(jax.random.key(seed), (steps, 2))
    return jax.lax.scan(step, (start, tx.init(start)), noises)[1]


path, average = jax.jit(lambda: descend(gx.average_params(gx.sgd(0.1), decay=0.98), 400))()

# %%
figure, axes = plt.subplots(figsize=(7, 3.2))
a, b = np.meshgrid(np.linspace(-3.4, 2, 90), np.linspace(-1.6, 2.3, 90))
axes.contour(a, b, 0.5 * (a**2 + 4 * b**2), levels=np.geomspace(0.1, 12, 8), colors="#d8d8d8", linewidths=1)
axes.plot(*np.asarray(path).T, linewidth=0.7, label="parameters")
axes.plot(*np.asarray(average).T, linewidth=2, label="their average")
axes.plot(0, 0, "k+", markersize=10)
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# How it begins is a choice. An average that starts at the first parameters keeps a share of them for long, which is what PyTorch's and Keras's averages
# do. Debiased, the default, it divides by the weights that there are. With `warmup` the decay rises from 0.1, and with `decay=None` all count the
# same. Here the distance from the minimum, a mean over 64 runs.

# %%
kinds = {
    "decay=0.99, debias=False": {"decay": 0.99, "debias": False},
    "decay=0.99": {"decay": 0.99},
    "decay=0.99, warmup=True": {"decay": 0.99, "warmup": True},
    "decay=None": {"decay": None},
    "decay=None, start=200": {"decay": None, "start": 200},
}
away = lambda x: np.asarray(jnp.linalg.norm(x, axis=-1).mean(axis=0))
runs = {}
for name, how in kinds.items():
    many = jax.jit(jax.vmap(lambda seed, how=how: descend(gx.average_params(gx.sgd(0.1), **how), 600, seed)))
    raw, averaged = map(away, many(jnp.arange(64)))
    runs[name] = averaged
runs["parameters"] = raw
for name, x in runs.items():
    print(f"{name:26} after 20 updates {x[19]:.2f}, 100: {x[99]:.2f}, 300: {x[299]:.2f}, 600: {x[599]:.2f}")

# %%
figure, axes = plt.subplots()
for name, x in runs.items():
    axes.semilogy(
        x, **({"color": "#b0b0b0", "linewidth": 3, "zorder": 0} if name == "parameters" else {"linewidth": 1.3}), label=name
    )
axes.set(xlabel="updates", ylabel="distance from the minimum")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Digits with wrong labels
#
# A small network on handwritten digits, and every fifth label of the training set is wrong. Whoever trains long enough learns the wrong ones, too; the
# held-out labels are right. Three seeds for each way, 1,500 gradients each, the same mini-batches and the rate 0.3 for all.

# %%
images, labels = load_digits(return_X_y=True)
order, train = np.random.default_rng(0).permutation(len(labels)), 1000
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
x, x_test, y_test = images[:train], images[train:], labels[train:]
wrong = jax.random.bernoulli(jax.random.key(1), 0.2, (train,))
y = jnp.where(wrong, jax.random.randint(jax.random.key(2), (train,), 0, 10), labels[:train])


def network(key):
    first, second = jax.random.split(key)
    hidden = {"w": 0.18 * jax.random.normal(first, (64, 64)), "b": jnp.zeros(64)}
    return {"hidden": hidden, "out": {"w": 0.12 * jax.random.normal(second, (64, 10)), "b": jnp.zeros(10)}}


def scores(params, x):
    h = jax.nn.relu(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return h @ params["out"]["w"] + params["out"]["b"]


def loss(params, x, y):
    return gx.softmax_cross_entropy_with_integer_labels(scores(params, x), y).mean()


def judged(params):
    return loss(params, x_test, y_test), jnp.mean(scores(params, x_test).argmax(-1) == y_test)


# %% [markdown]
# Training stops every 50 updates to judge both: the parameters as they are, and those that `eval_params` gives.

# %%
STEPS, SEEDS = 1500, 3
batches = jax.random.randint(jax.random.key(3), (SEEDS, STEPS, 32), 0, train)


def trained(tx, begin, key, batches):
    """Held-out loss and accuracy along the way, of the parameters and of those to evaluate with; and the last of these."""
    params = begin(network(key))

    def step(run, batch):
        params, state = run
        grads = jax.grad(loss)(getattr(params, "fast", params), x[batch], y[batch])
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), None

    def some(run, batches):
        run, _ = jax.lax.scan(step, run, batches)
        params, state = run
        return run, (judged(getattr(params, "fast", params)), judged(gx.eval_params(tx, state, params)))

    (params, state), seen = jax.lax.scan(some, (params, tx.init(params)), batches.reshape(-1, 50, 32))
    return *seen, gx.eval_params(tx, state, params)


def over_seeds(tx, steps=STEPS, begin=lambda params: params):
    runs = jax.random.split(jax.random.key(4), SEEDS), batches[:, :steps]
    return jax.tree.map(np.asarray, jax.jit(lambda: jax.lax.map(lambda run: trained(tx, begin, *run), runs))())


rate = 0.3
ways = {
    "average, decay 0.998": gx.average_params(gx.sgd(rate), 0.998),
    "average of the second half": gx.average_params(gx.sgd(rate), None, start=STEPS // 2),
    "cosine": gx.sgd(gx.cosine_decay_schedule(rate, STEPS)),
    "schedule-free": gx.schedule_free_sgd(rate, warmup_steps=50),
}
found = {name: over_seeds(tx) for name, tx in ways.items()}
at = np.arange(50, STEPS + 1, 50)
raw = found["average, decay 0.998"][0]

# %% tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2))
for k, axes in enumerate((left, right)):
    axes.plot(at, raw[k].mean(axis=0), color="#b0b0b0", linewidth=1, label="constant rate")
    for name, (_, seen, _) in found.items():
        axes.plot(at, seen[k].mean(axis=0), linewidth=1.5, label=name)
    axes.set(xlabel="updates", ylabel=("held-out loss", "held-out accuracy")[k])
left.set_ylim(0.32, 0.7)
right.set_ylim(0.86, 0.965)
right.legend(fontsize=7.5, loc="lower center")
plt.show()

# %% [markdown]
# The constant rate ends in a zigzag, and learns the wrong labels one by one. The same run, evaluated with its average, is smooth, and its held-out loss
# still falls at the end. Nothing was trained twice, and an average can be read at any time, while a decaying rate has to know when the run ends.
# Schedule-free needs no end either: it takes gradients between fast parameters and their average, and that is what it evaluates with.
# Accuracy has passed its best by 1,500 updates: no average keeps a network from the wrong labels for ever.
#
# ## Averages that training goes by
#
# `lookahead` lets fast parameters run ahead and moves slow ones part of the way; the parameters are a pair of both. `outer` does so with any optimizer in the place of that part, which is
# DiLoCo if the devices meet in it alone. `gpa` does a little of it in every step. `sam` asks at every second update for the gradient a step
# uphill, and descends with that from where it stood: its 1,500 gradients are 750 steps.

# %%
uphill = gx.chain(gx.normalize(), gx.sgd(0.2))
lookahead = gx.lookahead(gx.sgd(rate), sync_period=20, slow_step_size=0.5)
found["lookahead"] = over_seeds(lookahead, begin=gx.LookaheadParams.init_synced)
ways = {
    "outer": gx.outer(gx.sgd(rate), 20, gx.sgd(0.35, momentum=0.5, nesterov=True)),
    "gpa": gx.gpa(gx.sgd(rate), mu_x=0.998, mu_y=0.7),
    "sam, cosine": gx.sam(gx.sgd(gx.cosine_decay_schedule(rate, STEPS // 2)), uphill),
    "sam, averaged": gx.sam(gx.average_params(gx.sgd(rate), 0.996), uphill),
}
found |= {name: over_seeds(tx) for name, tx in ways.items()}
finals = {"constant rate": raw} | {name: seen for name, (_, seen, _) in found.items()}
for name, (losses, rights) in finals.items():
    print(f"{name:27} held-out loss {losses[:, -1].mean():.3f}, accuracy {rights[:, -1].mean():.3f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
for k, axes in enumerate((left, right)):
    for i, seen in enumerate(finals.values()):
        axes.plot(seen[k][:, -1], [i] * SEEDS, "o", color="C0", markersize=4, alpha=0.6)
        axes.plot(seen[k][:, -1].mean(), i, "|", color="k", markersize=14)
    axes.set_xlabel(("held-out loss", "held-out accuracy")[k])
left.set_yticks(range(len(finals)), finals)
left.invert_yaxis()
plt.show()

# %% [markdown]
# Three seeds tell large differences from none, and no more. Loss and accuracy order the ways differently: the averages of a constant rate have the
# lowest losses, SAM with an average the highest mean accuracy. No rate was tuned, so that this is a picture of what each does, and no race; for that
# there is the guide to races.
#
# ## Flat ground
#
# SAM looks for parameters whose neighbours are as good. Here is the loss on the right labels of the training set along the direction in which the loss
# of each network rises most steeply. SAM has made half as many steps as the others, so one more run makes no more than SAM.

# %%
right_labels = labels[:train]
distances = jnp.linspace(0, 4, 33)


@jax.jit
def rise(params):
    uphill = jax.grad(loss)(params, x, right_labels)
    there = lambda d: gx.tree.add_scale(params, d / gx.tree.norm(uphill), uphill)
    losses = jax.vmap(lambda d: loss(there(d), x, right_labels))(distances)
    return losses - losses[0]


found["cosine, 750 steps"] = over_seeds(gx.sgd(gx.cosine_decay_schedule(rate, STEPS // 2)), STEPS // 2)
figure, axes = plt.subplots()
for name in ("cosine", "average, decay 0.998", "cosine, 750 steps", "sam, cosine", "sam, averaged"):
    curve = np.mean([rise(jax.tree.map(lambda x, i=i: x[i], found[name][2])) for i in range(SEEDS)], axis=0)
    axes.plot(distances, curve, label=name)
    print(f"{name:21} the loss rises by {curve[8]:.3f} over a distance of 1, and by {curve[-1]:.2f} over 4")
axes.set(xlabel="distance uphill", ylabel="rise of the loss")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# Most of the difference comes of the fewer steps. Over a distance of 1 SAM adds nothing to that; farther away it does.
#
# ## Where an average stands
#
# It may be anywhere: in a chain, under a mask, in one group of a partition, around accumulation; it averages the parameters that training went through.
# And it can begin in the middle of a run, when somebody wishes it had been there from the start: `transfer_state` carries the optimizer's state over.

# %%
plain = gx.adamw(1e-3)
params = network(jax.random.key(0))
state = plain.init(params)


@jax.jit
def step(params, state, batch):
    updates, state = plain.update(jax.grad(loss)(params, x[batch], y[batch]), state, params)
    return gx.apply_updates(params, updates), state


for batch in batches[0, :100]:
    params, state = step(params, state, batch)

averaging = gx.average_params(plain, decay=0.99)
moved = gx.transfer_state(plain, state, averaging, params)
print(moved)

# %% [markdown]
# Of bfloat16 parameters the average is float32. A thousandth of the way is less than bfloat16 can move: an average that is kept in it stands still.

# %%
narrow = {"w": jnp.zeros(1000, jnp.bfloat16)}
for dtype in (None, jnp.bfloat16):
    tx = gx.average_params(gx.identity(), 0.999, debias=False, accumulator_dtype=dtype)
    state, step = tx.init(narrow), jax.jit(tx.update)
    for k in range(1002):  # the parameters are 1, and then 2
        _, state = step(narrow, state, {"w": jnp.full(1000, 1 if k < 2 else 2, jnp.bfloat16)})
    print(
        f"{jnp.dtype(state.average['w'].dtype).name}: the average is {float(state.average['w'][0]):.3f}, and should be {2 - 0.999**1000:.3f}"
    )
