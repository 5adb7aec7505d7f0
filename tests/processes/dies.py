"""Training with a checkpoint after every second step: `python dies.py FOLDER FILE STEPS [DIES]`.

It goes on from the last checkpoint in FOLDER and leaves what it has after so many steps in FILE.RANK.npz. Between step DIES and the next
one the last process kills itself as a machine dies: without a word.
"""

import os
import pathlib
import signal
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp

import gradxform as gx
from tests.processes import cases
from tests.processes.launch import join

OFTEN = 2


def train(folder: str, steps: int, dies: int | None) -> cases.Trained:
    mesh = cases.mesh_of()
    tx = gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1), gx.add_noise(0.1, 0.5, key=0))
    params, data, step = cases.network(mesh), cases.batches(mesh), jax.jit(cases.stepper(tx))
    carry = params, tx.init(params)
    with ocp.CheckpointManager(folder) as manager:
        first = manager.latest_step() or 0
        if first:
            carry = manager.restore(first, args=ocp.args.StandardRestore(carry))
        print(f"from step {first}", flush=True)
        for i in range(first, steps):
            if i == dies and jax.process_index() == jax.process_count() - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            *carry, _ = step(*carry, *data[i % len(data)])
            if (i + 1) % OFTEN == 0:
                manager.save(i + 1, args=ocp.args.StandardSave(tuple(carry)))
                manager.wait_until_finished()
    return cases.Trained(*carry)


if __name__ == "__main__":
    rank = join(heartbeat_timeout_seconds=10)
    folder, file, steps, *dies = sys.argv[1:]
    found = cases.values(train(folder, int(steps), int(dies[0]) if dies else None))
    np.savez(pathlib.Path(f"{file}.{rank}.npz"), **found)
