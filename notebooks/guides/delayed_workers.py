# %% [markdown]
# # Delayed workers
#
# When gradients arrive late from asynchronous workers, what does the compensation of DC-ASGD buy? A simulator of a server and up to 32 workers, in one compiled call.
#
# A server holds the parameters. Each worker takes a copy, computes a gradient on a mini-batch of its own, and sends it; meanwhile the other workers'
# gradients have moved the server on. The server updates with the late gradient, and hands that worker a fresh copy.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gradxform as gx

# %% [markdown]
# The problem: a thousand points of a Gaussian, with the five classes that a random two-layer network gives them, to be learned by a network of the same
# kind.

# %%
rng = np.random.default_rng(0)
inputs = rng.normal(size=(1024, 20))
teacher = np.tanh(inputs @ rng.normal(size=(20, 32)) / 20**0.5 * 2) @ rng.normal(size=(32, 5))
x, y = jnp.asarray(inputs, jnp.float32), jnp.asarray(teacher.argmax(axis=1))


def init(key):
    layer = lambda key, n, m: {"w": jax.random.normal(key, (n, m)) * n**-0.5, "b": jnp.zeros(m)}
    first, second = jax.random.split(key)
    return {"hidden": layer(first, 20, 32), "out": layer(second, 32, 5)}


def loss(params, x, y):
    hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return gx.softmax_cross_entropy_with_integer_labels(hidden @ params["out"]["w"] + params["out"]["b"], y).mean()


# %% [markdown]
# ## The correction
#
# `dcasgd` is told where the gradient was computed, by the extra argument `delayed_params`, and corrects it to first order:
#
# ```text
# g + lamda |g|^2 (params - delayed_params)
# ```
#
# The square of the gradient stands for the diagonal of the Hessian. Of one example's gradient it has the right size on average; of the mean over a
# mini-batch of 16 it is about 16 times too small, so `lamda` is of that order here. With `lamda=0` it is plain SGD.
#
# ## The simulator
#
# All workers' copies are stacked in one tree. At each step one worker arrives, its gradient is taken at its old copy, and it gets the new parameters.


# %%
steps, batch = 500, 16


def final_loss(rate, lamda, seed, workers, order):
    tx = gx.dcasgd(rate, lamda=lamda)
    start, who, pick = jax.random.split(jax.random.key(seed), 3)
    params = init(start)
    copies = jax.tree.map(lambda p: jnp.repeat(p[None], workers, 0), params)
    turn = jnp.arange(steps) % workers if order == "in turn" else jax.random.randint(who, (steps,), 0, workers)

    def step(run, now):
        params, state, copies = run
        worker, key = now
        chosen = jax.random.randint(key, (batch,), 0, len(y))
        delayed = jax.tree.map(lambda c: c[worker], copies)
        late = jax.grad(loss)(delayed, x[chosen], y[chosen])
        updates, state = tx.update(late, state, params, delayed_params=delayed)
        params = gx.apply_updates(params, updates)
        return (params, state, jax.tree.map(lambda c, p: c.at[worker].set(p), copies, params)), None

    (params, _, _), _ = jax.lax.scan(step, (params, tx.init(params), copies), (turn, jax.random.split(pick, steps)))
    return loss(params, x, y)


# %% [markdown]
# ## Every rate, every correction, every seed
#
# Rate, `lamda` and seed may be traced, so three `vmap`s run the whole grid for a number of workers in one call.

# %%
rates, lamdas, seeds = jnp.array([0.05, 0.1, 0.2, 0.4, 0.8]), jnp.array([0.0, 16.0, 64.0]), jnp.arange(4)
crowd = [1, 8, 16, 32]


def grid(workers, order):
    one = lambda lamda, rate, seed: final_loss(rate, lamda, seed, workers, order)
    every = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    return np.nan_to_num(np.asarray(jax.jit(every)(lamdas, rates, seeds)), nan=np.inf).mean(axis=-1)


found = {(order, n): grid(n, order) for order in ("in turn", "at random") for n in crowd}
suits_one = int(found["in turn", 1][0].argmin())
print(f"the rate that suits one worker: {rates[suits_one]:g}")

# %% [markdown]
# The mean loss over four seeds: at the rate that suits one worker, and, in brackets, at the best rate for that row and column.

# %%
print(f"{'arrival':10} {'workers':>7}" + "".join(f"{f'lamda={lamda:g}':>18}" for lamda in lamdas))
for (order, n), losses in found.items():
    print(f"{order:10} {n:7}" + "".join(f"{row[suits_one]:10.3f} ({row.min():.3f})" for row in losses))

# %% tags=["thumbnail"]
figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
for panel, order in zip(panels, ("in turn", "at random"), strict=True):
    for i, lamda in enumerate(lamdas):
        at_one = [found[order, n][i, suits_one] for n in crowd]
        best = [found[order, n][i].min() for n in crowd]
        panel.plot(at_one, f"C{i}o-", label=f"lamda={lamda:g}, one worker's rate")
        panel.plot(best, f"C{i}o:", label=f"lamda={lamda:g}, best rate")
    panel.set_xticks(range(len(crowd)), crowd)
    panel.set(title=f"workers arrive {order}", xlabel="workers", yscale="log")
panels[0].set_ylabel(f"loss after {steps} updates")
panels[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# At the rate that suits one worker, the loss grows with the delay, most where workers take turns, and the correction holds much of it. Where the rate may be
# tuned anew for each number of workers, the dotted lines lie close together: little is left to gain.
