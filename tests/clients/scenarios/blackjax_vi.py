"""BlackJAX's variational inference (mean field, Stein) and its ChEES adaptation: the target's moments are known."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-5
MEAN, SCALE = np.array([1.0, -2.0]), np.array([0.5, 1.5])


def log_density(x):
    return jnp.sum(jax.scipy.stats.norm.logpdf(x, jnp.asarray(MEAN, jnp.float32), jnp.asarray(SCALE, jnp.float32)))


def mean_field():
    algorithm = blackjax.meanfield_vi(log_density, optax.adam(optax.cosine_decay_schedule(0.05, 600)), num_samples=20)
    step = jax.jit(lambda state, key: algorithm.step(key, state))
    state, info = jax.lax.scan(step, algorithm.init(jnp.zeros(2)), jax.random.split(jax.random.key(0), 600))
    return {"mean": state.mu, "scale": jnp.exp(state.rho), "elbo": info.elbo}


def stein():
    algorithm = blackjax.svgd(jax.grad(log_density), optax.adagrad(0.5))
    particles = jax.random.normal(jax.random.key(1), (40, 2))
    state, step = algorithm.init(particles), jax.jit(algorithm.step)
    path = []
    for _ in range(300):
        state = step(state)
        path.append(state.particles[0])
    return {"mean": state.particles.mean(0), "scale": state.particles.std(0), "path": path}


def chees():
    warmup = blackjax.chees_adaptation(log_density, 16)
    positions = jax.random.normal(jax.random.key(2), (16, 2))
    (states, parameters), _ = warmup.run(jax.random.key(3), positions, 0.5, optax.adam(0.05), 200)
    kernel = jax.vmap(blackjax.dynamic_hmc(log_density, **parameters).step)

    def step(states, key):
        states, _ = kernel(jax.random.split(key, 16), states)
        return states, states.position

    _, draws = jax.lax.scan(step, states, jax.random.split(jax.random.key(4), 400))
    return {"mean": draws.mean((0, 1)), "scale": draws.std((0, 1))}


def run():
    return {"mean field": mean_field(), "stein": stein(), "chees": chees()}


def check(results):
    for name, tolerance in [("mean field", 0.05), ("stein", 0.15), ("chees", 0.1)]:
        np.testing.assert_allclose(results[name]["mean"], MEAN, atol=tolerance)
        np.testing.assert_allclose(results[name]["scale"], SCALE, rtol=tolerance)
