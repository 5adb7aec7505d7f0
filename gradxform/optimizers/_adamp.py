"""AdamP."""

from __future__ import annotations

import math

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Array, Average, Decay, DType, Hyper, LeafNumbers, MaskOrFn, NonNegative, Real
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


def _without(u: Array, g: Array, p: Array, axes: tuple[int, ...], eps: Array, delta: Array) -> tuple[Array, Array]:
    """u without what of it lies along p, part by part, and whether it is to be so; the parts lie along these axes."""
    dot = lambda x, y: jnp.sum((x.conj() * y).real, axes, keepdims=True)
    size = jnp.sqrt(dot(p, p))
    below = jnp.sqrt(dot(g, g)) * size
    cos = jnp.abs(dot(g, p)) / jnp.where(below > 0, below, 1)
    along = p / jnp.where(size > 0, size + eps, 1)
    return u - along * dot(along, u), jnp.max(cos, initial=0) < delta / math.sqrt(max(math.prod(u.shape[a] for a in axes), 1))


@transform(source="Heo et al. 2020, arXiv:2006.08217, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@per_leaf(ScaleByAdamState, needs=("params",), sees="tensor")
def scale_by_adamp(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, mu_dtype: DType | None = None, weight_decay: Real = 0.0,
    mask: LeafNumbers = None, *, delta: NonNegative = 0.1, wd_ratio: Real = 0.1, nesterov: bool = False,
    weight_dimension_numbers: Roles = None,
):  # fmt: skip
    """Adam that leaves out what would only make a weight longer, where the loss does not depend on its length.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = mu^ / (sqrt(nu^) + eps)            x^ = x / (1 - b^t); nesterov: (b1 mu + (1 - b1) g)^ in the place of mu^
        u  = u - q <q, u>                       q = p / (|p| + eps), where |cos(g, p)| < delta / sqrt(size of p)
        u  = u + weight_decay p                 times wd_ratio as well there

    In the last two lines p stands for the weights of one output, and they hold of all outputs if they hold of the largest cos; else p is
    the whole leaf. Of leaves with fewer than two axes nothing is left out.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: the part of the parameters that is added to the direction.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      delta: how near to a right angle gradient and weight must be, in units of what random directions are.
      wd_ratio: a factor of the decay of weights whose length does not count.
      nesterov: look ahead by one step of the momentum.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for
        all, patterns of paths, a tree, or a function; a leaf without any is a vector. None: the last of two axes or more has the outputs.

    >>> tx = gx.chain(gx.scale_by_adamp(weight_decay=0.01), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Heo et al. 2020, arXiv:2006.08217, Algorithm 2; outputs before whole leaves as in the authors' code.
    Differs  Optax has none. In the authors' code the first axis has the outputs, as in PyTorch.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or delta < 0.
             StructureError: roles that do not fit a leaf.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    u = c.debias(b1 * mu + (1 - b1) * g if nesterov else mu, b1) / (jnp.sqrt(c.debias(nu, b2)) + eps)
    ratio = 1.0
    if g.ndim >= 2:
        by_output, outputs = _without(u, g, p, tuple(range(g.ndim - 1)), eps, delta)
        by_leaf, leaf = _without(u, g, p, tuple(range(g.ndim)), eps, delta)
        u = jnp.where(outputs, by_output, jnp.where(leaf, by_leaf, u))
        ratio = jnp.where(outputs | leaf, wd_ratio, 1)
    return u + c.mask * ratio * weight_decay * p, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Heo et al. 2020, arXiv:2006.08217",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def adamp(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    *,
    delta: NonNegative[Hyper] = 0.1,
    wd_ratio: Real[Hyper] = 0.1,
    nesterov: bool = False,
    weight_dimension_numbers: DimensionNumbers = None,
):
    """AdamP: Adam that does not lengthen weights whose length the loss does not see, as before a normalization.

        d = mu^ / (sqrt(nu^) + eps)                         mu, nu, x^ as Adam's
        d = d - q <q, d>                                    q = p / (|p| + eps), where |cos(g, p)| < delta / sqrt(size of p)
        u = -learning_rate (d + weight_decay p)             weight_decay times wd_ratio there

    In the second line p is the weights of one output, else the whole leaf; see `scale_by_adamp`.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      delta: how near to a right angle gradient and weight must be, in units of what random directions are.
      wd_ratio: a factor of the decay of weights whose length does not count.
      nesterov: look ahead by one step of the momentum.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for
        all, patterns of paths, a tree, or a function; a leaf without any is a vector. None: the last of two axes or more has the outputs.

    >>> tx = gx.adamp(1e-3, weight_decay=0.01)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Heo et al. 2020, arXiv:2006.08217, Algorithm 2; outputs before whole leaves as in the authors' code.
    Differs  Optax has none. In the authors' code the first axis has the outputs, as in PyTorch.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or delta < 0.
             StructureError: roles that do not fit a leaf.
    """
    direction = scale_by_adamp(
        b1, b2, eps, mu_dtype, weight_decay, mask,
        delta=delta, wd_ratio=wd_ratio, nesterov=nesterov, weight_dimension_numbers=weight_dimension_numbers,
    )  # fmt: skip
    return chain(direction, scale_by_learning_rate(learning_rate))
