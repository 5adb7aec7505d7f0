"""Hyperparameters at work: what a kernel sees in the place of a number, an array or a schedule."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, TypeGuard, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike, DType, Hyper, Schedule

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


@overload
def evaluate(value: None, k: Array | int | None) -> None: ...
@overload
def evaluate(value: Hyper, k: Array | int | None) -> Array | float: ...
def evaluate(value, k):
    """The value of a hyperparameter after `k` completed updates."""
    return value(k) if is_schedule(value) else value


def as_coefficient(value: ArrayLike, fraction: bool, dtype: DType) -> Array | Fraction:
    """A traced or evaluated hyperparameter as a kernel sees it."""
    x = jnp.asarray(value).astype(dtype)
    return Fraction(x, 1 - x) if fraction else x
