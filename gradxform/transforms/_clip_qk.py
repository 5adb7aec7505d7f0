"""QK-clip: heads whose attention logits have grown too large are scaled down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import MissingArgumentError, StructureError
from gradxform._types import Array, Extra, Hyper, PerLeaf, Positive, Shape, Tree
from gradxform.core import GradientTransformationExtraArgs, by_path, per_leaf
from gradxform.registry import transform

HeadAxes = Mapping[str, int | Sequence[int] | None] | Tree
"""Patterns of paths with the axis or axes that count the heads, a function of (path, leaf), or one for all."""

Powers = Annotated[float | Array | Tree, PerLeaf(rest=0.5)]
"""A number, or labels of the leaves."""


def _at_heads(logits: Array | None, axes: Sequence[int], shape: Shape) -> Array:
    """Numbers of heads, to be broadcast to a leaf."""
    said = f"clip_qk: `head_axes` says {tuple(axes)} of a leaf of shape {shape}"
    if outside := [a for a in axes if not -len(shape) <= a < len(shape)]:
        raise StructureError(f"{said}, which has no axis {outside[0]}.")
    if logits is None:
        raise MissingArgumentError(f"{said}, for which `max_logits` has nothing. Give it an array for every leaf with heads.")
    axes = [a % len(shape) for a in axes]
    heads = tuple(shape[a] for a in axes)
    if np.shape(logits) != heads:
        raise StructureError(f"{said}, which has {heads} heads, but its `max_logits` has shape {np.shape(logits)}.")
    ordered = jnp.asarray(logits).transpose(np.argsort(axes))
    return ordered.reshape([n if a in axes else 1 for a, n in enumerate(shape)])


@per_leaf(needs=("params", Extra("max_logits", labels=True)))
def _clip_qk(
    g, s, p, c,
    head_axes: Annotated[Tree, PerLeaf(int | tuple | None)], threshold: Positive = 100.0, *, power: Powers = 0.5,
):  # fmt: skip
    if head_axes is None:
        return g, s
    logits = _at_heads(c.max_logits, np.atleast_1d(head_axes).tolist(), g.shape)
    gamma = (threshold / jnp.maximum(logits, threshold)) ** c.power
    return gamma * g - (1 - gamma) * p, s


@transform(
    source="Kimi Team 2025, arXiv:2507.20534, Algorithm 1",
    example={"head_axes": 0},
    needs={
        "max_logits": lambda params, grads: jax.tree.map(lambda p: jnp.linspace(-50.0, 400.0, p.shape[0] if p.ndim else 1), params)
    },
    ndim=2,
)
def clip_qk(head_axes: HeadAxes, threshold: Positive[Hyper] = 100.0, *, power: Powers = 0.5) -> GradientTransformationExtraArgs:
    """Scale the queries and keys of those heads down whose attention logits are above a threshold. The last stage of an optimizer.

        gamma = (threshold / max(max_logits, threshold))^power                      for each head; 1 where max_logits <= threshold
        u     = gamma (p + g) - p

    With a power of 1/2 for queries and keys alike, the logits of the new parameters come down to the threshold.

    Args:
      head_axes: the axis, or axes, of a leaf that count what `max_logits` counts: patterns such as `{"*/query/kernel": 1}`, of which the
        first that matches counts and other leaves are left alone; a function of (path, leaf), None where there are no heads; one for all.
      threshold: the largest logit that is left alone.
      power: a number, or patterns, a tree, a function of (path, leaf): 1/2 for what enters the logit beside another that is clipped, 1 for
        what does so alone, 0 for what is shared by all heads.

    >>> tx = gx.chain(gx.muon(0.02), gx.clip_qk({"w": 1}))
    >>> updates, state = tx.update(grads, tx.init(params), params, max_logits=jnp.array([30.0, 400.0]))  # w (inputs, heads)

    State    EmptyState(). Memory: none.
    Units    threshold has those of a logit.
    Shapes   any. `update(..., max_logits=)` is the largest logit before the softmax of each head, over the batch: one array for all leaves
             with heads, or one for each in a prefix of the tree of parameters, or by patterns. Axes of scanned layers count as heads:
             `{"*/query/kernel": (0, 2)}`, with max_logits (layers, heads).
    Sharded  inside `shard_map` max_logits are those of the device's own heads; under `jit` those of all.
    Source   Kimi Team 2025, arXiv:2507.20534, Algorithm 1.
    Differs  from MaxText: it divides by the logit, not by the logit + 1e-6; heads of negative logits, or of 0, are left alone.
    Raises   MissingArgumentError: no params, no max_logits, a leaf with heads has none. StructureError: max_logits of another shape, an
             axis that a leaf lacks. HyperparameterError: threshold <= 0. LabelError: a pattern matches no leaf.
    """
    if isinstance(head_axes, Mapping):
        head_axes = by_path({"default": None, **{k: tuple(x) if isinstance(x, Sequence) else x for k, x in head_axes.items()}})
    return _clip_qk(head_axes, threshold, power=power)
