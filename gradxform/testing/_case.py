"""What is under test: a transformation, how to make variants of it, and inputs for it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gradxform import registry
from gradxform._declare import declaration_of
from gradxform._errors import GradxformError, HyperparameterError
from gradxform._parameters import Parameter
from gradxform._types import Array, DType, Hyper, OptState, Params, Shape, Tree, Updates
from gradxform.core._apply import apply_updates
from gradxform.core._chain import Chain
from gradxform.core._stage import Stage
from gradxform.core._transformation import GradientTransformation, Spec
from gradxform.tree._leafwise import is_encoded

if TYPE_CHECKING:
    from typing_extensions import TypeIs

SHAPES: Mapping[str, Shape] = {"w": (4, 6), "b": (3,), "s": ()}
DTYPES = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.complex64)
"""Of parameters, but for float64, which needs 64-bit mode."""
Leaves = dict[str, Array]
"""A tree to test on."""
DTypes = DType | tuple[DType, ...]
"""One for all leaves, or one for each."""
Outcome = tuple[Updates, OptState]
Arrays = list[np.ndarray]
Reference = Callable[..., Callable[[Arrays, Arrays], Arrays]]
"""A float64 NumPy transcription: (hyperparameters) -> step(gs, ws) -> us."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A transformation and its declared traits.

    Attributes:
      name: for messages.
      make: (overrides of hyperparameters) -> transformation.
      parameters: the declared hyperparameters.
      entry: the registry's entry, if there is one.
      shapes: shapes of the leaves to test on.
      reference: a float64 NumPy transcription: (hyperparameters) -> step(gs, ws) -> us on lists of arrays.
      kind: `optimizer`, whose updates are ready for `apply_updates`, or `transform`.
      promised: the scope that the author of one that is written by hand declares.
      constant: names of the state's fields that no update changes.
    """

    name: str
    make: Callable[..., GradientTransformation]
    parameters: Mapping[str, Parameter]
    arguments: Mapping[str, Hyper | Tree]
    entry: registry.Entry | None = None
    shapes: Mapping[str, Shape] = dataclasses.field(default_factory=lambda: SHAPES)
    reference: Reference | None = None
    kind: str | None = None
    promised: str | None = None
    constant: Sequence[str] = ()

    @functools.cached_property
    def tx(self) -> GradientTransformation:
        return self.make()

    @functools.cached_property
    def is_optimizer(self) -> bool:
        """Whether its updates are ready for `apply_updates`: as said, as registered, or because it has a learning rate."""
        stages = [stage for stage in stages_of(self.tx.update) if any(n.endswith("learning_rate") for n in stage.args)]
        kinds = [registry.entry(s.name()).kind for s in stages if registry.names(s.name(), kind="*")]
        return (self.kind or ("optimizer" if (self.rate or stages) and "transform" not in kinds else "transform")) == "optimizer"

    @property
    def by_hand(self) -> bool:
        """Whether it is a pair of functions, of which nothing is declared."""
        return not isinstance(self.tx.update, Spec)

    @property
    def scope(self) -> str | None:
        """How far information flows in it; None where it is written by hand and nothing is said of it."""
        update = self.tx.update
        return update.scope if isinstance(update, Spec) else self.promised

    @property
    def rate(self) -> str | None:
        """The name of its learning rate, if it has one."""
        return min((name for name in self.parameters if name.endswith("learning_rate")), key=len, default=None)

    @functools.cached_property
    def random(self) -> bool:
        """Whether its state has a random key or codes that are rounded at random: it then differs with the number and order of leaves."""
        leaves = jax.tree.leaves(self.abstract_state, is_leaf=is_encoded)
        return any(is_encoded(x) or jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves)

    @property
    def abstract_state(self) -> OptState:
        return jax.eval_shape(self.tx.init, self.params())

    @property
    def of_one_leaf(self) -> Case:
        """This case on a tree of one leaf, where that says enough."""
        return dataclasses.replace(self, shapes=dict([min(self.shapes.items())]))

    def params(self, dtype: DTypes = jnp.float32, scale: float = 1.0) -> Leaves:
        return self.noise(0, dtype, scale)

    def grads(self, step: int, dtype: DTypes = jnp.float32, scale: float = 1.0) -> Leaves:
        """Noisy gradients, the same for the same step."""
        return self.noise(step + 1, dtype, scale)

    def noise(self, seed: int, dtype: DTypes, scale: float) -> Leaves:
        """A leaf of each shape; where a tuple of dtypes is given, a leaf of each dtype, the shapes taken in turn."""
        rng = np.random.default_rng(seed)
        if isinstance(dtype, tuple):
            turns = zip(dtype, itertools.cycle(self.shapes.values()))
            leaves = [(jnp.dtype(d).name, shape, d) for d, shape in turns]
        else:
            leaves = [(name, shape, dtype) for name, shape in sorted(self.shapes.items())]
        return {name: jnp.asarray(_normal(rng, shape, d) * scale).astype(d) for name, shape, d in leaves}

    @functools.cached_property
    def mixtures(self) -> Sequence[tuple[DType, ...]]:
        """Dtypes of the leaves of one tree: all that it takes, or one at a time if it wants leaves of one dtype."""
        taken = tuple(d for d in DTYPES if self.takes(d))
        return [taken] if self.takes(taken) else [(d,) for d in taken]

    def takes(self, dtype: DTypes) -> bool:
        """Whether parameters of that dtype, or of those dtypes in one tree, are not refused."""
        try:
            self.abstract(self.params(dtype), self.grads(0, dtype))
        except GradxformError:
            return False
        return True

    def abstract(self, params: Params, grads: Updates) -> tuple[OptState, Updates, OptState]:
        """The first state, and what one update from there gives, as shapes and dtypes: nothing is compiled."""
        tx = self.tx
        state = tx.init(params)
        return (state, *_compiled.eval_shape(tx, grads, state, params, self.extra(params, grads)))

    def extra(self, params: Params, grads: Updates) -> dict[str, Tree]:
        """The extra arguments that it declares to need."""
        if self.entry is not None and self.entry.needs:
            return {name: make(params, grads) for name, make in self.entry.needs.items()}
        found: dict[str, Tree] = {}
        for stage in stages_of(self.tx.update):
            for name, argument in stage.kernel.needs.items():
                if name != "params" and not argument.optional:
                    found[name] = jax.tree.map(jnp.ones_like, grads) if argument.per_leaf else jnp.float32(1)
        return found

    def update(self, tx: GradientTransformation, grads: Updates, state: OptState, params: Params, jit: bool = False) -> Outcome:
        """One update. Compiled steps are shared by all laws, because transformations compare by value."""
        step = _compiled if jit else _update
        return step(tx, grads, state, params, self.extra(params, grads))

    def run(
        self,
        tx: GradientTransformation,
        steps: int,
        dtype: DTypes = jnp.float32,
        scale: float = 1.0,
        jit: bool = True,
        move: float = 1e-2,
    ) -> tuple[list[Updates], OptState, Params]:
        """Some steps from the start, the parameters moving by `move` times the updates: all updates, final state, parameters."""
        params = self.params(dtype)
        state, updates = tx.init(params), []
        for i in range(steps):
            u, state = self.update(tx, self.grads(i, dtype, scale), state, params, jit)
            params = apply_updates(params, jax.tree.map(lambda x: x * jnp.asarray(move, x.dtype), u))
            updates.append(u)
        return updates, state, params


def _normal(rng: np.random.Generator, shape: Shape, dtype: DType) -> np.ndarray:
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if jnp.issubdtype(dtype, jnp.complexfloating) else x


def _update(tx: GradientTransformation, grads: Updates, state: OptState, params: Params, extra: Mapping[str, Tree]) -> Outcome:
    return tx.update(grads, state, params, **extra)


_compiled = jax.jit(_update, static_argnums=0)
Subject = str | registry.Entry | GradientTransformation | Callable[[], GradientTransformation]
"""What may be examined: a registered name, an entry, a transformation, or a function that makes one."""


def stages_of(update: Callable[..., Outcome]) -> Iterator[Stage]:
    if isinstance(update, Stage):
        yield update
    elif isinstance(update, Chain):
        for inner in update.updates:
            yield from stages_of(inner)


def stages_at_any_depth(tx: GradientTransformation, params: Params) -> Iterator[tuple[Stage, Params]]:
    """The stages of a transformation, at any depth, each with what it sees of the parameters."""
    spec = tx.update
    if isinstance(spec, Stage):
        yield spec, params
    if isinstance(spec, Spec):
        for one, seen in zip(spec.members, spec.seen(params, len(spec.members)), strict=True):
            yield from stages_at_any_depth(one, seen)


def _is_made(subject: object) -> TypeIs[GradientTransformation]:
    return hasattr(subject, "update")


def case_for(
    subject: Subject,
    reference: Reference | None = None,
    params: Params = None,
    *,
    kind: str | None = None,
    scope: str | None = None,
    constant: Sequence[str] = (),
) -> Case:
    """A case from a name, a registry entry, a function that makes transformations, or a transformation.

    Args:
      subject: a transformation, a function that makes one without arguments, a registered name, or a registry entry.
      reference: a float64 NumPy transcription to compare with.
      params: parameters to examine with; None: small trees of several shapes and dtypes.
      kind: "optimizer" or "transform"; None: as it is registered.
      scope: "elementwise", "per_leaf" or "per_tree"; None: as it is declared.
      constant: names of state fields that may stay as they began.

    >>> case = gx.testing.case_for("adamw")
    >>> case.name
    'adamw'
    """
    shapes = SHAPES if params is None else {f"p{i}": np.shape(x) for i, x in enumerate(jax.tree.leaves(params))}
    finish = functools.partial(Case, reference=reference, kind=kind, promised=scope, constant=constant)
    if isinstance(subject, str):
        subject = registry.entry(subject)
    if isinstance(subject, registry.Entry):
        _check_complete(subject.full_name, subject.parameters, subject.example, "Register it with `example={{{0!r}: ...}}`, or")
        if params is None and subject.ndim is not None:
            shapes = {"w": (4, 6, 5)[: subject.ndim], "v": (6, 4, 5)[: subject.ndim], "x": (4, 6, 5)[: subject.ndim]}
        if params is None and subject.null_space:
            shapes = {name: (4,) * len(shape) for name, shape in shapes.items()}
        return finish(subject.name, subject, subject.parameters, subject.example, subject, shapes, kind=kind or subject.kind)
    if _is_made(subject):
        update = subject.update
        if not isinstance(update, Stage):
            return finish(repr(subject), lambda: subject, {}, {}, shapes=shapes)
        make, args = update.kernel.public[0], update.args
        return finish(update.kernel.name, lambda **over: make(**{**args, **over}), update.kernel.parameters, args, shapes=shapes)
    declared = declaration_of(subject)
    parameters, defaults = declared.parameters, {}
    _check_complete(declared.owner, parameters, defaults, "Either give it a default, or")
    return finish(declared.owner, subject, parameters, {n: p.default for n, p in parameters.items()}, shapes=shapes)


def _check_complete(name: str, parameters: Mapping[str, Parameter], example: Mapping[str, Hyper | Tree], what_to_do: str) -> None:
    """Laws need an instance: a value for each argument that has no default."""
    missing = [p.name for p in parameters.values() if p.required and p.name not in example]
    if missing:
        call = f"{name.rpartition('.')[2]}({', '.join(f'{n}=...' for n in missing)})"
        raise HyperparameterError(
            f"check: `{name}` needs {' and '.join(f'`{n}`' for n in missing)}, for which there is no value to examine it with. "
            f"{what_to_do.format(*missing)} examine an instance: `check({call})`."
        )
