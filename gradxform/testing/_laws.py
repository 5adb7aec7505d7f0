"""The laws: what every transformation must obey, as plain functions of a `Case`.

A law returns nothing if it holds, returns a `Skip` where a declared trait says that it does not apply, and raises `LawBroken`
with the input and the numbers where it is broken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike, Tree

if TYPE_CHECKING:
    from gradxform.testing._case import Case

Aval = tuple[tuple[int, ...], str, bool]
"""Shape, dtype, and whether the type is weak."""


class LawBroken(AssertionError):
    """A law does not hold; the text says on which input, and with what numbers."""


@dataclasses.dataclass(frozen=True)
class Skip:
    """Why a law does not apply."""

    reason: str


Examine = Callable[["Case"], Skip | None]


@dataclasses.dataclass(frozen=True)
class Law:
    """A numbered law and the function that examines it.

    `of_the_whole`: a chain has to be examined even if its members obey it, as it speaks of the arguments, the name or the sizes of
    numbers of the whole.
    """

    number: int
    title: str
    examine: Examine
    of_the_whole: bool = False

    def __call__(self, case: Case) -> Skip | None:
        return self.examine(case)

    def __repr__(self) -> str:
        return f"{self.number}. {self.title}"


LAWS: list[Law] = []


def law(number: int, title: str, of_the_whole: bool = False) -> Callable[[Examine], Examine]:
    def add(examine: Examine) -> Examine:
        LAWS.append(Law(number, title, examine, of_the_whole))
        LAWS.sort(key=lambda entry: entry.number)
        return examine

    return add


def expect(holds: ArrayLike, message: str) -> None:
    if not holds:
        raise LawBroken(message)


def same(a: Tree, b: Tree, what: str, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Leaves of two trees agree; the message names the first that does not, and by how much."""
    pairs = zip(jax.tree_util.tree_flatten_with_path(a)[0], jax.tree_util.tree_flatten_with_path(b)[0], strict=True)
    for (path, x), (_, y) in pairs:
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        x, y = (_comparable(v) for v in (x, y))
        where = jax.tree_util.keystr(path) or "the leaf"
        expect(x.shape == y.shape, f"{what}: at {where} shapes {x.shape} and {y.shape} differ.")
        if not np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True):
            gap = np.max(np.abs(x - y))
            expect(False, f"{what}: at {where} they differ by up to {gap:.3g}: {_short(x)} and {_short(y)}.")


def _comparable(x: ArrayLike) -> np.ndarray:
    x = np.asarray(x)
    return x if x.dtype.kind in "fcbiu" and x.dtype.itemsize > 2 else x.astype(np.float32)


def _short(x: np.ndarray) -> str:
    return np.array2string(x.ravel()[:6], precision=6, threshold=6)


def finite(tree: Tree, what: str) -> None:
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        x = np.asarray(x).astype(np.complex64)
        expect(np.isfinite(x).all(), f"{what}: at {jax.tree_util.keystr(path) or 'the leaf'} it is {_short(x)}.")


def aval(x: Array | jax.ShapeDtypeStruct) -> Aval:
    return (x.shape, str(x.dtype), bool(getattr(x, "weak_type", False)))


def describe(tree: Tree) -> dict[str, Aval]:
    return {jax.tree_util.keystr(path): aval(x) for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def differences(a: Mapping[str, Aval], b: Mapping[str, Aval]) -> Sequence[str]:
    return [f"{k or 'the leaf'}: {a.get(k)} became {b.get(k)}" for k in {**a, **b} if a.get(k) != b.get(k)]
