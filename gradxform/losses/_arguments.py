"""What all losses do with their arguments: which dtype, which shapes, which elements."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import is_inexact, result_dtype, round_to, widen
from gradxform._parameters import signature_of
from gradxform._types import Array, ArrayLike, DType
from gradxform.tree._leafwise import alike

P = ParamSpec("P")
Loss = TypeVar("Loss")  # an array, or a tuple of them
Axis = int | Sequence[int] | None


def rounded_once(*names: str) -> Callable[[Callable[P, Loss]], Callable[P, Loss]]:
    """Let a function compute in float32 or wider, and round its result to the dtype that JAX promotes its arguments `names` to."""

    def lift(f: Callable[P, Loss]) -> Callable[P, Loss]:
        @functools.wraps(f)
        def wide(*args: P.args, **kwargs: P.kwargs) -> Loss:
            given = signature_of(f).bind(*args, **kwargs)
            arrays = {n: jnp.asarray(x) for n, x in given.arguments.items() if n in names and x is not None}
            dtype = result_dtype(*arrays.values())
            given.arguments |= {n: x.astype(widen(dtype)) if is_inexact(x.dtype) else x for n, x in arrays.items()}
            result = f(*given.args, **given.kwargs)
            return result if widen(dtype) == dtype else jax.tree.map(lambda x: round_to(x, dtype), result)

        return wide

    return lift


def check_dtype(loss: str, kind: type[np.generic], **arrays: ArrayLike) -> None:
    """Raise unless all dtypes are of this kind, such as `jnp.floating`."""
    for name, x in arrays.items():
        if not jnp.issubdtype(jnp.result_type(x), kind):
            raise StructureError(
                f"{loss}: `{name}` must have a dtype that is a subdtype of {kind.__name__}, but it is {jnp.result_type(x)}. Convert it."
            )


def check_equal_shapes(loss: str, **arrays: ArrayLike) -> list[Array]:
    """All as arrays of one dtype. Raise unless their shapes are the same."""
    if len({jnp.shape(x) for x in arrays.values()}) > 1:
        raise StructureError(f"{loss}: {_shapes(arrays)}. They must have the same shape; nothing is broadcast.")
    return alike(*arrays.values())


def broadcast(loss: str, **arrays: ArrayLike) -> list[Array]:
    """Broadcast all to the shape of one of them, in one dtype. A shape that none has, such as (n, n) of (n,) and (n, 1), is a mistake."""
    shapes = [jnp.shape(x) for x in arrays.values()]
    try:
        common = jnp.broadcast_shapes(*shapes)
    except ValueError:
        common = None
    if common not in shapes:
        raise StructureError(f"{loss}: {_shapes(arrays)}. The others must broadcast to the shape of one of them; reshape them.")
    return [jnp.broadcast_to(x, common) for x in alike(*arrays.values())]


def mask(loss: str, where: ArrayLike | None, x: ArrayLike) -> Array:
    """The elements that count, in the shape of x."""
    if where is None:
        return jnp.ones(jnp.shape(x), bool)
    try:
        return jnp.broadcast_to(jnp.asarray(where, bool), jnp.shape(x))
    except ValueError:
        raise StructureError(
            f"{loss}: `where` has shape {jnp.shape(where)}, which does not broadcast to the arguments' shape {jnp.shape(x)}."
        ) from None


def weigh(p: ArrayLike, x: Array) -> Array:
    """p x, where 0 times infinity is 0."""
    return jnp.where((p == 0) & jnp.isinf(x), 0, x) * p


def of_classes(loss: str, scores: Array, labels: ArrayLike, where: Array | None = None) -> tuple[Array, Array]:
    """The scores, and the labels as indices into their last axis, whose other axes they share.

    Where a label is no class all scores are NaN, and so are the loss and its gradient, unless `where` excludes them all.
    """
    check_dtype(loss, jnp.integer, labels=labels)
    labels = jnp.asarray(labels)
    labels, _ = broadcast(loss, **{"labels": labels, "scores without their classes": jnp.zeros(scores.shape[:-1], labels.dtype)})
    one, labels = if_classes(labels, scores.shape[-1], scores.dtype)
    if where is not None:
        one = jnp.where(jnp.any(where, -1), one, 1)
    return jnp.broadcast_to(scores, (*labels.shape, scores.shape[-1])) * one[..., None], labels


def at(labels: Array, scores: Array) -> Array:
    """The score of the label."""
    return jnp.take_along_axis(scores, labels[..., None], -1)[..., 0]


def if_classes(labels: Array, n: int, dtype: DType) -> tuple[Array, Array]:
    """1 for each label of n classes, and NaN for one that is none of them; and the labels with a class in its place."""
    nearest = jnp.clip(labels.astype(jnp.int32), 0, n - 1)
    return jnp.where(labels == nearest.astype(labels.dtype), jnp.ones((), dtype), jnp.nan), nearest


def _shapes(arrays: dict[str, ArrayLike]) -> str:
    return " and ".join(f"`{n}` has shape {jnp.shape(x)}" for n, x in arrays.items())
