"""GPJax's `fit`, which checks the optimizer's class, and its `fit_lbfgs`: a sine under noise, and one optimum for both."""

import gpjax as gpx
import jax
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-10


def run():
    jax.config.update("jax_enable_x64", True)  # GPJax asks for it
    r = np.random.default_rng(0)
    x = jnp.linspace(0, 10, 60)[:, None]
    data = gpx.Dataset(X=x, y=jnp.sin(x) + 0.1 * r.standard_normal((60, 1)))
    prior = gpx.gps.Prior(mean_function=gpx.mean_functions.Zero(), kernel=gpx.kernels.RBF())
    posterior = prior * gpx.likelihoods.Gaussian()
    given = {"model": posterior, "objective": lambda m, d: -gpx.objectives.conjugate_mll(m, d), "train_data": data}
    slowly, history = gpx.fit(**given, optim=optax.nadam(0.05), num_iters=400, verbose=False)
    quickly, final = gpx.fit_lbfgs(**given, max_iters=100)
    at = jnp.array([[1.0], [4.0]])
    predict = lambda model: model.likelihood(model.predict(at, train_data=data)).mean
    return {"mean": predict(slowly), "history": history, "quick mean": predict(quickly), "final": final}


def check(results):
    np.testing.assert_allclose(results["mean"], np.sin([1.0, 4.0]), atol=0.1)
    np.testing.assert_allclose(results["quick mean"], results["mean"], atol=1e-2)
    np.testing.assert_allclose(results["final"], results["history"][-1], rtol=1e-2)
    assert results["history"][-1] < results["history"][0] - 20
