"""What must hold of a program."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx
import gradxform.testing
from gradxform._numerics import widen
from gradxform.core._transformation import widens
from gradxform.testing._laws import describe, differences, same
from tests.oracle import optax
from tests.soak import parts
from tests.soak.generator import Program
from tests.soak.model import (
    EVENTS,
    Account,
    Trainer,
    arrays,
    at,
    evaluated,
    expect,
    lengths,
    noise,
    on_device,
    standing,
    trained,
    values,
)  # fmt: skip

FEW = 4
"""Updates of a question for which more would say no more."""


def bitwise(a: Any, b: Any, what: str) -> None:
    changed = differences(describe(a), describe(b))
    expect(not changed, f"{what}: {'; '.join(changed)}.")
    same(a, b, what, rtol=0, atol=0)


def finite(tree: Any, what: str) -> None:
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if jnp.issubdtype(x.dtype, jnp.inexact):
            expect(
                bool(np.isfinite(np.asarray(x).astype(np.complex128)).all()), f"{what}: {jax.tree_util.keystr(path)} is not finite."
            )


def numbers(tree: Any, what: str) -> None:
    """Infinities may stand in a state, as a bound that nothing has met yet."""
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if jnp.issubdtype(x.dtype, jnp.inexact):
            expect(not np.isnan(np.asarray(x).astype(np.complex128)).any(), f"{what}: {jax.tree_util.keystr(path)} is no number.")


def close(ours: Any, theirs: Any, what: str, tolerance: float) -> None:
    """In each leaf, relative to its largest number, or to 1 where that is smaller."""
    for (path, x), y in zip(jax.tree_util.tree_flatten_with_path(ours)[0], jax.tree.leaves(theirs), strict=True):
        x, y = np.asarray(x).astype(np.complex128), np.asarray(y).astype(np.complex128)
        gap = np.max(np.abs(x - y), initial=0) / max(np.max(np.abs(y), initial=0), 1e-6)
        expect(bool(gap <= tolerance), f"{what}: {jax.tree_util.keystr(path)} differs by {gap:.3g} of it.")


@contextlib.contextmanager
def precision(program: Program) -> Iterator[None]:
    with jax.enable_x64(program.x64):
        yield


def tolerance(program: Program) -> float:
    """Of two ways of computing the same."""
    return {"float64": 1e-6, "complex128": 1e-6, "float32": 1e-3, "complex64": 1e-3}.get(max(program.dtypes, key=_coarse), 0.05)


def _coarse(dtype: str) -> int:
    return -jnp.dtype(dtype).itemsize // (2 if dtype.startswith("complex") else 1)


def refusal(program: Program, error: Exception) -> str | None:
    """Why a program may be refused, if it may."""
    if isinstance(error, gx.GradxformError):
        return next((reason for words, reason in parts.REFUSED.items() if words in str(error)), None)
    return None


def examine(program: Program, account: Account, chunk: int) -> None:
    """Everything, of one program."""
    with precision(program):
        start = on_device(at(noise(program, 1, 0), 0))
        try:
            trainer = Trainer(program, evaluated(program.text, gx))
            state = trainer.tx.init(start)
            jax.eval_shape(trainer.step, start, state, at(noise(program, 1, 1), 0), np.float32(1))
        except gx.GradxformError as e:
            reason = refusal(program, e)
            expect(reason is not None, f"refused: {e}")
            account.refused[str(reason)] += 1
            return
        account.programs += 1
        gs = noise(program, max(sum(lengths(program, chunk)), 3 * FEW), 1)
        account.steps += straight_and_interrupted(trainer, start, state, gs, chunk)
        jit_is_eager(trainer, start, state, gs)
        account.steps += stored(trainer, start, gs, chunk)
        homogeneous(trainer, start, gs)
        if why_not_compared(program) is None:
            account.steps += as_optax(trainer, start, gs, account)
        if program.law and not program.needs(*parts.VALUED, *parts.OF_CURVATURE):
            account.laws[str(program.law)] += 1
            report = gradxform.testing.examine(trainer.tx, laws=[program.law])
            expect(report.ok, str(report))


def straight_and_interrupted(trainer: Trainer, start: Any, state: Any, gs: Any, chunk: int) -> int:
    """Updates have the parameters' leaves, the state keeps its own, all is finite, nothing is traced twice, and no event leaves a trace."""
    first, steps = describe(state), 0
    alike = lambda tree: jax.tree.map(
        lambda x: x.astype(widen(x.dtype)) if widens(trainer.tx) else x, tree
    )  # of some leaves it is wide
    like = describe(alike(start))
    runs = [trained(trainer, start, trainer.tx.init(start), gs, chunk, events) for events in (False, True)]
    for (p, s, us), (p2, s2, us2) in zip(*runs, strict=True):
        expect(not (d := differences(first, describe(s))), f"the state drifts: {'; '.join(d)}.")
        expect(not (d := differences(like, describe(alike(at(us, 0))))), f"the update has other leaves: {'; '.join(d)}.")
        finite(us, "the updates")
        numbers(s, "the state")
        bitwise((p, s, us), (p2, s2, us2), "straight on, and interrupted")
        steps += 2 * len(jax.tree.leaves(us)[0])
    expect(max(trainer.traces.values(), default=1) == 1, f"traced more than once: {dict(trainer.traces)}.")
    return steps


