"""What is under test: a transformation, how to make variants of it, and inputs for it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform import registry
from gradxform._errors import GradxformError
from gradxform._types import Parameter
from gradxform.core._apply import apply_updates
from gradxform.core._chain import Chain
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec

SHAPES: Mapping[str, tuple[int, ...]] = {"w": (4, 6), "b": (3,), "s": ()}
DTYPES = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.complex64)
"""Of parameters, but for float64, which needs 64-bit mode."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A transformation and its declared traits.

    Attributes:
      name: for messages.
      make: (overrides of hyperparameters) -> transformation.
      parameters: the declared hyperparameters.
      entry: the registry's entry, if there is one.
      shapes: shapes of the leaves to test on.
      oracle: a float64 NumPy transcription: (hyperparameters) -> step(gs, ws) -> us on lists of arrays.
    """

    name: str
    make: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    arguments: Mapping[str, Any]
    entry: registry.Entry | None = None
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=lambda: SHAPES)
    oracle: Callable[..., Any] | None = None

    @property
    def tx(self) -> Any:
        return self.make()

    @property
    def scope(self) -> str | None:
        """How far information flows in it; None where it is written by hand."""
        return self.tx.update.scope if isinstance(self.tx.update, Spec) else None

    def params(self, dtype: Any = jnp.float32, scale: float = 1.0) -> dict[str, Any]:
        return self.noise(0, dtype, scale)

    def grads(self, step: int, dtype: Any = jnp.float32, scale: float = 1.0) -> dict[str, Any]:
        """Noisy gradients, the same for the same step."""
        return self.noise(step + 1, dtype, scale)

    def noise(self, seed: int, dtype: Any, scale: float) -> dict[str, Any]:
        """A leaf of each shape; where a tuple of dtypes is given, a leaf of each dtype, the shapes taken in turn."""
        rng = np.random.default_rng(seed)
        leaves = [(name, shape, dtype) for name, shape in sorted(self.shapes.items())]
        if isinstance(dtype, tuple):
            turns = zip(dtype, itertools.cycle(self.shapes.values()))
            leaves = [(jnp.dtype(d).name, shape, d) for d, shape in turns]
        return {name: jnp.asarray(_normal(rng, shape, d) * scale).astype(d) for name, shape, d in leaves}

    @functools.cached_property
    def mixtures(self) -> Sequence[tuple[Any, ...]]:
        """Dtypes of the leaves of one tree: all that it takes, or one at a time if it wants leaves of one dtype."""
        taken = tuple(d for d in DTYPES if self.takes(d))
        return [taken] if self.takes(taken) else [(d,) for d in taken]

    def takes(self, dtype: Any) -> bool:
        """Whether parameters of that dtype, or of those dtypes in one tree, are not refused."""
        try:
            self.abstract(self.params(dtype), self.grads(0, dtype))
        except GradxformError:
            return False
        return True

    def abstract(self, params: Any, grads: Any) -> tuple[Any, Any, Any]:
        """The first state, and what one update from there gives, as shapes and dtypes: nothing is compiled."""
        tx = self.tx
        state = tx.init(params)
        return (state, *_compiled.eval_shape(tx, grads, state, params, self.extra(params, grads)))

    def extra(self, params: Any, grads: Any) -> dict[str, Any]:
        """The extra arguments that it declares to need."""
        if self.entry is not None and self.entry.needs:
            return {name: make(params, grads) for name, make in self.entry.needs.items()}
        found: dict[str, Any] = {}
        for stage in stages_of(self.tx.update):
            for name, argument in stage.kernel.needs.items():
                if name != "params" and not argument.optional:
                    found[name] = jax.tree.map(jnp.ones_like, grads) if argument.per_leaf else jnp.float32(1)
        return found

    def update(self, tx: Any, grads: Any, state: Any, params: Any, jit: bool = False) -> Any:
        """One update. Compiled steps are shared by all laws, because transformations compare by value."""
        step = _compiled if jit else _update
        return step(tx, grads, state, params, self.extra(params, grads))

    def run(self, tx: Any, steps: int, dtype: Any = jnp.float32, scale: float = 1.0, jit: bool = True, move: float = 1e-2) -> Any:
        """Some steps from the start, the parameters moving by `move` times the updates: all updates, final state, parameters."""
        params = self.params(dtype)
        state, updates = tx.init(params), []
        for i in range(steps):
            u, state = self.update(tx, self.grads(i, dtype, scale), state, params, jit)
            params = apply_updates(params, jax.tree.map(lambda x: x * jnp.asarray(move, x.dtype), u))
            updates.append(u)
        return updates, state, params


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if jnp.issubdtype(dtype, jnp.complexfloating) else x


def _update(tx: Any, grads: Any, state: Any, params: Any, extra: Any) -> Any:
    return tx.update(grads, state, params, **extra)


_compiled = jax.jit(_update, static_argnums=0)


def stages_of(update: Any) -> Iterator[Stage]:
    if isinstance(update, Stage):
        yield update
    elif isinstance(update, Chain):
        for inner in update.updates:
            yield from stages_of(inner)


def case_for(subject: Any, oracle: Callable[..., Any] | None = None, params: Any = None) -> Case:
    """A case from a name, a registry entry, a function that makes transformations, or a transformation."""
    shapes = SHAPES if params is None else {f"p{i}": np.shape(x) for i, x in enumerate(jax.tree.leaves(params))}
    if isinstance(subject, str):
        subject = registry.entry(subject)
    if isinstance(subject, registry.Entry):
        if params is None and subject.ndim is not None:
            shapes = {"w": (4, 6, 5)[: subject.ndim], "v": (6, 4, 5)[: subject.ndim], "x": (4, 6, 5)[: subject.ndim]}
        return Case(subject.name, subject, subject.parameters, subject.example, subject, shapes, oracle)
    if not hasattr(subject, "update"):
        subject = subject()
    update = subject.update
    if isinstance(update, Stage):
        make = update.kernel.public[0]
        return Case(
            update.kernel.name,
            lambda **over: make(**{**update.args, **over}),
            update.kernel.parameters,
            update.args,
            shapes=shapes,
            oracle=oracle,
        )
    return Case(repr(subject), lambda: subject, {}, {}, shapes=shapes, oracle=oracle)
