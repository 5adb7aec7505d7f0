"""A training run that goes on from a checkpoint."""

import jax
import pytest

import gradxform as gx


def through_a_checkpoint(tx, params, state, folder):
    """Parameters and state as Orbax saves and restores them."""
    checkpoint = pytest.importorskip("orbax.checkpoint")
    like = jax.eval_shape(lambda p: (p, tx.init(p)), params)
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "half", (params, state))
        checkpointer.wait_until_finished()
        params, state = checkpointer.restore(folder / "half", like)
    gx.check_restored(tx, params, state)
    return params, state
