"""The objective along a direction, and what the searches along it have in common."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform import tree
from gradxform._errors import HyperparameterError, MissingArgumentError, StructureError
from gradxform._numerics import INT32_MAX, is_inexact, promote, real_part, round_to, widen
from gradxform._parameters import real_parameter
from gradxform._types import Array, ArrayLike, DType, Field, Hyper, OptState, Params, Range, Tree, Updates
from gradxform.core._apply import add_update
from gradxform.core._holes import as_array, dtype_of, flatten, is_array
from gradxform.core._traced import Traced, compiled_loop
from gradxform.core._whole import TreeContext

NEEDS = ("params", "value", "grad", "value_fn")
Number = float | np.number | np.ndarray | Array
"""What may be given for a number of a search, which has no schedules."""


class Point(NamedTuple):
    """A step a, the value f(p + a u) and the slope d/da f(p + a u)."""

    a: Array
    f: Array
    df: Array


class Found(NamedTuple):
    """Where a search ended: the step, the value and the gradients (as `jax.grad` gives them) there, and the fields of its report."""

    a: Array
    f: Array
    grads: Tree
    info: Mapping[str, Array]


class Line:
    """f(p + a u), at exactly the parameters that `apply_updates` would make of `a u`."""

    def __init__(self, objective: Callable[[Sequence[Array]], Array], ps: Sequence[Array], us: Sequence[Array], dtype: np.dtype):
        self.objective, self.ps, self.us, self.dtype = objective, ps, us, dtype

    def scaled(self, a: Array) -> list[Array]:
        """a u, in the dtype of u; 0 for a = 0, whatever u is."""
        return [round_to(jnp.where(a == 0, 0, tree.scale(a, u.astype(widen(u.dtype)))), u.dtype) for u in self.us]

    def params(self, a: Array) -> list[Array]:
        return [add_update(p, u) for p, u in zip(self.ps, self.scaled(a), strict=True)]

    def slope(self, grads: Sequence[Array]) -> Array:
        """sum Re(g u), for gradients as `jax.grad` gives them."""
        wide = lambda x: x.astype(widen(x.dtype))
        terms = [jnp.sum((wide(g) * wide(u)).real).astype(self.dtype) for g, u in zip(grads, self.us, strict=True)]
        return sum(terms, jnp.zeros((), self.dtype))

    def value(self, a: Array, differentiated: bool) -> tuple[Array, Callable[[], list[Array]] | None]:
        """The value at a step, and how to get the gradients there, if they may be wanted."""
        if not differentiated:
            return self.objective(self.params(a)).astype(self.dtype), None
        f, pull = jax.vjp(self.objective, self.params(a))
        return f.astype(self.dtype), lambda: pull(jnp.ones_like(f))[0]

    def point(self, a: Array) -> tuple[Point, list[Array]]:
        """The point at a step, and the gradients there."""
        f, grads = jax.value_and_grad(self.objective)(self.params(a))
        return Point(a, f.astype(self.dtype), self.slope(grads)), grads


class Inputs(NamedTuple):
    """What a search reads. The lists hold the leaves that have an update."""

    value_fn: Callable[..., ArrayLike]
    kwargs: Mapping[str, Tree]
    params: Params
    updates: Sequence[Array]
    grads: Sequence[Array]
    value: Array
    rate: Array


class LineSearch:
    """A line search with its arguments: u becomes a u, with a step a that is found by evaluating `value_fn`.

    A subclass has the method `search`, and says whether the gradients at the step are kept.
    """

    def __init__(self, name: str, **args: Tree):
        self.name, self.args = name, args

    @property
    def keeps_grad(self) -> bool:
        return True

    def numbers(self, dtype: DType) -> dict[str, Array]:
        """The numeric arguments that are given, in this dtype."""
        return {k: jnp.asarray(v, dtype) for k, v in self.args.items() if isinstance(v, (int, float)) or hasattr(v, "dtype")}

    def search(self, line: Line, start: Point, grads: list[Array], rate: Array) -> Found:
        """Find a step, from the point at 0, the gradients there and the step of the last search."""
        raise NotImplementedError

    def along(self, c: TreeContext, s: OptState, p: Params) -> tuple[Updates, OptState]:
        """The scaled updates, and the state with what was found."""
        trees, extra = c.trees, c.extra
        ps = [as_array(x) if is_array(x) else x for x in trees.like("`params`", p)]
        us, grads = trees.arrays, [as_array(x) for x in trees.pick(trees.like("`grad`", c.grad))]
        kwargs = _keywords(self.name, c.value_fn, {k: v for k, v in extra.items() if k not in NEEDS})
        dtype = scalar_dtype([*us, *trees.pick(ps)])
        value, rate = _strong(jnp.real(c.value), dtype), _strong(s.learning_rate, dtype)
        us, found = _solve(self, tuple(trees.present), Inputs(c.value_fn, kwargs, trees.together(ps), us, grads, value, rate))
        grad = s.grad
        if grad is not None:
            parts = trees.like("the state's `grad`", grad)
            grads = zip(found.grads, trees.pick(parts), strict=True)
            grad = trees.together(trees.put(parts, [round_to(g, jnp.asarray(old).dtype) for g, old in grads]))
        new = s._replace(learning_rate=found.a, value=found.f, grad=grad, info=s.info._replace(**found.info))
        return trees.together(trees.put(trees.leaves, us)), new


def number(first: float) -> Field:
    """A field for a number in the dtype of steps and values."""
    return Field(first=lambda params: jnp.full((), first, scalar_dtype(jax.tree.leaves(params))))


def _strong(x: Array, dtype: np.dtype) -> Array:
    """x in this dtype, not of weak type, so that a number and an array of it are searched from by one program."""
    return x if getattr(x, "dtype", None) == dtype and not getattr(x, "weak_type", False) else jnp.asarray(x).astype(dtype)


def scalar_dtype(leaves: Sequence[Any]) -> np.dtype:
    """The dtype of steps and values: real, float32 or wider."""
    dtypes = [real_part(widen(dtype_of(x))) for x in leaves if is_array(x)]
    return promote(jnp.float32, *dtypes)


def _keywords(name: str, fn: Callable[..., Any], extra: Mapping[str, Tree]) -> dict[str, Tree]:
    """The extra arguments that `value_fn` takes beside the parameters."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())[1:]
    except (TypeError, ValueError):
        return {}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for p in named:
        if p.default is p.empty and p.name not in extra:
            raise MissingArgumentError(
                f"{name}: `value_fn` takes `{p.name}`, which was not given. Pass to `update` by keyword what `value_fn` takes beside "
                f"the parameters: `update(updates, state, params, value=..., grad=..., value_fn=..., {p.name}=...)`."
            )
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(extra)
    return {p.name: extra[p.name] for p in named if p.name in extra}


