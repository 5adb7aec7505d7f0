"""Views: what a transformation inside another sees of a tree, and how its answer is put back.

The updates, the parameters, extra arguments laid out like them, and functions of the parameters such as `value_fn` all go through the view,
in `init`, in `update` and in `eval_params`; a wrapper declares it (`wrapper(state, view=...)`) and forwards nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from gradxform._types import Tree
from gradxform.core._evaluate import After
from gradxform.core._explicit import Place, at, at_all, place_of
from gradxform.core._holes import flatten, is_array
from gradxform.core._transformation import extra_args_for


class View:
    """Everything, as it is. A subclass compares by value and hashes, and is made for trees of one structure."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def see(self, tree: Tree) -> Tree:
        """What the transformation inside sees of a tree."""
        return tree

    def put(self, tree: Tree, seen: Tree) -> Tree:
        """The tree with what has become of the part that was seen."""
        del tree
        return seen

    @property
    def is_plain(self) -> bool:
        return type(self) is View

    def after(self, after: After, params: Tree) -> After:
        """`after` (see `gradxform.core._evaluate`) for what is inside."""
        return after if self.is_plain else lambda seen: self.see(after(self.put(params, seen)))

    def extra(self, extra: Mapping[str, Tree], like: Tree, params: Tree) -> dict[str, Tree]:
        """Extra arguments as they are seen inside.

        Those with the structure of `like`, the updates, are seen as they are. A function of the parameters, such as `value_fn`, may be
        called with what is seen of them. The rest passes.
        """
        if self.is_plain:
            return dict(extra)
        (leaves, treedef), alike = flatten(like), {}
        for name, x in extra.items():
            theirs, structure = flatten(x)
            alone = any(leaf is x for leaf in theirs)  # a tree of one leaf tells nothing by its structure
            if structure == treedef and (not alone or (is_array(x) and jnp.shape(x) == jnp.shape(leaves[0]) != ())):
                alike[name] = x
        found = {**extra, **{k: self.see(x) for k, x in alike.items()}}
        for name, f in extra.items():
            if callable(f) and name not in alike and params is not None:
                found[name] = FilledIn(f, params, extra_args_for(f, alike), self)
        return found


@jax.tree_util.register_pytree_node_class
class FilledIn:
    """A function of the parameters, such as `value_fn`, for callers that see only a part of them.

    What they do not see is filled in, extra arguments are whole again, and of a result with the structure of the parameters they see
    their part. It is a tree, so that a compiled caller takes the parameters as arguments.
    """

    def __init__(self, f: Callable[..., Tree], params: Tree, extra: Mapping[str, Tree], view: View):
        self.__wrapped__, self.params, self.extra, self.view = f, params, extra, view

    def tree_flatten(self) -> tuple[tuple[Callable[..., Tree], Tree, Mapping[str, Tree]], View]:
        return (self.__wrapped__, self.params, self.extra), self.view

    @classmethod
    def tree_unflatten(cls, aux: View, children: tuple[Callable[..., Tree], Tree, Mapping[str, Tree]]) -> FilledIn:
        f, params, extra = children
        return cls(f, params, extra, aux)

    def __call__(self, *args: Tree, **kwargs: Tree) -> Tree:
        seen = flatten(self.view.see(self.params))[1]
        if args and flatten(args[0])[1] == seen:
            args = (self.view.put(self.params, args[0]), *args[1:])
        out = self.__wrapped__(*args, **{k: self.extra.get(k, x) for k, x in kwargs.items()})
        whole = flatten(self.params)[1]
        return self.view.see(out) if flatten(out)[1] == whole and not is_array(out) else out


@dataclasses.dataclass(frozen=True)
class Split(View):
    """All leaves, but split as a state is."""

    places: tuple[Place, ...]

    def see(self, tree: Tree) -> Tree:
        leaves, treedef = flatten(tree)
        return treedef.unflatten(at_all(self.places, leaves, leaves)) if len(leaves) == len(self.places) else tree

    def put(self, tree: Tree, seen: Tree) -> Tree:
        leaves, treedef = flatten(tree)
        return treedef.unflatten([at(place_of(x), y, x) for x, y in zip(leaves, treedef.flatten_up_to(seen), strict=True)])
