"""Flax Linen's TrainState: a classifier of separable classes, with a mask for the biases and a schedule with warm-up."""

import flax.linen
import flax.training.train_state
import jax
import jax.numpy as jnp
import numpy as np
import optax

ERROR = 1e-4  # the descent multiplies the rounding of a step


class Classifier(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(3)(jnp.tanh(flax.linen.Dense(8)(x)))


def run():
    r = np.random.default_rng(0)
    labels = jnp.asarray(r.integers(0, 3, 96))
    centres = 3 * np.array([[1, 0, 0, 1], [-1, 1, 0, 0], [0, -1, 1, -1]], np.float32)
    x = jnp.asarray(centres[labels] + 0.5 * r.standard_normal((96, 4)), jnp.float32)
    model = Classifier()
    params = model.init(jax.random.key(0), x)["params"]
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.05, 10, 100)
    no_biases = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3, mask=no_biases))
    state = flax.training.train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @jax.jit
    def step(state):
        def loss(params):
            logits = state.apply_fn({"params": params}, x)
            return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    losses = []
    for _ in range(100):
        state, value = step(state)
        losses.append(value)
    right = jnp.argmax(model.apply({"params": state.params}, x), 1) == labels
    return {"params": state.params, "losses": losses, "accuracy": right.mean(), "step": state.step}


def check(results):
    assert results["accuracy"] == 1
    assert results["losses"][-1] < 0.02 < 1 < results["losses"][0]
    assert results["step"] == 100
