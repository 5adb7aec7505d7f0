"""Laws about numbers and names: 7, 8, 9, 14, 15, 17, 18."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradxform
from gradxform._errors import GradxformError, HyperparameterError
from gradxform._types import Array, Range
from gradxform.core._apply import apply_updates
from gradxform.registry import Entry
from gradxform.schedules import constant_schedule
from gradxform.testing._case import Arrays, Case, Leaves
from gradxform.testing._laws import LawBroken, Skip, expect, finite, law, same

HEADINGS = ("State", "Units", "Shapes", "Source", "Differs")


@law(
    7,
    "each hyperparameter: constant schedule = constant, traced = concrete, out of range raises naming it",
    of_the_whole=True,
    rests_on=(21,),
)
def hyperparameters(case: Case) -> Skip | None:
    data = [p for p in case.parameters.values() if p.is_data]
    if not data:
        return Skip("no declared hyperparameters", to_do="annotate them with their ranges, `learning_rate: gx.NonNegative`")
    for p in data:
        assert p.range is not None  # a number that is data has one
        for bad in _outside(p.range):
            _raises(case, p.name, bad)
    values = {p.name: case.arguments.get(p.name, p.default) for p in data}
    values = {n: v * 1.0 for n, v in values.items() if isinstance(v, (int, float, np.ndarray, jax.Array))}
    try:
        _agree(case, values)
    except LawBroken:
        for name, value in values.items():  # one by one, to say which
            _agree(case, {name: value})
        raise
    return None


def _agree(case: Case, values: Mapping[str, float | np.ndarray | Array]) -> None:
    """The same updates whether the hyperparameters are numbers, schedules or traced."""
    shown = ", ".join(f"`{n}` = {v}" for n, v in values.items())
    expected = case.run(case.make(**values), 2)[0]
    constant = case.run(case.make(**{n: constant_schedule(v) for n, v in values.items()}), 2)[0]
    same(expected, constant, f"{shown}, and schedules that are constantly that", rtol=1e-3, atol=1e-5)
    traced = jax.jit(lambda hyper: case.run(case.make(**hyper), 2, jit=False)[0])(values)
    same(expected, traced, f"{shown}, and the same traced", rtol=1e-3, atol=1e-5)


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


@law(8, "homogeneity: what the update does when all gradients double", of_the_whole=True, rests_on=(21,))
def homogeneity(case: Case) -> Skip | None:
    degree = case.entry.homogeneity if case.entry else None
    if degree is None:
        return Skip("no degree is declared", to_do="register it with `homogeneity=`")
    plain, doubled = (case.run(case.tx, 6, scale=k, move=0.0)[0] for k in (1.0, 2.0))
    expected = jax.tree.map(lambda u: u * 2.0**degree, plain)
    same(expected, doubled, f"updates times 2^{degree}, and updates of doubled gradients", rtol=2e-4, atol=1e-4)
    return None


@law(9, "zero, huge and tiny gradients give finite updates", of_the_whole=True, rests_on=(21, 24))
def extremes(case: Case) -> None:
    sizes = {jnp.float32: (0.0, 1e15, 1e-30), jnp.bfloat16: (0.0, 1e15, 1e-30), jnp.float16: (0.0, 1e3, 1e-7)}
    for dtype, scales in sizes.items():
        for scale in scales:
            updates, state, _ = case.run(case.tx, 2, dtype, scale, move=0.0)
            finite(updates, f"the update of {jnp.dtype(dtype)} gradients of size {scale:g}")
            arrays = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
            finite(arrays, f"the state after {jnp.dtype(dtype)} gradients of size {scale:g}")


@law(14, "it converges", of_the_whole=True, rests_on=(2, 4, 9, 20, 21, 22))
def converges(case: Case) -> Skip | None:
    if not case.is_optimizer:
        return Skip("not a complete optimizer", to_do='pass kind="optimizer" if its updates are ready for `apply_updates`')
    if case.random and case.entry is None:
        return Skip("its updates are random, and how far it settles depends on how much")
    start = case.params()
    target = jax.tree.map(jnp.add, start, jax.tree.map(lambda x: jnp.sign(x) + x / 4, case.grads(0)))
    value = lambda p: sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(p), jax.tree.leaves(target), strict=True))
    first, best = float(value(start)), math.inf
    gradient = jax.grad(value)(start)
    slope, size = _slope(case, gradient, start)

    rate_of = None if case.by_hand else case.rate

    @jax.jit
    def train(rate):
        """With its learning rate, or where that takes no schedule or there is none, with its updates, multiplied by what falls to 0."""
        fall = lambda k: rate * (1 - k / 300)
        tx = case.tx if rate_of is None else case.make(**{rate_of: fall})

        def step(carry, k):
            p, s = carry
            g = jax.grad(value)(p)
            extra = case.extra(p, g)
            u, s = tx.update(g, s, p, **({**extra, "value": value(p)} if "value" in extra else extra))
            u = jax.tree.map(lambda x: fall(k) * x, u) if rate_of is None else u
            return (apply_updates(p, u), s), None

        (p, _), _ = jax.lax.scan(step, (start, tx.init(start)), jnp.arange(300.0))
        return value(p)

    least = case.entry.rates.get("default", 1e-3) if case.entry else 1e-3
    for rate in (least * (1 if rate_of else 1 / size) * 10.0**i for i in range(4)):
        best = min(best, float(train(rate)))
    uphill = f" It begins uphill: <g, u> = {slope:.3g}. Is a minus sign missing?" if slope > 0 else ""
    expect(
        best < 1e-2 * first,
        f"on |p - target|^2 the loss went from {first:.3g} to {best:.3g} in 300 steps at the best of 4 rates.{uphill}",
    )
    return None


def _slope(case: Case, gradient: Leaves, params: Leaves) -> tuple[float, float]:
    """<g, u> of the first update that is not 0, and the size of that update."""
    state = case.tx.init(params)
    for _ in range(12):
        u, state = case.update(case.tx, gradient, state, params, jit=True)
        size = max(float(jnp.max(jnp.abs(x))) for x in u.values())
        if size:
            return sum(float(jnp.vdot(gradient[n], u[n])) for n in u), size
    return 0.0, 1.0


@law(15, "an independent float64 transcription agrees", of_the_whole=True, rests_on=(20, 21, 22))
def transcription(case: Case) -> Skip | None:
    if case.reference is None:
        what = "`reference=`, a float64 NumPy function of the hyperparameters that returns step(gs, ws) -> us"
        return Skip(
            "no transcription was given", to_do=f"pass {what}; without one, wrong numbers such as a debiasing that is absent pass"
        )
    found, expected = [], []
    with jax.enable_x64(True):
        tx, rng = case.tx, np.random.default_rng(1)
        params = case.params(jnp.float64)
        step = case.reference(**case.arguments)
        state, ws = tx.init(params), [np.asarray(x) for x in params.values()]
        for _ in range(100):
            gs = [rng.normal(size=w.shape) for w in ws]
            us = step(gs, ws)
            got, state = case.update(tx, dict(zip(params, map(jnp.asarray, gs), strict=True)), state, params, jit=True)
            found.append([np.asarray(x) for x in got.values()])
            expected.append(us)
            ws = [w + 1e-2 * np.asarray(u) for w, u in zip(ws, us, strict=True)]
            params = dict(zip(params, map(jnp.asarray, ws), strict=True))
    for i, (us, got) in enumerate(zip(expected, found, strict=True)):
        what = f"update {i + 1} of the reference and of the library"
        same(us, got, what + _ratios(list(params), expected, found, i), rtol=1e-9, atol=1e-9)
    return None


def _ratios(names: Sequence[str], expected: Sequence[Arrays], found: Sequence[Arrays], start: int) -> str:
    """How updates relate where they differ by a factor: what is off by (1 - b^t) is not debiased, what is off by leaf knows the leaf."""
    steps = range(start, min(start + 4, len(found)))
    factors = [[_factor(x, y) for x, y in zip(expected[i], found[i], strict=True)] for i in steps]
    if any(math.isnan(f) for row in factors for f in row):
        return ""
    if all(math.isclose(f, row[0], rel_tol=1e-3) for row in factors for f in row):
        return f" (from update {start + 1} on it is the reference's times {', '.join(f'{row[0]:.4g}' for row in factors)}, ...)"
    by_leaf = ", ".join(f"{f:.4g} at {name!r} of shape {x.shape}" for f, name, x in zip(factors[0], names, found[0], strict=True))
    return f" (by leaf it is the reference's times {by_leaf})"


def _factor(x: np.ndarray, y: np.ndarray) -> float:
    """f so that y = f x; NaN where there is none."""
    f = float(np.vdot(x, y) / max(np.vdot(x, x), np.finfo(float).tiny))
    return f if np.allclose(y, f * x, rtol=1e-3, atol=1e-9 * np.max(np.abs(x), initial=0)) else math.nan


def public_names() -> dict[str, Any]:
    """What `from gradxform import *` gives."""
    return {name: getattr(gradxform, name) for name in dir(gradxform)}


@law(17, "declared identities hold", of_the_whole=True, rests_on=(21,))
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
    if case.by_hand:
        return Skip("written by hand")
    again = case.make()
    expect(tx == again, f"two instances with equal arguments differ: {tx!r} and {again!r}.")
    expect(hash(tx) == hash(again), f"two equal instances have different hashes: {tx!r}.")
    if case.entry is None:
        return Skip("equal instances are equal", to_do="register it, `gradxform.register`, for its docstring and its pickling")
    expect(pickle.loads(pickle.dumps(tx)) == tx, f"{tx!r} does not survive pickling.")
    missing = [heading for heading in HEADINGS if not case.entry.section(heading)]
    missing += [] if case.entry.equation() else ["equation (an indented block)"]
    if case.entry.source == "user" and missing:
        return Skip("its documentation is not complete", to_do=f"give its docstring what it does not have: {', '.join(missing)}")
    expect(not missing, f"the docstring has no {', '.join(missing)}.")
    if case.entry.source != "user":
        _expect_in_the_package(case, case.entry)
    return None


def _expect_in_the_package(case: Case, entry: Entry) -> None:
    names, tx = public_names(), case.tx
    expect(names.get(case.name) is entry.make, f"`{case.name}` is not exported by the package.")
    try:
        again = eval(repr(tx), names)
    except (SyntaxError, NameError, TypeError, GradxformError) as e:
        again = e
    expect(again == tx, f"repr does not make an equal transformation: {tx!r} gave {again!r}.")
