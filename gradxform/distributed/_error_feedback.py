"""Compressed gradients, and the memory of what compression left out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, NamedTuple

import jax
import numpy as np

from gradxform._errors import StructureError
from gradxform._types import Array, PerLeaf, Tree, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, per_leaf, wrapper
from gradxform.core._holes import dtype_of, is_array, is_gap
from gradxform.distributed import _wire
from gradxform.distributed._compressors import Compressor, scaled_sign
from gradxform.distributed._mean import as_given, as_real
from gradxform.distributed._per_device import PerDeviceState, per_device
from gradxform.precision._narrow import narrow
from gradxform.registry import transform


class ErrorFeedbackState(NamedTuple):
    """What has not been sent yet."""

    residual: Updates


def _check_compressor(owner: str, compressor: Compressor) -> None:
    if not callable(getattr(compressor, "encode", None)):
        raise StructureError(
            f"{owner}: `compressor` must be one such as `two_bit(0.5)` or `scaled_sign()`, but got {compressor!r}."
        )


def _sent(compressor: Compressor, p: Array, axis_name: Hashable) -> tuple[Array, Array]:
    """What this device sends, and the mean over the devices of what they send."""
    p = as_real(p)
    q, scale = compressor.encode(p)
    own = scale * q.astype(p.dtype)
    if axis_name is None:
        return own, own
    if not compressor.common:
        return own, _wire.mean_of(q, scale, axis_name)
    total = _wire.sum_of(q, axis_name)
    return own, scale * (total.astype(p.dtype) / jax.lax.axis_size(axis_name))


@transform(source="Bernstein et al. 2018, arXiv:1802.04434", example={"compressor": scaled_sign()}, homogeneity=1)
@per_leaf()
def compressed_mean(g, s, p, c, compressor: Compressor, axis_name: Hashable = None):
    """Replace each device's gradients by the mean of what the devices send of them.

        u = 1/n sum_i C(g_i)            i the n devices along axis_name

    It has no memory, and may converge to a wrong point, or not at all: `error_feedback` is what to use.

    Args:
      compressor: C: `two_bit(threshold)` or `scaled_sign()`.
      axis_name: the name, or names, of the mapped axis; None: there is one device.

    >>> tx = gx.chain(gx.distributed.compressed_mean(gx.distributed.scaled_sign(), axis_name="data"), gx.sgd(0.1))

    State    EmptyState(). Memory: none. Sent: see the compressor.
    Units    those of g.
    Shapes   any, scalars and complex included: real and imaginary parts are compressed separately.
    Sharded  inside `shard_map` the devices along `axis_name` have gradients of the same leaves; of a leaf that is split over
             another axis, each part is compressed by itself.
    Source   Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1, with a scale.
    Differs  no.
    Raises   StructureError: compressor is not a compressor.
    """
    _check_compressor("compressed_mean", compressor)
    _, u = _sent(compressor, g, axis_name)
    return as_given(u, g), s


def _dtypes(tree: Tree) -> Tree:
    return jax.tree.map(lambda x: dtype_of(x) if is_array(x) else None, tree, is_leaf=is_gap)


@per_leaf(ErrorFeedbackState)
def _error_feedback(
    g, s, p, c, compressor: Compressor, axis_name: Hashable = None, rounded_to: Annotated[Tree, PerLeaf(np.dtype)] = _dtypes
):
    """The part of `error_feedback` on one device; `error_feedback` is the whole."""
    total = g + s.residual
    own, u = (as_given(x, g) for x in _sent(compressor, total, axis_name))
    rounded = narrow(u, rounded_to).astype(u.dtype)
    return rounded, s._replace(residual=total - own + (u - rounded))


@wrapper(PerDeviceState, scope="per_leaf", call=lambda inner, axis_name: (
    "error_feedback", {"compressor": inner.update.args["compressor"], "axis_name": axis_name}
))  # fmt: skip
def _on_each_device(g, s, p, c, inner: GradientTransformation, axis_name: Hashable):
    """`error_feedback` with a residual for each device."""
    return per_device.kernel.function(g, s, p, c, inner, axis_name)


@transform(
    source="Karimireddy et al. 2019, arXiv:1901.09847, Algorithm 1",
    example={"compressor": scaled_sign()},
    homogeneity=1,
    identities=[("error_feedback(two_bit(0.25), None)", "error_feedback(two_bit(0.25))")],
)
def error_feedback(compressor: Compressor, axis_name: Hashable = None) -> GradientTransformationExtraArgs:
    """Send compressed gradients, and add what was not sent to the next ones.

        p        = g + residual
        m        = 1/n sum_i C(p_i)            i the n devices along axis_name
        u        = m                           rounded to the dtype of g
        residual = p - C(p) + (m - u)

    Nothing is lost, only late: after any number of updates, the sum of the updates plus the mean of the residuals is the sum of the
    mean gradients, in narrow dtypes too. In wide ones m = u, and the sum of what a device has sent plus its residual is the sum of its
    own gradients. So descent along u converges where it would along the mean, also where plain signs go wrong.

    Args:
      compressor: C: `two_bit(threshold)`, MXNet's KVStore, or `scaled_sign()`, EF-signSGD.
      axis_name: the name, or names, of the mapped axis; None: there is one device.

    >>> tx = gx.chain(gx.distributed.error_feedback(gx.distributed.two_bit(0.01), axis_name="data"), gx.sgd(0.1))

    State    PerDeviceState(ErrorFeedbackState(residual)), see `per_device`; with axis_name=None the inner one alone. residual: like p,
             float32 or wider. Memory: 1 x params on every device. Sent: see the compressor.
    Units    those of g.
    Shapes   any, scalars and complex included: real and imaginary parts are compressed separately.
    Sharded  inside `shard_map` the devices along `axis_name` have gradients of the same leaves; of a leaf that is split over
             another axis, each part is compressed by itself.
    Source   Karimireddy et al. 2019, arXiv:1901.09847, Algorithm 1; MXNet's KVStore; Seide et al. 2014.
    Differs  the paper's residual is that of rate times gradient: put a schedule of the rate before this one to have that.
    Raises   StructureError: compressor is not a compressor.
    """
    _check_compressor("error_feedback", compressor)
    tx = _error_feedback(compressor, axis_name)
    return tx if axis_name is None else _on_each_device(tx, axis_name)
