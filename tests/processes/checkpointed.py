"""A run that saves, and may be killed while it does: `python checkpointed.py FOLDER TO [MOMENT]`.

It goes on from the last checkpoint in FOLDER, if there is one, to step TO, saves every third step, and says what it has at each. At MOMENT
of the save of step 6 it kills itself, as `kill -9` does:

    before 0.02     so many seconds after the save was called for, while it may still be copying
    after 0.1       so many seconds after that call returned, while files are written in the background
    mkdir 1         just before the second time that Python makes a folder of the checkpoint; so for `remove`, and for `rename`, by which
                    a checkpoint is committed
    renamed 2       as soon as the third rename is done

Among several processes the last is killed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gradxform as gx
from tests.processes import launch

SAVED, LAST = 3, 6
SIZE = 384
SPECS = {"codes": PartitionSpec(None, "data"), "plain": PartitionSpec("data"), "whole": PartitionSpec()}
OF = {"codes": "codes", "plain": "plain", "whole": "plain"}
TX = gx.chain(
    gx.clip_by_global_norm(10.0),
    gx.partition({"codes": gx.store(gx.adamw(0.01), "8bit", seed=3), "plain": gx.adamw(0.01)}, OF),
    gx.add_noise(1e-4, 0.5, key=0),
)


def mesh_of(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


def target(mesh: Mesh) -> Any:
    """Shapes, dtypes and places of the parameters and of the state."""
    place = lambda spec: jax.ShapeDtypeStruct((SIZE, SIZE), jnp.float32, sharding=NamedSharding(mesh, spec))
    params = {name: place(spec) for name, spec in SPECS.items()}
    put = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return params, jax.tree.map(put, jax.eval_shape(TX.init, params), gx.state_shardings(TX, params))


def places(mesh: Mesh) -> Any:
    return jax.tree.map(lambda x: x.sharding, target(mesh))


def begin(mesh: Mesh) -> Any:
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal((SIZE, SIZE)).astype(np.float32) / SIZE**0.5 for name in SPECS}
    return jax.jit(lambda params: (params, TX.init(params)), out_shardings=places(mesh))(params)


def loss(params: Any) -> jax.Array:
    """Products over the axes that are split, so that sums are in another order on other numbers of devices."""
    return jnp.mean(jnp.square(params["plain"] @ params["codes"] @ params["whole"] - jnp.eye(SIZE)))


def stepper(mesh: Mesh) -> Callable[[Any], Any]:
    def step(tree):
        params, state = tree
        updates, state = TX.update(jax.grad(loss)(params), state, params)
        return gx.apply_updates(params, updates), state

    return jax.jit(step, out_shardings=places(mesh))


def manager(folder: str | Path) -> Any:
    import orbax.checkpoint as ocp

    return ocp.CheckpointManager(Path(folder).absolute())


def save(m: Any, step: int, tree: Any) -> None:
    import orbax.checkpoint as ocp

    m.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(tree), digest=ocp.args.JsonSave(gx.digest(tree))))


def restore(m: Any, step: int, mesh: Mesh) -> Any:
    """The parameters and the state, checked to be what was saved, and the digest."""
    import orbax.checkpoint as ocp

    args = ocp.args.Composite(state=ocp.args.StandardRestore(target(mesh)), digest=ocp.args.JsonRestore())
    found = m.restore(step, args=args)
    gx.check_restored(TX, *found.state, found.digest)
    return found.state, found.digest


def go_on(tree: Any, first: int, last: int, mesh: Mesh) -> Any:
    step = stepper(mesh)
    for _ in range(first, last):
        tree = step(tree)
    return tree


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(event: str, nth: int) -> None:
    """Just before Python does something to a path of the checkpoint for the nth time, counted from 0; of a `renamed` one just after."""
    seen = itertools.count()

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name == f"os.{event.removesuffix('d')}" and f"/{LAST}.orbax" in str(args[0]) and next(seen) == nth:
            die() if not event.endswith("d") else threading.Thread(target=die_without, args=(Path(args[0]),)).start()

    sys.addaudithook(hook)


def die_without(path: Path) -> None:
    """As soon as nothing is there."""
    while path.exists():
        pass
    die()


def arm(how: str, when: str) -> None:
    """Before a save: what will kill this process while it runs."""
    if how == "before":
        threading.Timer(float(when), die).start()
    elif how != "after":
        die_at(how, int(when))


def train(m: Any, mesh: Mesh, last: int, how: str, when: str) -> None:
    at = m.latest_step() or 0
    tree = restore(m, at, mesh)[0] if at else begin(mesh)
    for step in range(at + SAVED, last + 1, SAVED):
        tree = go_on(tree, step - SAVED, step, mesh)
        sys.stdout.write(f"step {step} {json.dumps(gx.digest(tree))}\n")
        sys.stdout.flush()
        if step == LAST and how:
            arm(how, when)
        save(m, step, tree)
        if step == LAST and how == "after":
            time.sleep(float(when))
            die()
        m.wait_until_finished()


def main(folder: str, last: str, moment: str = "") -> None:
    _, processes, _ = map(int, os.environ[launch.PLACE].split())
    rank = launch.join() if processes > 1 else 0  # one alone adds as any process does that is not one of several
    how, _, when = moment.partition(" ") if rank == jax.process_count() - 1 else ("", "", "")
    with manager(folder) as m:
        train(m, mesh_of(jax.device_count()), int(last), how, when)
    if moment:
        time.sleep(60)  # until it is killed


if __name__ == "__main__":
    main(*sys.argv[1:])