def _solve(spec: LineSearch, present: tuple[int, ...], inputs: Inputs) -> tuple[list[Array], Found]:
    """The scaled updates and what was found. `value_fn` is traced at each search, and compiled where its trace is new."""
    leaves, structure = jax.tree.flatten(inputs)
    data = [i for i, x in enumerate(leaves) if _is_data(x)]

    def search(*arrays: Array) -> tuple[list[Array], Found]:
        given = list(leaves)
        for i, x in zip(data, arrays, strict=True):
            given[i] = x
        return _search(spec, present, structure.unflatten(given))

    return Traced(search, compiled_loop)(*(leaves[i] for i in data))


def _is_data(x: Tree) -> bool:
    if isinstance(x, jax.Array):
        return True
    return isinstance(x, (np.ndarray, np.generic)) and bool(jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool)


def _search(spec: LineSearch, present: tuple[int, ...], inputs: Inputs) -> tuple[list[Array], Found]:
    leaves, treedef = flatten(inputs.params)

    def objective(xs: Sequence[Array]) -> Array:
        full = list(leaves)
        for i, x in zip(present, xs, strict=True):
            full[i] = x
        return as_value(spec.name, "value_fn", inputs.value_fn(treedef.unflatten(full), **inputs.kwargs))

    dtype = inputs.value.dtype
    line = Line(objective, [leaves[i] for i in present], inputs.updates, dtype)
    grads = [round_to(g.conj(), p.dtype) for g, p in zip(inputs.grads, line.ps, strict=True)]
    start = Point(jnp.zeros((), dtype), inputs.value, line.slope([g.conj() for g in inputs.grads]))
    found = spec.search(line, start, grads, inputs.rate)
    return line.scaled(found.a), found


def whole_steps(most: float) -> int:
    """A number of steps, which may be one that counts are never equal to, or infinite, as the last that a count reaches."""
    return min(math.floor(most), INT32_MAX) if math.isfinite(most) else INT32_MAX


def as_value(owner: str, name: str, value: ArrayLike) -> Array:
    """What an objective returned, checked to be one real number."""
    if not hasattr(value, "dtype") and not isinstance(value, (int, float)):
        came = f"a {type(value).__name__}"
    elif np.shape(value) != () or not is_inexact(jnp.result_type(value)) or jnp.iscomplexobj(value):
        came = f"shape {np.shape(value)} and dtype {jnp.result_type(value)}"
    else:
        return jnp.asarray(value)
    raise StructureError(f"{owner}: `{name}` must return one real number, the objective at the parameters, but returned {came}.")


def violation(error: Array) -> Array:
    """By how much a condition is violated: at least 0, and infinite where it cannot be told."""
    return jnp.where(jnp.isnan(error), jnp.inf, jnp.maximum(error, 0)).astype(error.dtype)


def check_number(owner: str, name: str, value: Hyper | None, interval: str, nullable: bool = False) -> None:
    """Raise unless the value is a number of the interval, or an array of one; a schedule has no clock here."""
    if callable(value) and not hasattr(value, "dtype"):
        raise HyperparameterError(
            f"{owner}: `{name}` must be a number in {interval}, but got {value!r}: a search has no schedules."
        )
    real_parameter(name, Range(interval), nullable).check(owner, value)
