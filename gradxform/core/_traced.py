"""Compiling by trace: a function of the user's runs at every call, and only its trace is compiled and kept.

Such a function may read what changes from call to call (an attribute, a batch in a dictionary, a global), and may be made anew in a loop.
So it can neither be the key of what is compiled nor be kept with it. Its trace holds all that it read: arrays are arguments of what is
compiled, and everything else is written in it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from gradxform._types import Array, Tree
from gradxform.core._transformation import ByIdentity, frozen

OURS = ("gradxform", "jax", "numpy")


def is_constant(x: Any) -> bool:
    """Whether a value is the same for ever and is kept anyway: plain data, or a function or class of this library, JAX or NumPy."""
    if x is None or isinstance(x, (bool, int, float, complex, str, bytes, np.dtype)):
        return True
    if isinstance(x, tuple):
        return (type(x) is tuple or is_constant(type(x))) and all(map(is_constant, x))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        by_value = type(x).__hash__ not in (None, object.__hash__)
        return by_value and is_constant(type(x)) and all(is_constant(getattr(x, f.name)) for f in dataclasses.fields(x))
    while hasattr(x, "__wrapped__") and not inspect.isfunction(x):
        x = getattr(x, "__wrapped__")  # noqa: B009
    if inspect.isfunction(x):  # whose own name and module may be those of another, by `functools.wraps`
        module, name = x.__globals__.get("__name__", ""), x.__code__.co_qualname
    else:
        module, name = getattr(x, "__module__", None) or "", getattr(x, "__qualname__", "<")
    return module.partition(".")[0] in OURS and "<" not in name


class Traced:
    """A function that is traced for each shape and dtype of its arguments, and compiled where no equal trace is.

    It is made anew whenever the function is to be evaluated anew. Inside another trace it is a part of that.

    Args:
      f: a function of trees of arrays.
      compiled: which of the tables keeps what is compiled.
    """

    def __init__(self, f: Callable[..., Any], compiled: Callable[[Trace], Callable[..., list[Array]]]):
        self._jit = jax.jit(functools.partial(f))  # a function of its own, because JAX keeps the trace of one that it knows
        self._compiled = compiled
        self._found: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *args: Tree) -> Any:
        leaves, structure = jax.tree.flatten(args)
        off = jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]  jax declares no types of its settings
        if off or any(isinstance(x, jax.core.Tracer) for x in leaves):
            return self._jit(*args)
        kind = (structure, *map(jax.typeof, leaves))
        if kind not in self._found:
            traced = self._jit.trace(*args)
            if len(traced.jaxpr.jaxpr.invars) > len(leaves):  # f reads tracers
                return self._jit(*args)
            trace, out = Trace(traced.jaxpr.jaxpr), jax.tree.structure(traced.out_info)
            call = self._compiled(trace) if trace.is_constant else _compile(trace)
            self._found[kind] = lambda leaves, consts=traced.jaxpr.consts: out.unflatten(call(consts, leaves))
        return self._found[kind](leaves)


class Trace:
    """A trace without the arrays that it read. It compares by value.

    Attributes:
      is_constant: whether no function of the user's is in it, as a callback is.
    """

    def __init__(self, jaxpr: Jaxpr):
        self.jaxpr, self.is_constant = jaxpr, True
        self._known: dict[int, Any] = {}
        self._key = self._key_of(jaxpr)
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def _key_of(self, jaxpr: Jaxpr) -> Any:
        """A hashable key of all that a trace says, or one that it calls."""
        if id(jaxpr) not in self._known:
            numbers: dict[Any, int] = {}
            number = lambda v: numbers.setdefault(v, len(numbers))
            atom = lambda x: (x.aval, self._value(x.val)) if isinstance(x, Literal) else number(x)
            begin = tuple((number(v), v.aval) for v in (*jaxpr.constvars, *jaxpr.invars))
            equations = tuple(
                (e.primitive, tuple(map(atom, e.invars)), self._params(e), tuple((number(v), v.aval) for v in e.outvars))
                for e in jaxpr.eqns
            )
            self._known[id(jaxpr)] = (begin, equations, tuple(map(atom, jaxpr.outvars)))
        return self._known[id(jaxpr)]

    def _params(self, e: JaxprEqn) -> Any:
        """The parameters of an operation; of one with a derivative of its own, which is not taken here, what it computes."""
        self.is_constant &= "callback" not in e.primitive.name
        names = ("call_jaxpr",) if e.primitive.name.startswith("custom_") and "call_jaxpr" in e.params else sorted(e.params)
        return tuple((name, self._value(e.params[name])) for name in names)

    def _value(self, x: Any) -> Any:
        if isinstance(x, ClosedJaxpr):
            return (self._key_of(x.jaxpr), *map(self._value, x.consts))
        if isinstance(x, Jaxpr):
            return self._key_of(x)
        if isinstance(x, (tuple, list)):
            return (type(x), *map(self._value, x))
        if isinstance(x, Mapping):
            return tuple((k, self._value(v)) for k, v in x.items())
        if isinstance(x, jax.Array):
            return ByIdentity(x) if jnp.ndim(x) else frozen(x)
        if inspect.isroutine(x) or isinstance(x, functools.partial):
            self.is_constant &= is_constant(x)
        return frozen(np.asarray(x) if hasattr(x, "__array__") else x)


def _compile(trace: Trace) -> Callable[..., list[Array]]:
    @jax.jit
    def traced(consts: list[Array], args: list[Array]) -> list[Array]:
        return jaxpr_as_fun(ClosedJaxpr(trace.jaxpr, consts))(*args)

    return traced


compiled_leaf = functools.lru_cache(256)(_compile)
"""What is done at one leaf: small, and there may be many shapes of leaves."""

compiled_loop = functools.lru_cache(8)(_compile)
"""Searches and loops of many steps, which are large."""