def jit_is_eager(trainer: Trainer, start: Any, state: Any, gs: Any) -> None:
    """And neither changes what it is given."""
    given, losses = (start, state, at(gs, 0)), values(FEW)
    before = arrays(given)
    one, two = (trainer.run(how, start, state, at(gs, slice(2)), losses[:2]) for how in ("jit", "eager"))
    again = trainer.run("jit", start, state, at(gs, slice(2)), losses[:2])
    bitwise(one, again, "an update, and the same again")
    for x, y in zip(before, arrays(given), strict=True):
        expect(x.tobytes() == y.tobytes(), "an update changes what it is given.")
    close(two[2], one[2], "updates without jit and with it", tolerance(trainer.program))


def stored(trainer: Trainer, start: Any, gs: Any, chunk: int) -> int:
    """After the state was stored in bfloat16 in the middle, the run goes on about as before, and its arrays come back wide."""
    program = trainer.program
    if (
        "store" not in dict(program.segments)
        or program.needs("store", "master_weights")
        or program.dtypes & {"bfloat16", "float16"}
    ):
        return 0
    n, losses = FEW, values(3 * FEW)
    p, s, _ = trainer.run("jit", start, trainer.tx.init(start), at(gs, slice(n)), losses[:n])
    try:
        like = gx.store(trainer.tx, "bfloat16").init(p)
    except gx.GradxformError as e:
        expect(refusal(program, e) is not None, f"store refuses: {e}")
        return 0
    narrow = gx.encode_state(s, like)
    other = Trainer(program, trainer.tx)
    one = other.run("jit", p, narrow, at(gs, slice(n, n + 2)), losses[n : n + 2])
    expect(not (d := differences(describe(narrow), describe(one[1]))), f"the stored state drifts: {'; '.join(d)}.")
    expect(other.traces["jit"] == 1, "an update of a stored state is traced more than once.")
    finite(one[2], "updates of a stored state")
    back = gx.decode_state(one[1])
    expect(jax.tree.structure(back) == jax.tree.structure(s), "a decoded state has another structure.")
    same(gx.decode_state(gx.encode_state(gx.decode_state(narrow), like)), gx.decode_state(narrow), "stored, and stored again", 0, 0)
    return 2


def homogeneous(trainer: Trainer, start: Any, gs: Any) -> None:
    """Gradients times 4 give updates times 4^degree; gradients of 0 give none if the degree is more than 0."""
    program, losses = trainer.program, values(FEW)
    if program.degree is None or program.dtypes & {"bfloat16", "float16"} or program.needs("plateau"):
        return
    state, some = trainer.tx.init(start), at(gs, slice(FEW))

    def updates_of(k: float) -> list[Any]:
        s, us = state, []
        for i in range(FEW):
            _, s, u = trainer.jit(
                start, s, jax.tree.map(lambda x, i=i: jnp.asarray(x[i] * np.asarray(k, x.dtype)), some), losses[i]
            )
            us.append(u)
        return us

    runs = [updates_of(k) for k in (1, 4, 0)]
    times = jax.tree.map(lambda u: np.asarray(u) * np.asarray(4.0**program.degree, u.dtype), runs[0])
    close(runs[1], times, f"updates of 4 times the gradients, and 4^{program.degree} times the updates", tolerance(program))
    if program.degree > 0:
        expect(all(not np.any(u) for u in jax.tree.leaves(runs[2])), "gradients of 0 give updates that are not 0.")


def why_not_compared(program: Program) -> str | None:
    """The reason for which Optax is not asked."""
    for reason, holds in parts.NOT_COMPARED.items():
        if holds(program):
            return reason
    return None


def as_optax(trainer: Trainer, start: Any, gs: Any, account: Account) -> int:
    """The updates are Optax's, and the parameters that they make. Where Optax's are not finite, ours are, and nothing is compared."""
    tx = optax.with_extra_args_support(evaluated(trainer.program.text, optax))
    theirs = Trainer(trainer.program, tx)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = jax.jit(tx.init)(start)
        (p, _), us = theirs.scan((start, state), (gs, values(len(jax.tree.leaves(gs)[0]))))
    if not all(np.isfinite(np.asarray(u)).all() for u in jax.tree.leaves(us)):
        account.not_finite_in_optax += 1
        return 0
    account.compared += 1
    (q, _), ours = trainer.scan((start, trainer.tx.init(start)), (gs, values(len(jax.tree.leaves(gs)[0]))))
    close(ours, us, "our updates, and Optax's", tolerance(trainer.program))
    close(q, p, "parameters by our updates, and by Optax's", tolerance(trainer.program))
    return len(jax.tree.leaves(us)[0])


LONG, ROUNDS = 10_000, 4


def marathon(program: Program, chunk: int, updates: int = LONG) -> int:
    """So many updates, with everything that may happen in between: no array and no program stays behind."""
    program = dataclasses.replace(program, segments=SEGMENTS)
    with precision(program):
        start = on_device(at(noise(program, 1, 0), 0))
        try:
            trainer = Trainer(program, evaluated(program.text, gx))
            params, state = start, trainer.tx.init(start)
            jax.eval_shape(trainer.step, params, state, at(noise(program, 1, 1), 0), np.float32(1))
        except gx.GradxformError:
            return 0
        gs, steps, counts = noise(program, sum(lengths(program, chunk)), 1), 0, []
        while steps < updates or len(counts) < ROUNDS:
            *_, (params, state, _) = trained(trainer, params, state, gs, chunk, events=True)
            steps += sum(lengths(program, chunk))
            counts.append(standing())
        expect(counts[1] == counts[-1], f"after {steps} updates more is alive than after {steps * 2 // len(counts)}: {counts[1:]}.")
    return steps


SEGMENTS = tuple((event, how) for event in EVENTS for how in ("jit", "donated", "scan"))
