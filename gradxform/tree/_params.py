"""Mapping over the parts of a state that are laid out like the parameters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
from jax.tree_util import KeyPath

from gradxform._errors import StructureError
from gradxform._types import OptState, Params, Tree
from gradxform.tree._leafwise import is_encoded, is_gap


@jax.tree_util.register_pytree_node_class
class StandIn:
    """Stands for the parameters when only their places in a state are asked for: a node around a single scalar leaf.

    An `init` that maps over the parameters leaves such a node wherever its state has a tree like them. A mask or a tree of labels
    cannot have this structure: `init` passes a stand-in on whole. Optax's does that for an instance of its own placeholder, as
    which this one answers where Optax is loaded; unlike Optax's it has a leaf, for an `init` that looks at the first one.
    """

    def __init__(self, leaf: Tree):
        self.leaf = leaf

    @property
    def __class__(self):  # type: ignore[override]
        return getattr(sys.modules.get("optax.tree_utils._state_utils"), "_ParamsPlaceholder", type(self))

    def tree_flatten(self) -> tuple[tuple[Tree], None]:
        return (self.leaf,), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Tree]) -> StandIn:
        del aux
        return cls(*children)


def is_stand_in(x: Tree) -> bool:
    """Whether x stands for the parameters: a `StandIn`, or Optax's placeholder."""
    return isinstance(x, StandIn) or type(x).__name__ == "_ParamsPlaceholder"


class HasInit(Protocol):
    """A transformation, of Optax or of any other library."""

    @property
    def init(self) -> Callable[[Params], OptState]: ...


def map_params(
    initable: HasInit | Callable[[Params], OptState],
    f: Callable[..., Tree],
    state: OptState,
    /,
    *rest: Tree,
    transform_non_params: Callable[[Any], Tree] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Tree:
    """Apply f(leaf, *leaves of rest) to every tree in the state that is laid out like the parameters.

        map_params(tx, lambda _, spec: spec, state, specs, transform_non_params=lambda _: PartitionSpec())

    `initable` is the transformation, or its `init`; `rest` are trees laid out like the parameters; `transform_non_params` is
    applied to all other leaves; absent leaves are stepped over unless `is_leaf` holds for them. Where a leaf is stored otherwise than as
    an array (`store`), f is given what has the shape of the leaf, its codes; the rest, as a seed, counts with the other leaves.

    Args:
      initable: a transformation, or its `init`.
      f: (leaf, *leaves of rest) -> leaf.
      state: its state.
      rest: trees laid out like the parameters.
      transform_non_params: a function of the arrays that are not laid out like the parameters; None: they stay.
      is_leaf: what counts as a leaf, as in `jax.tree.map`.

    >>> tx = gx.adam(1e-3)
    >>> kinds = gx.tree_map_params(tx, lambda _: "like a parameter", tx.init(params), transform_non_params=lambda _: "other")
    >>> kinds[0].count
    'other'
    """
    places = _places(initable)
    met = set()

    def at(path: KeyPath, node: Tree) -> Tree:
        if path in places:
            met.add(path)
            return _map_present(f, node, *rest, other=transform_non_params, is_leaf=is_leaf)
        return node if transform_non_params is None else transform_non_params(node)

    result = jax.tree.map_with_path(at, state, is_leaf=lambda path, _: path in places, is_leaf_takes_path=True)
    if missing := places - met:
        listed = ", ".join(sorted(jax.tree_util.keystr(p) or "(root)" for p in missing))
        raise StructureError(
            f"map_params: {initable!r:.200} keeps something like the parameters at {listed}, and this state has nothing there: "
            f"{state!r:.200}. Pass the state that its `init` or last `update` returned."
        )
    return result


def _places(initable: HasInit | Callable[[Params], OptState]) -> set[KeyPath]:
    """The paths at which a fresh state has something like the parameters."""
    init = cast(Callable[[Params], OptState], getattr(initable, "init", initable))
    try:
        fresh = init(StandIn(jnp.zeros(())))
    except Exception as e:
        raise StructureError(
            f"map_params: `init` of {initable!r:.200} could not be called with a stand-in for the parameters, one node around a "
            f"scalar ({type(e).__name__}: {e!s:.200}). Let it map over the parameters, whatever their structure is."
        ) from e
    return {path for path, x in jax.tree_util.tree_leaves_with_path(fresh, is_leaf=is_stand_in) if is_stand_in(x)}


def _map_present(
    f: Callable[..., Tree], tree: Tree, *rest: Tree, other: Callable[[Any], Tree] | None, is_leaf: Callable[[Any], bool] | None
) -> Tree:
    asked = is_leaf or (lambda _: False)

    def at(x: Tree, *ys: Tree) -> Tree:
        if asked(x) or not (is_gap(x) or is_encoded(x)):
            return f(x, *ys)
        part = lambda y: f(y, *ys) if y.shape == x.shape else y if other is None else other(y)
        return type(x)(*map(part, x)) if is_encoded(x) else x

    return jax.tree.map(at, tree, *rest, is_leaf=lambda x: asked(x) or is_gap(x) or is_encoded(x))
