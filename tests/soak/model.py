"""How a program is run: each way of making updates, and what happens to the state between them."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx
from gradxform.testing._state_laws import _from_bytes, _to_bytes
from tests.soak import parts
from tests.soak.generator import Program

SINGLE = {"jit": 3, "donated": 3, "eager": 1}
"""Updates of a segment that is no scan."""


@dataclasses.dataclass
class Account:
    """What a run of programs amounts to."""

    programs: int = 0
    steps: int = 0
    compared: int = 0
    not_finite_in_optax: int = 0
    marathons: list[int] = dataclasses.field(default_factory=list)
    laws: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


class Broken(AssertionError):
    """Something does not hold of a program."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def evaluated(text: str, library: Any) -> Any:
    """The transformation that an expression makes with Optax, or with gradxform in its place."""
    tx = eval(text, {"o": library, "gx": gx, **parts.WORDS})
    return getattr(tx, "gradient_transformation", lambda: tx)()


def tree_of(leaves: list[Any]) -> Any:
    """A tree with a None in it, and the first leaf above the others."""
    return {"first": leaves[0], "none": None, "rest": {f"leaf{i}": x for i, x in enumerate(leaves[1:])}}


def noise(program: Program, n: int, seed: int, scale: float = 1.0) -> Any:
    """n trees in one, of noise around a constant."""
    rng, found = np.random.default_rng([program.noise, seed]), []
    for shape, dtype in program.leaves:
        draw = lambda *shape: rng.normal(size=shape)
        x = draw(n, *shape) + 0.5 * draw(*shape)
        if dtype.startswith("complex"):
            x = x + 1j * draw(n, *shape)
        found.append(np.asarray(jnp.asarray(x * scale).astype(dtype)))
    return tree_of(found)


def at(trees: Any, i: Any) -> Any:
    return jax.tree.map(lambda x: x[i], trees)


def on_device(tree: Any) -> Any:
    """New arrays."""
    return jax.tree.map(lambda x: jnp.array(x, copy=True), tree)


class Trainer:
    """A transformation whose updates are made in each way, and how often each was traced."""

    def __init__(self, program: Program, tx: Any):
        self.program, self.tx, self.traces = program, tx, collections.Counter[str]()
        self.jit = jax.jit(self.counted("jit"))
        self.donated = jax.jit(self.counted("donated"), donate_argnums=(0, 1))
        self.scan = jax.jit(functools.partial(jax.lax.scan, self.scanned))

    def extra(self, value: Any) -> dict[str, Any]:
        """The extra arguments that the program needs. (Optax's `sam` refuses others.)"""
        given = {"value": value} if self.program.needs(*parts.VALUED) else {}
        return given | ({"obj_fn": parts.objective} if self.program.needs(*parts.OF_CURVATURE) else {})

    def step(self, params: Any, state: Any, g: Any, value: Any) -> tuple[Any, Any, Any]:
        u, state = self.tx.update(g, state, params, **self.extra(value))
        return gx.apply_updates(params, u), state, u

    def counted(self, how: str) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            self.traces[how] += 1
            return self.step(*args)

        return step

    def scanned(self, carry: Any, given: Any) -> tuple[Any, Any]:
        self.traces["scan"] += 1
        params, state, u = self.step(*carry, *given)
        return (params, state), u

    def run(self, how: str, params: Any, state: Any, gs: Any, values: np.ndarray) -> tuple[Any, Any, Any]:
        """Some updates; the updates are stacked."""
        if how == "scan":
            (params, state), us = self.scan((params, state), (gs, values))
            return params, state, us
        if how == "donated":
            params, state = on_device(params), jax.tree.map(lambda x: x.copy(), state)
        step, us = {"jit": self.jit, "donated": self.donated, "eager": self.step}[how], []
        for i in range(len(values)):
            params, state, u = step(params, state, on_device(at(gs, i)), jnp.asarray(values[i]))
            us.append(u)
        return params, state, jax.tree.map(lambda *xs: jnp.stack(xs), *us)


