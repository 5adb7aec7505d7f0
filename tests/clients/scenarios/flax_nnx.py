"""Flax NNX's Optimizer: least squares, whose solution is known."""

import flax.nnx
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-5

r = np.random.default_rng(0)
X = r.standard_normal((64, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3 + 0.1 * r.standard_normal((64, 1))).astype(np.float32)


def run():
    model = flax.nnx.Linear(3, 1, rngs=flax.nnx.Rngs(0))
    optimizer = flax.nnx.Optimizer(model, optax.adam(optax.exponential_decay(0.1, 100, 0.3)), wrt=flax.nnx.Param)

    @flax.nnx.jit
    def step(model, optimizer):
        loss, grads = flax.nnx.value_and_grad(lambda m: jnp.mean((m(X) - Y) ** 2))(model)
        optimizer.update(model, grads)
        return loss

    losses = [step(model, optimizer) for _ in range(400)]
    return {"kernel": model.kernel[...], "bias": model.bias[...], "losses": losses, "step": optimizer.step[...]}


def check(results):
    solution, *_ = np.linalg.lstsq(np.c_[X, np.ones(64)], Y)
    np.testing.assert_allclose(np.append(results["kernel"], results["bias"]), solution[:, 0], atol=1e-3)
    assert results["step"] == 400
