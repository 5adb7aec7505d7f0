"""Adam-mini."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import abs_sq
from gradxform._types import (
    Array,
    Average,
    Axes,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    NonNegative,
    PerLeaf,
    Real,
    RealUpdates,
    Shape,
    Updates,
)
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

Blocks = Annotated[Any, PerLeaf((str, tuple, type(None)))]


def _heads(blocks: str | tuple[str, int] | None, shape: Shape) -> int | str:
    """What the blocks of an array are: a name, or a number of groups of its outputs."""
    if isinstance(blocks, tuple) and len(blocks) == 2 and blocks[0] == "heads" and shape:
        if shape[-1] % max(int(blocks[1]), 1):
            raise StructureError(f"scale_by_adam_mini: {shape[-1]} outputs, of a leaf of shape {shape}, are not {blocks[1]} heads.")
        return int(blocks[1])
    kind = blocks or ("output" if len(shape) == 2 else "leaf")
    if kind not in ("element", "output", "input", "leaf"):
        raise HyperparameterError(
            'scale_by_adam_mini: `blocks` of a leaf must be "element", "output", "input", "leaf", ("heads", h) or None, '
            f"but got {blocks!r}."
        )
    return kind if shape else "leaf"


def _axes(shape: Shape, blocks: Any) -> Axes:
    n, kind = len(shape), _heads(blocks, shape)
    if isinstance(kind, int):
        return Axes(None)
    return {"element": Axes(*range(n)), "output": Axes(*range(n)[-1:]), "input": Axes(*range(n)[:-1]), "leaf": Axes()}[kind]


def _first(zero: Array, blocks: Any) -> Array:
    return _means(zero, _heads(blocks, zero.shape))


def _means(x: Array, kind: int | str) -> Array:
    """The mean of each block, 0 of one without elements."""
    if isinstance(kind, int):
        x, over = x.reshape(*x.shape[:-1], kind, x.shape[-1] // kind), (*range(x.ndim - 1), x.ndim)
    else:
        n = x.ndim
        over = {"element": (), "output": tuple(range(n))[:-1], "input": tuple(range(n))[-1:], "leaf": tuple(range(n))}[kind]
    return jnp.sum(x, over) / max(math.prod(x.shape[a] for a in over), 1)


def _spread(nu: Array, kind: int | str, shape: Shape) -> Array:
    """The number of each block, as it broadcasts to the whole."""
    if isinstance(kind, int):
        nu = jnp.repeat(nu, shape[-1] // kind, total_repeat_length=shape[-1])
    if isinstance(kind, int) or kind == "output":
        return nu.reshape((1,) * (len(shape) - 1) + shape[-1:])
    return nu[..., None] if kind == "input" else nu


class ScaleByAdamMiniState(NamedTuple):
    """The running means of g, and for each block of |g|^2, not debiased."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(axes=_axes, first=_first)]


@transform(source="Zhang et al. 2024, arXiv:2406.16793, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@per_leaf(ScaleByAdamMiniState, sees="tensor")
def scale_by_adam_mini(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, mu_dtype: DType | None = None, *, blocks: Blocks = None,
    weight_dimension_numbers: Roles = None,
):  # fmt: skip
    """Adam with one root mean square for each block of a leaf.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) mean over the block of |g|^2
        u  = mu^ / (sqrt(nu^) + eps)                                        x^ = x / (1 - b^t)

    A block is the weights of one "output", of one "input" (a token, of an embedding), of one of h groups of outputs, ("heads", h), the
    whole "leaf", or one "element", as in Adam. Where nothing is said, it is an output of a matrix, and each other leaf.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      blocks: "output", "input", ("heads", h), "leaf", "element" or None; one for all leaves, or patterns such as
        `{"embed": "input", "*/query": ("heads", 12)}`, a function of the tree.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for
        all, patterns of paths, a tree, or a function; a leaf without any is a vector. None: the last of two axes or more has the outputs.

    >>> tx = gx.chain(gx.scale_by_adam_mini(blocks={"b": "element"}), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: one number per block. Memory: 1 x params, and m
             numbers for a matrix of m outputs.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhang et al. 2024, arXiv:2406.16793, Algorithm 1.
    Differs  Optax has none. The authors' code finds queries, keys and embeddings by the names of parameters; here `blocks` says them.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, no such blocks. StructureError: outputs that h does not
             divide, roles that do not fit a leaf.
    """
    kind = _heads(blocks, g.shape)
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * _means(abs_sq(g), kind)
    u = c.debias(mu, b1) / (_spread(jnp.sqrt(c.debias(nu, b2)), kind, g.shape) + eps)
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Zhang et al. 2024, arXiv:2406.16793",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[('adam_mini(0.1, blocks="element")', "adam(0.1)")],
)
def adam_mini(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    *,
    blocks: Any = None,
    weight_dimension_numbers: DimensionNumbers = None,
):
    """Adam-mini: AdamW with one root mean square for each output, head or token, in half the memory.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) mean over the block of |g|^2
        u  = -learning_rate (mu^ / (sqrt(nu^) + eps) + weight_decay p)      x^ = x / (1 - b^t)

    The authors have a block per head for queries and keys, per token for embeddings and the last layer, per output for other matrices,
    and per leaf for norms: `blocks={"*/query": ("heads", 12), "*/key": ("heads", 12), "embed": "input"}`.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      blocks: "output", "input", ("heads", h), "leaf", "element" or None; one for all leaves, or patterns such as
        `{"embed": "input", "*/query": ("heads", 12)}`, a function of the tree.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for
        all, patterns of paths, a tree, or a function; a leaf without any is a vector. None: the last of two axes or more has the outputs.

    >>> tx = gx.adam_mini(1e-3, blocks={"b": "element"})

    State    (ScaleByAdamMiniState(count, mu, nu), EmptyState(), EmptyState()). Memory: 1 x params, and m numbers for a matrix of m
             outputs.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhang et al. 2024, arXiv:2406.16793, Algorithm 1.
    Differs  as `scale_by_adam_mini`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, no such blocks.
             StructureError: outputs that h does not divide, roles that do not fit a leaf.
    """
    direction = scale_by_adam_mini(b1, b2, eps, mu_dtype, blocks=blocks, weight_dimension_numbers=weight_dimension_numbers)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
