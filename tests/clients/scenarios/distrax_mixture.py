"""A Distrax mixture, fitted by maximum likelihood: its means and its weights are those that made the data."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-5


def mixture(params):
    components = distrax.Normal(params["loc"], jnp.exp(params["log_scale"]))
    return distrax.MixtureSameFamily(distrax.Categorical(logits=params["logits"]), components)


def run():
    truth = {"loc": jnp.array([-2.0, 1.0]), "log_scale": jnp.log(jnp.array([0.5, 1.0])), "logits": jnp.log(jnp.array([0.3, 0.7]))}
    data = mixture(truth).sample(seed=jax.random.key(0), sample_shape=(4000,))
    params = {"loc": jnp.array([-1.0, 0.5]), "log_scale": jnp.zeros(2), "logits": jnp.zeros(2)}
    labels = {"loc": "means", "log_scale": "others", "logits": "others"}
    rules = {"means": optax.adamw(0.05, weight_decay=0.0), "others": optax.lion(optax.linear_schedule(0.02, 0, 400))}
    tx = optax.multi_transform(rules, labels)
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(lambda p: -mixture(p).log_prob(data).mean())(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for _ in range(400):
        params, state, loss = step(params, state)
        losses.append(loss)
    return {"means": params["loc"], "weights": jax.nn.softmax(params["logits"]), "losses": losses}


def check(results):
    np.testing.assert_allclose(results["means"], [-2.0, 1.0], atol=0.1)
    np.testing.assert_allclose(results["weights"], [0.3, 0.7], atol=0.05)
