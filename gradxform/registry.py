"""The registry: facts about a transformation live with the transformation, and everything else reads them here.

Tests, the catalogue in the README and the race ask the registry; nothing branches on a name.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from gradxform._declare import advisers, declaration_of, declare
from gradxform._docs import doc_lines, section
from gradxform._errors import UnknownNameError
from gradxform._lazy import load
from gradxform._parameters import Parameter

if TYPE_CHECKING:
    from gradxform.core._kernel import Lifted
    from gradxform.core._transformation import GradientTransformationExtraArgs

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")


class Registers(Protocol):
    """A decorator that makes a function known, and leaves it as it is, with what else a kernel's decorator has given it."""

    @overload
    def __call__(self, fn: Lifted[P], /) -> Lifted[P]: ...
    @overload
    def __call__(self, fn: Callable[P, GradientTransformationExtraArgs], /) -> Callable[P, GradientTransformationExtraArgs]: ...


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known about one registered transformation.

    Attributes:
      name: the public name; a dialect's without the system.
      make: the public function that makes it.
      kind: `optimizer` (its updates are ready for `apply_updates`) or `transform`.
      source: where the equation comes from.
      example: arguments of a typical instance, for tests and the catalogue.
      needs: extra arguments that `update` cannot do without, with a function that makes one from (params, grads).
      homogeneity: d such that gradients times k give updates times k^d (k a power of two, eps -> 0); None: no law.
      rates: centre of the learning-rate grid per race task, `default` for all others.
      identities: pairs of expressions that must give the same updates.
      ndim: the number of axes that its leaves must have, if not any.
      null_space: whether eigenvectors of singular matrices decide its updates, which are what rounding makes of them: the laws
        then examine it on leaves whose axes are equally long.
      system: the dialect, such as `torch`; none for the library's own.
      core: of a dialect's, the library's own optimizer that it corresponds to, if there is one.
    """

    name: str
    make: Callable[..., GradientTransformationExtraArgs]
    kind: str
    source: str
    example: Mapping[str, Any]
    needs: Mapping[str, Callable[..., Any]]
    homogeneity: float | None
    rates: Mapping[str, float]
    identities: tuple[tuple[str, str], ...]
    ndim: int | None = None
    null_space: bool = False
    system: str = ""
    core: str | None = None

    @property
    def full_name(self) -> str:
        """What it is found by: `adam`, `torch.adam`."""
        return f"{self.system}.{self.name}" if self.system else self.name

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The declared hyperparameters and arguments."""
        return declaration_of(self.make).parameters

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return doc_lines(self.make)[0]

    def equation(self) -> str:
        """The indented lines of the docstring above its headings."""
        above = itertools.takewhile(lambda line: not line.startswith(("State ", "Args:")), doc_lines(self.make))
        return "\n".join(line[4:] for line in above if line.startswith("    ")).rstrip()

    def section(self, heading: str) -> str:
        """The text under a docstring heading such as `Memory` or `Source`."""
        return section(self.make, heading)

    def __call__(self, **overrides: object) -> GradientTransformationExtraArgs:
        return self.make(**{**self.example, **overrides})


ROOMS = ("transforms", "linesearch", "optimizers", "wrappers", "precision", "distributed")  # whose files register what they hold
SYSTEMS = ("keras", "mxnet", "neon", "torch")
_ENTRIES: dict[str, Entry] = {}  # by their full names in small letters


def add(entry: Entry) -> None:
    """Make an entry known; another function under its name is replaced with a warning."""
    name, made_by = entry.full_name, _origin(entry.make)
    if not made_by.startswith("gradxform."):
        _load_rooms()  # ours come first, so that a user's takes a name over from ours and not the other way round
    old = _ENTRIES.get(name.lower())
    if old is not None and (_origin(old.make) != made_by or "<" in made_by):
        message = f"register: {name!r} made by {_origin(old.make)} is replaced by {made_by}. Choose another name to keep both."
        warnings.warn(message, stacklevel=4)
    _ENTRIES[name.lower()] = entry


@functools.cache
def _load_rooms() -> None:
    """Load every file that registers something. Packages load their files when asked for a name of theirs, so one may not be loaded."""
    load(*(f"gradxform.{room}" for room in ROOMS))


def _register(make, kind, source, example, needs, homogeneity, rates, identities, ndim=None, null_space=False, name=None) -> None:
    name = name or make.__name__
    add(Entry(name, make, kind, source, example or {}, needs or {}, homogeneity, rates or {}, tuple(identities), ndim, null_space))


def _origin(make: Callable[..., Any]) -> str:
    return f"{getattr(make, '__module__', '?')}.{getattr(make, '__qualname__', repr(make))}"


def _with_dialects() -> dict[str, Entry]:
    """All entries, those of the dialects too, which stand in a layer above."""
    _load_rooms()
    load(*(f"gradxform.dialects.{system}" for system in SYSTEMS))
    return _ENTRIES


