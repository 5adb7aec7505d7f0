"""Rates and initial sizes that fit a wider model, from those of a narrow one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from gradxform._errors import StructureError
from gradxform._types import Inner, Params, Shape, Tree
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._holes import flatten, is_array, paths
from gradxform.core._roles import DimensionNumbers, Role, roles_of
from gradxform.optimizers import adam
from gradxform.registry import transform
from gradxform.tree import zeros_like

Rule = Literal["adam", "sgd", "spectral", "muon"]
Shapes = Tree | Callable[[Params], Tree]


class ScaleByWidthState(NamedTuple):
    """The inner state."""

    base_optimizer_state: Inner


def _sizes(role: Role | None, shape: Shape) -> tuple[int, int]:
    """Inputs and outputs; what is no matrix has outputs only."""
    return (1, math.prod(shape)) if role is None else role.sizes(shape)


def _pairs(owner: str, tree: Tree, base_shapes: Shapes, roles: DimensionNumbers) -> list[tuple[bool, Shape, Shape] | None]:
    """Of each array whether it is a matrix, (inputs, outputs), and those at the base width."""
    base = base_shapes(tree) if callable(base_shapes) else base_shapes
    of_base = dict(zip(paths(base), flatten(base)[0], strict=True))
    found: list[tuple[bool, Shape, Shape] | None] = []
    for path, x, role in zip(paths(tree), flatten(tree)[0], roles_of(owner, roles, tree), strict=True):
        if not is_array(x):
            found.append(None)
            continue
        shape = getattr(of_base.get(path), "shape", None)
        if shape is None or len(shape) != len(x.shape):
            there = "nothing" if shape is None else f"shape {tuple(shape)}"
            raise StructureError(
                f"{owner}: at {path!r} the leaf has shape {tuple(x.shape)}, but `base_shapes` has {there} there. Give the shapes of "
                "the same model at the base width: `jax.eval_shape(init, key)` of it."
            )
        found.append((role is not None, _sizes(role, x.shape), _sizes(role, shape)))
    return found


def _clipped(ratio: float) -> float:
    return math.sqrt(ratio) / max(1.0, math.sqrt(ratio))


def _factor(rule: Rule, matrix: bool, sizes: Shape, base: Shape) -> float:
    (n, m), (n0, m0) = sizes, base
    a, b = n / max(n0, 1), m / max(m0, 1)
    if rule in ("adam", "sgd"):
        return 1 / a if rule == "adam" else b / a
    if not matrix:
        return 1.0
    return math.sqrt(b / a) if rule == "spectral" else _clipped(m / n) / _clipped(m0 / n0)


@transform(
    source="Yang et al. 2022, arXiv:2203.03466; Yang, Simon & Bernstein 2023, arXiv:2310.17813",
    example={"base_optimizer": adam(0.1), "base_shapes": zeros_like},
    homogeneity=0,
)
@wrapper(ScaleByWidthState, scope="per_leaf")
def scale_by_width(
    g, s, p, c, base_optimizer: GradientTransformation, base_shapes: Shapes, rule: Rule = "adam",
    *, weight_dimension_numbers: DimensionNumbers = None,
):  # fmt: skip
    """Scale the steps of each leaf by its width, so that the rate that is best for a narrow model is best for wider ones.

        u = factor base_optimizer(g)
        a = inputs / base inputs                b = outputs / base outputs; what is no matrix: a = 1, b = size / base size
        factor = 1 / a                          rule="adam": steps whose elements do not depend on the size of g
        factor = b / a                          rule="sgd": steps in proportion to g
        factor = sqrt(b / a)                    rule="spectral": steps of spectral norm 1; 1 where there is no matrix
        factor = c(outputs / inputs) / c(base outputs / base inputs)
                                                rule="muon", c(x) = sqrt(x) / max(1, sqrt(x)): steps of norm sqrt(max(1, outputs / inputs))

    Args:
      base_optimizer: the optimizer, with the rate that is right at the base width.
      base_shapes: the shapes of the same model at the base width: a tree of arrays or of `jax.ShapeDtypeStruct`; or a function of the
        updates that returns one.
      rule: how large the steps of base_optimizer are: "adam", "sgd", "spectral", "muon".
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> base = {"w": jax.ShapeDtypeStruct((2, 2), jnp.float32), "b": jax.ShapeDtypeStruct((2,), jnp.float32)}
    >>> tx = gx.chain(gx.scale_by_width(gx.adam(1e-2), base), gx.add_decayed_weights(-1e-4))

    State    ScaleByWidthState(base_optimizer_state). Memory: that of base_optimizer.
    Units    those of base_optimizer at the base width.
    Shapes   any: an embedding is a matrix whose inputs stay, an output layer one whose outputs do. At the base width every factor is 1.
    Sharded  inside `shard_map` the device's own part of a leaf counts as the leaf; under `jit` the whole does.
    Source   Yang et al. 2022, arXiv:2203.03466, table 8 ("adam", "sgd"); the spectral condition, Yang, Simon & Bernstein 2023,
             arXiv:2310.17813, for steps of a given norm.
    Differs  one wrapper for any optimizer, by the ratio of shapes rather than by an own initialization. A decay within base_optimizer is
             scaled, too: chain it behind.
    Raises   StructureError: a leaf that base_shapes lacks or has with other axes, roles that do not fit a leaf. HyperparameterError: an
             unknown rule.
    """
    u, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    pairs = _pairs("scale_by_width", u, base_shapes, weight_dimension_numbers)
    leaves, treedef = flatten(u)
    scaled = [x if pair is None else _factor(rule, *pair) * x for x, pair in zip(leaves, pairs, strict=True)]
    return treedef.unflatten(scaled), s._replace(base_optimizer_state=inner_state)


def initial_scale(params: Params, base_shapes: Shapes, *, weight_dimension_numbers: DimensionNumbers = None) -> Tree:
    """By what to multiply the standard deviation of each leaf that is right at the base width.

        scale = s(inputs, outputs) / s(base inputs, base outputs)           s(n, m) = min(1, sqrt(m / n)) / sqrt(n)

    Args:
      params: the parameters of the wide model, or their shapes.
      base_shapes: the shapes of the same model at the base width: a tree of arrays or of `jax.ShapeDtypeStruct`; or a function of the
        parameters that returns one.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> wide, base = (jax.ShapeDtypeStruct((n, n), jnp.float32) for n in (256, 64))
    >>> gx.initial_scale(wide, base)
    0.5

    Returns:
      a tree of numbers; 1.0 for what is no matrix.

    Units    none: a ratio.
    Source   Yang, Simon & Bernstein 2023, arXiv:2310.17813, condition 1 for the initial weights.
    Raises   StructureError: a leaf that base_shapes lacks or has with other axes, roles that do not fit a leaf.
    """
    size = lambda n, m: min(1.0, math.sqrt(m / n)) / math.sqrt(n)
    pairs = _pairs("initial_scale", params, base_shapes, weight_dimension_numbers)
    ratios = [1.0 if pair is None or not pair[0] else size(*pair[1]) / size(*pair[2]) for pair in pairs]
    return flatten(params)[1].unflatten(ratios)
