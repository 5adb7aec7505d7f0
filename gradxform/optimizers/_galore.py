"""GaLore: any optimizer, on gradients projected to few dimensions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from gradxform._numerics import round_to, widen
from gradxform._types import Array, ArrayLike, Clock, Count, Field, Hyper, Inner, MaskOrFn, Real, Shape, Shared, Tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain, wrapper
from gradxform.core._holes import as_array, dtype_of, flatten, is_array, is_gap
from gradxform.core._hyper import at_rank, evaluate
from gradxform.core._roles import DimensionNumbers, Role, Roles, roles_of
from gradxform.linear_algebra._factorizations import svd
from gradxform.linear_algebra._newton_schulz import adjoint
from gradxform.optimizers._adam import scale_by_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate
from gradxform.tree._params import is_stand_in


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of a weight are the inputs, and which the outputs, of the matrix to project. The others are a batch.

    An axis counts modulo the number of axes of the weight.
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1
    of_all_matrices = True  # one for all is one for leaves of two axes or more


@functools.partial(jax.jit, static_argnums=1)
def _basis(m: Array, rank: int) -> Array:
    """The first singular vectors of a matrix, left ones if it is tall or square."""
    u, _, vh = svd(m)
    return (u if m.shape[-2] >= m.shape[-1] else adjoint(vh))[..., :rank]


@jax.jit
def _projected(m: Array, basis: Array) -> Array:
    return adjoint(basis) @ m if m.shape[-2] >= m.shape[-1] else m @ basis


@functools.partial(jax.jit, static_argnums=(3, 4))
def _lifted(low: Array, basis: Array, scale: float | Array, axes: Role, shape: Shape) -> Array:
    rows, columns = axes.sizes(shape)
    return at_rank(jnp.asarray(scale, low.dtype), len(shape)) * axes.array(
        basis @ low if rows >= columns else low @ adjoint(basis), shape
    )


def _axes(tree: Tree, weight_dimension_numbers: DimensionNumbers) -> list[Role | None]:
    """The axes of each leaf; None where nothing is projected."""
    if is_stand_in(tree):
        return [None] * len(flatten(tree)[0])
    return roles_of("scale_by_galore", weight_dimension_numbers, tree)


def _projectors(params, rank, weight_dimension_numbers):
    """Zeros like the bases, laid out on devices as they will be in `update`."""
    leaves, treedef = flatten(params)
    bases = []
    for x, axes in zip(leaves, _axes(params, weight_dimension_numbers), strict=True):
        if axes is None:
            bases.append(x if is_gap(x) else jnp.zeros((0, 0), widen(dtype_of(x)) if is_array(x) else jnp.float32))
            continue
        m = axes.matrix(jnp.zeros_like(x, dtype=widen(dtype_of(x))))
        bases.append(_of_length(m if m.shape[-2] >= m.shape[-1] else adjoint(m), -1, rank))
    return treedef.unflatten(bases)


def _of_length(zeros: Array, axis: int, rank: int) -> Array:
    """Zeros with an axis cut to this length, which no device splits; the others are laid out as they were."""
    shape = list(zeros.shape)
    shape[axis] = min(shape[axis], rank)
    return jnp.broadcast_to(zeros.sum(axis, keepdims=True), shape)


def _first(params, rank, base_optimizer, weight_dimension_numbers):
    """The state of the inner transformation for what is projected."""
    leaves, treedef = flatten(params)
    low = []
    for x, axes in zip(leaves, _axes(params, weight_dimension_numbers), strict=True):
        if axes is None:
            low.append(jnp.zeros_like(x) if hasattr(x, "shape") else x)
            continue
        low.append(_low(axes, x, rank))
    return base_optimizer.init(treedef.unflatten(low))


def _low(axes: Role, x: Array, rank: int) -> Array:
    """Zeros like what a leaf is projected to."""
    m = axes.matrix(jnp.zeros_like(x, dtype=widen(dtype_of(x))))
    return _of_length(m, -2 if m.shape[-2] >= m.shape[-1] else -1, min(*m.shape[-2:], rank))


class GaLoreState(NamedTuple):
    """The clock, the inner state, and for each leaf an orthonormal basis of its shorter space; (0, 0) where nothing is projected."""

    count: Clock
    base_optimizer_state: Annotated[Inner, Field(first=_first)]
    projector: Annotated[Shared, Field(first=_projectors)]


def _basis_at(due: ArrayLike, m: Array, old: Array) -> Array:
    fresh = lambda: _basis(m, old.shape[-1]).astype(old.dtype)
    if isinstance(due, jax.core.Tracer):
        return jax.lax.cond(due, fresh, lambda: old)
    return fresh() if due else old


_ADAM = scale_by_adam()


def _evaluated(params, s, after, inside, scale, weight_dimension_numbers):
    leaves, treedef = flatten(params)
    axes, bases = _axes(params, weight_dimension_numbers), treedef.flatten_up_to(s.projector)
    factor = evaluate(scale, jnp.maximum(s.count - 1, 0), "scale_by_galore", "scale")

    def lifted(low):
        parts = zip(treedef.flatten_up_to(low), bases, axes, leaves, strict=True)
        return after(
            treedef.unflatten([x if a is None else _lifted(x, b.astype(x.dtype), factor, a, p.shape) for x, b, a, p in parts])
        )

    return inside(params, lifted)


@wrapper(GaLoreState, scope="per_leaf", evaluate=_evaluated)
def _scale_by_galore(
    g, s, p, c,
    rank: Count = 128, update_proj_gap: Count = 200, scale: Real = 1.0, base_optimizer: GradientTransformation = _ADAM,
    weight_dimension_numbers: Roles = None,
):  # fmt: skip
    """`base_optimizer` in the space that the projectors span."""
    trees, axes = c.trees, _axes(g, weight_dimension_numbers)
    bases, low, due = trees.take("the state's `projector`", s.projector), list(trees.leaves), s.count % update_proj_gap == 0
    for i, a in enumerate(axes):
        if a is not None:
            x = as_array(low[i])
            m = x.astype(widen(x.dtype))
            bases[i] = c.across(
                lambda m, due, old, a=a: _basis_at(due, a.matrix(m), old), m, due, bases[i], like=lambda i=i: bases[i]
            )
            down = lambda m, basis, a=a: _projected(a.matrix(m), basis.astype(m.dtype))
            low[i] = c.across(down, m, bases[i], like=lambda a=a, x=x: _low(a, x, rank))
    u, inner_state = base_optimizer.update(trees.together(low), s.base_optimizer_state)
    us = trees.take("the inner updates", u)
    for i, (a, x) in enumerate(zip(axes, trees.leaves, strict=True)):
        if a is not None:
            lift = lambda u, basis, scale, a=a, x=x: round_to(_lifted(u, basis.astype(u.dtype), scale, a, x.shape), dtype_of(x))
            us[i] = c.across(lift, us[i], bases[i], jnp.asarray(scale), like=lambda x=x: as_array(x))
    return trees.together(us), s._replace(base_optimizer_state=inner_state, projector=trees.together(bases))


@transform(source="Zhao et al. 2024, arXiv:2403.03507, Algorithm 2", example={"rank": 2, "update_proj_gap": 2})
def scale_by_galore(
    rank: Count = 128,
    update_proj_gap: Count = 200,
    scale: Real[Hyper] = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_dimension_numbers: DimensionNumbers = None,
) -> GradientTransformationExtraArgs:
    """Transform matrix gradients in a space of few dimensions, spanned by the first singular vectors of an earlier one.

        U S V* = g                              every update_proj_gap-th update, beginning with the first
        P      = the first rank columns of U    of V if g has more columns than rows
        r      = P* g                           g P
        n      = base_optimizer(r)
        u      = scale P n                      scale n P*

    Args:
      rank: the number of dimensions, at most the shorter side of the matrix.
      update_proj_gap: how often P is made afresh. What base_optimizer remembers stays as it is.
      scale: a factor on the updates of matrices.
      base_optimizer: `scale_by_adam()` if None. It does not get the parameters, which have other shapes than r.
      weight_dimension_numbers: None: leaves with two axes are projected. Or `GaLoreDimensionNumbers` for all leaves with two axes or
        more, a tree of them (None: not projected), or a function of the parameters, in `update` of the updates, that returns one.

    >>> tx = gx.chain(gx.contrib.scale_by_galore(rank=2), gx.scale_by_learning_rate(1e-3))

    State    GaLoreState(count, base_optimizer_state, projector). Memory: for an m x n matrix max(m, n) x rank, and the inner state
             for min(m, n) x rank; for other leaves the whole inner state.
    Units    those of base_optimizer's updates.
    Shapes   any, scalars and complex included; only matrices are projected. Axes that are neither rows nor columns are a batch.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhao et al. 2024, arXiv:2403.03507, Algorithm 2.
    Differs  extra arguments reach base_optimizer. Projection and inner state of narrow parameters are float32. Complex matrices are
             projected by adjoints; Optax drops their imaginary part. Batches of matrices are allowed. scale may be a schedule.
    Raises   StructureError: base_optimizer is not a transformation, axes that do not fit. MissingArgumentError: base_optimizer needs
             the parameters. HyperparameterError: rank < 1, update_proj_gap < 1, scale not finite.
    """
    inner = _ADAM if base_optimizer is None else base_optimizer
    return _scale_by_galore(rank, update_proj_gap, scale, inner, weight_dimension_numbers)


@optimizer(
    source="Zhao et al. 2024, arXiv:2403.03507",
    example={"learning_rate": 1e-2, "rank": 2, "update_proj_gap": 2},
    rates={"default": 1e-2, "digits": 1e-2},
    identities=[("galore(0.1, rank=4, update_proj_gap=1, base_optimizer=identity())", "sgd(0.1)")],
)
def galore(
    learning_rate: Real[Hyper],
    rank: Count = 128,
    update_proj_gap: Count = 200,
    scale: Real[Hyper] = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    weight_dimension_numbers: DimensionNumbers = None,
):
    """GaLore: Adam, or another optimizer, whose state for a matrix has few dimensions.

        P = the first rank singular vectors of g, of every update_proj_gap-th update
        u = -learning_rate (scale P base_optimizer(P* g) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      rank: the number of directions in which a matrix is updated.
      update_proj_gap: the number of updates after which the directions are found anew.
      scale: a factor of the updates of projected matrices.
      base_optimizer: the optimizer of what is projected; None: Adam.
      weight_decay: decoupled decay of all leaves that mask chooses: the part of the parameters, times learning_rate, that is taken
        away.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> tx = gx.contrib.galore(1e-3, rank=2)

    State    (GaLoreState(count, base_optimizer_state, projector), EmptyState(), EmptyState()). Memory: as `scale_by_galore`.
    Units    learning_rate has those of p, if base_optimizer is Adam; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included; only matrices are projected.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhao et al. 2024, arXiv:2403.03507, Algorithm 2.
    Differs  as `scale_by_galore`.
    Raises   MissingArgumentError: no params. HyperparameterError: rank < 1, update_proj_gap < 1.
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
