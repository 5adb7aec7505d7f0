"""Laws about numbers and names: 7, 8, 9, 14, 15, 17, 18."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradxform
from gradxform._errors import GradxformError, HyperparameterError
from gradxform._types import Array, ArrayLike, Range
from gradxform.core._apply import apply_updates
from gradxform.testing._case import Case, stages_of
from gradxform.testing._laws import LawBroken, Skip, expect, finite, law, same

HEADINGS = ("State", "Units", "Shapes", "Source", "Differs")


@law(7, "each hyperparameter: constant schedule = constant, traced = concrete, out of range raises naming it", of_the_whole=True)
def hyperparameters(case: Case) -> Skip | None:
    data = [p for p in case.parameters.values() if p.is_data]
    if not data:
        return Skip("no declared hyperparameters")
    for p in data:
        assert p.range is not None  # a number that is data has one
        for bad in _outside(p.range):
            _raises(case, p.name, bad)
    values = {p.name: case.arguments.get(p.name, p.default) for p in data}
    values = {n: float(v) for n, v in values.items() if isinstance(v, (int, float))}
    try:
        _agree(case, values)
    except LawBroken:
        for name, value in values.items():  # one by one, to say which
            _agree(case, {name: value})
        raise
    return None


def _agree(case: Case, values: dict[str, float]) -> None:
    """The same updates whether the hyperparameters are numbers, schedules or traced."""
    shown = ", ".join(f"`{n}` = {v}" for n, v in values.items())
    expected = case.run(case.make(**values), 2)[0]
    constant = case.run(case.make(**{n: _Constant(v) for n, v in values.items()}), 2)[0]
    same(expected, constant, f"{shown}, and schedules that are constantly that", rtol=1e-3, atol=1e-5)
    traced = jax.jit(lambda hyper: case.run(case.make(**hyper), 2, jit=False)[0])(values)
    same(expected, traced, f"{shown}, and the same traced", rtol=1e-3, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class _Constant:
    """A schedule that is always the same."""

    value: float

    def __call__(self, k: ArrayLike) -> Array:
        return jnp.full(jnp.shape(k), self.value, jnp.float32)


def _outside(interval: Range) -> list[float | str]:
    low = [interval.low - 1] if math.isfinite(interval.low) else []
    high = [interval.high + 1] if math.isfinite(interval.high) else []
    return [*low, *high, math.nan, "fast", True]


def _raises(case: Case, name: str, bad: float | str) -> None:
    try:
        case.make(**{name: bad})
    except HyperparameterError as e:
        expect(name in str(e), f"`{name}` = {bad!r} raises an error that does not name it: {e}")
        expect(repr(bad) in str(e), f"`{name}` = {bad!r} raises an error that does not say what came: {e}")
    else:
        expect(False, f"`{name}` = {bad!r} is accepted.")


@law(8, "homogeneity: what the update does when all gradients double", of_the_whole=True)
def homogeneity(case: Case) -> Skip | None:
    degree = case.entry.homogeneity if case.entry else None
    if degree is None:
        return Skip("no degree is declared")
    plain, doubled = (case.run(case.tx, 3, scale=k, move=0.0)[0] for k in (1.0, 2.0))
    expected = jax.tree.map(lambda u: u * 2.0**degree, plain)
    same(expected, doubled, f"updates times 2^{degree}, and updates of doubled gradients", rtol=2e-4, atol=1e-6)
    return None


@law(9, "zero, huge and tiny gradients give finite updates", of_the_whole=True)
def extremes(case: Case) -> None:
    sizes = {jnp.float32: (0.0, 1e15, 1e-30), jnp.bfloat16: (0.0, 1e15, 1e-30), jnp.float16: (0.0, 1e3, 1e-7)}
    for dtype, scales in sizes.items():
        for scale in scales:
            updates, state, _ = case.run(case.tx, 2, dtype, scale, move=0.0)
            finite(updates, f"the update of {jnp.dtype(dtype)} gradients of size {scale:g}")
            arrays = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
            finite(arrays, f"the state after {jnp.dtype(dtype)} gradients of size {scale:g}")


@law(14, "it converges", of_the_whole=True)
def converges(case: Case) -> Skip | None:
    if case.entry is None or case.entry.kind != "optimizer":
        return Skip("not a complete optimizer")
    rates = sorted((n for n in case.parameters if n.endswith("learning_rate")), key=len)
    if not rates:
        return Skip("it has no learning rate")
    start, best = case.params(), math.inf
    target = jax.tree.map(lambda x: x + 1.0, start)
    value = lambda p: sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(p), jax.tree.leaves(target), strict=True))

    @jax.jit
    def train(rate):
        tx = case.make(**{rates[0]: lambda k: rate * (1 - k / 300)})

        def step(carry, _):
            p, s = carry
            g = jax.grad(value)(p)
            u, s = tx.update(g, s, p, **case.extra(p, g))
            return (apply_updates(p, u), s), None

        (p, _), _ = jax.lax.scan(step, (start, tx.init(start)), None, length=300)
        return value(p)

    first = float(value(start))
    for rate in (case.entry.rates["default"] * 10.0**i for i in range(4)):
        best = min(best, float(train(rate)))
    expect(
        best < 1e-2 * first, f"on |p - target|^2 the loss went from {first:.3g} to {best:.3g} in 300 steps at the best of 4 rates."
    )
    return None


@law(15, "an independent float64 transcription agrees", of_the_whole=True)
def oracle(case: Case) -> Skip | None:
    if case.oracle is None:
        return Skip("no transcription was given")
    with jax.enable_x64(True):
        tx, rng = case.tx, np.random.default_rng(1)
        params = case.params(jnp.float64)
        step = case.oracle(**case.arguments)
        state, ws = tx.init(params), [np.asarray(x) for x in params.values()]
        for i in range(100):
            gs = [rng.normal(size=w.shape) for w in ws]
            us = step(gs, ws)
            grads = dict(zip(params, map(jnp.asarray, gs), strict=True))
            got, state = case.update(tx, grads, state, params, jit=True)
            same(us, list(got.values()), f"update {i + 1} of the transcription and of the library", rtol=1e-9, atol=1e-9)
            moved = [w + 1e-2 * np.asarray(u) for w, u in zip(ws, us, strict=True)]
            ws, params = moved, dict(zip(params, map(jnp.asarray, moved), strict=True))
    return None


def public_names() -> dict[str, Any]:
    """What `from gradxform import *` gives."""
    return {name: getattr(gradxform, name) for name in dir(gradxform)}


@law(17, "declared identities hold", of_the_whole=True)
def identities(case: Case) -> Skip | None:
    pairs = case.entry.identities if case.entry else ()
    if not pairs:
        return Skip("no identities are declared")
    for left, right in pairs:
        one, two = (case.run(eval(text, public_names()), 3)[0] for text in (left, right))
        same(one, two, f"{left} and {right}")
    return None


@law(18, "it is documented, exported, and a value: repr, equality, hash, pickle", of_the_whole=True)
def value(case: Case) -> Skip | None:
    tx = case.tx
    if not (list(stages_of(tx.update)) or case.entry):
        return Skip("written by hand")
    expect(tx == case.make(), f"two instances with equal arguments differ: {tx!r} and {case.make()!r}.")
    expect(hash(tx) == hash(case.make()), f"two equal instances have different hashes: {tx!r}.")
    if case.entry is None:
        return None
    names = public_names()
    expect(pickle.loads(pickle.dumps(tx)) == tx, f"{tx!r} does not survive pickling.")
    expect(names.get(case.name) is case.entry.make, f"`{case.name}` is not exported by the package.")
    try:
        again = eval(repr(tx), names)
    except (SyntaxError, NameError, TypeError, GradxformError) as e:
        again = e
    expect(again == tx, f"repr does not make an equal transformation: {tx!r} gave {again!r}.")
    missing = [heading for heading in HEADINGS if not case.entry.section(heading)]
    expect(not missing, f"the docstring has no {', '.join(missing)}.")
    expect(bool(case.entry.equation()), "the docstring has no equation, an indented block.")
    return None
