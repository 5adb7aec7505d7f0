"""The law about the fields of a state: 19."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradxform._errors import GradxformError
from gradxform._numerics import real_part, widen
from gradxform._types import Array, Axes, Field, Params, Shape
from gradxform.core._first import axes_of, entry_views
from gradxform.core._holes import flatten, is_array, is_gap, paths
from gradxform.core._stage import Stage
from gradxform.testing._case import DTYPES, Case, stages_at_any_depth
from gradxform.testing._laws import Skip, expect, law

Seen = list[tuple[Shape, Shape]]
"""The lengths of axes of its own beside the shape of the parameter, wherever an array was seen."""


@law(19, "a field's shape and dtype follow from the parameter's, by the axes and the dtype that it declares")
def fields(case: Case) -> Skip | None:
    """Three sizes of every axis tell which of a field's axes are the parameter's. Every stage begins with what it sees of it."""
    if case.by_hand:
        return Skip("written by hand, no field is declared")
    trees = [*itertools.product(_three(case.shapes), (jnp.float32,)), *((case.shapes, d) for d in DTYPES if d != jnp.float32)]
    own: dict[Any, Seen] = {}
    for i, (shapes, dtype) in enumerate(trees):
        params = dataclasses.replace(case, shapes=shapes).params(dtype)
        try:
            jax.eval_shape(case.tx.init, params)
        except GradxformError:  # law 1 says which dtypes may be refused, and the caller which shapes
            if i == 0:
                raise
            continue
        for number, (stage, seen) in enumerate(stages_at_any_depth(case.tx, params)):
            _follow(number, stage, seen, own)
    return None


def _three(shapes: Mapping[str, Shape]) -> list[Mapping[str, Shape]]:
    """The leaves, taller ones, and ones with more of everything."""
    taller, larger = lambda shape: tuple(n + 1 for n in reversed(shape)), lambda shape: tuple(n + 3 for n in shape)
    return [{name: change(shape) for name, shape in shapes.items()} for change in (tuple, taller, larger)]


def _follow(number: int, stage: Stage, params: Params, own: dict[Any, Seen]) -> None:
    """Compare the first state with the declaration; `own` collects the sizes of axes that are not the parameter's."""
    record = stage.layout.unbox(jax.eval_shape(stage.init, params))
    leaves, treedef = flatten(params)
    for name in stage.layout.leaf:
        field, tree = stage.layout.fields[name], getattr(record, name)
        entries = [] if tree is None else treedef.flatten_up_to(tree)
        stages = stage.by_leaf(params) or [stage] * len(leaves)
        for path, p, entry, view, own_stage in zip(
            paths(params), leaves, entries, entry_views(stage, params), stages, strict=False
        ):
            if not is_array(p) or is_gap(entry):
                continue
            where = f"{stage.name()}: the state's `{name}` at {path!r}"
            axes = axes_of(own_stage, field, p.shape, view)
            declared, structure = jax.tree.flatten(Axes(*range(p.ndim)) if axes is None else axes)
            arrays, found = jax.tree.flatten(entry)
            expect(structure == found, f"{where} is {found}, but its axes are declared for {structure}.")
            for k, (a, x) in enumerate(zip(declared, arrays, strict=True)):
                follows = len(a) == x.ndim and all(i is None or p.shape[i] == n for i, n in zip(a, x.shape, strict=True))
                expect(
                    follows, f"{where} has shape {x.shape} beside a parameter of shape {p.shape}, but its axes are declared as {a}."
                )
                sizes = tuple(n for i, n in zip(a, x.shape, strict=True) if i is None)
                before = own.setdefault((number, name, path, k, a), [])
                before.append((sizes, p.shape))
                expect(
                    not any(map(_is_the_parameters, itertools.repeat(before), range(len(sizes)))),
                    f"{where}: axes of its own, declared as None in {a}, have sizes {sizes}, elsewhere {before[0][0]}, always as the "
                    "parameter's.",
                )
                _of_dtype(where, stage, field, p, x)


def _is_the_parameters(seen: Seen, j: int) -> bool:
    """Whether the j-th axis of its own has several lengths, each time that of one and the same axis of the parameter."""
    matching = [{i for i, n in enumerate(shape) if n == sizes[j]} for sizes, shape in seen]
    return len({sizes[j] for sizes, _ in seen}) > 1 and len(set.intersection(*matching)) == 1


def _of_dtype(where: str, stage: Stage, field: Field, p: Array, x: Array | jax.ShapeDtypeStruct) -> None:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return
    stored = stage.args.get(field.stored) if field.stored else None
    declared = jnp.dtype(p.dtype if field.dtype == "p" else widen(p.dtype))
    if stored is not None:
        expect(real_part(x.dtype) == real_part(jnp.dtype(stored)), f"{where} is {x.dtype}, but `{field.stored}` is {stored!r}.")
    else:
        declared = real_part(declared) if field.dtype == "real" else declared
        expect(x.dtype == declared, f"{where} is {x.dtype} beside a parameter of {p.dtype}, but is declared as {declared}.")
