"""`GradientTransformation`: a pair of pure functions, and the specification that ours carry."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._declare import caller
from gradxform._errors import StructureError
from gradxform._messages import brief
from gradxform._types import Array, OptState, Params, TransformInitFn, TransformUpdateExtraArgsFn, Tree, Updates
from gradxform.core._parts import Part, is_transformation

CallArguments = tuple[tuple[Tree, ...], Mapping[str, Tree]]
"""What a function is to be called with: by position, and by name."""


Step = Array | int
InnerStep = Step | tuple[Step, ...]
"""The updates of what is inside, where they differ those of each part."""


SCOPES = ("elementwise", "per_leaf", "per_tree")


class _Pair(NamedTuple):
    """The fields of `GradientTransformation`, as they may be used."""

    init: TransformInitFn
    update: TransformUpdateExtraArgsFn


class GradientTransformation(_Pair):
    """A pair of pure functions.

        init(params)                           -> state
        update(updates, state, params=None)    -> (updates, state)

    Made by hand or by the lift, it unpacks, chains, registers and is tested alike. One whose `update` also takes extra arguments by
    keyword is a `GradientTransformationExtraArgs`; all of gradxform's own are.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # a pair may be made of functions whose arguments have other names

        def __new__(cls, init: Callable[..., OptState], update: Callable[..., tuple[Updates, OptState]]) -> Self: ...

    def __repr__(self) -> str:
        if isinstance(self.update, Spec):
            return repr(self.update)
        return f"GradientTransformation(init={self.init!r}, update={self.update!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.init, self.update))


class GradientTransformationExtraArgs(GradientTransformation):
    """A `GradientTransformation` whose `update` accepts extra arguments by keyword, and ignores those that it does not know."""

    __slots__ = ()

    @property
    def __class__(self):  # type: ignore[override]
        # Optax drops extra arguments for every stage that is not an instance of its own class. Where Optax is loaded,
        # answer with that class, so that `value=` reaches our stages inside `optax.chain`. `type(tx)` stays ours.
        return getattr(sys.modules.get("optax"), "GradientTransformationExtraArgs", type(self))


class Named:
    """A callable object that answers what tools ask a function: `__name__`, `__qualname__`, and by `__wrapped__` where it is written.

    Profilers ask, and `jax.named_call`, `functools.wraps`, `inspect.getsource`.
    """

    def title(self) -> str:
        """Its name with what it belongs to, such as `adam.update`."""
        raise NotImplementedError

    def values(self) -> tuple[object, ...]:
        """What its key is made of beside its class and its name."""
        return ()

    @property
    def __name__(self) -> str:
        return self.title().rpartition(".")[2]

    @property
    def __wrapped__(self) -> Callable[..., object]:
        return self.__call__  # type: ignore[attr-defined]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            # No property can have that name, by which a class calls itself. Any other error is raised again as it was.
            return self.title() if name == "__qualname__" else self.__getattribute__(name)


