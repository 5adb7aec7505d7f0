"""jinns, which looks into `optax._src`: u' = -u with u(0) = 1 by a network, and its own quasi-Newton method on a quadratic."""

import equinox
import jax
import jax.numpy as jnp
import jinns
import numpy as np
import optax
from jinns.optimizers import scale_by_SSBroyden_family

ERROR = 2e-2
MATRIX = jnp.diag(jnp.array([1.0, 10.0, 100.0]))


class Decay(jinns.loss.ODE):
    def equation(self, t, u, params):
        return jax.jacfwd(lambda t: u(t, params))(t)[..., 0] + u(t, params)


def solution():
    layers = ((equinox.nn.Linear, 1, 16), (jnp.tanh,), (equinox.nn.Linear, 16, 1))
    u, params = jinns.nn.PINN_MLP.create(key=jax.random.key(0), eqx_list=layers, eq_type="ODE")
    params = jinns.parameters.Params(nn_params=params, eq_params={})
    times = jinns.data.DataGeneratorODE(key=jax.random.key(1), nt=64, tmin=0.0, tmax=2.0, temporal_batch_size=64)
    weights = jinns.loss.LossWeightsODE(dyn_loss=1.0, initial_condition=1.0)
    loss = jinns.loss.LossODE(u=u, dynamic_loss=Decay(), loss_weights=weights, initial_condition=(0.0, jnp.ones(1)), params=params)
    found = jinns.solve(n_iter=800, init_params=params, data=times, loss=loss, optimizer=optax.adam(1e-2), verbose=False)[0]
    return jax.vmap(lambda t: u(t[None], found))(jnp.linspace(0.0, 2.0, 5))


def quadratic():
    value = lambda x: 0.5 * x @ MATRIX @ x
    tx, x = scale_by_SSBroyden_family(), jnp.ones(3)
    state = tx.init(x)
    for _ in range(25):
        loss, g = jax.value_and_grad(value)(x)
        if loss < 1e-8:  # it divides 0 by 0 at the minimum
            break
        u, state = tx.update(g, state, x, value=loss, grad_pt=g, value_fn=value, grad_fn=jax.grad(value))
        x = optax.apply_updates(x, u)
    return x


def run():
    return {"solution": solution(), "quadratic": quadratic()}


def check(results):
    np.testing.assert_allclose(np.ravel(results["solution"]), np.exp(-np.linspace(0, 2, 5)), atol=0.02)
    np.testing.assert_allclose(results["quadratic"], 0, atol=1e-3)
