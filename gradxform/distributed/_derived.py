"""How the arrays of a state are split, derived from how the parameters are.

JAX is asked first: where an `init` is traced with every axis of the mesh explicit, an array carries its sharding in its type. What it
cannot type is taken apart; there each field is split as its declared axes say, cut to what divides.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import cast

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from gradxform._types import Axes, Field, OptState, Params, Shape, Tree
from gradxform.core import GradientTransformation
from gradxform.core._blocks import Blocks, views_of
from gradxform.core._dealt import is_settled, keeps_matrices
from gradxform.core._encoded import is_encoded
from gradxform.core._first import axes_of, entry_views, types_alone
from gradxform.core._holes import flatten, is_gap
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec
from gradxform.core._travel import Spread
from gradxform.distributed._per_device import on_all_devices
from gradxform.distributed._zero import AnyMesh, AxisNames, axes_in, names_of, ways, zero_spec
from gradxform.tree._params import map_params

Shaped = jax.ShapeDtypeStruct
Typed = Tree
"""A tree of `Shaped` that say how they are split."""


def spec_of(x: Shaped) -> PartitionSpec:
    """How it is split, without what is said of whole axes at the end."""
    entries = list(getattr(x.sharding, "spec", None) or ())
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries)


def _is_shaped(x: Tree) -> bool:
    return isinstance(x, Shaped)


@dataclasses.dataclass(frozen=True)
class Derivation:
    """What a state is derived for.

    Attributes:
      mesh: the devices.
      zero: the axes along which is split what has lost its own sharding, as a vector of all parameters has.
    """

    mesh: AnyMesh
    zero: AxisNames | None

    @functools.cached_property
    def explicit(self) -> AbstractMesh:
        """The mesh with every axis explicit, whatever it is elsewhere."""
        sizes = self.mesh.shape
        return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Explicit,) * len(sizes))

    def split(self, x: Shaped, spec: PartitionSpec) -> Shaped:
        return Shaped(x.shape, x.dtype, sharding=NamedSharding(self.explicit, spec))

    def further(self, x: Shaped, zero: AxisNames) -> Shaped:
        """An array of several axes split along `zero`, if its parameter's being split has not split it."""
        return self.split(x, zero_spec(spec_of(x), x.shape, self.mesh, zero)) if x.ndim > 1 else x

    def typed(self, f: Callable[..., Tree], *args: Tree) -> Typed:
        """What f returns of abstract arrays, with how it is split; other leaves it gets as they are."""
        leaves, treedef = jax.tree.flatten(args)
        arrays = {i: x for i, x in enumerate(leaves) if _is_shaped(x)}

        def call(arrays: dict[int, Tree]) -> Tree:
            token = types_alone.set(True)
            try:
                with on_all_devices(self.mesh):
                    return f(*treedef.unflatten([arrays.get(i, x) for i, x in enumerate(leaves)]))
            finally:
                types_alone.reset(token)

        with jax.sharding.use_abstract_mesh(next((x.sharding.mesh for x in arrays.values() if x.sharding), NOWHERE)):
            return jax.eval_shape(call, arrays)

    def untyped(self, f: Callable[..., Tree], *args: Tree) -> Tree:
        """The same, not split: this JAX can tell of everything."""
        return self.typed(f, *jax.tree.map(lambda x: Shaped(x.shape, x.dtype) if _is_shaped(x) else x, args))

    def state(self, tx: GradientTransformation, params: Typed, like: OptState = None) -> Typed:
        """The state of a transformation, laid out as `like`, which may hold encoded entries where `init` makes none."""
        spec = getattr(tx, "update", None)
        if isinstance(spec, Stage) and self._spread(spec) is not None:
            return self._dealt(spec, params, like)
        try:
            found = None if self._deals(spec) else self.typed(tx.init, params)
            if found is not None and (like is None or _shapes(found) == _shapes(like)):
                return found
        except Exception:  # JAX has no rule for how something in `init` is split, or it is wrong itself: then it fails below
            pass
        state = self.untyped(tx.init, params) if like is None else like
        if not isinstance(spec, Spec):
            return self._of_another_library(tx, params, state)
        state = self._own(spec, params, state) if isinstance(spec, Stage) else state
        parts = spec.parts(state)
        if not parts:
            return state
        views = self._seen(lambda p: list(spec.seen(p, len(parts))), params)
        inside = [
            self.state(cast(GradientTransformation, part.tx), view, part.state) for part, view in zip(parts, views, strict=True)
        ]
        join = lambda s, new: spec.joined(s, [p._replace(state=x) for p, x in zip(parts, new, strict=True)])[1]
        return self.typed(join, state, inside)

    def _spread(self, spec: object) -> Spread | None:
        """Over what a stage deals out matrices with their state, if it does, and the mesh has it."""
        spread = spec.slot.spread if isinstance(spec, Stage) else None
        return spread if spread is not None and spread.with_state and set(spread.axes) <= set(self.mesh.shape) else None

    def _deals(self, spec: object) -> bool:
        """Whether it, or something inside it, does."""
        inside = spec.members if isinstance(spec, Spec) else ()
        return self._spread(spec) is not None or any(self._deals(getattr(tx, "update", None)) for tx in inside)

    def _dealt(self, stage: Stage, params: Typed, like: OptState) -> Typed:
        """The state of a stage that deals out matrices: it rests with them where the devices divide a leaf's number of matrices; of other
        leaves, what has axes of its own is split along these axes of the mesh, too.
        """
        spread, layout = self._spread(stage), stage.layout
        assert spread is not None
        state = self.untyped(stage.init, params) if like is None else like
        record, (leaves, treedef) = layout.read(state, stage.owner), flatten(params)
        names = [name for name in layout.leaf if name not in layout.like_params and getattr(record, name) is not None]
        of_leaves = lambda record: [treedef.flatten_up_to(getattr(record, name)) for name in names]
        views = views_of(stage, params)
        rows = zip(leaves, views, zip(*of_leaves(record), strict=True), strict=True)
        stacked = [self._over_stack(p, view, own, spread) for p, view, own in rows]
        found = self._own(stage, treedef.unflatten(stacked), state)
        along = lambda view: functools.partial(self._along_first, axes=spread.axes, lead=view.lead if view else 0)
        at = lambda p, s, view, x: x if s is not p else jax.tree.map(along(view), x)
        new = [list(map(at, leaves, stacked, views, xs)) for xs in of_leaves(layout.read(found, stage.owner))]
        found = layout.write(found, dict(zip(names, map(treedef.unflatten, new), strict=True)))
        zero = self.zero
        return found if zero is None else jax.tree.map(lambda x: self.further(x, zero), found)

    def _over_stack(self, p: Tree, view: Blocks | None, entries: Sequence[Tree], spread: Spread) -> Tree:
        """A leaf, split along the axis that counts its matrices, if they are dealt out and the devices divide their number."""
        if view is None or not view.lead or not _is_shaped(p) or not is_settled(view.seen, ways(spread.axes, self.mesh.shape)):
            return p
        parts = zip(view.pieces, *map(view.entries, entries), strict=True)
        if not any(keeps_matrices(own, len(piece.batch)) for piece, *own in parts):
            return p
        first = spread.axes[0] if len(spread.axes) == 1 else spread.axes
        return self.split(p, PartitionSpec(*(first if i == view.order[0] else None for i in range(p.ndim))))

    def _along_first(self, x: Shaped, axes: tuple[str, ...], lead: int) -> Shaped:
        """An array of several axes, split by each of these of the mesh along the first that it divides behind those that count matrices,
        and not along others.
        """
        others = [tuple(a for a in names_of(entry) if a not in axes) for entry in spec_of(x)]
        bare = PartitionSpec(*(one[0] if len(one) == 1 else one or None for one in others))
        behind = (*(1,) * min(lead, x.ndim), *x.shape[lead:])
        found = functools.reduce(lambda spec, axis: zero_spec(spec, behind, self.mesh, axis), axes, bare)
        return self.split(x, found) if x.ndim > 1 and set(axes) <= axes_in(found) else x

    def _seen(self, see: Callable[[Params], Tree], params: Typed) -> Tree:
        """What the transformations inside see of the parameters."""
        only = lambda p: jax.tree.map(lambda x: x if hasattr(x, "dtype") else None, see(p))
        try:
            return self.typed(only, params)
        except Exception:
            seen = self.untyped(only, params)
        whole = PartitionSpec()
        spec = lambda n: whole if self.zero is None else zero_spec(whole, n, self.mesh, self.zero)
        return jax.tree.map(lambda x: self.split(x, spec(x.shape)), seen)

    def _of_another_library(self, tx: GradientTransformation, params: Typed, state: OptState) -> Typed:
        """What is laid out like the parameters is split like them; the rest is whole."""
        whole = lambda x: self.split(x, PartitionSpec())
        like = lambda x, p: self._along(x, p, Axes(*range(p.ndim))) if x.shape == p.shape else whole(x)
        return map_params(tx, like, state, params, transform_non_params=whole)

    def _own(self, stage: Stage, params: Typed, state: OptState) -> Typed:
        """The state with what the fields of one stage, apart from those inside, are declared to be."""
        layout = stage.layout
        record, (leaves, treedef) = layout.read(state, stage.owner), flatten(params)
        stages, new = stage.by_leaf(params) or [stage] * len(leaves), {}
        for name, field in layout.fields.items():
            if field.kind == "inner" or layout.cls is None:
                continue
            value = getattr(record, name)
            if field.kind == "leaf" and value is not None:
                entries = zip(stages, leaves, treedef.flatten_up_to(value), entry_views(stage, params), strict=True)
                new[name] = treedef.unflatten([self._entry(own, field, *each) for own, *each in entries])
            elif name != layout.clock or not layout.boxed:
                new[name] = jax.tree.map(lambda x: self.split(x, PartitionSpec()), value)
        return layout.write(state, new)

    def _entry(self, stage: Stage, field: Field, p: Tree, entry: Tree, view: Blocks | None) -> Typed:
        if is_gap(entry) or not _is_shaped(p):
            return entry
        like = Axes(*range(p.ndim))
        if is_encoded(entry):
            return jax.tree.map(lambda x: self._along(x, p, like), entry)
        axes = axes_of(stage, field, p.shape, view)
        along = lambda a, x: jax.tree.map(lambda y: self._along(y, p, a), x)
        return jax.tree.map(along, like if axes is None else axes, entry, is_leaf=lambda a: isinstance(a, Axes))

    def _along(self, x: Shaped, p: Shaped, axes: Axes) -> Shaped:
        """An array whose axes are these of the parameter's, each split as there if that divides it, the first time that it comes."""
        if len(axes) != x.ndim:
            return self.split(x, PartitionSpec())
        theirs = dict(enumerate(p.sharding.spec))
        entries = [None if axis is None or axis in axes[:i] else theirs.get(axis) for i, axis in enumerate(axes)]
        sizes = self.mesh.shape
        return self.split(
            x, PartitionSpec(*(e if n % ways(e, sizes) == 0 else None for e, n in zip(entries, x.shape, strict=True)))
        )


NOWHERE = AbstractMesh((), ())


def _shapes(state: OptState) -> tuple[Tree, list[Shape]]:
    return jax.tree.structure(state), [x.shape for x in jax.tree.leaves(state)]
