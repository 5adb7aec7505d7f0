"""Kullback-Leibler divergences."""

from __future__ import annotations

import warnings

import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import Axis, broadcast, check_dtype, mask, rounded_once


@rounded_once("log_predictions", "targets")
def kl_divergence(log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """The information that is lost when predictions stand for targets.

        q = targets
        l = sum_i q_i (log q_i - log_predictions_i)             0 log 0 = 0

    Args:
      log_predictions: the logarithms of the predicted probabilities.
      targets: the true distribution, not its logarithm.
      axis: the axis or axes of the distribution.
      where: the elements that count; None: all.

    >>> gx.losses.kl_divergence(jnp.log(jnp.array([0.5, 0.5])), jnp.array([1.0, 0.0]))
    Array(0.6931472, dtype=float32)

    Source   Kullback & Leibler 1951, 'On information and sufficiency'.
    Differs  derivatives are finite at targets of 0, and such an element adds 0 even if log_predictions is -inf. Shapes that together
             make a third one raise. Elements outside `where` may be NaN.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not fit.
    """
    p, q, where = _arguments("kl_divergence", where, log_predictions=log_predictions, targets=targets)
    return jnp.sum(_relative_entropy(p, q), axis=axis, where=where)


@rounded_once("log_predictions", "log_targets")
def kl_divergence_with_log_targets(
    log_predictions: ArrayLike, log_targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """The information that is lost when predictions stand for targets, both given as logarithms.

        l = sum_i exp(log_targets_i) (log_targets_i - log_predictions_i)        0 log 0 = 0

    Args:
      log_predictions: the logarithms of the predicted probabilities.
      log_targets: the logarithms of the true probabilities.
      axis: the axis or axes of the distribution.
      where: the elements that count; None: all.

    >>> gx.losses.kl_divergence_with_log_targets(jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.5, 0.5])))
    Array(0., dtype=float32)

    Source   Kullback & Leibler 1951, 'On information and sufficiency'.
    Differs  log_targets of -inf add 0, not NaN, with finite derivatives; and as `kl_divergence`.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not fit.
    """
    p, q, where = _arguments("kl_divergence_with_log_targets", where, log_predictions=log_predictions, log_targets=log_targets)
    none = jnp.isneginf(q)
    return jnp.sum(jnp.exp(q) * (jnp.where(none, 0, q) - jnp.where(none & jnp.isinf(p), 0, p)), axis=axis, where=where)


@rounded_once("log_predictions", "targets")
def generalized_kl_divergence(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """The Kullback-Leibler divergence of measures that need not sum to 1.

        q = targets
        l = sum_i q_i (log q_i - log_predictions_i) + sum_i (exp(log_predictions_i) - q_i)

    Args:
      log_predictions: the logarithms of the predicted probabilities.
      targets: the true distribution, not its logarithm.
      axis: the axis or axes of the distribution.
      where: the elements that count; None: all.

    >>> gx.losses.generalized_kl_divergence(jnp.log(jnp.array([0.5, 0.5])), jnp.array([0.5, 0.5]))
    Array(0., dtype=float32)

    Source   Bregman 1967, the divergence of sum_i x_i log x_i - x_i.
    Differs  as `kl_divergence`.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not fit.
    """
    p, q, where = _arguments("generalized_kl_divergence", where, log_predictions=log_predictions, targets=targets)
    return jnp.sum(_relative_entropy(p, q) + (jnp.exp(p) - q), axis=axis, where=where)


def convex_kl_divergence(log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """The old name of `generalized_kl_divergence`, deprecated.

    Args:
      log_predictions: the logarithms of the predicted probabilities.
      targets: the true distribution, not its logarithm.
      axis: the axis or axes of the distribution.
      where: the elements that count; None: all.

    >>> with warnings.catch_warnings(action="ignore"):
    ...     gx.losses.convex_kl_divergence(jnp.log(jnp.array([0.5, 0.5])), jnp.array([0.5, 0.5]))
    Array(0., dtype=float32)

    Source   Bregman 1967.
    Differs  as `generalized_kl_divergence`.
    """
    warnings.warn("convex_kl_divergence is deprecated; use generalized_kl_divergence.", DeprecationWarning, stacklevel=2)
    return generalized_kl_divergence(log_predictions, targets, axis=axis, where=where)


def _arguments(loss: str, where: ArrayLike | None, **arrays: ArrayLike) -> tuple[Array, Array, Array | None]:
    """Both arrays, 0 where they do not count, and what counts."""
    check_dtype(loss, jnp.floating, **arrays)
    p, q = broadcast(loss, **arrays)
    if where is None:
        return p, q, None
    where = mask(loss, where, p)
    return jnp.where(where, p, 0), jnp.where(where, q, 0), where


def _relative_entropy(log_p: Array, q: Array) -> Array:
    none = q == 0
    return q * (jnp.log(jnp.where(none, 1, q)) - jnp.where(none & jnp.isinf(log_p), 0, log_p))
