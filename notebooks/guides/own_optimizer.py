# %% [markdown]
# # Write your own optimizer, and let `check` find three bugs
#
# From one line of mathematics to an optimizer that runs under `jit`, in bfloat16 and on many devices; and three mistakes that no loss curve shows.
#
# An optimizer is written as its equation for one array. The library lifts it to trees of parameters, keeps its state, and computes in float32
# where parameters are narrower.

# %%
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import gradxform as gx
import gradxform.testing
from gradxform.kernels import Field


class SoftSignState(NamedTuple):
    mu: gx.Updates  # one array per leaf, zeros at the start


@gx.elementwise(SoftSignState)
def soft_sign(g, s, p, c, learning_rate: gx.Real, b: gx.Decay = 0.9, eps: gx.Positive = 1e-3):
    """A running mean of gradients, pressed into (-1, 1): u = -lr mu / (|mu| + eps)."""
    mu = b * s.mu + (1 - b) * g
    return -learning_rate * mu / (jnp.abs(mu) + eps), s._replace(mu=mu)


# %% [markdown]
# The kernel gets the gradient `g`, the state `s`, the parameter `p` and a context `c`, and returns the update and the next state. Where it says
# `elementwise`, every element is treated alike; `per_leaf` is for what looks at a whole array, such as a norm, and `per_tree` for what looks at
# all of them. The annotations say what a number may be: `gx.Decay` lies in [0, 1). A learning rate may be a schedule, as anywhere:

# %%
tx = soft_sign(gx.cosine_decay_schedule(0.1, 100))
params = {"w": jnp.array([3.0, -2.0]), "b": jnp.array(1.0)}
state = tx.init(params)
for _ in range(100):
    grads = jax.grad(lambda p: jnp.sum(p["w"] ** 2) + p["b"] ** 2)(params)
    updates, state = tx.update(grads, state, params)
    params = gx.apply_updates(params, updates)
print(params)

# %% [markdown]
# ## The laws
#
# `check` examines it under the laws that every optimizer of the library obeys: it restarts from a saved state to the bit, it does the same under
# `jit` and `vmap`, it leaves masked parameters alone, it works in bfloat16, it descends.

# %%
report = gradxform.testing.check(soft_sign(0.01))

# %% [markdown]
# ## Three mistakes
#
# Now three versions that look right, each with a mistake that is easily made. The first forgets to store what it computed:


# %%
@gx.elementwise(SoftSignState)
def forgets(g, s, p, c, learning_rate: gx.Real, b: gx.Decay = 0.9, eps: gx.Positive = 1e-3):
    mu = b * s.mu + (1 - b) * g
    return -learning_rate * mu / (jnp.abs(mu) + eps), s  # not s._replace(mu=mu)


def broken(tx, **keywords):
    """The laws that do not hold, each with the first line of what was found."""
    findings = gradxform.testing.examine(tx, **keywords).findings
    for finding in findings:
        if finding.outcome == "broken":
            print(f"{finding.law}\n    {finding.text.splitlines()[0][:110]}")


broken(forgets(0.01))

# %% [markdown]
# The second looks at the whole array, through `jnp.mean`, though it says that every element is treated alike. On one device nobody would notice;
# sharded over several, each device would take the mean of its own part, and the result would depend on how many there are.


# %%
@gx.elementwise(SoftSignState)
def looks_around(g, s, p, c, learning_rate: gx.Real, b: gx.Decay = 0.9):
    mu = b * s.mu + (1 - b) * g
    return -learning_rate * mu / (jnp.mean(jnp.abs(mu)) + 1e-3), s._replace(mu=mu)


broken(looks_around(0.01))

# %% [markdown]
# The third leaves out `eps`. Where a gradient is exactly zero, as that of an unused row of an embedding, it divides zero by zero.


# %%
@gx.elementwise(SoftSignState)
def divides(g, s, p, c, learning_rate: gx.Real, b: gx.Decay = 0.9):
    mu = b * s.mu + (1 - b) * g
    return -learning_rate * mu / jnp.abs(mu), s._replace(mu=mu)


broken(divides(0.01))

# %% [markdown]
# ## Would training have shown it?
#
# We train a small network on digits with all four. Only pixels that are ever inked are used, so no gradient is exactly zero.

# %%
images, labels = load_digits(return_X_y=True)
x, y = jnp.asarray(images[:, images.any(axis=0)] / 16, jnp.float32), jnp.asarray(labels)
keys = jax.random.split(jax.random.key(0))
start = [jax.random.normal(keys[0], (x.shape[1], 32)) * 0.15, jax.random.normal(keys[1], (32, 10)) * 0.2]


def losses(tx, steps=150):
    def step(run, _):
        params, state = run
        loss = lambda p: gx.softmax_cross_entropy_with_integer_labels(jnp.tanh(x @ p[0]) @ p[1], y).mean()
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), value

    return jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), None, steps)[1])()


# %% tags=["thumbnail"]
figure, axes = plt.subplots()
for name, make in {"right": soft_sign, "forgets": forgets, "looks around": looks_around, "divides": divides}.items():
    curve = losses(make(gx.cosine_decay_schedule(0.02, 150)))
    axes.plot(curve, label=f"{name}: {curve[-1]:.1e} at the end")
axes.set(xlabel="updates", ylabel="loss", yscale="log")
axes.legend()
plt.show()

# %% [markdown]
# All four curves go down, and nothing in the picture says which three are wrong.
#
# ## More than an element at a time
#
# A kernel may need a whole array, a number that all leaves share, or the loss. Here the step of a matrix is divided by its largest singular value,
# and its length follows how the loss compares with its own running mean, which the state keeps once for all leaves.


# %%
class SpectralState(NamedTuple):
    count: gx.Clock  # the number of updates, which `debias` reads
    mu: gx.Updates
    typical_loss: Annotated[gx.Shared, Field(first=lambda: 0.0, advance=lambda old, c: 0.9 * old + 0.1 * c.value)]


@gx.per_leaf(SpectralState, needs=("value",))
def spectral(g, s, p, c, learning_rate: gx.Real, b: gx.Decay = 0.9):
    """u = -lr min(1, value / typical) mu / (|mu|_2 + eps), |mu|_2 the spectral norm of a matrix and the length of a vector."""
    mu = b * s.mu + (1 - b) * g
    size = jnp.linalg.norm(mu, 2) if mu.ndim == 2 else jnp.linalg.norm(mu)
    calm = jnp.minimum(1.0, c.value / (c.debias(c.typical_loss, 0.9) + 1e-8))
    return -learning_rate * calm * mu / (size + 1e-8), s._replace(mu=mu)


tx = spectral(0.1)
params = {"w": jnp.eye(3), "b": jnp.ones(3)}
updates, state = tx.update(params, tx.init(params), params, value=jnp.array(2.0))
print(updates["w"], state.typical_loss)

# %% [markdown]
# `value` is an extra argument of `update`, and a chain hands it to whichever stage asks. The laws supply it by themselves:

# %%
shapes = {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}
report = gradxform.testing.examine(spectral(0.01), params=shapes)
print({outcome: sum(f.outcome == outcome for f in report.findings) for outcome in ("holds", "skipped", "broken")})
broken(spectral(0.01), params=shapes)

# %% [markdown]
# With `@gx.register` above it, an optimizer is in `gx.names()`, and `python -m gradxform race digits --optimizers 'adam, ./mine.py:spectral'`
# races it. `.github/CONTRIBUTING.md` says what the library asks of an optimizer of its own.
