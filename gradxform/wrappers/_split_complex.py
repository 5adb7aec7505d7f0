"""Complex parameters as pairs of real ones."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp

from gradxform._numerics import real_part
from gradxform._types import Array, Inner, Tree
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._views import View
from gradxform.optimizers import adam
from gradxform.registry import transform
from gradxform.tree._leafwise import is_gap


class SplitRealAndImaginaryArrays(NamedTuple):
    """The two parts of a complex array."""

    real: Array
    imaginary: Array


class SplitRealAndImaginaryState(NamedTuple):
    """The state of the inner transformation, which sees pairs."""

    inner_state: Inner


def _split_leaf(x: Tree) -> Tree:
    dtype = getattr(x, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.complexfloating):
        return x
    if isinstance(x, jax.ShapeDtypeStruct):
        half: Tree = jax.ShapeDtypeStruct(x.shape, real_part(dtype), sharding=x.sharding)
        return SplitRealAndImaginaryArrays(half, half)
    return SplitRealAndImaginaryArrays(jnp.real(x), jnp.imag(x))


def _is_pair(x: Tree) -> TypeGuard[SplitRealAndImaginaryArrays]:
    return isinstance(x, SplitRealAndImaginaryArrays)


def split(tree: Tree) -> Tree:
    """Every complex leaf as a pair."""
    return jax.tree.map(_split_leaf, tree, is_leaf=is_gap)


def merge(tree: Tree) -> Tree:
    """Every pair as a complex leaf; one without a part as that gap."""
    join = lambda x: next((part for part in x if is_gap(part)), None) if any(map(is_gap, x)) else jax.lax.complex(*x)
    return jax.tree.map(lambda x: join(x) if _is_pair(x) else x, tree, is_leaf=lambda x: _is_pair(x) or is_gap(x))


class Pairs(View):
    """Each complex array as a pair of real ones."""

    def see(self, tree: Tree) -> Tree:
        return split(tree)

    def put(self, tree: Tree, seen: Tree) -> Tree:
        join = lambda old, new: new if _is_pair(old) else merge(new)  # a pair of a wrapper around this one stays
        return jax.tree.map(join, tree, seen, is_leaf=lambda x: _is_pair(x) or is_gap(x))


@transform(source="Optax", example={"inner": adam(1e-3)})
@wrapper(SplitRealAndImaginaryState, scope="elementwise", view=lambda tree: Pairs())
def split_real_and_imaginary(g, s, p, c, inner: GradientTransformation):
    """Let a transformation see each complex array as two real ones.

        Re u, Im u = inner(Re g, Im g)

    Without it an array of gradients is conjugated and complex: |g|^2 mixes both parts, and a mean of it is shared by them.
    `jax.grad` returns the conjugate of the direction of ascent: conjugate gradients before any update.

    Args:
      inner: the transformation inside.

    >>> tx = gx.contrib.split_real_and_imaginary(gx.adam(1e-3))

    State    SplitRealAndImaginaryState(inner_state), in which pairs `SplitRealAndImaginaryArrays(real, imaginary)` stand for complex
             leaves. Memory: that of inner.
    Units    those of inner.
    Shapes   any; real leaves pass as they are.
    Source   Optax.
    Differs  extra arguments reach inner: trees like the updates are split, and functions of the parameters take pairs.
    Raises   StructureError: inner is not a transformation.
    """
    u, inner_state = inner.update(g, s.inner_state, p)
    return u, s._replace(inner_state=inner_state)
