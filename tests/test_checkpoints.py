"""Orbax: what Optax's training saved goes on here, and what ours saved goes on in Optax, as if nobody had stopped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform


def draw_trees():
    r = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(r.standard_normal(shape), jnp.float32)
    return {"b": draw(4), "w": draw(6, 4)}, [{"b": draw(4), "w": draw(6, 4)} for _ in range(6)]


PARAMS, GRADS = draw_trees()
NOT_B = {"b": False, "w": True}
HALF = 3

OPTIMIZERS = {
    "adamw, mask": lambda o: o.adamw(0.1, mask=NOT_B),
    "clip, adam, schedule": lambda o: o.chain(o.clip_by_global_norm(1.0), o.adam(o.linear_schedule(0.1, 0.0, 6))),
    "named_chain": lambda o: o.named_chain(("clip", o.clip(0.5)), ("lion", o.lion(0.1))),
    "muon": lambda o: o.contrib.muon(0.1),
    "adafactor": lambda o: o.adafactor(0.1, min_dim_size_to_factor=4),
    "partition": lambda o: o.partition({True: o.sgd(0.1, 0.9), False: o.rmsprop(0.1)}, NOT_B),
    "MultiSteps": lambda o: o.MultiSteps(o.adamw(0.1), every_k_schedule=2),
    "inject_hyperparams": lambda o: o.inject_hyperparams(o.adam)(o.linear_schedule(0.1, 0.0, 6), b1=0.8),
    "apply_if_finite": lambda o: o.apply_if_finite(o.adam(0.1), 2),
    "lbfgs": lambda o: o.chain(o.scale_by_lbfgs(3), o.scale(-0.1)),
    "schedule_free": lambda o: o.contrib.schedule_free(o.sgd(0.1), 0.1),
}
ERRORS = {"muon": 4e-5}  # Newton-Schulz multiplies the rounding of small singular values
ERROR = 2e-6
by_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def train(tx, params, state, grads):
    step = jax.jit(tx.update)
    for g in grads:
        updates, state = step(g, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def start(tx):
    return train(tx, PARAMS, tx.init(PARAMS), GRADS[:HALF])


def save_and_restore(path, saved, like):
    with pytest.importorskip("orbax.checkpoint").StandardCheckpointer() as checkpointer:
        checkpointer.save(path, saved)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path, like)


def assert_equal(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize(("writer", "reader"), [(optax, gradxform), (gradxform, optax)], ids=["optax to ours", "ours to optax"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_other_library_goes_on(name, writer, reader, tmp_path):
    make = OPTIMIZERS[name]
    saved = start(make(writer))
    tx = make(reader)
    like = jax.eval_shape(lambda p: (p, tx.init(p)), PARAMS)
    restored = save_and_restore(tmp_path / "half", saved, like)
    assert jax.tree.structure(restored) == jax.tree.structure(like)
    assert_equal(jax.tree.leaves(restored), jax.tree.leaves(saved))
    unbroken = train(make(optax), *start(make(optax)), GRADS[HALF:])
    for a, e in zip(jax.tree.leaves(train(tx, *restored, GRADS[HALF:])), jax.tree.leaves(unbroken), strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=ERRORS.get(name, ERROR) * max(1, np.max(np.abs(e))))


@by_optimizer
def test_ours_goes_on(make, tmp_path):
    tx = make(gradxform)
    saved = start(tx)
    restored = save_and_restore(tmp_path / "half", saved, jax.eval_shape(lambda p: (p, tx.init(p)), PARAMS))
    assert_equal(restored, saved)
    assert_equal(train(tx, *restored, GRADS[HALF:]), train(tx, *saved, GRADS[HALF:]))
