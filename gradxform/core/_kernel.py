"""A kernel: the function of one transformation, and all that its decorator and its signature declare."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import typing
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol

from gradxform._errors import MissingArgumentError
from gradxform._parameters import Parameter, parameters_of, remembered
from gradxform._types import Array, Extra, Hyper, PerLeaf, Tree
from gradxform.core._hyper import evaluate, is_schedule
from gradxform.core._state import Layout
from gradxform.core._transformation import GradientTransformation, GradientTransformationExtraArgs, frozen

P = ParamSpec("P")
Arguments = Mapping[str, Any]
OUTSIDE = 4  # g, s, p, c: the arguments that are not hyperparameters


def named(fn: Callable[..., Any], given: Arguments) -> dict[str, Any]:
    """What `fn` names of what is given."""
    return {name: given[name] for name in names_of(fn) if name in given}


@remembered
def names_of(fn: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(fn).parameters)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """Everything about a transformation but the values of its arguments. The decorators (`_lift`) explain the fields."""

    name: str
    function: Callable[..., Any]
    scope: str
    layout: Layout
    whole: bool
    needs: Mapping[str, Extra]
    stack: bool = False
    sees: str | None = None
    total: Callable[..., Any] | None = None
    advance: Callable[..., Any] | None = None
    evaluate: Callable[..., Any] | None = None
    inner_steps: Callable[..., Any] | None = None
    view: Callable[..., Any] | None = None
    call: Callable[..., tuple[str, Mapping[str, Any]]] | None = None
    widens: bool = False
    averages: bool = False
    public: list[Lifted[...]] = dataclasses.field(default_factory=list)

    def __reduce__(self) -> tuple[object, ...]:
        return (_kernel_of, (self.public[0],))

    @functools.cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The declared arguments."""
        return parameters_of(self.function, OUTSIDE)

    @functools.cached_property
    def transformations(self) -> Mapping[str, Parameter]:
        """Those of them that are transformations."""
        hints = typing.get_type_hints(self.function)
        is_one = lambda hint: GradientTransformation in (hint, *typing.get_args(hint))
        return {n: p for n, p in self.parameters.items() if is_one(hints.get(n))}

    @functools.cached_property
    def inside(self) -> Mapping[str, str]:
        """The argument whose state each `Inner` field holds, in order; fields that say how theirs is made have none."""
        fields = [f for f in self.layout.inner if self.layout.fields[f].made is None]
        return dict(zip(fields, self.transformations, strict=True))

    @functools.cached_property
    def leaf_data(self) -> Mapping[str, PerLeaf]:
        """The arguments that label each leaf with a number."""
        return {n: p.per_leaf for n, p in self.parameters.items() if p.per_leaf is not None and p.per_leaf.of is None}

    @functools.cached_property
    def leaf_args(self) -> Mapping[str, type]:
        """The static arguments that may differ from leaf to leaf, with the type of one value."""
        marked = {n: p for n, p in self.parameters.items() if p.per_leaf is not None and p.per_leaf.of is not None}
        return {n: type(p.choices[0]) if p.choices else p.per_leaf.of for n, p in marked.items()}  # type: ignore[union-attr]

    @functools.cached_property
    def cutting(self) -> Mapping[str, str]:
        """The arguments that say how a leaf is cut, with what they say."""
        return {n: p.engine for n, p in self.parameters.items() if p.engine in ("roles", "block_size", "merge_dims")}

    @functools.cached_property
    def measures(self) -> bool:
        """Whether `total` looks at more than the incoming update."""
        return self.total is not None and len(names_of(self.total)) > 1

    def at(self, k: Array | int, args: Arguments) -> dict[str, Any]:
        """The arguments, schedules evaluated after k completed updates."""
        return {n: evaluate(v, k, self.name, n) if self.parameters[n].is_data else v for n, v in args.items()}

    def layout_for(self, args: Arguments) -> Layout:
        """The layout with these arguments: with a clock if one of them reads it."""
        reads = any(is_schedule(args[p.name]) if p.is_data else False for p in self.parameters.values())
        clocked = reads or any(p.reads_clock and _is_used(args[p.name]) for p in self.parameters.values())
        conditions = {n: self.layout.fields[n].when for n in self.layout.leaf}
        absent = [n for n, when in conditions.items() if when is not None and not when(**named(when, args))]
        layout = self.layout if self.whole else self.layout.without(tuple(absent))
        return layout.counted if clocked else layout.uncounted

    def shown(self, args: Arguments) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that a call needs to make an equal one: (positional, by keyword)."""
        chosen = {p.name: args[p.name] for p in self.parameters.values() if _differs(p, args[p.name])}
        declared = [p for p in self.parameters.values() if not p.keyword_only]
        first = list(itertools.takewhile(lambda p: p.required, declared)) if self.whole else []
        if len(self.parameters) == 1:
            first = declared
        return tuple(chosen.pop(p.name) for p in first if p.name in chosen), chosen


class Lifted(Protocol[P]):
    """What a decorator makes of a kernel: a function of its hyperparameters, which returns a transformation."""

    kernel: Kernel
    scope: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> GradientTransformationExtraArgs: ...


def missing(owner: str, name: str) -> MissingArgumentError:
    """The error of an extra argument that is needed and was not given."""
    if name == "params":
        call = "the parameters, but `params` is None. Call `update(updates, state, params)`."
    else:
        call = f"the extra argument `{name}`, which was not given. Call `update(updates, state, params, {name}=...)`."
    return MissingArgumentError(f"{owner}: needs {call}")


def _kernel_of(public: Lifted[...]) -> Kernel:
    return public.kernel


def _differs(p: Parameter, value: Hyper | Tree) -> bool:
    """Whether an argument must be said: it is required, or not the default, or a number that is not plainly 0 where None is usual."""
    return p.required or (p.is_data and _is_used(value)) or not is_same(value, p.default)


def _is_used(value: Hyper | None) -> bool:
    """Whether a flag is set, or a number is not plainly 0; a traced number is not."""
    return bool(value) if value is None or isinstance(value, (bool, int, float)) else True


def is_same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and bool(frozen(a) == frozen(b)))
