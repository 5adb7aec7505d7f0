"""The registry: facts about a transformation live with the transformation, and everything else reads them here.

Tests, the catalogue in the README and the race ask the registry; nothing branches on a name.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gradxform._errors import UnknownNameError
from gradxform._lazy import load
from gradxform._types import Parameter, check_arguments, parameters_of, signature_of

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known about one registered transformation.

    Attributes:
      name: the public name.
      make: the public function that makes it.
      kind: `optimizer` (its updates are ready for `apply_updates`) or `transform`.
      source: where the equation comes from.
      example: arguments of a typical instance, for tests and the catalogue.
      needs: extra arguments that `update` cannot do without, with a function that makes one from (params, grads).
      homogeneity: d such that gradients times k give updates times k^d (k a power of two, eps -> 0); None: no law.
      rates: centre of the learning-rate grid per race task, `default` for all others.
      identities: pairs of expressions that must give the same updates.
      ndim: the number of axes that its leaves must have, if not any.
      seeds: the founding documents that describe it: MXNet's guide, neon's, a blog, a slide deck, the FTML page.
    """

    name: str
    make: Callable[..., Any]
    kind: str
    source: str
    example: Mapping[str, Any]
    needs: Mapping[str, Callable[..., Any]]
    homogeneity: float | None
    rates: Mapping[str, float]
    identities: tuple[tuple[str, str], ...]
    ndim: int | None = None
    seeds: str = ""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The declared hyperparameters and arguments."""
        rule = getattr(self.make, "rule", None)
        return rule.parameters if rule is not None else parameters_of(inspect.unwrap(self.make))

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return (inspect.getdoc(self.make) or "").split("\n")[0]

    def equation(self) -> str:
        """The indented lines of the docstring above its headings."""
        lines = (inspect.getdoc(self.make) or "").partition("\nState ")[0].partition("\nArgs:")[0].split("\n")
        return "\n".join(line[4:] for line in lines if line.startswith("    ")).rstrip()

    def section(self, heading: str) -> str:
        """The text under a docstring heading such as `Memory` or `Source`."""
        lines, taken = (inspect.getdoc(self.make) or "").split("\n"), []
        for line in lines:
            if line.startswith(heading + " "):
                taken.append(line[len(heading) :].strip())
            elif taken and line.startswith("         "):
                taken.append(line.strip())
            elif taken:
                break
        return " ".join(taken)

    def __call__(self, **overrides: Any) -> Any:
        return self.make(**{**self.example, **overrides})


ROOMS = ("transforms", "linesearch", "optimizers", "wrappers", "precision", "distributed")  # whose files register what they hold
_ENTRIES: dict[str, Entry] = {}  # by their names in small letters


@functools.cache
def _load_rooms() -> None:
    """Load every file that registers something. Packages load their files when asked for a name of theirs, so one may not be loaded."""
    load(*(f"gradxform.{room}" for room in ROOMS))


def _register(make, kind, source, example, needs, homogeneity, rates, identities, ndim=None, seeds="", name=None) -> None:
    name = name or make.__name__
    if not _origin(make).startswith("gradxform."):
        _load_rooms()  # ours come first, so that a user's takes a name over from ours and not the other way round
    entry = Entry(name, make, kind, source, example or {}, needs or {}, homogeneity, rates or {}, tuple(identities), ndim, seeds)
    old = _find(name)
    if old is not None and (_origin(old.make) != _origin(make) or "<" in _origin(make)):
        message = (
            f"register: {name!r} made by {_origin(old.make)} is replaced by {_origin(make)}. Choose another name to keep both."
        )
        warnings.warn(message, stacklevel=3)
    _ENTRIES[name.lower()] = entry


def _origin(make: Any) -> str:
    return f"{getattr(make, '__module__', '?')}.{getattr(make, '__qualname__', repr(make))}"


def _find(name: str) -> Entry | None:
    return _ENTRIES.get(name.lower())


def register(
    name: Any = None,
    make: Callable[..., Any] | None = None,
    *,
    kind: str = "optimizer",
    source: str = "user",
    example: Mapping[str, Any] | None = None,
    needs: Mapping[str, Callable[..., Any]] | None = None,
    homogeneity: float | None = None,
    rates: Mapping[str, float] | None = None,
    identities: Any = (),
    ndim: int | None = None,
) -> Any:
    """Make an optimizer of your own known by name, to `create`, `names`, the laws and the race.

        register("MyOpt", my_opt)                   create("myopt", learning_rate=0.1)

        @register                                   under its own name
        def my_opt(learning_rate): return gradxform.chain(...)

        @register("MyOpt", source="arXiv:...")      under another, with facts

    Args:
      name: the name; case does not matter in `create` and `entry`.
      make: the function of the hyperparameters that returns a transformation.
      kind: `"optimizer"`, or `"transform"` where the updates are not ready for `apply_updates`.
      source: where the equation comes from; this and the rest is what `Entry` explains.

    Returns:
      `make` as it is; without it, a decorator.

    Source   MXNet's `Optimizer.register`.
    Differs  a function, not a class. A name that another function bears is taken over with a warning; a function at the top of a
             module that is defined again, as when a notebook's cell is run twice, replaces itself in silence.
    """
    facts = (kind, source, example, needs, homogeneity, rates, identities, ndim)
    if callable(name):
        name, make = None, name
    if make is None:
        return lambda fn: _registered(fn, name, facts)
    return _registered(make, name, facts)


def _registered(make: Any, name: str | None, facts: Any) -> Any:
    if not callable(make):
        raise TypeError(f"register: expected a function that makes a transformation, but got {make!r}.")
    if facts[0] not in ("optimizer", "transform"):
        raise ValueError(f"register: `kind` must be 'optimizer' or 'transform', but got {facts[0]!r}.")
    _register(make, *facts, name=name)
    return make


def optimizer(
    *,
    source: str,
    example: Mapping[str, Any] | None = None,
    needs: Mapping[str, Callable[..., Any]] | None = None,
    homogeneity: float | None = None,
    rates: Mapping[str, float] | None = None,
    identities: Any = (),
    seeds: str = "",
) -> Callable[[F], F]:
    """Register a complete optimizer: a lifted kernel, or a function whose arguments' ranges are then checked under its own name."""

    def decorate(fn: F) -> F:
        if hasattr(fn, "rule"):
            _register(fn, "optimizer", source, example, needs, homogeneity, rates, identities, seeds=seeds)
            return fn

        @functools.wraps(fn)
        def make(*args: Any, **kwargs: Any) -> Any:
            bound = signature_of(fn).bind(*args, **kwargs)
            check_arguments(fn.__name__, parameters_of(fn), bound.arguments)
            return fn(*args, **kwargs)

        _register(make, "optimizer", source, example, needs, homogeneity, rates, identities, seeds=seeds)
        return make  # type: ignore[return-value]

    return decorate


