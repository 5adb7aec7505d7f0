"""Clipping the gradients of single examples, and summing them: for privacy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import abs_sq, is_inexact, promote, round_to
from gradxform._types import Array, Tree, Updates
from gradxform.core._holes import flatten, paths
from gradxform.tree._leafwise import is_gap


def _wide(g: Array) -> Array:
    return g.astype(promote(g.dtype, jnp.float32))


def _narrow(x: Array, dtype: np.dtype) -> Array:
    return round_to(x, dtype) if is_inexact(dtype) else x


def _check_batch(owner: str, grads: Updates) -> None:
    """Every leaf has a first axis, and all of one length."""
    shapes = {path: jnp.shape(g) for path, g in zip(paths(grads), flatten(grads)[0], strict=True) if not is_gap(g)}
    if any(not s for s in shapes.values()) or len({s[0] for s in shapes.values()}) > 1:
        found = ", ".join(f"{path}: {s}" for path, s in shapes.items())
        raise StructureError(
            f"{owner}: `grads` must have a batch dimension in the 0th axis, of one length everywhere, but got {found}."
        )


def _summed(factors: Array, g: Array) -> Array:
    """The sum of the examples, each times its factor."""
    wide = _wide(g)
    return _narrow(jnp.tensordot(factors.astype(wide.dtype), wide, axes=1), g.dtype)


def per_example_global_norm_clip(grads: Updates, l2_norm_clip: float | Array) -> tuple[Updates, Array]:
    """Clip the norm of each example's gradient, over all leaves, and sum over the examples.

        u = sum over examples i of g_i min(1, l2_norm_clip / ||g_i||)

    Args:
      grads: gradients of a batch, with one example per element of the first axis of every leaf.
      l2_norm_clip: the largest norm of an example.

    >>> sums, clipped = gx.per_example_global_norm_clip([jnp.array([[3.0, 4.0], [0.3, 0.4]])], 1.0)
    >>> int(clipped)
    1

    Returns:
      The sum, without the first axis, and how many examples were clipped.

    Source   Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.
    Differs  norms and the sum are in float32 or wider. An example with a NaN makes all of the sum NaN; in Optax its other leaves are summed
             unclipped.
    Raises   StructureError: a leaf has no first axis, or one of another length.
    """
    _check_batch("per_example_global_norm_clip", grads)
    leaves = [jnp.asarray(g) for g in jax.tree.leaves(grads)]
    squares = [jnp.sum(abs_sq(_wide(g)), axis=tuple(range(1, g.ndim))) for g in leaves]
    norms = jnp.sqrt(sum(squares))
    factors = jnp.where(norms <= l2_norm_clip, 1, l2_norm_clip / jnp.where(norms == 0, 1, norms))
    clipped = [_summed(factors, g) for g in leaves]
    return jax.tree.unflatten(jax.tree.structure(grads), clipped), jnp.sum(norms > l2_norm_clip)


def per_example_layer_norm_clip(grads: Updates, global_l2_norm_clip: float | Array, uniform: bool = True) -> tuple[Updates, Tree]:
    """Clip the norm of each example's gradient leaf by leaf, and sum over the examples.

        u = sum over examples i of g_i min(1, C / ||g_i||)          C = global_l2_norm_clip sqrt(1 / number of leaves)

    uniform=False:  C = global_l2_norm_clip sqrt(elements of the leaf / elements of all)

    Args:
      grads: gradients of a batch, with one example per element of the first axis of every leaf.
      global_l2_norm_clip: the largest norm of an example over all leaves.
      uniform: whether all leaves have the same share in it.

    >>> sums, clipped = gx.per_example_layer_norm_clip([jnp.array([[3.0, 4.0], [0.3, 0.4]])], 1.0)

    Returns:
      The sum, without the first axis, and for each leaf how many examples were clipped.

    Source   McMahan et al. 2018, arXiv:1710.06963.
    Differs  norms and the sum are in float32 or wider.
    Raises   StructureError: a leaf has no first axis, or one of another length.
    """
    _check_batch("per_example_layer_norm_clip", grads)
    leaves, treedef = jax.tree.flatten(grads)
    sizes = [1 if uniform else g[0].size for g in leaves]
    bounds = [global_l2_norm_clip * (size / sum(sizes)) ** 0.5 for size in sizes]
    found = [per_example_global_norm_clip(g, bound) for g, bound in zip(leaves, bounds, strict=True)]
    sums, counts = zip(*found, strict=True) if found else ((), ())
    return treedef.unflatten(sums), treedef.unflatten(counts)
