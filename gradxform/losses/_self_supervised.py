"""Losses on pairs and triplets of embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import power_of_two
from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import broadcast, check_dtype, rounded_once
from gradxform.losses._cosine import unit


@rounded_once("embeddings")
def ntxent(embeddings: ArrayLike, labels: ArrayLike, temperature: ArrayLike = 0.07) -> Array:
    """Normalized temperature-scaled cross-entropy: embeddings of one label attract, others repel.

        s_ij = cosine_similarity(embeddings_i, embeddings_j) / temperature
        n_i  = log sum_k exp(s_ik)                      over all k of another label
        l    = mean of log(1 + exp(n_i - s_ij))         over all pairs i != j of one label; 0 if there is none

    Args:
      embeddings: vectors, (batch, features).
      labels: a whole number for each embedding; equal ones belong together.
      temperature: the divisor of the similarities.

    >>> loss = gx.losses.ntxent(jnp.eye(4), jnp.array([0, 0, 1, 1]))

    Shapes   embeddings (batch, features), labels (batch,).
    Source   Chen et al. 2020, arXiv:2002.05709, eq. 1, with other positive pairs left out of the denominator.
    Differs  without a positive pair the loss is 0, not NaN.
    Raises   StructureError: embeddings are not floating-point, or the shapes do not fit.
    """
    check_dtype("ntxent", jnp.floating, embeddings=embeddings)
    embeddings, labels = jnp.asarray(embeddings), jnp.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise StructureError(
            f"ntxent: embeddings must have shape (batch, features) and labels (batch,), but got {embeddings.shape} and {labels.shape}."
        )
    x = unit(embeddings, jnp.finfo(embeddings.dtype).eps, -1)
    s = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST) / temperature
    same = labels[:, None] == labels[None, :]
    positive = same & ~jnp.eye(len(labels), dtype=bool)
    repelled = jnp.any(~same, 1, keepdims=True)
    n = jax.nn.logsumexp(jnp.where(same, jnp.where(repelled, -jnp.inf, 0), s), 1, keepdims=True)
    pairs = jax.nn.softplus(jnp.where(positive & repelled, n - s, -jnp.inf))
    return jnp.sum(pairs) / jnp.maximum(jnp.sum(positive, dtype=pairs.dtype), 1)


@rounded_once("anchors", "positives", "negatives")
def triplet_margin_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    axis: int = -1,
    norm_degree: ArrayLike = 2,
    margin: ArrayLike = 1.0,
    eps: ArrayLike = 1e-6,
) -> Array:
    """An anchor should be nearer to its positive than to its negative, by a margin.

        d(x) = (sum_i |anchors_i - x_i|^norm_degree + eps)^(1 / norm_degree)
        l    = max(d(positives) - d(negatives) + margin, 0)

    Args:
      anchors: vectors to compare with.
      positives: vectors that should be near.
      negatives: vectors that should be far.
      axis: the axis of the vectors.
      norm_degree: the degree of the norm.
      margin: how much farther the negatives should be.
      eps: added to the sum of powers before the root.

    >>> loss = gx.losses.triplet_margin_loss(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.ones((1, 2)))

    Source   Balntas et al. 2016, 'Learning local feature descriptors with triplets and shallow convolutional neural networks'.
    Differs  |.| makes it a distance for every norm_degree; Optax's is one for even degrees only. Powers do not overflow.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not fit.
    """
    check_dtype("triplet_margin_loss", jnp.floating, anchors=anchors, positives=positives, negatives=negatives)
    a, p, n = broadcast("triplet_margin_loss", anchors=anchors, positives=positives, negatives=negatives)

    def distance(x: Array) -> Array:
        d = jnp.abs(a - x)
        unit = jnp.maximum(power_of_two(jnp.max(d, axis, keepdims=True, initial=0)), 1)
        total = jnp.sum((d / unit) ** norm_degree, axis, keepdims=True) + eps / unit**norm_degree
        return jnp.squeeze(unit * total ** (1 / norm_degree), axis)

    return jnp.maximum(distance(p) - distance(n) + margin, 0)
