"""From a function of leaves to a function of trees, with absent leaves in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp

from gradxform._numerics import result_dtype, round_to, widen
from gradxform._parameters import signature_of
from gradxform._types import Array, ArrayLike, Tree

P = ParamSpec("P")


class MaskedNode(NamedTuple):
    """Stands in a tree where a mask has taken a leaf away. It has no leaves itself."""


def is_gap(x: Tree) -> bool:
    """An absent leaf: `None`, or a `MaskedNode` (Optax's too).

    Args:
      x: anything that may stand in a tree.

    >>> gx.kernels.is_gap(None), gx.kernels.is_gap(gx.MaskedNode()), gx.kernels.is_gap(0.0)
    (True, True, False)
    """
    if not isinstance(x, tuple):
        return x is None
    return isinstance(x, MaskedNode) or type(x).__name__ == "MaskedNode"  # Optax's, by its name: Optax may not be installed


CODECS: dict[type, None] = {}
"""The classes whose instances are encoded entries of a state field (`gradxform.core._encoded`)."""


def is_encoded(x: Tree) -> bool:
    """An entry of a state field whose values are stored otherwise than as an array: to the trees it is one leaf."""
    return type(x) in CODECS


def leafwise(*trees: str, keep: str | None = None) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Lift a function written for leaves: its arguments named in `trees` become trees of one structure.

    Where one of the trees has no leaf, neither has the result; or it is the leaf of the tree `keep`, unchanged.
    """

    def lift(f: Callable[P, Any]) -> Callable[P, Any]:
        @functools.wraps(f)
        def lifted(*args: P.args, **kwargs: P.kwargs) -> Tree:
            bound = signature_of(f).bind(*args, **kwargs).arguments

            def at(*leaves: Tree) -> Tree:
                here = dict(zip(trees, leaves, strict=True))
                gaps = [x for x in leaves if is_gap(x)]
                if gaps:
                    return here[keep] if keep else gaps[0]
                return f(**{**bound, **here})  # type: ignore[call-arg]

            return jax.tree.map(at, *(bound[t] for t in trees), is_leaf=is_gap)

        return lifted

    return lift


def wide(x: ArrayLike) -> Array:
    """x as an array, in float32 or wider if it is not whole."""
    x = jnp.asarray(x)
    return x.astype(widen(x.dtype))


def alike(*xs: ArrayLike) -> list[Array]:
    """All of them as arrays of the dtype that the standard promotion gives to what is computed of them."""
    dtype = result_dtype(*xs)
    return [x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x).astype(dtype) for x in xs]


def once(f: Callable[..., Tree], *xs: ArrayLike) -> Tree:
    """f(*xs) in the dtype that JAX promotes `xs` to, but computed in float32 or wider and rounded once."""
    dtype = result_dtype(*xs)
    if widen(dtype) == dtype and all(getattr(x, "dtype", dtype) == dtype for x in xs):
        return f(*xs)
    return round_to(f(*(jnp.asarray(x, widen(dtype)) for x in xs)), dtype)
