# %% [markdown]
# # Many runs at once
#
# Sixty-four runs in one compiled call, a population that breeds its own schedule, and a learning rate that is learned by differentiating through training.
#
# An optimizer's state is a tree of arrays and its learning rate may be a traced number. So `vmap` makes many runs of one, and `grad` sees through
# all updates of a run.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, held_out = (x[:1200], y[:1200]), (x[1200:], y[1200:])


def init(key):
    first, second = jax.random.split(key)
    return {"hidden": jax.random.normal(first, (64, 32)) * 0.18, "out": jax.random.normal(second, (32, 10)) * 0.18}


def loss(params, batch):
    x, y = batch
    return gx.softmax_cross_entropy_with_integer_labels(jnp.tanh(x @ params["hidden"]) @ params["out"], y).mean()


def updates_of(tx, run, keys):
    """Some updates of a run, which is a pair of parameters and state."""

    def step(run, key):
        params, state = run
        chosen = jax.random.randint(key, (32,), 0, len(train[1]))
        updates, state = tx.update(jax.grad(loss)(params, (train[0][chosen], train[1][chosen])), state, params)
        return (gx.apply_updates(params, updates), state), None

    return jax.lax.scan(step, run, keys)[0]


# %% [markdown]
# ## Rates and seeds
#
# The function of one run, and two `vmap`s: sixteen rates by four seeds.


# %%
def trained(rate, seed, make):
    start, data = jax.random.split(jax.random.key(seed))
    params, tx = init(start), make(rate)
    params, _ = updates_of(tx, (params, tx.init(params)), jax.random.split(data, 300))
    return loss(params, held_out)


rates, seeds = jnp.geomspace(1e-4, 10, 16), jnp.arange(4)
makes = {"sgd": gx.sgd, "momentum": lambda rate: gx.sgd(rate, momentum=0.9), "adam": gx.adam, "lion": gx.lion}
found = {}
for name, make in makes.items():
    every = jax.vmap(jax.vmap(lambda rate, seed, make=make: trained(rate, seed, make), (None, 0)), (0, None))
    found[name] = np.nan_to_num(np.asarray(jax.jit(every)(rates, seeds)), nan=np.inf)
    best = int(found[name].mean(axis=1).argmin())
    print(f"{name:9} best rate {rates[best]:7.4f}, held-out loss {found[name][best].mean():.3f}")

# %% tags=["thumbnail"]
figure, axes = plt.subplots(figsize=(7, 3.2))
for i, (name, losses) in enumerate(found.items()):
    axes.loglog(rates, np.median(losses, axis=1), f"C{i}", label=name)
    axes.fill_between(rates, losses.min(axis=1), losses.max(axis=1), color=f"C{i}", alpha=0.2, linewidth=0)
axes.set(xlabel="learning rate", ylabel="held-out loss, four seeds", ylim=(0.05, 10))
axes.legend()
plt.show()

# %% [markdown]
# ## A population that breeds its schedule
#
# Sixteen runs side by side, each with a rate of its own. Every thirty updates the worse half is replaced by copies of the better half, parameters and
# state, and every copy's rate is varied at random. The rate is not part of the compiled step: it is an input, put in place by `set_hyperparams`.

# %%
tx = gx.adam(1e-3)


@jax.jit
def grow(population, rates, key):
    def one(run, rate, keys):
        params, state = run
        now, state = gx.set_hyperparams(tx, state, learning_rate=rate)
        return updates_of(now, (params, state), keys)

    keys = jax.random.split(key, (len(rates), 30))
    population = jax.vmap(one)(population, rates, keys)
    return population, jax.vmap(lambda run: loss(run[0], held_out))(population)


@jax.jit
def select(population, rates, losses, key):
    order = jnp.argsort(losses)
    parents = jnp.concatenate([order[:8], order[:8]])
    varied = rates[parents] * jnp.where(jnp.arange(16) < 8, 1.0, jnp.exp(jax.random.normal(key, (16,)) * 0.7))
    return jax.tree.map(lambda leaf: leaf[parents], population), varied


population = jax.vmap(lambda key: (lambda p: (p, tx.init(p)))(init(key)))(jax.random.split(jax.random.key(0), 16))
tried, key, history = jnp.geomspace(1e-5, 1.0, 16), jax.random.key(1), []
for _ in range(20):
    key, data, noise = jax.random.split(key, 3)
    population, losses = grow(population, tried, data)
    history.append((np.asarray(tried), np.asarray(losses)))
    population, tried = select(population, tried, losses, noise)
print(f"best of the population: {history[-1][1].min():.3f}, at rate {history[-1][0][history[-1][1].argmin()]:.4f}")

# %%
figure, axes = plt.subplots(figsize=(7, 3.2))
for round_, (rate, losses) in enumerate(history):
    dots = axes.scatter(np.full(16, 30 * (round_ + 1)), rate, c=np.log10(losses), cmap="viridis_r", vmin=-1.2, vmax=0.4, s=18)
axes.set(xlabel="updates", ylabel="learning rate", yscale="log")
figure.colorbar(dots, label="log10 of the held-out loss")
plt.show()

# %% [markdown]
# (The population is selected by the data that judge it, which flatters it a little; a third set would be needed to say how much.)
#
# ## A learned learning rate
#
# The loss after twenty updates is a differentiable function of the rate, so the rate can be descended itself, by another optimizer. It is kept as
# its logarithm, so that it stays positive. Here every kernel gets a rate of its own.


# %%
def after_twenty(log_rates, key):
    start, data = jax.random.split(key)
    params = init(start)
    tx = gx.partition({name: gx.sgd(jnp.exp(log_rates[name])) for name in params}, {name: name for name in params})
    params, _ = updates_of(tx, (params, tx.init(params)), jax.random.split(data, 20))
    return loss(params, train)


log_rates = {"hidden": jnp.log(0.01), "out": jnp.log(0.01)}
outer = gx.adam(0.1, b1=0.5)


@jax.jit
def outer_step(log_rates, state, key):
    several = lambda r: jax.vmap(lambda k: after_twenty(r, k))(jax.random.split(key, 8)).mean()
    value, hypergradient = jax.value_and_grad(several)(log_rates)
    updates, state = outer.update(hypergradient, state, log_rates)
    return gx.apply_updates(log_rates, updates), state, value


state, curve = outer.init(log_rates), []
for k in range(80):
    log_rates, state, value = outer_step(log_rates, state, jax.random.key(k))
    curve.append((float(value), *(float(jnp.exp(r)) for r in log_rates.values())))
print(f"loss after twenty updates {curve[0][0]:.2f} -> {curve[-1][0]:.2f}")
print("learned rates", {name: round(float(jnp.exp(r)), 2) for name, r in log_rates.items()})

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6))
values, hidden, out = np.array(curve).T
left.plot(values)
left.set(xlabel="outer updates", ylabel="loss after twenty updates")
right.semilogy(hidden, label="hidden")
right.semilogy(out, label="out")
right.set(xlabel="outer updates", ylabel="learning rate")
right.legend()
plt.show()
