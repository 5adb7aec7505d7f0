"""Laws about what happens from update to update: 20, 23."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike, OptState
from gradxform.core._apply import apply_updates
from gradxform.testing._case import Case, Leaves, stages_at_any_depth
from gradxform.testing._laws import LawBroken, Skip, agree, expect, law, same

LONG = 12
"""Updates after which all has moved."""


@law(20, "every field of the state moves, or is declared constant, and the updates go on", rests_on=(21,))
def moves(case: Case) -> None:
    tx, params = case.tx, case.params()
    state, states, updates = tx.init(params), [], []
    for i in range(LONG + 1):
        states.append(_by_field(state, params))
        u, state = case.update(tx, case.grads(i), state, params, jit=True)
        params = apply_updates(params, u)
        updates.append(u)
    constant = {*case.constant, *_declared_constant(case)}
    for field in states[0]:
        if not constant.intersection(_words(field)):
            values = [s[field] for s in states]
            expect(any(not np.array_equal(values[0], x) for x in values[1:]), _still(field, values[0]))
            _expect_room(field, values)
    for name in params:
        going = [bool(np.any(u[name])) for u in updates]
        last = max((i for i, goes in enumerate(going) if goes), default=LONG)
        expect(last >= LONG // 2, f"the update of {name!r} is 0 from update {last + 2} on, though gradients go on.")


def _by_field(state: OptState, params: Leaves) -> dict[str, np.ndarray]:
    """The numbers of each field, all leaves in one array."""
    found: dict[str, list[np.ndarray]] = {}
    for path, x in jax.tree_util.tree_flatten_with_path(state)[0]:
        field = jax.tree_util.keystr(path)
        for name in params:
            field = field.replace(f"[{name!r}]", "")
        plain = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        found.setdefault(field, []).append(np.asarray(plain))
    return {field: xs[0] if len(xs) == 1 else np.concatenate([x.ravel() for x in xs]) for field, xs in found.items()}


def _words(field: str) -> Sequence[str]:
    return re.findall(r"\w+", field)


def _declared_constant(case: Case) -> set[str]:
    layouts = [stage.layout for stage, _ in stages_at_any_depth(case.tx, case.params())]
    return {name for layout in layouts for name, field in layout.fields.items() if field.constant}


def _still(field: str, first: np.ndarray) -> str:
    return (
        f"the state's {field or 'array'} is still as `init` made it after {LONG} updates of random gradients: {first.ravel()[:6]}. Is the "
        "new state returned, with all that was computed? If this is to stay, declare it: `Annotated[..., Field(constant=True)]`, or "
        f"`check(..., constant=({(_words(field) or ['name'])[-1]!r},))`."
    )


def _expect_room(field: str, values: Sequence[np.ndarray]) -> None:
    """A count goes far enough: one of 8 bits wraps, and one in bfloat16 stands still at 256."""
    first = values[0]
    if first.shape == () and first.dtype.itemsize < 4 and first.dtype != bool:
        counts = all(float(b) - float(a) == 1 for a, b in itertools.pairwise(values))
        expect(not counts, f"the state's {field} counts updates in {first.dtype}, which has no room for many. Count in int32.")


@dataclasses.dataclass(frozen=True)
class _Falling:
    """A schedule of another value at every step."""

    value: float

    def __call__(self, k: ArrayLike) -> Array:
        return jnp.asarray(self.value * 0.5 * (1 + 0.8 ** jnp.asarray(k, jnp.float32)), jnp.float32)


@dataclasses.dataclass(frozen=True)
class _At:
    """A schedule that is always what another is at one step."""

    schedule: _Falling
    step: int

    def __call__(self, k: ArrayLike) -> Array:
        return jnp.broadcast_to(self.schedule(self.step), jnp.shape(k))


@law(23, "a schedule is read at the number of completed updates", of_the_whole=True, rests_on=(20, 21))
def schedules(case: Case) -> Skip | None:
    names = [p.name for p in case.parameters.values() if p.is_data or p.name == "learning_rate"]
    values = {n: case.arguments.get(n, case.parameters[n].default) for n in names}
    values = {n: float(v) for n, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and v}
    if not values:
        return Skip("no hyperparameters", to_do="declare its hyperparameters, or give a function that makes it of them")
    if "learning_rate" in values and case.is_optimizer and not (case.entry and case.entry.homogeneity == 0):
        one, other = (case.run(case.make(learning_rate=values["learning_rate"] * k), 3, move=0.0, jit=False)[0] for k in (1, 1e-3))
        expect(not agree(one, other, 0, 0), "`learning_rate` has no effect: a thousandth of it gives the same updates.")
    try:
        return _as_scheduled(case, values)
    except LawBroken:
        for name, value in values.items():  # one by one, to say which
            _as_scheduled(case, {name: value})
        raise


def _as_scheduled(case: Case, values: Mapping[str, float]) -> Skip | None:
    """Each update is that of the constants that the schedules are at its time."""
    schedules = {n: _Falling(v) for n, v in values.items()}
    params, shown = case.params(), ", ".join(f"`{n}`" for n in values)
    try:
        tx = case.make(**schedules)
        state = tx.init(params)
        case.update(tx, case.grads(0), state, params)
    except Exception as e:
        if case.by_hand:
            return Skip("no schedule", to_do=f"let {shown} be a schedule, which raises {type(e).__name__}, or leave the law out")
        raise
    at = lambda k: case.make(**{n: _At(f, k) for n, f in schedules.items()})
    for k in range(3):
        given = case.grads(k), state, params
        found, state = case.update(tx, *given)
        right, _ = case.update(at(k), *given)
        if not agree(right, found, 1e-5, 1e-4):
            others = [j for j in (k + 1, k - 1, 0) if j != k and agree(case.update(at(j), *given)[0], found, 1e-5, 1e-4)]
            read = f" (it is that of the schedule at {others[0]})" if others else ""
            same(right, found, f"update {k + 1} with {shown} as after {k} completed updates, and as scheduled{read}")
    return None