class Spec(Named):
    """The `update` of one of our transformations, as data: it prints, compares by value, hashes and pickles.

    A subclass has `init(params)`, `__call__(updates, state, params=None, **extra)`, and `arguments()`: what its public
    function is to be called with to make an equal one.

    It may declare more: how far information flows (`scope`), the transformations inside (`members`, `parts` and `joined` with their
    states, what they see of the parameters, `seen`), and `eval_params`, the parameters to evaluate with, where those are not the stored
    ones (see `gradxform.core._evaluate`).

    Attributes:
      maker: the function that the user called to make it, `adam` for all that an `adam` consists of, for messages; None: its own.
    """

    maker: str | None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        del args, kwargs
        spec = super().__new__(cls)
        spec.maker = caller.get()
        return spec

    @functools.cached_property
    def owner(self) -> str:
        """What messages call it: `sgd (trace)` for the trace that an `sgd` consists of."""
        return owner_of([self])

    @property
    def own_scope(self) -> str:
        """How far information flows, apart from what the members do."""
        return "per_tree"

    @property
    def scope(self) -> str:
        """How far information flows."""
        return max([self.own_scope, *map(scope_of, self.members)], key=SCOPES.index)

    @property
    def widens(self) -> bool:
        """Whether updates of narrow parameters may be float32 or wider, apart from what the members do."""
        return False

    @property
    def averages(self) -> bool:
        """Whether what it evaluates with is an average of the stored parameters, so that in a chain what stands before is not asked."""
        return False

    @property
    def members(self) -> Sequence[GradientTransformation]:
        """The transformations inside."""
        return ()

    def init(self, params: Params) -> OptState:
        raise NotImplementedError

    def __call__(self, updates: Updates, state: OptState, params: Params = None, **extra: Tree) -> tuple[Updates, OptState]:
        raise NotImplementedError

    def eval_params(self, state: OptState, params: Params, after: Callable[[Updates], Updates]) -> Params:
        del state, after
        return params

    def resumed(self, state: OptState, step: Step, only_schedules: bool) -> tuple[OptState, InnerStep]:
        """The state with its own clocks as after `step` updates, of which `only_schedules` takes those that a schedule reads; and how many
        updates its parts have made by then: one number, or one for each part.
        """
        del only_schedules
        return state, step

    def parts(self, state: OptState) -> list[Part]:
        """The transformations inside, each with its state (see `gradxform.core._parts`)."""
        del state
        return []

    def seen(self, params: Params, parts: int) -> Sequence[Params]:
        """What each of so many parts sees of the parameters."""
        return [params] * parts

    def joined(self, state: OptState, parts: Sequence[Part]) -> tuple[Spec, OptState]:
        """The specification and the state with other parts."""
        del parts
        return self, state

    def public(self) -> GradientTransformationExtraArgs:
        """The public pair that carries this."""
        return transformation(self)

    def name(self) -> str:
        raise NotImplementedError

    def title(self) -> str:
        return f"{self.name()}.update"

    def arguments(self) -> CallArguments:
        raise NotImplementedError

    def values(self) -> tuple[object, ...]:
        args, kwargs = self.arguments()
        return (*args, *kwargs.values())

    def key(self) -> Hashable:
        args, kwargs = self.arguments()
        return (type(self), self.name(), frozen(args), frozen(dict(kwargs)))

    @functools.cached_property
    def _lasting_key(self) -> Lasting | None:
        return Lasting(self.key()) if _is_lasting(self.values()) else None

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Spec):
            return self is other
        ours, theirs = self._lasting_key, other._lasting_key
        return self.key() == other.key() if ours is None or theirs is None else ours == theirs

    def __hash__(self) -> int:
        return hash(self.key() if self._lasting_key is None else self._lasting_key)

    def __repr__(self) -> str:
        args, kwargs = self.arguments()
        shown = [show(a) for a in args] + [f"{k}={show(v)}" for k, v in kwargs.items()]
        return f"{self.name()}({', '.join(shown)})"


def owner_of(specs: Sequence[Spec]) -> str:
    """What messages call several that are executed together."""
    found = []
    for maker, some in itertools.groupby(specs, lambda spec: spec.maker):
        names = ", ".join(spec.name() for spec in some)
        found.append(names if maker in (None, names) else f"{maker} ({names})")
    return ", ".join(found)


class Init(Named):
    """The `init` of a specification."""

    def __init__(self, spec: Spec):
        self.spec = spec

    def title(self) -> str:
        return f"{self.spec.name()}.init"

    def values(self) -> tuple[object, ...]:
        return (self.spec,)

    def __call__(self, params: Params) -> OptState:
        return self.spec.init(params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Init) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash((Init, self.spec))

    def __repr__(self) -> str:
        return f"init of {self.spec!r}"


def check_transformation(tx: object, where: str) -> None:
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise StructureError(
            f"{where}: expected a GradientTransformation with `init` and `update`, but got {brief(tx)}.{_meant(tx)}"
        )


