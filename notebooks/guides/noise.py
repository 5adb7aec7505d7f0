# %% [markdown]
# # Noise on purpose: a posterior, and privacy
#
# Langevin dynamics draw from the posterior of a model's weights, checked against the exact answer; and DP-SGD bounds how much any single example can change what is learned.
#
# Both add noise to gradients. The random key is part of the optimizer's state, so a run that is saved and resumed draws the same noise.

# %%
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

import gradxform as gx

# %% [markdown]
# ## A posterior that is known
#
# How does the progression of diabetes depend on body mass and blood pressure? The data are 442 patients, in scikit-learn. For a linear model with
# Gaussian noise and a Gaussian prior the posterior is Gaussian, and NumPy computes it exactly.

# %%
features, target = load_diabetes(return_X_y=True)
x = features[:, [2, 3]] / features[:, [2, 3]].std(axis=0)
y = (target - target.mean()) / target.std()
noise, prior = 0.8, 1.0
precision = x.T @ x / noise**2 + np.eye(2) / prior**2
covariance = np.linalg.inv(precision)
mean = covariance @ x.T @ y / noise**2
print("mean", mean.round(3), " standard deviations", np.sqrt(np.diag(covariance)).round(3))

# %% [markdown]
# ## Langevin dynamics
#
# `sgld` descends the negative log posterior with as much noise as makes the parameters wander over the posterior. The gradient must be that of
# the whole: a mini-batch's sum times (all / batch), plus the prior's. We take 4,000 steps in one `scan`, 64 chains side by side by `vmap`, each
# with its own seed.


# %%
def negative_log_posterior(w, batch):
    x, y = batch
    misfit = jnp.sum((x @ w - y) ** 2) * (len(target) / len(y))
    return misfit / (2 * noise**2) + jnp.sum(w**2) / (2 * prior**2)


def chain_of(seed, rate, size, steps=4000):
    tx = gx.sgld(rate, temperature=1.0, key=seed)
    w = jnp.zeros(2)

    def step(run, key):
        w, state = run
        chosen = jax.random.randint(key, (size,), 0, len(y))
        grads = jax.grad(negative_log_posterior)(w, (X[chosen], Y[chosen]))
        updates, state = tx.update(grads, state, w)
        w = gx.apply_updates(w, updates)
        return (w, state), w

    keys = jax.random.split(jax.random.key(seed), steps)
    return jax.lax.scan(step, (w, tx.init(w)), keys)[1]


X, Y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
chains = jax.jit(jax.vmap(lambda seed: chain_of(seed, rate=2e-4, size=64)))(jnp.arange(64))
samples = np.asarray(chains[:, 1000:]).reshape(-1, 2)
print("mean", samples.mean(axis=0).round(3), " standard deviations", samples.std(axis=0).round(3))

# %% [markdown]
# A larger rate moves faster, but the noise of the mini-batch is then no longer small beside the noise that was added, and the cloud is too wide. How
# wide it is, as a share of the exact standard deviation:

# %%
rates = [2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3]
run = jax.jit(jax.vmap(lambda seed, rate: chain_of(seed, rate, 64), (0, None)))
clouds = {rate: np.asarray(run(jnp.arange(16), rate)[:, 1000:]).reshape(-1, 2) for rate in rates}
widths = [(clouds[rate].std(axis=0) / np.sqrt(np.diag(covariance))).mean() for rate in rates]
print({rate: float(round(width, 2)) for rate, width in zip(rates, widths, strict=True)})

# %% tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2, width_ratios=[3, 2])
left.scatter(*samples[::40].T, s=2, alpha=0.3, label="sgld")
angle = np.linspace(0, 2 * np.pi, 100)
for radius in (1, 2, 3):
    ring = mean + radius * (np.linalg.cholesky(covariance) @ [np.cos(angle), np.sin(angle)]).T
    left.plot(*ring.T, color="#d55e00", linewidth=1, label="exact: 1, 2, 3 deviations" if radius == 1 else None)
left.set(xlabel="weight of body mass", ylabel="weight of blood pressure")
left.set(ylim=(0.02, 0.42))
left.legend(loc="lower left")
right.axhline(1, color="#d55e00", linewidth=1)
right.semilogx(rates, widths, "o-")
right.set(xlabel="learning rate", ylabel="width of the cloud / exact")
plt.show()

# %% [markdown]
# ## Privacy
#
# DP-SGD bounds what any one example can do: the gradient of each example is clipped to a norm of at most `l2_norm_clip`, and the sum is blurred with
# noise of `noise_multiplier` times that. The optimizer therefore wants a gradient per example, which `vmap` gives.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
px, py = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
loss_of_one = lambda params, x, y: gx.softmax_cross_entropy_with_integer_labels(x @ params["w"] + params["b"], y)
per_example = jax.vmap(jax.grad(loss_of_one), (None, 0, 0))


def accuracy_with(noise_multiplier, clip, seed=0, steps=150, size=128):
    tx = gx.contrib.dpsgd(1.0, l2_norm_clip=clip, noise_multiplier=noise_multiplier, key=seed)
    params = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}

    def step(run, key):
        params, state = run
        chosen = jax.random.randint(key, (size,), 0, 1400)
        updates, state = tx.update(per_example(params, px[chosen], py[chosen]), state, params)
        return (gx.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(seed), steps)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), keys)
    return jnp.mean((px[1400:] @ params["w"] + params["b"]).argmax(-1) == py[1400:])


# %% [markdown]
# More noise is more privacy and less accuracy. (How much privacy a multiplier and a number of steps buy is for an accountant to say, such as the
# one of the package dp-accounting; it is not computed here.) Each figure is the mean of eight seeds.

# %%
multipliers = [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
clips = [0.1, 1.0, 10.0]
seeds = jnp.arange(8)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    run = jax.jit(jax.vmap(accuracy_with, (None, None, 0)))
    accuracies = {clip: [np.asarray(run(m, clip, seeds)) for m in multipliers] for clip in clips}
for clip, row in accuracies.items():
    print(f"clip {clip:4}: ", "  ".join(f"{m:g}: {a.mean():.1%}" for m, a in zip(multipliers, row, strict=True)))

# %%
figure, axes = plt.subplots(figsize=(6, 3))
for clip, row in accuracies.items():
    axes.errorbar(
        np.arange(len(multipliers)), [a.mean() for a in row], [a.std() for a in row], capsize=3, label=f"l2_norm_clip={clip:g}"
    )
axes.set_xticks(range(len(multipliers)), [f"{m:g}" for m in multipliers])
axes.set(xlabel="noise multiplier", ylabel="held-out accuracy")
axes.legend()
plt.show()

# %% [markdown]
# The noise is in proportion to the clip. A wide clip learns best without noise and worst with much of it; a narrow one hardly notices the noise, but
# shortens every gradient.
