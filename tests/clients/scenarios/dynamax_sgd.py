"""Dynamax's fit_sgd: a hidden Markov model finds the two means that made its emissions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from dynamax.hidden_markov_model import GaussianHMM

ERROR = 1e-5


def run():
    hmm = GaussianHMM(num_states=2, emission_dim=1)
    made = {
        "initial_probs": jnp.array([0.5, 0.5]),
        "transition_matrix": jnp.array([[0.9, 0.1], [0.2, 0.8]]),
        "emission_means": jnp.array([[-2.0], [3.0]]),
        "emission_covariances": jnp.array([[[0.5]], [[0.5]]]),
    }
    truth, _ = hmm.initialize(jax.random.key(0), **made)
    sample = lambda key: hmm.sample(truth, key, num_timesteps=60)[1]
    emissions = jax.vmap(sample)(jax.random.split(jax.random.key(1), 8))
    made |= {"transition_matrix": jnp.full((2, 2), 0.5), "emission_means": jnp.array([[-0.5], [0.5]])}
    start, properties = hmm.initialize(jax.random.key(0), **made)
    params, losses = hmm.fit_sgd(
        start, properties, emissions, optimizer=optax.adam(0.2, b2=0.99), batch_size=4, num_epochs=30, key=jax.random.key(2)
    )
    return {"means": params.emissions.means, "transitions": params.transitions.transition_matrix, "losses": losses}


def check(results):
    np.testing.assert_allclose(results["means"][:, 0], [-2, 3], atol=0.15)
    np.testing.assert_allclose(results["transitions"], [[0.9, 0.1], [0.2, 0.8]], atol=0.07)
