"""`declare`: from a written function to the public one that bears its name, signature and docstring, and checks its arguments.

Kernels, optimizers, wrappers, schedules and dialects are all made by it, so that a wrong name or value is reported alike everywhere, and
all say in one attribute what they declare: `adam.declaration.parameters["b1"].range`.
"""

from __future__ import annotations

import contextvars
import dataclasses
import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from gradxform._errors import HyperparameterError
from gradxform._parameters import FOR_INIT, Parameter, is_for_init, parameters_of, signature_of
from gradxform._types import Tree

Made = TypeVar("Made")
Bound = inspect.BoundArguments
WORDS = {  # the words of PyTorch and Keras, and ours
    "lr": ("learning_rate",), "betas": ("b1", "b2"), "beta1": ("b1",), "beta2": ("b2",), "beta_1": ("b1",), "beta_2": ("b2",),
    "epsilon": ("eps",), "alpha": ("decay",), "rho": ("decay",), "momentum_decay": ("decay",), "learning_rate": ("lr",),
    "b1": ("betas", "beta_1", "beta1"), "b2": ("betas", "beta_2", "beta2"), "eps": ("epsilon",), "weight_decay": ("wd",),
}  # fmt: skip
advisers: list[Callable[[str, str], str]] = []
"""Functions of (a function's name, a wrong argument) that know where such an argument is taken; the registry is one."""
caller: contextvars.ContextVar[str | None] = contextvars.ContextVar("caller", default=None)
"""The declared function that the user has called and that has not returned yet, if any: of several within each other the outermost."""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a public function declares.

    Attributes:
      owner: its name in messages.
      function: the function as it was written.
      skip: how many of that one's first arguments are not the caller's.
    """

    owner: str
    function: Callable[..., Any]
    skip: int = 0

    @functools.cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The caller's arguments by name; their annotations are read when they are first asked for."""
        return parameters_of(self.function, self.skip)


def declaration_of(fn: Callable[..., Any]) -> Declaration:
    """What a function declares; one that `declare` did not make, a user's or another library's, by its annotations alone."""
    return getattr(fn, "declaration", None) or Declaration(getattr(fn, "__name__", repr(fn)), fn)


def declare(
    fn: Callable[..., object],
    make: Callable[[Bound], Made],
    *,
    owner: str | None = None,
    skip: int = 0,
    returns: type | None = None,
    admit: Callable[[str, Parameter, object], object] | None = None,
    check: Callable[[str, Mapping[str, Tree]], None] | None = None,
) -> Callable[..., Made]:
    """The public function of what is declared by the signature of `fn`.

    Args:
      fn: its annotations give the ranges, its docstring is that of the result.
      make: what the result does with its arguments, which are complete and checked.
      owner: the name in messages; that of `fn` without leading underscores.
      skip: how many of the first arguments are not the caller's.
      returns: what the signature says that the result returns; as `fn` says.
      admit: (name, parameter, value) -> the value as it is kept; it raises if that may not be.
      check: called with the name and all arguments, for what they must be together.
    """
    declaration, admit = Declaration(owner or fn.__name__.lstrip("_"), fn, skip), admit or _admit

    @functools.wraps(fn)
    def public(*args: object, **kwargs: object) -> Made:
        owner, parameters = declaration.owner, declaration.parameters
        bound = bind(owner, public, args, kwargs)
        for name, value in bound.arguments.items():
            bound.arguments[name] = admit(owner, parameters[name], value)
        if check is not None:
            check(owner, bound.arguments)
        token = caller.set(caller.get() or owner)
        try:
            return make(bound)
        finally:
            caller.reset(token)

    if skip or returns:
        signature = inspect.signature(fn)
        arguments = list(signature.parameters.values())[skip:]
        public.__signature__ = signature.replace(parameters=arguments, return_annotation=returns)  # type: ignore[attr-defined]
        del public.__wrapped__
    public.declaration = declaration  # type: ignore[attr-defined]
    return public


def _admit(owner: str, parameter: Parameter, value: object) -> object:
    """The value, if it is in range, or one of the choices."""
    value = whole(value) if parameter.counts else value
    parameter.check(owner, value)
    measures = parameter.range is not None and not (parameter.is_data or parameter.counts)
    return float(value) if measures and isinstance(value, (int, np.number)) else value


def whole(value: object) -> object:
    """What counts as Python's whole number: one of NumPy's or in an array, or a float that is one but for rounding, as 0.1 * 70 is."""
    if isinstance(value, (np.generic, np.ndarray, jax.Array)) and not isinstance(value, Tracer) and value.shape == ():
        value = value.item()
    if isinstance(value, float) and math.isfinite(value) and abs(value - round(value)) <= 1e-6 * abs(value):
        return round(value)
    return value


def bind(owner: str, fn: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> Bound:
    """The arguments of a call, complete, or a `HyperparameterError` that says what there is."""
    signature = signature_of(fn)  # read when a function is first called, not when it is defined
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as e:
        hint = f" {FOR_INIT}" if args and is_for_init(args[0]) else ""
        raise HyperparameterError(_misfit(owner, signature, args, kwargs, str(e)) + hint) from None
    bound.apply_defaults()
    return bound


def _misfit(owner: str, signature: inspect.Signature, args: Sequence[object], kwargs: Mapping[str, object], problem: str) -> str:
    """Why a call does not fit the signature: the wrong name, near names, all names."""
    names = list(signature.parameters)
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r:.40}" for p in signature.parameters.values()]
    takes = f"It takes {', '.join(shown) or 'nothing'}."
    wrong = next((name for name in kwargs if name not in names), None)
    if wrong is None:
        return f"{owner}: {problem}. {takes}"
    near = [n for n in WORDS.get(wrong, ()) if n in names] or difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    hint = f" Did you mean {' and '.join(map(repr, near))}?" if near else ""
    advice = "".join(f" {text}" for adviser in advisers if (text := adviser(owner, wrong)))
    return f"{owner} has no argument {wrong!r}.{hint}{advice} {takes}"
