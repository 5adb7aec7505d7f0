"""Equinox's own training loop: filtered gradients have None where a leaf is not trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-4  # the descent multiplies the rounding of a step


def run():
    r = np.random.default_rng(0)
    x = jnp.asarray(r.uniform(-1, 1, (128, 2)), jnp.float32)
    y = x[:, :1] * x[:, 1:]
    model = eqx.nn.MLP(2, 1, 16, depth=2, activation=jnp.tanh, key=jax.random.key(0))
    optim = optax.chain(
        optax.add_decayed_weights(1e-5), optax.sgd(optax.cosine_decay_schedule(0.1, 1000), momentum=0.9, nesterov=True)
    )
    opt_state = optim.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def make_step(model, opt_state):
        loss, grads = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x) - y) ** 2))(model)
        updates, opt_state = optim.update(grads, opt_state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), opt_state, loss

    losses = []
    for _ in range(1000):
        model, opt_state, loss = make_step(model, opt_state)
        losses.append(loss)
    grid = jnp.array([[0.5, 0.5], [-0.5, 0.5], [0.8, -0.5], [0.0, 0.3]])
    return {"losses": losses, "predictions": jax.vmap(model)(grid)[:, 0]}


def check(results):
    np.testing.assert_allclose(results["predictions"], [0.25, -0.25, -0.4, 0.0], atol=0.05)
    assert results["losses"][-1] < 1e-3