class Facts(TypedDict, total=False):
    """What may be said of a transformation of one's own; see `Entry`."""

    kind: str
    source: str
    example: Mapping[str, Any] | None
    needs: Mapping[str, Callable[..., Any]] | None
    homogeneity: float | None
    rates: Mapping[str, float] | None
    identities: Sequence[tuple[str, str]]
    ndim: int | None
    null_space: bool


@overload
def register(name: F) -> F: ...
@overload
def register(name: str | None = None, *, make: None = None, **facts: Unpack[Facts]) -> Callable[[F], F]: ...
@overload
def register(name: str | None, make: F, **facts: Unpack[Facts]) -> F: ...
def register(
    name: str | Callable[..., Any] | None = None,
    make: Callable[..., Any] | None = None,
    *,
    kind: str = "optimizer",
    source: str = "user",
    example: Mapping[str, Any] | None = None,
    needs: Mapping[str, Callable[..., Any]] | None = None,
    homogeneity: float | None = None,
    rates: Mapping[str, float] | None = None,
    identities: Sequence[tuple[str, str]] = (),
    ndim: int | None = None,
    null_space: bool = False,
) -> Callable[..., Any]:
    """Make an optimizer of your own known by name, to `create`, `names`, the laws and the race.

        register("MyOpt", my_opt)                   create("myopt", learning_rate=0.1)

        @register                                   under its own name
        def my_opt(learning_rate): return gradxform.chain(...)

        @register("MyOpt", source="arXiv:...")      under another, with facts

    Args:
      name: the name; case does not matter in `create` and `entry`.
      make: the function of the hyperparameters that returns a transformation.
      kind: `"optimizer"`, or `"transform"` where the updates are not ready for `apply_updates`.
      source: where the equation comes from.
      example: arguments that the laws examine it with; None: its defaults.
      needs: for each extra argument of `update` by name, a function of (params, grads) that makes one for the laws.
      homogeneity: the power of k with which updates grow when all gradients are k times as large; None: not known.
      rates: learning rates by the name of the race's problem, and "default", as the centres of their grids.
      identities: pairs of calls that must give the same updates.
      ndim: the number of axes of the leaves that it takes; None: any.
      null_space: whether eigenvectors of singular matrices decide the updates, which are then rounding's choice.

    >>> @gx.register("halved", example={"learning_rate": 0.1})
    ... def halved(learning_rate):
    ...     return gx.sgd(learning_rate / 2)
    >>> gx.create("halved", learning_rate=1.0)
    chain(identity(), scale_by_learning_rate(learning_rate=0.5))

    Returns:
      `make` as it is; without it, a decorator.

    Source   MXNet's `Optimizer.register`.
    Differs  a function, not a class. A name that another function bears is taken over with a warning; a function at the top of a
             module that is defined again, as when a notebook's cell is run twice, replaces itself in silence.
    """
    called, given = (None, name) if callable(name) else (name, make)

    def decorate(fn: F) -> F:
        if not callable(fn):
            raise TypeError(f"register: expected a function that makes a transformation, but got {fn!r}.")
        if kind not in ("optimizer", "transform"):
            raise ValueError(f"register: `kind` must be 'optimizer' or 'transform', but got {kind!r}.")
        _register(fn, kind, source, example, needs, homogeneity, rates, identities, ndim, null_space, called)
        return fn

    return decorate if given is None else decorate(given)


def _declared(fn: F) -> F:
    """A function that declares its arguments, as a lifted kernel does; one that does not is made to declare and check them."""
    return fn if hasattr(fn, "declaration") else cast(F, declare(fn, lambda bound: fn(*bound.args, **bound.kwargs)))


def optimizer(
    *,
    source: str,
    example: Mapping[str, Any] | None = None,
    needs: Mapping[str, Callable[..., Any]] | None = None,
    homogeneity: float | None = None,
    rates: Mapping[str, float] | None = None,
    identities: Sequence[tuple[str, str]] = (),
    null_space: bool = False,
) -> Registers:
    """Register a complete optimizer: a lifted kernel, or a function whose arguments' ranges are then checked under its own name.

    Args:
      source: where the equation comes from.
      example: arguments that the laws examine it with; None: its defaults.
      needs: for each extra argument of `update` by name, a function of (params, grads) that makes one for the laws.
      homogeneity: the power of k with which updates grow when all gradients are k times as large; None: not known.
      rates: learning rates by the name of the race's problem, and "default", as the centres of their grids.
      identities: pairs of calls that must give the same updates.
      null_space: whether eigenvectors of singular matrices decide the updates, which are then rounding's choice.

    >>> @gx.kernels.optimizer(source="Cauchy 1847", example={"learning_rate": 0.1})
    ... def descent(learning_rate: gx.Real):
    ...     return gx.sgd(learning_rate)
    >>> gx.create("descent", learning_rate=1.0)
    chain(identity(), scale_by_learning_rate(learning_rate=1.0))
    """

    def decorate(fn: F) -> F:
        make = _declared(fn)
        _register(make, "optimizer", source, example, needs, homogeneity, rates, identities, None, null_space)
        return make

    return decorate


