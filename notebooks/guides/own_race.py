# %% [markdown]
# # Race your own problem, and read the figure
#
# Which optimizer suits your problem? A problem in fifteen lines, the same budget for all contestants, and a table that does not claim more than the seeds allow.
#
# Published comparisons are of other problems than yours. The race tunes the learning rate of every optimizer on a grid of the same size, runs the best rates
# again on fresh seeds, and says which differences are larger than luck.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx
from gradxform import race

# %% [markdown]
# ## The problem
#
# An autoencoder: 64 pixels through a bottleneck of 8 numbers and back. A `Problem` is four functions: how to begin, the loss of a batch, the batch of a step,
# and what to judge by. Random numbers come from NumPy, on the host, and every optimizer gets the same ones.

# %%
images = (load_digits().data / 16).astype(np.float32)[np.random.default_rng(0).permutation(1797)]
train, validation, test = images[:1200], images[1200:1500], images[1500:]

_, panels = plt.subplots(1, 8, figsize=(7, 1))
for panel, image in zip(panels, images, strict=False):
    panel.imshow(image.reshape(8, 8), cmap="gray_r")
    panel.axis("off")
plt.show()

# %%


def init(key):
    rng = race.host_rng(key)
    sizes = [(64, 48), (48, 8), (8, 48), (48, 64)]
    return [{"w": (rng.normal(size=s) * s[0] ** -0.5).astype(np.float32), "b": np.zeros(s[1], np.float32)} for s in sizes]


def reconstruct(params, x):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def loss(params, x):
    return jnp.mean((reconstruct(params, x) - x) ** 2)


problem = race.Problem(
    init=init,
    loss=loss,
    batch=lambda rng, step: train[rng.integers(len(train), size=64)],
    evaluate=lambda params: {"loss": loss(params, validation), "test_loss": loss(params, test)},
    target=0.03,
    name="autoencoder",
    steps=300,
)

# %% [markdown]
# ## The contestants
#
# A name of the library, an expression, or your own function of the learning rate. Where a function takes a learning rate that is not given, the race tunes it.

# %%
contestants = {
    "sgd": "sgd",
    "momentum": "sgd(momentum=0.9)",
    "adam": "adam",
    "clipped adam": "chain(clip_by_global_norm(0.1), adam)",
    "muon on matrices": lambda rate: gx.partition(
        {"muon": gx.muon(rate), "adam": gx.adam(rate / 3)}, {"*/w": "muon", "*/b": "adam"}
    ),
}
results = race.run(problem, contestants, seeds=6, rates=5, quiet=True)
print(results)

# %% [markdown]
# ## Reading the table
#
# - **tie**: the letters are groups. Within a group a paired test over the seeds finds no difference, or one below 1 %; read no order into it.
# - **loss** and **range**: the median over fresh seeds of the validation loss by which the rates were tuned, and its least and largest. The **held-out loss** is on data
#   that tuned nothing.
# - **target**: how many steps until the validation loss was below the number that the problem names; a dash is a miss.
# - **rate**: the best peak of the schedule, and how wide the region of good rates is. A wide region is worth something: next time you will not tune as well.
# - **B/param** and **us**: what a step costs in memory and time, measured alone.
#
# ## Reading the figure

# %% tags=["thumbnail"]
figure = results.plot()
figure

# %% [markdown]
# Above, losses by step and by seconds: the band is the range of the best over seeds. Below, every seed is a dot, in the order of the medians, with a line between groups;
# and each row of the map is an optimizer's sensitivity: how much worse its loss gets with the rate that many times too large or too small.
#
# The same as data, for a figure of your own: here each optimizer's losses by rate, from the tuning.

# %%
trials = results.records("trials")
figure, axes = plt.subplots(figsize=(7, 3))
for name in results:
    own = sorted((row["learning_rate"], row["loss"]) for row in trials if row["optimizer"] == name and row["loss"] is not None)
    axes.loglog(*zip(*own, strict=True), "o-", label=name)
axes.set(xlabel="learning rate", ylabel="validation loss")
axes.legend()
plt.show()

# %% [markdown]
# ## From the command line
#
# With `problem()` in a file, `python -m gradxform race ./mine.py --optimizers 'adam*, sgd, ./mine.py:my_optimizer'` does the same, shows a table while it runs,
# and saves everything: [Which optimizer for my problem?](../../gradxform/race/README.md)