def _meant(x: object) -> str:
    """What to write where something else was given for a transformation."""
    if isinstance(x, (list, tuple)) and x and all(map(is_transformation, x)):
        return " Give them one by one: `chain(*transformations)`."
    if isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], str) and is_transformation(x[1]):
        return " Named members are for `named_chain`."
    if hasattr(x, "declaration") or isinstance(x, type):
        return " Did you forget to call it?"
    if callable(x):
        return " A schedule is made a transformation by `scale_by_schedule(schedule)`. If it makes one: did you forget to call it?"
    return ""


def scope_of(tx: GradientTransformation) -> str:
    """How far information flows in a transformation; one of another library promises nothing."""
    return tx.update.scope if isinstance(tx.update, Spec) else "per_tree"


def widens(tx: GradientTransformation) -> bool:
    """Whether updates of narrow parameters may be float32 or wider."""
    spec = getattr(tx, "tx", tx).update  # a transformation that is bound in a wrapper, or one as it is
    return isinstance(spec, Spec) and (spec.widens or any(map(widens, spec.members)))


def transformation(spec: Spec) -> GradientTransformationExtraArgs:
    """The public pair that carries `spec`."""
    return GradientTransformationExtraArgs(Init(spec), spec)


def extra_args_for(update: Callable[..., object], extra: Mapping[str, Tree]) -> Mapping[str, Tree]:
    """The part of `extra` that a transformation's `update`, ours or foreign, accepts."""
    if not extra or isinstance(update, Spec):
        return extra
    parameters = inspect.signature(update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return extra
    return {k: v for k, v in extra.items() if k in parameters}


class ByIdentity:
    """A hashable key for something that has no value to hash; it keeps that thing alive."""

    def __init__(self, x: object):
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.x is other.x

    def __hash__(self) -> int:
        return id(self.x)


def frozen(x: object) -> Hashable:
    """A hashable key of a value: arrays by their bytes, tracers and unhashable objects by identity."""
    if isinstance(x, jax.core.Tracer):
        return ByIdentity(x)
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return ("key", str(x.dtype), frozen(jax.random.key_data(x)))
    if isinstance(x, (jax.Array, np.ndarray, np.generic)):
        a = np.asarray(x)
        return ("array", a.shape, str(a.dtype), a.tobytes())
    if isinstance(x, Mapping):
        return ("dict", tuple((k, frozen(v)) for k, v in x.items()))
    if isinstance(x, (tuple, list)):
        return (type(x), *(frozen(v) for v in x))
    if isinstance(x, (bool, int, float)):
        return (type(x).__name__, x)
    try:
        hash(x)
    except TypeError:
        return ByIdentity(x)
    return x


class Lasting:
    """A key that is hashed once."""

    def __init__(self, key: Hashable):
        self.key, self.hash = key, hash(key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Lasting) and self.hash == other.hash and self.key == other.key)

    def __hash__(self) -> int:
        return self.hash


def _is_lasting(x: object) -> bool:
    """Whether the key of a value stays what it is: nothing that it is made of can be written to."""
    if isinstance(x, Spec):
        return x._lasting_key is not None
    if isinstance(x, Named):
        return _is_lasting(x.values())
    return all(map(_is_lasting, x)) if isinstance(x, tuple) else not isinstance(x, (Mapping, list, np.ndarray))


def show(x: object) -> str:
    """The text of an argument in a repr."""
    if isinstance(x, jax.core.Tracer):
        return f"<traced {x.aval.str_short()}>"
    if isinstance(x, (jax.Array, np.ndarray, np.generic)) and np.ndim(x) == 0 and not hasattr(x, "_key_data"):
        return repr(x.item()) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else repr(x)
    if isinstance(x, np.dtype) or (isinstance(x, type) and hasattr(x, "dtype")):
        return f"'{np.dtype(x).name}'"
    if type(x) is dict:
        return f"{{{', '.join(f'{k!r}: {show(v)}' for k, v in x.items())}}}"
    if inspect.isfunction(x):
        return ("tree." if (x.__module__ or "").startswith("gradxform.tree.") else "") + x.__qualname__
    return repr(x)
