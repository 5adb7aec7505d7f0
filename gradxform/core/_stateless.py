"""Transformations from plain functions, and extra arguments for transformations that know of none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from gradxform.core._chain import check_transformation
from gradxform.core._holes import is_array, is_gap
from gradxform.core._state import EmptyState
from gradxform.core._transformation import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Spec,
    extra_args_for,
    transformation,
)


def init_empty_state(params: Any) -> EmptyState:
    """The `init` of a transformation without a state."""
    del params
    return EmptyState()


class Stateless(Spec):
    """The update of `stateless` and `stateless_with_tree_map`."""

    def __init__(self, f: Callable[..., Any], by_leaf: bool):
        self.f, self.by_leaf = f, by_leaf

    def name(self) -> str:
        return "stateless_with_tree_map" if self.by_leaf else "stateless"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.f,), {}

    def init(self, params: Any) -> EmptyState:
        return init_empty_state(params)

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del extra
        if not self.by_leaf:
            return self.f(updates, params), state
        at = lambda g, p=None: g if is_gap(g) or not is_array(g) else self.f(g, p)
        return jax.tree.map(at, updates, *(() if params is None else (params,)), is_leaf=is_gap), state


def stateless(f: Callable[[Any, Any], Any]) -> GradientTransformationExtraArgs:
    """Make a transformation from a function of updates and parameters. It can be used as a decorator.

        u = f(g, p)

    State    EmptyState.
    Source   Optax.
    Differs  extra arguments are accepted.
    """
    return transformation(Stateless(f, by_leaf=False))


def stateless_with_tree_map(f: Callable[[Any, Any], Any]) -> GradientTransformationExtraArgs:
    """Make a transformation from a function of one update and its parameter, both arrays; without `params` it gets None.

        u = f(g, p) at every leaf

    State    EmptyState.
    Shapes   any; absent leaves and those without inexact numbers are passed on.
    Source   Optax.
    Differs  extra arguments are accepted; `elementwise` and `per_leaf` do more for a function of this kind: hyperparameters with ranges,
             schedules, wide arithmetic, a name.
    """
    return transformation(Stateless(f, by_leaf=True))


class WithExtraArgs(Spec):
    """The update of `with_extra_args_support`."""

    bare_state = True

    def __init__(self, tx: Any):
        self.tx = tx

    def name(self) -> str:
        return "with_extra_args_support"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.tx,), {}

    def init(self, params: Any) -> Any:
        return self.tx.init(params)

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return self.tx.update(updates, state, params, **extra_args_for(self.tx.update, extra))


def with_extra_args_support(tx: GradientTransformation) -> GradientTransformationExtraArgs:
    """Let a transformation accept, and ignore, extra arguments that its `update` does not take.

    State    that of tx; one that accepts them already comes back as it is.
    Source   Optax.
    Differs  arguments that `update` names reach it, whatever the class of tx is.
    Raises   StructureError: tx is not a transformation.
    """
    check_transformation(tx, "with_extra_args_support")
    return tx if isinstance(tx, GradientTransformationExtraArgs) else transformation(WithExtraArgs(tx))
