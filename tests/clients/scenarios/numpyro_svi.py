"""NumPyro's SVI, which passes the loss as `value=`: the posterior of a Gaussian mean is known."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import numpyro.optim
import optax
import optax.contrib
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

ERROR = 1e-5
DATA = np.random.default_rng(0).normal(1.5, 1.0, 20).astype(np.float32)


def model(data):
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    numpyro.sample("x", dist.Normal(mu, 1.0), obs=data)


def fit(optimizer):
    svi = SVI(model, AutoNormal(model), optimizer, Trace_ELBO(num_particles=16))
    result = svi.run(jax.random.key(0), 1500, jnp.asarray(DATA), progress_bar=False)
    return {"loc": result.params["mu_auto_loc"], "scale": result.params["mu_auto_scale"], "losses": result.losses}


def run():
    decayed = optax.adam(optax.exponential_decay(0.05, 300, 0.5))
    plateau = optax.chain(optax.adam(0.02), optax.contrib.reduce_on_plateau(factor=0.5, patience=5, accumulation_size=50))
    return {"wrapped": fit(numpyro.optim.optax_to_numpyro(decayed)), "itself": fit(decayed), "plateau": fit(plateau)}


def check(results):
    precision = 1 / 2.0**2 + len(DATA)
    for fitted in results.values():
        np.testing.assert_allclose(fitted["loc"], DATA.sum() / precision, atol=0.02)
        np.testing.assert_allclose(fitted["scale"], precision**-0.5, rtol=0.05)
    np.testing.assert_array_equal(results["wrapped"]["losses"], results["itself"]["losses"])
