"""Orbax's CheckpointManager: a run that was stopped and restored ends where the unbroken one ends."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

ERROR = 1e-5


def loss(params):
    return jnp.sum((params["w"] @ params["b"] - jnp.arange(6.0)) ** 2)


def run():
    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 20), mask={"b": False, "w": True})
    )
    tx = optax.MultiSteps(tx, every_k_schedule=2)
    r = np.random.default_rng(0)
    params = {"b": jnp.ones(4), "w": jnp.asarray(r.standard_normal((6, 4)), jnp.float32)}

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    def go_on(params, state, steps):
        for _ in range(steps):
            params, state = step(params, state)
        return params, state

    half = go_on(params, tx.init(params), 9)
    with tempfile.TemporaryDirectory() as folder:
        options = ocp.CheckpointManagerOptions(max_to_keep=1)
        with ocp.CheckpointManager(pathlib.Path(folder) / "run", options=options) as manager:
            manager.save(9, args=ocp.args.StandardSave(half))
            manager.wait_until_finished()
            like = jax.eval_shape(lambda p: (p, tx.init(p)), params)
            restored = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(like))
    return {"restored": go_on(*restored, 10)[0], "unbroken": go_on(*half, 10)[0]}


def check(results):
    jax.tree.map(np.testing.assert_array_equal, results["restored"], results["unbroken"])
