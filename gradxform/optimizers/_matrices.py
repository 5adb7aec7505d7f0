"""What the optimizers of matrices share: every other leaf gets AdamW, and a step depends on the shape of the matrix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import abs_sq
from gradxform._types import Array, ArrayLike, Average, Axes, Decay, DType, Field, Hyper, NonNegative, Real, Shape, Tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, partition, per_leaf
from gradxform.core._engine import Context
from gradxform.core._holes import flatten, is_gap
from gradxform.core._roles import DimensionNumbers, Roles, numbers_of
from gradxform.linear_algebra._polynomials import polynomials
from gradxform.optimizers._adam import adamw
from gradxform.registry import transform

ShapeScale = Literal["original", "spectral", "match_rms_adamw", None]
Coefficients = str | Sequence[float] | Sequence[Sequence[float]] | ArrayLike


def rows_of(owner: str, ns_coeffs: Coefficients, ns_steps: int, most: int | None = None) -> Array:
    """The coefficients of Newton-Schulz polynomials as an array: one row for all steps, or one for each; by the name of a table too."""
    if isinstance(ns_coeffs, str):
        return jnp.asarray(polynomials(owner, ns_coeffs, ns_steps), float)
    coeffs = jnp.asarray(ns_coeffs, float)
    if coeffs.ndim not in (1, 2) or coeffs.shape[-1] != 3 or (coeffs.ndim == 2 and most is not None and coeffs.shape[0] > most):
        limit = "" if most is None else f" with n <= ns_steps={most}"
        raise HyperparameterError(f"{owner}: `ns_coeffs` must have shape (3,), or (n, 3){limit}, but has {coeffs.shape}.")
    return coeffs


def coefficients(owner: str) -> Field:
    """The field of a state that keeps them."""
    return Field(first=lambda ns_coeffs, ns_steps: rows_of(owner, ns_coeffs, ns_steps, ns_steps), constant=True)


@dataclasses.dataclass(frozen=True)
class MatrixLabels:
    """The label `name` for leaves that hold matrices, "adam" for the others."""

    name: str
    spec: DimensionNumbers = None

    def __call__(self, tree: Tree) -> Tree:
        said = numbers_of(self.name, self.spec, tree)
        return flatten(tree)[1].unflatten(["adam" if n is None or is_gap(n) else self.name for n in said])


def with_adam(
    name: str,
    matrices: GradientTransformation,
    weight_dimension_numbers: DimensionNumbers,
    learning_rate: Real[Hyper],
    adam_learning_rate: Real[Hyper] | None,
    b1: Average[Hyper],
    b2: Decay[Hyper],
    eps: NonNegative[Hyper],
    eps_root: NonNegative[Hyper],
    mu_dtype: DType | None,
    weight_decay: Real[Hyper],
    nesterov: bool,
) -> GradientTransformationExtraArgs:
    """`matrices` for the leaves that hold some, AdamW for the others, at the same rate where it has none of its own."""
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    others = adamw(rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, nesterov=nesterov)
    return partition({name: matrices, "adam": others}, MatrixLabels(name, weight_dimension_numbers))


def unless_matrix(shape: Shape) -> Axes | None:
    """The axes of what only a leaf that is no matrix has, laid out like it."""
    return None if len(shape) == 2 else Axes(*range(len(shape)))


def adam_direction(
    c: Context, g: Array, mu: Array, nu: Array, b1: Average, eps: NonNegative, late: int = 0, b2: float = 0.999
) -> tuple[Array, Array]:
    """Adam's direction, and nu, for a leaf that is no matrix: u = mu^ / (sqrt(nu^) + eps), x^ = x / (1 - b^(t - late))."""
    nu = b2 * nu + (1 - b2) * abs_sq(g)
    return c.debias(mu, b1, -late) / (jnp.sqrt(c.debias(nu, b2, -late)) + eps), nu


def shape_factor(shape_scale: ShapeScale, consistent_rms: float | Array | None, inputs: int, outputs: int) -> float | Array:
    """The factor of a matrix's step that `scale_by_shape` explains."""
    if consistent_rms is not None or shape_scale == "match_rms_adamw":
        return (0.2 if consistent_rms is None else consistent_rms) * math.sqrt(max(inputs, outputs))
    ratio = outputs / max(inputs, 1) if shape_scale else 1.0
    return math.sqrt(ratio if shape_scale == "spectral" else max(1.0, ratio))


@transform(
    source="Bernstein & Newhouse 2024, arXiv:2409.20325; consistent_rms: Liu et al. 2025, arXiv:2502.16982", homogeneity=1, ndim=2
)
@per_leaf(sees="matrix")
def scale_by_shape(
    g, s, p, c,
    weight_dimension_numbers: Roles = None, consistent_rms: NonNegative | None = None, shape_scale: ShapeScale = "original",
):  # fmt: skip
    """Scale a matrix by its shape, so that one learning rate serves all.

        u = sqrt(max(1, outputs / inputs)) g
        u = sqrt(outputs / inputs) g                                        if shape_scale="spectral"
        u = 0.2 sqrt(max(inputs, outputs)) g                                if shape_scale="match_rms_adamw"
        u = g                                                               if shape_scale=None
        u = consistent_rms sqrt(max(inputs, outputs)) g                     with consistent_rms

    Args:
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.
      consistent_rms: the root mean square of every matrix's step, in units of the rate; None: as shape_scale says.
      shape_scale: how a matrix's step depends on its shape: "original", sqrt(max(1, outputs / inputs)); "spectral", without the max;
        "match_rms_adamw", 0.2 sqrt(max(inputs, outputs)); None: not at all.

    >>> tx = gx.chain(gx.contrib.scale_by_muon(), gx.scale_by_shape(), gx.scale_by_learning_rate(0.02))
    >>> updates, state = tx.update(grads["w"], tx.init(params["w"]), params["w"])

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   as `scale_by_muon`.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Bernstein & Newhouse 2024, arXiv:2409.20325; consistent_rms: Liu et al. 2025, arXiv:2502.16982.
    Differs  Optax has it inside `muon` only.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: consistent_rms < 0, an unknown shape_scale.
    """
    return shape_factor(shape_scale, consistent_rms, *g.shape) * g, s
