"""Haiku's transformed functions and an update by hand: logistic regression, at whose solution the gradient is zero."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-4  # the descent multiplies the rounding of a step
DECAY = 0.01


def run():
    r = np.random.default_rng(0)
    x = jnp.asarray(r.standard_normal((100, 3)), jnp.float32)
    y = jnp.asarray(r.uniform(size=100) < 1 / (1 + np.exp(-x @ np.array([2.0, -1.0, 0.5]))), jnp.float32)
    network = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(1)(x)[:, 0]))
    params = network.init(jax.random.key(0), x)
    tx = optax.rmsprop(optax.polynomial_schedule(0.1, 1e-4, 2, 300), momentum=0.9)
    state = tx.init(params)

    def loss(params):
        logits = network.apply(params, x)
        return jnp.mean(jnp.logaddexp(0, logits) - y * logits) + DECAY * sum(jnp.vdot(p, p) for p in jax.tree.leaves(params))

    @jax.jit
    def step(params, state):
        grads = jax.grad(loss)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), state, loss(params)

    losses = []
    for _ in range(400):
        params, state, value = step(params, state)
        losses.append(value)
    return {"params": params, "gradient": optax.tree.norm(jax.grad(loss)(params)), "losses": losses}


def check(results):
    assert results["gradient"] < 1e-3
    assert 0.2 < results["losses"][-1] < 0.6
