"""Hyperparameters at work: what a kernel sees in the place of a number, an array or a schedule."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._types import Array, ArrayLike, DType, Hyper, Schedule, Shape, Tree

if TYPE_CHECKING:
    from typing_extensions import TypeIs

NUMBERS = (int, float, np.number)


class Fraction:
    """A number in [0, 1] with its complement, so that `1 - b` is the float64 difference rounded once.

    Inside compiled code `1 - b` of a float32 argument is another number: for b = 0.999 it is off by 1.3e-5.
    Everything else behaves as the number itself.
    """

    __slots__ = ("complement", "value")

    def __init__(self, value: Array | float, complement: Array | float):
        self.value, self.complement = value, complement

    def __rsub__(self, other: Array | float) -> Array | float:
        return self.complement if isinstance(other, int) and other == 1 else other - self.value

    def __jax_array__(self) -> Array:
        return jnp.asarray(self.value)

    def __repr__(self) -> str:
        return f"Fraction({self.value})"


def _delegate(name: str) -> None:
    op = getattr(operator, name)

    def forward(self, *other):
        return op(self.value, *(o.value if isinstance(o, Fraction) else o for o in other))

    setattr(Fraction, f"__{name}__", forward)


def _delegate_reflected(name: str) -> None:
    op = getattr(operator, name)
    setattr(Fraction, f"__r{name}__", lambda self, other: op(other, self.value))


for _name in ("add", "sub", "mul", "truediv", "pow", "neg", "abs", "lt", "le", "gt", "ge", "eq", "ne"):
    _delegate(_name)
for _name in ("add", "mul", "truediv", "pow"):
    _delegate_reflected(_name)


def is_schedule(value: object) -> TypeIs[Schedule]:
    return callable(value) and not isinstance(value, (jax.Array, np.ndarray))


def is_number(value: object) -> TypeGuard[float | np.number]:
    return isinstance(value, NUMBERS) and not isinstance(value, (bool, np.bool_))


UNTRACEABLE = (
    jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError, jax.errors.TracerIntegerConversionError,
)  # fmt: skip


def called(owner: str, name: str, f: Callable[..., Tree], *args: Tree, **kwargs: Tree) -> Tree:
    """What a function of the number of updates returns, or an error that says how to write one that can be traced."""
    try:
        return f(*args, **kwargs)
    except UNTRACEABLE as e:
        raise HyperparameterError(
            f"{owner}: `{name}` is {f!r:.200}, which takes a traced value, such as the number of updates under `jit`, for a number of "
            "Python's. Instead of `if` write `jnp.where(k < n, a, b)`, or put schedules one after another with `join_schedules`; instead "
            "of `math`, `min` and `numpy` use `jax.numpy`, such as `jnp.cos(k)`; instead of `float(k)` or a list's element, the array as "
            "it is. A function that is to stay as it is becomes a schedule by `gradxform.tabulate(f, steps)`."
        ) from e


def real_value(owner: str, name: str, value: Tree) -> ArrayLike:
    """What a schedule returned, if it is a real number or an array of them. A NaN is seen where it is not computed on a device."""
    kind = getattr(value, "dtype", None) or (type(value) if isinstance(value, (int, float)) else None)
    real = kind is not None and jnp.issubdtype(kind, jnp.number) and not jnp.issubdtype(kind, jnp.complexfloating)
    if not (real or kind in (bool, jnp.bool_)) or (isinstance(value, (float, np.floating, np.ndarray)) and np.isnan(value).any()):
        raise HyperparameterError(
            f"{owner}: `{name}` is a schedule, which must return a real number or an array of them, but returned {value!r:.200}."
        )
    return value


@overload
def evaluate(value: None, k: Array | int | None, owner: str, name: str) -> None: ...
@overload
def evaluate(value: Hyper, k: Array | int | None, owner: str, name: str) -> Array | float: ...
def evaluate(value, k, owner, name):
    """The value of a hyperparameter, which is called so in messages, after `k` completed updates."""
    return real_value(owner, name, called(owner, name, value, k)) if is_schedule(value) else value


def fits(shape: Shape, leaf: Shape) -> bool:
    """Whether an array of that shape broadcasts to a leaf without enlarging it; axes of length 1 before the leaf's own do no harm."""
    padded = (1,) * len(leaf) + shape
    before, own = padded[: len(shape)], padded[len(shape) :]
    return all(a == 1 for a in before) and all(a in (1, b) for a, b in zip(own, leaf, strict=True))


def at_rank(x: Array, rank: int) -> Array:
    """An array that fits a leaf of that rank, with as many axes, so that no rank is promoted; a number stays one."""
    return x.reshape(((1,) * rank + x.shape)[x.ndim :]) if x.ndim else x


def misfit(owner: str, name: str, shape: Shape, leaf: Shape, path: str) -> HyperparameterError:
    return HyperparameterError(
        f"{owner}: `{name}` has shape {shape}, which does not broadcast to the leaf {path!r} of shape {leaf} without enlarging it. "
        "Give a number, or leaves of other shapes their own: `partition({...}, labels)`."
    )


def as_number(owner: str, name: str, x: Array) -> Array:
    """A hyperparameter that acts on all leaves together: one number."""
    if not fits(x.shape, ()):
        raise HyperparameterError(
            f"{owner}: `{name}` acts on all leaves together, so that it must be one number, but it has shape {x.shape}."
        )
    return at_rank(x, 0)


def as_coefficient(value: ArrayLike, fraction: bool, dtype: DType) -> Array | Fraction:
    """A traced or evaluated hyperparameter as a kernel sees it."""
    x = jnp.asarray(value).astype(dtype)
    return Fraction(x, 1 - x) if fraction else x
