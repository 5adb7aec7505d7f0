"""The vocabulary of annotations: what a state field holds, and what values a hyperparameter may take.

Trees            `Params`, `OptState`, `Updates`, `Tree`: any tree of arrays; the four names say which.
State fields     `Updates` (one array per leaf, like the parameter), `RealUpdates` (the same, real for complex leaves),
                 `ParamsCopy` (the parameter itself as it was in `init`, in its dtype), `Shared` (one value for the whole state),
                 `Clock` (the number of updates so far), `Key` (a shared random key; the kernel sees `c.key`), `Inner` (the state of a
                 transformation inside). `Annotated[Updates, Field(...)]` says what is special about one.
Hyperparameters  `Decay`, `Unit`, `Average`, `Momentum`, `Positive`, `NonNegative`, `Real`, `Bound`, `Floor`, `Extended`: data, a
                 number, array or schedule, with its range. A range catches what cannot mean anything, not what is unusual: a rate may be
                 negative, a bound infinite. In a kernel they stand bare, since its body computes with what a schedule has become;
                 where a caller's value is only handed on, `Decay[Hyper]` says what may be given.
                 `Count`, `Whole`: a static whole number from 1 or 0. Anything else in a kernel's signature is static; a `Literal` lists
                 its possible values, and of a `tuple[...]` each part is checked: `Decay[Hyper]` may be a schedule there, `Decay` not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Protocol, TypeVar

import jax
import jax.core
import numpy as np
from jax.typing import ArrayLike as ArrayLike
from jax.typing import DTypeLike

Array = jax.Array
DType = DTypeLike
Shape = tuple[int, ...]
Tree = Any
Params = Any
OptState = Any
PyTree = Tree
ArrayTree = Tree


class Schedule(Protocol):
    """A function of the number of completed updates: what the makers of schedules return, or any other of one argument."""

    def __call__(self, count: Any, /) -> Any: ...


ScalarOrSchedule = float | Array | Schedule
Number = float | np.number | np.ndarray | Array
"""What may be given where a schedule may not."""
Hyper = Number | Schedule
"""What may be given for a hyperparameter that is data."""
MaskOrFn = Tree | Callable[[Params], Tree] | None
"""A mask as `masked` takes it: labels of the leaves in any of their forms, or nothing."""


class TreeDef(Protocol):
    """The structure of a tree, as `jax.tree.structure` gives it."""

    @property
    def num_leaves(self) -> int: ...

    def unflatten(self, leaves: Iterable[Tree], /) -> Tree: ...

    def flatten_up_to(self, tree: Tree, /) -> list[Tree]: ...


class TransformInitFn(Protocol):
    """The type of an `init`: (params) -> state."""

    def __call__(self, params: Params) -> OptState: ...


class TransformUpdateFn(Protocol):
    """The type of an `update` without extra arguments."""

    def __call__(self, updates: Updates, state: OptState, params: Params = None) -> tuple[Updates, OptState]: ...


class TransformUpdateExtraArgsFn(Protocol):
    """The type of an `update` that accepts extra arguments by keyword, and ignores those that it does not know."""

    def __call__(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Tree
    ) -> tuple[Updates, OptState]: ...


ConditionFn = Callable[Concatenate[Array, ...], ArrayLike]
"""The type of a condition: (number of updates so far, and by keyword those extra arguments that it is given) -> scalar boolean."""


class ShouldSkipUpdateFunction(Protocol):
    """The type of a function that tells `MultiSteps` to leave a gradient out: -> (whether, what to keep in `skip_state`)."""

    def __call__(self, updates: Updates, gradient_step: Array, params: Params, /) -> tuple[ArrayLike, Tree]: ...


class Axes(tuple):
    """What each axis of a state field is: the number of an axis of the parameter, or None for one of its own.

    `Axes()` is a number, `Axes(0)` has one entry for each row of a matrix, `Axes(0, 0)` is square, `Axes(None, 0, 1)` has room for several.
    """

    def __new__(cls, *axes: int | None) -> Axes:
        return super().__new__(cls, axes)


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """All there is to know of one field of a state. What an annotation leaves out is as the kind has it; later marks win.

        count: Clock
        mu: Annotated[Updates, Field(stored="mu_dtype")]
        weight_sum: Annotated[Shared, Field(first=lambda: 0.0, dtype="params")]
        inner_state: Inner

    Functions are called with what they name of the hyperparameters, schedules evaluated, and of the words that are given here.

    Attributes:
      kind: `leaf` (one entry per leaf), `shared` (one value), `clock`, `key`, or `inner` (the state of a transformation inside).
      axes: of a `leaf` field; None: those of the parameter. A function of `shape`, the parameter's, where they depend on it; for a tree of
        arrays it gives a tree of `Axes`.
      dtype: of a `leaf` field `wide` (float32 or wider; the default), `real` (that, real for complex leaves) or `p` (as the parameter,
        whose copy it is at first); of a `shared` field `params` (the narrowest real dtype of the parameters, float32 or wider).
      stored: the hyperparameter that names the dtype, where there is one of that name and it is not None.
      first: the first value. Of a `leaf` field a function of `zero` (zeros like the leaf) and `p` (the parameter, wide; zeros where it is
        abstract), or of `leaf`, the parameter as it is, whose result is taken as it is, a `MaskedNode` where nothing is kept; without
        one, zeros, an axis of its own having length 1. Of another kind, of `params`: the list of them, float32 or wider, for a `shared`
        field of a leafwise kernel; else the tree. Of a clock a number. Of a random key, of `key`; without one, it is made a key.
      advance: of a `shared` field, once per update: (value, c) -> next value; None: it stays, or the kernel sets it. A kernel reads the
        old value as `s.field` and the next as `c.field`.
      at: the value after a number of updates, for `resume_at`: a function of `step`, `inner_step` (updates of the part inside), `value`.
      made: of an `inner` field, the transformation (or a tuple or mapping of them), where it is no argument: a function of `s`.
      through: of an `inner` field that is a stack of states, how one is seen from inside, and put back: (state) -> seen, (old state,
        seen) -> state.
      aside: of an `inner` field, that its updates do not go out, so that it does not say what parameters to evaluate with.
      when: whether the field is there with these arguments; otherwise it is None.
      absent: of a clock, the class of the state that has none, used as long as nothing reads the clock.
      mean: of a `leaf` field that forgets what was there before, a running mean for one: the decay by which it does, the name of a
        hyperparameter or a function of some. A rounding error fades with it. Without one, as in a sum, errors stay; so `store` leaves
        the field as it is unless it is asked for by name.
      lasting: of such a field, that errors last all the same: it is a running maximum, or a maximum is taken of it, or it feeds itself.
      nonnegative: of a `leaf` field, that it has no negative numbers, as a mean of squares.
      partner: of a running mean of some x that began at 0, the field that is a running mean of |x|^2 and began at 0 too, by name, so that
        by the inequality of Cauchy and Schwarz its root bounds this one; "" for none.
      constant: that updates may leave it as it began: a copy of the first parameters, a count of what seldom happens.
      far: of a `leaf` field of a kernel of trees or lists, that the kernel gets what lies in the host's memory as it lies there, and
        fetches itself what it reads, when it does. Else all of it is fetched before.
    """

    kind: str | None = None
    _: dataclasses.KW_ONLY
    axes: Axes | Callable[..., Tree] | None = None
    dtype: str | None = None
    stored: str | None = None
    first: int | Callable[..., Tree] | None = None
    advance: Callable[..., Tree] | None = None
    at: Callable[..., Tree] | None = None
    made: Callable[..., Tree] | None = None
    through: tuple[Callable[..., Tree], Callable[..., Tree]] | None = None
    aside: bool | None = None
    when: Callable[..., bool] | None = None
    absent: type | None = None
    mean: str | Callable[..., Tree] | None = None
    lasting: bool | None = None
    nonnegative: bool | None = None
    partner: str | None = None
    constant: bool | None = None
    far: bool | None = None

    def but(self, later: Field) -> Field:
        """This field with everything that `later` says."""
        return dataclasses.replace(self, **{k: v for k, v in vars(later).items() if v is not None})


Updates = Annotated[Any, Field("leaf")]
RealUpdates = Annotated[Any, Field("leaf", dtype="real")]
ParamsCopy = Annotated[Any, Field("leaf", dtype="p")]
Shared = Annotated[Any, Field("shared")]
Clock = Annotated[Any, Field("clock")]
Key = Annotated[Any, Field("key")]
Inner = Annotated[Any, Field("inner")]
Sampler = Callable[[Array, Shape, DType], Array]
"""Draws random numbers as `jax.random.normal` does: (key, shape, dtype)."""


def SharedLaw(start: Callable[..., Tree], advance: Callable[..., Tree] | None = None, like_params: bool = False) -> Field:
    """How a shared field starts and advances: `Field(first=start, advance=advance)`, under an older name.

    Args:
      start: the first value, as `Field(first=)`.
      advance: the next value, as `Field(advance=)`.
      like_params: whether it has the parameters' dtype, float32 or wider.

    >>> field = gx.kernels.SharedLaw(lambda: 0.0, lambda value, c: value + 1.0)
    """
    return Field(first=start, advance=advance, dtype="params" if like_params else None)


@dataclasses.dataclass(frozen=True)
class Extra:
    """An extra argument of `update` that a kernel reads as `c.<name>`; a plain name will do where it is shared and needed.

    Attributes:
      name: the argument.
      per_leaf: it is a tree like the updates; otherwise it is shared.
      optional: the kernel can do without, and reads None there.
      labels: it labels the leaves in any form that a mask has, such as a prefix of their tree, with arrays of any shape.
    """

    name: str
    per_leaf: bool = False
    optional: bool = False
    labels: bool = False


@dataclasses.dataclass(frozen=True)
class PerLeaf:
    """Marks an argument that may differ from leaf to leaf: one value for all, or labels of the leaves in any form that `masked` takes.

    Attributes:
      of: the type of one value, or the `Literal` of all. The argument is then static, and the kernel gets each leaf's own; leaves that no
        pattern matches have the default.
      rest: without a type it is a number, given by labels as in `masked`; this is that of leaves without one. It enters the compiled
        function as data, and the kernel reads it as `c.<name>`.
    """

    of: Any = None
    rest: float = 1.0


LeafNumbers = Annotated[Any, PerLeaf()]
"""A number for each leaf, given by labels."""
STATIC = object()
"""Marks a number on which shapes depend, so that it is no data: `Annotated[float, Range("(0, 1]"), STATIC]`."""
READS_CLOCK = object()
"""Marks an argument with which, if it is used, a kernel reads `c.t`: `Annotated[bool, READS_CLOCK]`."""


@dataclasses.dataclass(frozen=True)
class ForEngine:
    """Marks an argument that says how a kernel is called, of which the kernel itself makes nothing.

    Attributes:
      what: `spread`, the axes of a mesh over whose devices whole matrices are dealt out; `deal`, the same with their state; `wire`, the
        dtype in which they travel; `stacking`, that matrices of several leaves are held as one array; `first`, what the first values of
        state fields alone are made of.
    """

    what: str


SpreadOver = Annotated[str | tuple[str, ...] | None, ForEngine("spread")]
SpreadWithState = Annotated[str | tuple[str, ...] | None, ForEngine("deal")]
Wire = Annotated[DTypeLike | None, ForEngine("wire")]


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval in the usual notation, such as `[0, 1)`. It validates, documents and generates tests."""

    text: str
    low: float = dataclasses.field(init=False)
    high: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        low, high = self.text[1:-1].split(",")
        object.__setattr__(self, "low", float(low))
        object.__setattr__(self, "high", float(high))

    def __contains__(self, x: float | np.integer) -> bool:
        above = x >= self.low if self.text[0] == "[" else x > self.low
        below = x <= self.high if self.text[-1] == "]" else x < self.high
        return bool(above and below)

    @property
    def is_fraction(self) -> bool:
        """Whether `1 - x` matters, so that it is carried along with x."""
        return self.low in (-1.0, 0.0) and self.high == 1.0


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Value = TypeVar("Value", default=Any)  # what may be given; bare, it is anything
else:
    Value = TypeVar("Value")
Model = TypeVar("Model")
"""Parameters of some class, where what is returned is of that class too."""
Decay = Annotated[Value, Range("[0, 1)")]
Unit = Annotated[Value, Range("[0, 1]")]
Positive = Annotated[Value, Range("(0, inf)")]
NonNegative = Annotated[Value, Range("[0, inf)")]
Real = Annotated[Value, Range("(-inf, inf)")]
Momentum = Annotated[Value, Range("[-1, 1]")]
Average = Annotated[Value, Range("(-1, 1)")]
Bound = Annotated[Value, Range("[0, inf]")]
Floor = Annotated[Value, Range("[-inf, inf)")]
Extended = Annotated[Value, Range("[-inf, inf]")]
Count = Annotated[int, Range("[1, inf)")]
Whole = Annotated[int, Range("[0, inf)")]
