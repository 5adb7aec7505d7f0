"""Where arrays live. What a state keeps in the host's memory is on the device for the update of its leaf only.

An array says itself where it lies, under `jit` by its type. So nothing but the state is asked: it is moved where a leaf is decoded and
widened, and back where it is rounded and encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp

from gradxform._types import ArrayLike, Tree

R = TypeVar("R")
Space = jax.memory.Space


def is_on_host(x: Tree) -> bool:
    return isinstance(x, jax.Array) and jax.typeof(x).memory_space == Space.Host


def on_device(tree: Tree) -> Tree:
    """The tree, with what lies in the host's memory fetched to the device."""
    return jax.tree.map(lambda x: jax.device_put(x, Space.Device) if is_on_host(x) else x, tree)


def placed(new: Tree, old: Tree) -> Tree:
    """A tree with its arrays where those of an old one lie; as it is where they have not the same structure."""
    if not any(map(is_on_host, jax.tree.leaves(old))) or jax.tree.structure(new) != jax.tree.structure(old):
        return new
    return jax.tree.map(lambda n, o: jax.device_put(n, Space.Host) if is_on_host(o) and not is_on_host(n) else n, new, old)


def chosen(flag: ArrayLike, new: Tree, old: Tree) -> Tree:
    """Of two trees of one structure the new one where the flag, which may be traced, says so; where the old one lies."""
    return placed(jax.tree.map(lambda n, o: jnp.where(flag, n, o), on_device(new), on_device(old)), old)


def in_turn(rows: Sequence[R], out: list[Tree], first: Tree = None) -> Iterator[R]:
    """The rows, of each of which the result is to be added to `out` before the next is taken.

    What a row reads from the host is not fetched before what the last one keeps there is back. So a step has room for a leaf or two on the
    device, and not for all: unpaced, a compiler begins all transfers at once.
    """
    last: int | None = None
    for i, row in enumerate(rows):
        if waits(row):
            if last is not None:
                row, out[last] = after(row, out[last])
            elif first is not None:
                row, _ = after(row, first)
            last = i
        yield row


def each_in_turn(f: Callable[..., R], *columns: Sequence[Tree]) -> list[R]:
    """f of each row of these columns, in turn."""
    out: list[Any] = []
    for row in in_turn(list(zip(*columns, strict=True)), out):
        out.append(f(*row))
    return out


def waits(row: Tree) -> bool:
    """Whether something is read from the host. Only what is traced can wait: else it is executed as it is written."""
    return any(is_on_host(x) and isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(row))


def apart(f: Callable[[], R], otherwise: R | None = None) -> R:
    """f(), as the branch of a condition that always holds; of what is `otherwise` there, None stands for zeros.

    What a branch reads from the host is its own. Else a compiler fetches what is read here and there once for both, and it would stay on
    the device in between; a TPU's does so whatever barriers stand between.
    """
    if otherwise is None:
        otherwise = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(f))
    always = jax.lax.optimization_barrier(jnp.asarray(True))  # which a compiler does not know
    return jax.lax.cond(always, f, lambda: otherwise)


def after(row: R, last: Tree) -> tuple[R, Tree]:
    """Both as they are, but the first array of the row, which has axes, only when all of the last is there.

    The rest of a row is read with the first, and what waits should be no more: what does is fetched before by a TPU's compiler, and kept.
    What of the last stays on the device is taken as it was before, so that a compiler may still compute in one what makes it and what
    reads it.
    """
    leaves, treedef = jax.tree.flatten((row, last))
    number = len(jax.tree.leaves(row))
    first = next(i for i, x in enumerate(leaves[:number]) if isinstance(x, jax.core.Tracer) and x.ndim)
    there = [first, *(i for i in range(number, len(leaves)) if isinstance(leaves[i], jax.Array))]
    for i, x in zip(there, jax.lax.optimization_barrier([leaves[i] for i in there]), strict=True):
        if i == first or is_on_host(x):
            leaves[i] = x
    return treedef.unflatten(leaves)