def transform(
    *,
    source: str,
    example: Mapping[str, Any] | None = None,
    needs: Mapping[str, Callable[..., Any]] | None = None,
    homogeneity: float | None = None,
    identities: Any = (),
    ndim: int | None = None,
    seeds: str = "",
) -> Callable[[F], F]:
    """Register a primitive: a lifted kernel, or a function that makes a transformation."""

    def decorate(make: F) -> F:
        _register(make, "transform", source, example, needs, homogeneity, None, identities, ndim, seeds)
        return make

    return decorate


def entry(name: str) -> Entry:
    """The registry's entry of that name (case does not matter)."""
    found = _find(name)
    if found is None:
        _load_rooms()
        found = _find(name)
    if found is None:
        near = difflib.get_close_matches(name.lower(), _ENTRIES, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(_ENTRIES[n].name for n in near)}?" if near else ""
        raise UnknownNameError(f"No transformation is called {name!r}.{hint} `gradxform.names()` lists all.")
    return found


def names(pattern: str = "*", kind: str = "optimizer") -> list[str]:
    """Names of the registered optimizers that match a shell pattern; `kind="transform"` or `"*"` for the others.

    >>> import gradxform
    >>> gradxform.names("adam*")
    ['adam', 'adamax', 'adamaxw', 'adamw']
    """
    _load_rooms()
    return sorted(e.name for e in _ENTRIES.values() if fnmatch.fnmatch(e.name, pattern) and fnmatch.fnmatch(e.kind, kind))


def create(name: str, **arguments: Any) -> Any:
    """Make a registered transformation by name: `create("adam", learning_rate=1e-3)`.

    Raises `UnknownNameError` with the nearest names, and `TypeError` for arguments that it does not take.
    """
    return entry(name).make(**arguments)
