"""What all losses do with their arguments: which dtype, which shapes, which elements."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import round_to, widen
from gradxform._types import signature_of

P = ParamSpec("P")
Axis = int | Sequence[int] | None


def rounded_once(*names: str) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Let a function compute in float32 or wider, and round its result to the dtype that JAX promotes its arguments `names` to."""

    def lift(f: Callable[P, Any]) -> Callable[P, Any]:
        @functools.wraps(f)
        def wide(*args: P.args, **kwargs: P.kwargs) -> Any:
            given = signature_of(f).bind(*args, **kwargs)
            arrays = {n: jnp.asarray(x) for n, x in given.arguments.items() if n in names and x is not None}
            dtype = jnp.result_type(*arrays.values())
            given.arguments |= {n: x if widen(x.dtype) == x.dtype else x.astype(widen(x.dtype)) for n, x in arrays.items()}
            result = f(*given.args, **given.kwargs)
            return result if widen(dtype) == dtype else jax.tree.map(lambda x: round_to(x, dtype), result)

        return wide

    return lift


def check_dtype(loss: str, kind: Any, **arrays: Any) -> None:
    """Raise unless all dtypes are of this kind, such as `jnp.floating`."""
    for name, x in arrays.items():
        if not jnp.issubdtype(jnp.result_type(x), kind):
            raise StructureError(
                f"{loss}: `{name}` must have a dtype that is a subdtype of {kind.__name__}, but it is {jnp.result_type(x)}. Convert it."
            )


def check_equal_shapes(loss: str, **arrays: Any) -> None:
    """Raise unless all shapes are the same."""
    if len({jnp.shape(x) for x in arrays.values()}) > 1:
        raise StructureError(f"{loss}: {_shapes(arrays)}. They must have the same shape; nothing is broadcast.")


def broadcast(loss: str, **arrays: Any) -> list[jax.Array]:
    """Broadcast all to the shape of one of them. A shape that none has, such as (n, n) of (n,) and (n, 1), is a mistake."""
    shapes = [jnp.shape(x) for x in arrays.values()]
    try:
        common = jnp.broadcast_shapes(*shapes)
    except ValueError:
        common = None
    if common not in shapes:
        raise StructureError(f"{loss}: {_shapes(arrays)}. The others must broadcast to the shape of one of them; reshape them.")
    return [jnp.broadcast_to(jnp.asarray(x), common) for x in arrays.values()]


def mask(loss: str, where: Any, x: Any) -> jax.Array:
    """The elements that count, in the shape of x."""
    if where is None:
        return jnp.ones(x.shape, bool)
    try:
        return jnp.broadcast_to(jnp.asarray(where, bool), x.shape)
    except ValueError:
        raise StructureError(
            f"{loss}: `where` has shape {jnp.shape(where)}, which does not broadcast to the arguments' shape {x.shape}."
        ) from None


def weigh(p: Any, x: Any) -> Any:
    """p x, where 0 times infinity is 0."""
    return p * jnp.where((p == 0) & jnp.isinf(x), 0, x)


def at_labels(loss: str, labels: Any, *arrays: Any) -> list[jax.Array]:
    """The element of each array at the label, an index into its last axis. A label that is no class gives NaN."""
    check_dtype(loss, jnp.integer, labels=labels)
    labels, _ = broadcast(loss, **{"labels": labels, "scores without their classes": arrays[0][..., 0]})
    spread = lambda x: jnp.broadcast_to(x, (*labels.shape, x.shape[-1]))
    return [jnp.take_along_axis(spread(x), labels[..., None], -1)[..., 0] for x in arrays]


def _shapes(arrays: dict[str, Any]) -> str:
    return " and ".join(f"`{n}` has shape {jnp.shape(x)}" for n, x in arrays.items())
