"""The gradient of a penalty on the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import abs_sq, real_part
from gradxform._types import Array, Hyper, Params, Real, Tree
from gradxform.core import per_leaf, wrapper
from gradxform.core._hyper import at_rank
from gradxform.core._run import check_fit
from gradxform.registry import transform


def l1_penalty(p: Array) -> Array:
    """The sum of |p|. Its gradient is sign(p), and 0 at 0.

    Args:
      p: an array.

    >>> gx.l1_penalty(jnp.array([3.0, -4.0]))
    Array(7., dtype=float32)
    """
    return jnp.sum(jnp.abs(p))


def l2_penalty(p: Array) -> Array:
    """Half the sum of |p|^2. Its gradient is p.

    Args:
      p: an array.

    >>> gx.l2_penalty(jnp.array([3.0, -4.0]))
    Array(12.5, dtype=float32)
    """
    return jnp.sum(abs_sq(p)) / 2


def _gradient(penalty: Callable[[Any], Any], p: Tree) -> Tree:
    """The gradient of a penalty, in the direction of ascent for complex parameters too."""
    out = jax.tree.leaves(jax.eval_shape(penalty, p))
    if len(out) != 1 or out[0].shape != () or not jnp.issubdtype(out[0].dtype, jnp.floating):
        came = ", ".join(f"{x.dtype}{list(x.shape)}" for x in out) or "nothing"
        raise StructureError(
            f"add_regularizer: `penalty` must return one real number, but {_name(penalty)} returned {came}. Sum over the elements?"
        )
    return jax.tree.map(lambda x: x if x.dtype == jax.dtypes.float0 else x.conj(), jax.grad(penalty, allow_int=True)(p))


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", repr(fn))


@per_leaf(needs=("params",))
def _add_regularizer(g, s, p, c, penalty: Callable[[Any], Any], weight: Real):
    """Add weight times the gradient of a penalty on each leaf to the updates."""
    return g + weight * _gradient(penalty, p), s


def _call(penalty, weight):
    return "add_regularizer", {"penalty": penalty, "weight": weight, "whole_tree": True}


def _add(g: Array, slope: Array, weight: Array) -> Array:
    return g + at_rank(jnp.asarray(weight).astype(real_part(slope.dtype)), g.ndim) * slope


@wrapper(needs=("params",), call=_call)
def _add_tree_regularizer(g, s, p, c, penalty: Callable[[Params], Array], weight: Real):
    """Add weight times the gradient of a penalty on the whole tree to the updates."""
    check_fit(c.trees, "add_regularizer", {"weight": weight})
    return c.map(_add, g, _gradient(penalty, p), weight=weight), s


@transform(
    source="Tikhonov 1943",
    example={"penalty": l2_penalty, "weight": 0.1},
    identities=[
        ("add_regularizer(l2_penalty, 0.1)", "add_decayed_weights(0.1)"),
        ("add_regularizer(lambda p: tree.norm(p, squared=True) / 2, 0.1, whole_tree=True)", "add_decayed_weights(0.1)"),
    ],
)
def add_regularizer(penalty: Callable[[Any], Any], weight: Real[Hyper], *, whole_tree: bool = False):
    """Add weight times the gradient of a penalty on the parameters to the updates.

        u = g + weight grad(penalty)(p)

    penalty is a function of one leaf, summed over the leaves, such as `l1_penalty` and `l2_penalty`; with whole_tree=True, of the
    tree of parameters. It returns one real number.

    Args:
      penalty: a function of one leaf, or with whole_tree of the parameters, that returns one real number.
      weight: the factor of the penalty's gradient; a number or a schedule.
      whole_tree: whether the penalty is a function of the whole tree.

    >>> tx = gx.chain(gx.add_regularizer(gx.l1_penalty, 1e-4), gx.sgd(0.1))

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    weight has those of the loss over the penalty.
    Shapes   any that penalty takes. A leaf-wise penalty sees float32 or wider.
    Sharded  inside `shard_map` as unsharded, where functions of leaves return for the device's own part what they return for the
             whole.
    Source   Tikhonov 1943.
    Differs  Optax has only the L2 penalty, `add_decayed_weights`.
    Raises   MissingArgumentError: no params. StructureError: penalty does not return one real number.
             HyperparameterError: penalty is not a function, weight is not a finite number.
    """
    if not callable(penalty):
        raise HyperparameterError(f"add_regularizer: `penalty` must be a function of the parameters, but got {penalty!r}.")
    return (_add_tree_regularizer if whole_tree else _add_regularizer)(penalty, weight)
