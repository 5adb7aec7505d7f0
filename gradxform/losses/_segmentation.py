"""Overlaps of regions."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError, StructureError
from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import Axis, check_equal_shapes, rounded_once

REDUCTIONS = {"mean": lambda x: jnp.mean(x, -1), "sum": lambda x: jnp.sum(x, -1), "none": lambda x: x}


@rounded_once("predictions", "targets")
def dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_weights: ArrayLike | None = None,
    smooth: ArrayLike = 1.0,
    alpha: ArrayLike = 0.5,
    beta: ArrayLike = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: Axis = None,
) -> Array:
    """One minus the overlap of predicted and true regions, for each class.

        p = softmax(predictions)                        sigmoid if there is one class; predictions unless apply_softmax
        t = targets
        o = sum p t                                     over `axis`: all but the first and the last, the classes
        l = 1 - (o + smooth) / (o + alpha (sum p - o) + beta (sum t - o) + smooth)
        l = class_weights l

    alpha weighs false positives, beta false negatives; 1/2 and 1/2 is the Dice coefficient. `reduction` is over classes, without the
    first if ignore_background. One of the arguments may lack the axis of a single class.

    Args:
      predictions: scores, or probabilities, of shape (batch, ..., classes).
      targets: what is right: 0 or 1, or one-hot, of the predictions' shape.
      class_weights: a factor for each class; None: 1.
      smooth: added above and below the fraction, so that empty regions have no loss.
      alpha: the weight of what is found wrongly.
      beta: the weight of what is missed.
      apply_softmax: whether the predictions are scores, of which the softmax is taken.
      reduction: "mean", "sum", or "none" for one loss for each class.
      ignore_background: leave out the first class.
      axis: the axes to sum over; None: all but the first and the last.

    >>> gx.losses.dice_loss(jnp.array([[[20.0, -20.0]]]), jnp.array([[[1.0, 0.0]]]))
    Array([0.], dtype=float32)

    Source   Milletari et al. 2016, arXiv:1606.04797; alpha and beta: Salehi et al. 2017, arXiv:1706.05721.
    Differs  apply_softmax=False works under jit, where sums cannot be checked, and for a single class, whose probabilities need not
             be 1. With smooth=0, a class that is nowhere has loss 0, not NaN.
    Raises   StructureError: shapes differ; class_weights have another shape; with apply_softmax=False predictions do not sum to 1 over
             the classes (of a single class: are not between 0 and 1). HyperparameterError: an unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise HyperparameterError(f"dice_loss: `reduction` must be one of {', '.join(REDUCTIONS)}, but got {reduction!r}.")
    predictions, targets = _same_rank(predictions, targets)
    check_equal_shapes("dice_loss", predictions=predictions, targets=targets)
    p = _probabilities(predictions, apply_softmax)
    t = targets.astype(p.dtype)
    axis = tuple(range(1, p.ndim - 1)) if axis is None else axis
    overlap = jnp.sum(p * t, axis)
    false_positive, false_negative = jnp.sum(p, axis) - overlap, jnp.sum(t, axis) - overlap
    total = overlap + alpha * false_positive + beta * false_negative + smooth
    loss = 1.0 - jnp.where(total == 0, 1, (overlap + smooth) / jnp.where(total == 0, 1, total))
    if class_weights is not None:
        if jnp.shape(class_weights) != loss.shape[-1:]:
            raise StructureError(f"dice_loss: `class_weights` has shape {jnp.shape(class_weights)}, not {loss.shape[-1:]}.")
        loss = loss * jnp.broadcast_to(class_weights, loss.shape)
    if ignore_background and p.shape[-1] > 1:
        loss = loss[..., 1:]
    return REDUCTIONS[reduction](loss)


@rounded_once("predictions", "targets")
def multiclass_generalized_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Array:
    """The mean Dice loss with rare classes weighing more.

        n = sum targets                                 over all but the classes
        w = 1 / (n^2 + 1e-7), scaled to mean 1
        l = mean of dice_loss(predictions, targets, class_weights=w)

    Args:
      predictions: scores, or probabilities, of shape (batch, ..., classes).
      targets: what is right: 0 or 1, or one-hot, of the predictions' shape.
      smooth: added above and below the fraction, so that empty regions have no loss.
      apply_softmax: whether the predictions are scores, of which the softmax is taken.
      ignore_background: leave out the first class.

    >>> gx.losses.multiclass_generalized_dice_loss(jnp.array([[[20.0, -20.0]]]), jnp.array([[[1.0, 0.0]]]))
    Array(0., dtype=float32)

    Source   Sudre et al. 2017, arXiv:1707.03237, the weights.
    Differs  as `dice_loss`.
    Raises   StructureError: shapes differ.
    """
    predictions, targets = check_equal_shapes("multiclass_generalized_dice_loss", predictions=predictions, targets=targets)
    n = jnp.sum(targets, range(targets.ndim - 1), dtype=predictions.dtype)
    w = 1.0 / (n**2 + 1e-7)
    per_class = dice_loss(
        predictions,
        targets,
        class_weights=w / jnp.mean(w),
        smooth=smooth,
        apply_softmax=apply_softmax,
        reduction="none",
        ignore_background=ignore_background,
    )
    return jnp.mean(per_class)


@rounded_once("predictions", "targets")
def binary_dice_loss(predictions: ArrayLike, targets: ArrayLike, *, smooth: ArrayLike = 1.0, apply_sigmoid: bool = True) -> Array:
    """The Dice loss of one class; the axis of classes may be left out.

        l = dice_loss(predictions, targets)

    Args:
      predictions: scores, or probabilities, of shape (batch, ..., classes).
      targets: what is right: 0 or 1, or one-hot, of the predictions' shape.
      smooth: added above and below the fraction, so that empty regions have no loss.
      apply_sigmoid: whether the predictions are scores, of which the sigmoid is taken.

    >>> gx.losses.binary_dice_loss(jnp.array([[[20.0], [-20.0]]]), jnp.array([[[1.0], [0.0]]]))
    Array([0.], dtype=float32)

    Source   Milletari et al. 2016, arXiv:1606.04797.
    Differs  as `dice_loss`.
    Raises   StructureError: shapes differ.
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.ndim == targets.ndim and predictions.shape[-1] != 1:
        predictions, targets = predictions[..., None], targets[..., None]
    return dice_loss(predictions, targets, smooth=smooth, apply_softmax=apply_sigmoid)


def _same_rank(predictions: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.ndim == targets.ndim - 1:
        return predictions[..., None], targets
    if targets.ndim == predictions.ndim - 1:
        return predictions, targets[..., None]
    return predictions, targets


def _probabilities(x: Array, apply_softmax: bool) -> Array:
    binary = x.shape[-1] == 1
    if apply_softmax:
        return jax.nn.sigmoid(x) if binary else jax.nn.softmax(x, -1)
    if not isinstance(x, jax.core.Tracer):
        sums = np.asarray(x, float) if binary else np.sum(np.asarray(x, float), -1)
        low, high = np.min(sums, initial=1), np.max(sums, initial=0 if binary else 1)
        if not (low >= 0 and high <= 1.0 if binary else abs(low - 1) <= 1e-2 and abs(high - 1) <= 1e-2):
            what = "lie" if binary else "sum over classes to values"
            raise StructureError(
                f"dice_loss: apply_softmax=False needs valid probability distributions, but the predictions {what} between {low} "
                f"and {high}. Pass probabilities, or logits with apply_softmax=True."
            )
    return x
