"""Transformations from plain functions, and extra arguments for transformations that know of none."""

from __future__ import annotations

from collections.abc import Callable

import jax

from gradxform._types import Array, Inner, Params, Updates
from gradxform.core._holes import is_array, is_gap
from gradxform.core._lift import wrapper
from gradxform.core._state import EmptyState
from gradxform.core._transformation import GradientTransformation, GradientTransformationExtraArgs, check_transformation


def init_empty_state(params: Params) -> EmptyState:
    """The `init` of a transformation without a state.

    Args:
      params: the parameters, which are not looked at.

    >>> gx.init_empty_state(params)
    EmptyState()
    """
    del params
    return EmptyState()


@wrapper(EmptyState)
def stateless(g, s, p, c, f: Callable[[Updates, Params], Updates]):
    """Make a transformation from a function of updates and parameters. It can be used as a decorator.

        u = f(g, p)

    Args:
      f: (updates, params) -> updates.

    >>> double = gx.stateless(lambda updates, params: jax.tree.map(lambda u: 2 * u, updates))

    State    EmptyState.
    Source   Optax.
    Differs  extra arguments are accepted.
    """
    return f(g, p), s


@wrapper(EmptyState, scope="per_leaf")
def stateless_with_tree_map(g, s, p, c, f: Callable[[Array, Array | None], Array]):
    """Make a transformation from a function of one update and its parameter, both arrays; without `params` it gets None.

        u = f(g, p) at every leaf

    Args:
      f: (update, parameter) -> update, of arrays.

    >>> shrink = gx.stateless_with_tree_map(lambda u, p: u + 0.1 * p)

    State    EmptyState.
    Shapes   any; absent leaves and those without inexact numbers are passed on.
    Source   Optax.
    Differs  extra arguments are accepted; `elementwise` and `per_leaf` do more for a function of this kind: hyperparameters with ranges,
             schedules, wide arithmetic, a name.
    """

    def at(g: Array, p: Params = None) -> Array:
        return g if is_gap(g) or not is_array(g) else f(g, p)

    return jax.tree.map(at, g, *(() if p is None else (p,)), is_leaf=is_gap), s


@wrapper(Inner, scope="elementwise")
def _with_extra_args_support(g, s, p, c, tx: GradientTransformation):
    """As `tx`."""
    return tx.update(g, s, p)


def with_extra_args_support(tx: GradientTransformation) -> GradientTransformationExtraArgs:
    """Let a transformation accept, and ignore, extra arguments that its `update` does not take.

    Args:
      tx: a transformation of any library.

    >>> tx = gx.with_extra_args_support(gx.adam(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params, value=2.0)

    State    that of tx; one that accepts them already comes back as it is.
    Source   Optax.
    Differs  arguments that `update` names reach it, whatever the class of tx is.
    Raises   StructureError: tx is not a transformation.
    """
    check_transformation(tx, "with_extra_args_support")
    return tx if isinstance(tx, GradientTransformationExtraArgs) else _with_extra_args_support(tx)
