# %% [markdown]
# # Full batch: L-BFGS, line searches, a physics-informed network
#
# When the loss has no noise, curvature pays: a regression to the last digit, a step length without tuning, and a network that solves a differential equation.
#
# With all data in every step, differences of gradients tell the curvature, and a line search can compare losses. Both are lost in the noise of
# mini-batches, so this guide is about problems that fit in one.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gradxform as gx

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A regression, in one call
#
# `minimize` is the whole loop in one compiled program, with L-BFGS unless another optimizer is given. Here: logistic regression on digits.

# %%
images, labels = load_digits(return_X_y=True)
x, y = jnp.asarray(images / 16), jnp.asarray(labels)


def regression(params):
    scores = x @ params["w"] + params["b"]
    return gx.softmax_cross_entropy_with_integer_labels(scores, y).mean() + 1e-3 * jnp.sum(params["w"] ** 2)


start = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}
found = gx.minimize(regression, start, tol=1e-8, max_steps=500)
print(f"loss {found.value:.12f} after {found.steps} steps")

# %% [markdown]
# How many steps do others need? The excess is the loss above that minimum.


# %%
def excess(tx, steps=300):
    """The loss above the minimum, before each of some steps."""

    def step(run, _):
        params, state = run
        value, grads = jax.value_and_grad(regression)(params)
        updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=regression)
        return (gx.apply_updates(params, updates), state), value

    values = jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), None, steps)[1])()
    return np.maximum(np.asarray(values - found.value), 1e-15)


ways = {
    "sgd, rate 1": gx.sgd(1.0),
    "sgd, backtracking line search": gx.chain(
        gx.sgd(1.0), gx.scale_by_backtracking_linesearch(max_backtracking_steps=30, max_learning_rate=100.0)
    ),
    "nesterov, rate 1": gx.sgd(1.0, momentum=0.9, nesterov=True),
    "adam, rate 0.05, cosine": gx.adam(gx.cosine_decay_schedule(0.05, 300)),
    "lbfgs": gx.lbfgs(),
}
curves = {name: excess(tx) for name, tx in ways.items()}
for name, curve in curves.items():
    print(f"{name:32} excess after 100 steps {curve[100]:.0e}, after 299 {curve[299]:.0e}")

# %%
figure, axes = plt.subplots()
for name, curve in curves.items():
    axes.semilogy(curve, label=name)
axes.set(xlabel="steps", ylabel="loss above the minimum")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# Steps are not all of the cost: a line search evaluates the loss several times. `update` gets what the search needs as extra arguments: the value, the
# gradient and the function.
#
# ## A network that solves a differential equation
#
# The pendulum: $u'' = -\sin u$, from rest at an angle of 2.5. A network `u(t)` is trained so that the equation holds at a hundred
# points, and the start is built into its form. No solution is shown to it; a Runge-Kutta solution judges it.

# %%
period, points = 8.0, jnp.linspace(0, 8.0, 100)


def network(key, sizes=(1, 24, 24, 1)):
    keys = jax.random.split(key, len(sizes))
    layer = lambda key, n, m: {"w": jax.random.normal(key, (n, m)) * n**-0.5, "b": jnp.zeros(m)}
    return [layer(*args) for args in zip(keys, sizes[:-1], sizes[1:], strict=False)]


def u(params, t):
    h = jnp.reshape(t / period * 4 - 2, (1,))
    for layer in params[:-1]:
        h = jnp.tanh(h @ layer["w"] + layer["b"])
    free = (h @ params[-1]["w"] + params[-1]["b"])[0]
    return 2.5 + (1 - jnp.exp(-(t**2) / 2)) * free * 4  # u(0) = 2.5 and u'(0) = 0, whatever the network says


def residual(params, t):
    acceleration = jax.grad(jax.grad(u, 1), 1)(params, t)
    return acceleration + jnp.sin(u(params, t))


def physics(params):
    return jnp.mean(jax.vmap(lambda t: residual(params, t))(points) ** 2)


# %% [markdown]
# Adam alone, L-BFGS alone, and L-BFGS from where Adam came after 400 steps.

# %%
net = network(jax.random.key(0))
by_adam = gx.minimize(physics, net, gx.adam(gx.cosine_decay_schedule(0.01, 4000)), max_steps=4000)
by_lbfgs = gx.minimize(physics, net, max_steps=1500)
both = gx.minimize(physics, gx.minimize(physics, net, gx.adam(0.01), max_steps=400).params, max_steps=1500)
for name, found in {"adam": by_adam, "lbfgs": by_lbfgs, "adam, then lbfgs": both}.items():
    print(f"{name:17} {found.steps:5} steps, residual {found.value:.1e}")


# %%
def runge_kutta(steps=8000):
    slope = lambda s: jnp.array([s[1], -jnp.sin(s[0])])
    h = period / steps

    def step(s, _):
        a = slope(s)
        b = slope(s + h / 2 * a)
        c = slope(s + h / 2 * b)
        d = slope(s + h * c)
        return s + h / 6 * (a + 2 * b + 2 * c + d), s

    return jax.lax.scan(step, jnp.array([2.5, 0.0]), None, steps)[1][:: steps // 200, 0]


truth, t = runge_kutta(), jnp.linspace(0, period, 201)[:200]
solutions = {
    name: jax.vmap(lambda s, p=found.params: u(p, s))(t)
    for name, found in {"adam": by_adam, "lbfgs": by_lbfgs, "adam, then lbfgs": both}.items()
}
for name, solution in solutions.items():
    print(f"{name:17} largest error {jnp.abs(solution - truth).max():.1e}")

# %% tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3))
left.plot(t, truth, color="#d8d8d8", linewidth=5, label="Runge-Kutta")
for name, solution in solutions.items():
    left.plot(t, solution, linewidth=1, label=name)
    right.semilogy(t, jnp.abs(solution - truth) + 1e-12, linewidth=1, label=name)
left.set(xlabel="time", ylabel="angle of the pendulum")
right.set(xlabel="time", ylabel="error")
left.legend(fontsize=8)
plt.show()

# %% [markdown]
# L-BFGS alone goes downhill so directly that it ends in the nearest valley, and that one is not a solution: the residual says so, without any truth to compare
# with. Adam finds the right valley, and from there curvature takes over, with fewer steps than Adam needs for less.
#
# What comes after L-BFGS, where a hundred times less error is wanted, is in the guide on [differential equations](differential_equations.ipynb).
