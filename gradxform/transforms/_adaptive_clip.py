"""Clipping unit by unit, relative to the parameters."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import abs_sq
from gradxform._types import Array, Bound, NonNegative
from gradxform.core import per_leaf
from gradxform.registry import transform


def unitwise_norm(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """The norm of each unit of an array, in the shape of the array.

    A unit is what one output is computed from: the whole of a scalar or vector, also one with further axes of length 1; else all axes
    but the last, and of three axes the first.

    Args:
      x: an array; without `axis` one of at most 5 axes.
      axis: the axes to sum over instead.

    >>> gx.unitwise_norm(jnp.array([[3.0, 0.0], [4.0, 1.0]]))
    Array([[5., 1.],
           [5., 1.]], dtype=float32)

    Source   Brock et al. 2021, arXiv:2102.06171, section 4.1.
    Differs  no.
    Raises   StructureError: more than 5 axes, and no `axis`.
    """
    ndim = sum(n != 1 for n in x.shape)
    if axis is None and ndim > 1 and x.ndim > 5:
        raise StructureError(
            f"unitwise_norm: an array of shape {x.shape} has more than 5 axes, and it is not known which of them make a unit. "
            "Say with `axis=` over which to sum."
        )
    if axis is None:
        axis = tuple(range(x.ndim)) if ndim <= 1 else 0 if x.ndim in (2, 3) else tuple(range(x.ndim - 1))
    return jnp.broadcast_to(jnp.sqrt(jnp.sum(abs_sq(x), axis=axis, keepdims=True)), x.shape)


def unitwise_clip(g_norm: Array, max_norm: Array, grad: Array, div_eps: float = 1e-6) -> Array:
    """Scale each element whose unit is too long, so that the unit has its largest norm.

        u = g max_norm / max(g_norm, div_eps)                       g where g_norm < max_norm

    Args:
      g_norm: the norm of each element's unit, in the shape of `grad`.
      max_norm: the largest norm that its unit may have, in the same shape.
      grad: the gradient.
      div_eps: the smallest norm to divide by.

    >>> gx.unitwise_clip(jnp.array([3.0, 0.5]), jnp.array([1.0, 1.0]), jnp.array([6.0, 0.5]))
    Array([2. , 0.5], dtype=float32)

    Source   Brock et al. 2021, arXiv:2102.06171, equation 3.
    Differs  no.
    Raises   StructureError: the shapes differ.
    """
    shapes = [jnp.shape(x) for x in (g_norm, max_norm, grad)]
    if len(set(shapes)) > 1:
        raise StructureError(f"unitwise_clip: `g_norm`, `max_norm` and `grad` must have one shape, but have {shapes}.")
    return jnp.where(g_norm < max_norm, grad, grad * (max_norm / jnp.maximum(g_norm, div_eps)))


@transform(source="Brock et al. 2021, arXiv:2102.06171", example={"clipping": 0.1})
@per_leaf(needs=("params",))
def adaptive_grad_clip(
    g, s, p, c, clipping: Bound, eps: NonNegative = 1e-3, axis: int | tuple[int, ...] | None = None
):  # fmt: skip
    """Clip the norm of each unit of an update to a fraction of the parameters' norm there.

        most = clipping max(||p||, eps)                             norms over units
        u    = g most / max(||g||, 1e-6)                            g where ||g|| < most

    A unit is what one output is computed from: the whole of a scalar or vector, else all axes but the last, and of three axes the
    first; or the axes that `axis` says.

    Args:
      clipping: the largest norm of a unit's update, as a part of the norm of its parameters.
      eps: the least norm that a unit of the parameters counts with.
      axis: the axes that a unit goes over; None: all but the outputs'.

    >>> tx = gx.chain(gx.adaptive_grad_clip(0.01), gx.sgd(0.1, momentum=0.9))

    State    EmptyState(). Memory: none.
    Units    those of g; clipping has those of g / p.
    Shapes   up to 5 axes, any with `axis`; complex included.
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   Brock et al. 2021, arXiv:2102.06171, equation 3.
    Differs  norms are in float32 or wider.
    Raises   MissingArgumentError: no params. StructureError: more than 5 axes, and no `axis`. HyperparameterError: clipping < 0, eps < 0.
    """
    most = clipping * jnp.maximum(unitwise_norm(p, axis), eps)
    return unitwise_clip(unitwise_norm(g, axis), most, g), s