def saved(trainer: Trainer, state: Any, params: Any) -> Any:
    """Through pickled leaves into what a new process makes."""
    again = pickle.loads(pickle.dumps([_to_bytes(x) for x in jax.tree.leaves(state)]))
    like, treedef = jax.tree.flatten(trainer.tx.init(params))
    return treedef.unflatten([_from_bytes(x, y) for x, y in zip(again, like, strict=True)])


def flat(trainer: Trainer, state: Any, params: Any) -> Any:
    """Through one string of bytes, of which only the shapes and dtypes are known."""
    arrays = [_to_bytes(x) for x in jax.tree.leaves(state)]
    data, start, found = b"".join(x.tobytes() for x in arrays), 0, []
    like, treedef = jax.tree.flatten(jax.eval_shape(trainer.tx.init, params))
    for x, y in zip(arrays, like, strict=True):
        array = np.frombuffer(data, x.dtype, x.size, start).reshape(x.shape)
        found.append(_from_bytes(array, y))
        start += x.nbytes
    return treedef.unflatten(found)


def transferred(trainer: Trainer, state: Any, params: Any) -> Any:
    """Carried over to the same transformation, made anew."""
    return gx.transfer_state(trainer.tx, state, evaluated(trainer.program.text, gx), params).state


def there_and_back(trainer: Trainer, state: Any, params: Any) -> Any:
    """Carried over to one with a stage more, and back."""
    other = gx.chain(gx.identity(), trainer.tx)
    there = gx.transfer_state(trainer.tx, state, other, params).state
    return gx.transfer_state(other, there, trainer.tx, params).state


def set_and_back(trainer: Trainer, state: Any, params: Any) -> Any:
    """With another learning rate, and with the old one again."""
    tx = trainer.tx
    before = gx.get_hyperparams(tx, state)
    for name, value in before.items():
        if name.rpartition(".")[2] == "learning_rate" and isinstance(value, float):
            other, after = gx.set_hyperparams(tx, state, **{name: value / 2})
            expect(float(gx.get_hyperparams(other, after)[name]) == value / 2, f"set_hyperparams does not set {name}.")
            tx, state = gx.set_hyperparams(other, after, **{name: value})
            expect(repr(tx) == repr(trainer.tx), f"{name} was set and set back, which made another transformation: {tx!r}.")
    return state


EVENTS = {"pickle": saved, "flat": flat, "transfer": transferred, "there and back": there_and_back, "hyper": set_and_back}
"""What leaves a run as it is, to the last bit."""


CONVERTING = ("transfer", "there and back")
"""Those after which a state that is stored is rounded by the bits of a new one."""


def values(n: int) -> np.ndarray:
    """Losses that fall, and stop."""
    return np.maximum(2.0 * 0.97 ** np.arange(n), 0.5).astype(np.float32)


def lengths(program: Program, chunk: int) -> list[int]:
    return [SINGLE.get(how, chunk) for _, how in program.segments]


def trained(trainer: Trainer, params: Any, state: Any, gs: Any, chunk: int, events: bool) -> Iterator[tuple[Any, Any, Any]]:
    """Parameters, state and updates after each segment."""
    start, losses = 0, values(sum(lengths(trainer.program, chunk)))
    for (event, how), n in zip(trainer.program.segments, lengths(trainer.program, chunk), strict=True):
        if events and event in EVENTS and not (event in CONVERTING and trainer.program.needs("store(")):
            state = EVENTS[event](trainer, state, params)
        params, state, us = trainer.run(how, params, state, at(gs, slice(start, start + n)), losses[start : start + n])
        yield params, state, us
        start += n


def forget() -> None:
    """What was compiled, and what nobody holds any more."""
    jax.clear_caches()
    gc.collect()


def standing() -> dict[str, int]:
    """Arrays and programs that are alive in this process."""
    gc.collect()
    return {"arrays": len(jax.live_arrays()), "programs": len(jax.local_devices()[0].client.live_executables())}


def arrays(tree: Any) -> Any:
    """Copies that no donation takes away, with keys as numbers."""
    return [np.array(_to_bytes(x)) for x in jax.tree.leaves(tree)]