def transform(
    *,
    source: str,
    example: Mapping[str, Any] | None = None,
    needs: Mapping[str, Callable[..., Any]] | None = None,
    homogeneity: float | None = None,
    identities: Sequence[tuple[str, str]] = (),
    ndim: int | None = None,
    null_space: bool = False,
) -> Registers:
    """Register a primitive: a lifted kernel, or a function that makes a transformation.

    Args:
      source: where the equation comes from.
      example: arguments that the laws examine it with; None: its defaults.
      needs: for each extra argument of `update` by name, a function of (params, grads) that makes one for the laws.
      homogeneity: the power of k with which updates grow when all gradients are k times as large; None: not known.
      identities: pairs of calls that must give the same updates.
      ndim: the number of axes of the leaves that it takes; None: any.
      null_space: whether eigenvectors of singular matrices decide the updates, which are then rounding's choice.

    >>> @gx.kernels.transform(source="arithmetic")
    ... def twice():
    ...     return gx.scale(2.0)
    >>> gx.create("twice")
    scale(2.0)
    """

    def decorate(fn: F) -> F:
        make = _declared(fn)
        _register(make, "transform", source, example, needs, homogeneity, None, identities, ndim, null_space)
        return make

    return decorate


def entry(name: str) -> Entry:
    """The registry's entry of that name (case does not matter); a dialect's is called `torch.adam`.

    Args:
      name: a registered name, such as "adam" or "torch.adam"; case does not matter.

    >>> gx.kernels.entry("adamw").source
    'Loshchilov & Hutter 2019, arXiv:1711.05101'
    """
    found = _ENTRIES.get(name.lower()) or _with_dialects().get(name.lower())
    if found is None:
        near = _near(name.lower())
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownNameError(f"No transformation is called {name!r}.{hint} `gradxform.names()` lists all.")
    return found


def _near(wanted: str) -> list[str]:
    """Names that may have been meant: the same in another system, then those that are spelled alike."""
    namesakes = [key for key in _with_dialects() if key.rpartition(".")[2] == wanted.rpartition(".")[2]]
    alike = difflib.get_close_matches(wanted, _ENTRIES, n=3, cutoff=0.5)
    return [_ENTRIES[key].full_name for key in dict.fromkeys([*namesakes, *alike])][:4]


def names(pattern: str = "*", kind: str = "optimizer") -> list[str]:
    """Names of the registered optimizers that match a shell pattern; `kind="transform"` or `"*"` for the others.

    Args:
      pattern: a shell pattern of names, such as "adam*"; with a dot of the dialects'.
      kind: "optimizer", "transform", or "*" for both.

    >>> import gradxform
    >>> gradxform.names("adam*w")
    ['adamaxw', 'adamw']

    A pattern with a dot finds the dialects' functions.

    >>> gradxform.names("*.adamw")
    ['keras.adamw', 'mxnet.adamw', 'torch.adamw']
    """
    dotted = "." in pattern
    _load_rooms()
    found = [e for e in (_with_dialects() if dotted else _ENTRIES).values() if dotted or not e.system]
    return sorted(e.full_name for e in found if fnmatch.fnmatch(e.full_name, pattern) and fnmatch.fnmatch(e.kind, kind))


def create(name: str, **arguments: object) -> GradientTransformationExtraArgs:
    """Make a registered transformation by name: `create("adam", learning_rate=1e-3)`.

    Args:
      name: a registered name, such as "adam" or "torch.adam"; case does not matter.
      arguments: the arguments of that function.

    >>> gx.create("sgd", learning_rate=0.1, momentum=0.9) == gx.sgd(0.1, momentum=0.9)
    True

    Raises   UnknownNameError: no such name (it lists the nearest). HyperparameterError: an argument that it does not take.
    """
    return entry(name).make(**arguments)


def _advice(owner: str, wrong: str) -> str:
    """Where an argument is taken that a function does not have: by a relative of it, or by PyTorch's optimizer of that name."""
    relatives = [e for e in _with_dialects().values() if e.name == owner or (not e.system and e.name.startswith(owner))]
    takers = [e.full_name for e in relatives if wrong in e.parameters and e.full_name != owner]
    places = [name if "." not in name else f"gradxform.dialects.{name}" for name in sorted(takers, key=lambda name: "." in name)]
    chosen = [*places[:1], *(name for name in places[1:] if name == f"gradxform.dialects.torch.{owner}")]
    return f"{' and '.join(chosen)} {'takes' if len(chosen) == 1 else 'take'} it." if chosen else ""


advisers.append(_advice)
