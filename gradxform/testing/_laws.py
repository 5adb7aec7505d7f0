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
    """Why a law does not apply, or what to do to have it examined."""

    reason: str
    to_do: str = ""

    def __str__(self) -> str:
        return f"not examined: {self.to_do}" if self.to_do else self.reason


Examine = Callable[["Case"], Skip | None]


@dataclasses.dataclass(frozen=True)
class Law:
    """A numbered law and the function that examines it.

    `of_the_whole`: a chain has to be examined even if its members obey it, as it speaks of the arguments, the name or the sizes of
    numbers of the whole. `rests_on`: numbers of laws without which it says nothing.
    """

    number: int
    title: str
    examine: Examine
    of_the_whole: bool = False
    rests_on: Sequence[int] = ()

    def __call__(self, case: Case) -> Skip | None:
        return self.examine(case)

    def __repr__(self) -> str:
        return f"{self.number}. {self.title}"


LAWS: list[Law] = []


def law(number: int, title: str, of_the_whole: bool = False, rests_on: Sequence[int] = ()) -> Callable[[Examine], Examine]:
    def add(examine: Examine) -> Examine:
        LAWS.append(Law(number, title, examine, of_the_whole, rests_on))
        LAWS.sort(key=lambda entry: entry.number)
        return examine

    return add


def expect(holds: ArrayLike, message: str) -> None:
    if not holds:
        raise LawBroken(message)


LAST_PLACE = 2.0**-23


def agree(a: Tree, b: Tree, rtol: float, atol: float) -> bool:
    """Whether the leaves of two trees agree."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(_gap(_comparable(x), _comparable(y), rtol, atol) is None for x, y in pairs)


def same(a: Tree, b: Tree, what: str, rtol: float = 1e-5, atol: float = 1e-4, places: float = 0.5) -> None:
    """Leaves of two trees agree; the message names the first that does not, and by how much.

    `atol` is in units of the leaf's largest element, so that small updates are compared as strictly as large ones; but where it is not
    0, so many last `places` of 1 are allowed as well, as an update may be a difference of parameters, which has their rounding.
    """
    pairs = zip(jax.tree_util.tree_flatten_with_path(a)[0], jax.tree_util.tree_flatten_with_path(b)[0], strict=True)
    for (path, x), (_, y) in pairs:
        x, y = _comparable(x), _comparable(y)
        where = jax.tree_util.keystr(path) or "the leaf"
        expect(x.shape == y.shape, f"{what}: at {where} shapes {x.shape} and {y.shape} differ.")
        gap = _gap(x, y, rtol, atol, places)
        expect(gap is None, f"{what}: at {where} they differ by up to {gap or 0:.3g}: {_short(x)} and {_short(y)}.")


def _gap(x: np.ndarray, y: np.ndarray, rtol: float, atol: float, places: float = 0.5) -> float | None:
    """By how much two arrays differ, if they do."""
    size = np.max(np.abs(y), initial=0, where=np.isfinite(y))
    close = np.allclose(
        x, y, rtol=rtol, atol=atol * size + (places * LAST_PLACE if atol and x.dtype.itemsize <= 4 else 0), equal_nan=True
    )
    return None if close else float(np.max(np.abs(x - y)))


def _comparable(x: ArrayLike) -> np.ndarray:
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
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


def differences(a: Mapping[str, object], b: Mapping[str, object]) -> Sequence[str]:
    return [f"{k or 'the leaf'}: {a.get(k)} became {b.get(k)}" for k in {**a, **b} if a.get(k) != b.get(k)]
