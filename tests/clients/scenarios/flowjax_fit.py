"""FlowJAX's fit_to_data and fit_to_key_based_loss: a Gaussian learns the moments of its sample."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flowjax.bijections import Affine
from flowjax.distributions import StandardNormal, Transformed
from flowjax.train import fit_to_data, fit_to_key_based_loss
from flowjax.train.losses import ElboLoss

ERROR = 1e-5


def gaussian():
    return Transformed(StandardNormal((2,)), Affine(jnp.zeros(2), jnp.ones(2)))


def moments(dist):
    z = dist.sample(jax.random.key(9), (4000,))
    return {"mean": z.mean(0), "scale": z.std(0)}


def run():
    data = jnp.array([3.0, -1.0]) + jnp.array([0.5, 2.0]) * jax.random.normal(jax.random.key(0), (1000, 2))
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(optax.exponential_decay(0.05, 200, 0.5)))
    fitted, losses = fit_to_data(
        jax.random.key(1), gaussian(), data, optimizer=optimizer, max_epochs=60, max_patience=60, show_progress=False
    )
    default, _ = fit_to_data(jax.random.key(1), gaussian(), data, learning_rate=0.02, max_epochs=3, show_progress=False)
    target = Transformed(StandardNormal((2,)), Affine(jnp.array([3.0, -1.0]), jnp.array([0.5, 2.0])))
    loss = ElboLoss(target.log_prob, num_samples=50)
    elbo, _ = fit_to_key_based_loss(
        jax.random.key(2), gaussian(), loss_fn=loss, steps=400, optimizer=optax.adamax(0.1), show_progress=False
    )
    return {"fitted": moments(fitted), "losses": losses["train"], "default": moments(default), "elbo": moments(elbo)}


def check(results):
    for name in ("fitted", "elbo"):
        np.testing.assert_allclose(results[name]["mean"], [3.0, -1.0], atol=0.15)
        np.testing.assert_allclose(results[name]["scale"], [0.5, 2.0], rtol=0.1)
