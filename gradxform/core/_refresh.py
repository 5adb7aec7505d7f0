"""Refreshes: what a kernel does seldom because it is dear, such as roots and bases of its factors.

A kernel says what: `roots = c.refresh(f, old, *args)` is f(old, *args) where it is due, and `old` elsewhere. When is said by its arguments
`every`, `start` and `phase`, which are marked for it here. All matrices of a kind are refreshed in one branch of one conditional.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._numerics import mixing, promote, round_to
from gradxform._types import Array, ArrayLike, Count, Field, ForEngine, Schedule, Tree

Every = Annotated[Count | Schedule, ForEngine("every")]
"""A number of updates, or a schedule of it: a gap of which the next refresh is the end."""
Start = Annotated[Count | None, ForEngine("start")]
Phase = Annotated[Literal["all", "spread"], ForEngine("phase")]


class Plan(NamedTuple):
    """When refreshes are due."""

    owner: str
    every: int | Schedule
    start: int | None
    phase: str

    def due(self, t: Array, since: Array | None) -> Array:
        """Whether, at the t-th update: at the one that is called start, later at those that every divides.

        With a schedule: where the updates since the last refresh, this one counted, are as many as it says.
        """
        if callable(self.every):
            assert since is not None
            gap = jnp.asarray(self.every(jnp.maximum(t - 1, 0)))
            dtype = promote(since.dtype, gap.dtype)
            return ((since + 1).astype(dtype) >= gap.astype(dtype)) & (t >= (self.start or 1))
        return (t == self.first) | ((t > self.first) & (t % self.every == 0))

    @property
    def first(self) -> int:
        """The update at which the first refresh is due, where every is a number."""
        return self.start if self.start is not None else self.every  # type: ignore[return-value]

    def checked(self) -> Plan:
        """Itself, or an error where its parts do not fit."""
        if self.phase == "spread" and callable(self.every):
            raise HyperparameterError(
                f'{self.owner}: phase="spread" deals out refreshes over `every` updates, which must be a whole number there, but '
                "got a schedule."
            )
        return self


def plan_of(owner: str, said: Mapping[str, Any]) -> Plan | None:
    """When refreshes are due, if arguments for the engine say it."""
    return Plan(owner, said["every"], said.get("start"), said.get("phase", "all")).checked() if "every" in said else None


def _is_schedule(every: int | Schedule = 1) -> bool:
    return callable(every)


def _since(value: Array, c: Any, every: int | Schedule, start: int | None) -> Array:
    return jnp.where(Plan("", every, start, "all").due(c.t, value), 0, value + 1)


def _since_after(step: ArrayLike, every: int | Schedule, start: int | None) -> Array:
    """What `since` is after so many updates."""
    plan = Plan("", every, start, "all")
    one_more = lambda k, since: jnp.where(plan.due(k + 1, since), 0, since + 1)
    return jax.lax.fori_loop(0, jnp.asarray(step, jnp.int32), one_more, jnp.zeros([], jnp.int32))


Since = Annotated[
    Any,
    Field("shared", first=lambda: jnp.zeros([], jnp.int32), when=_is_schedule, advance=_since, at=_since_after, constant=True),
]
"""A state field: the number of updates since the last refresh, where `every` is a schedule; otherwise None."""


class Asked(BaseException):
    """Raised by a kernel on its way to a refresh; `at` and `instead` do not depend on the leaf."""

    def __init__(self, f: Callable[..., Tree], old: Tree, args: tuple[Tree, ...], at: Array, instead: tuple[Any, ...]):
        self.f, self.at, self.instead = f, at, instead
        self.arrays_of_each = (old, args)


class Share(NamedTuple):
    """Which members of all are here: so many from `start` on, or those of these numbers; no member has a negative one."""

    start: int
    number: int
    of: int
    numbers: Array | None = None

    @property
    def members(self) -> Array | np.ndarray:
        return np.arange(self.start, self.start + self.number) if self.numbers is None else self.numbers


def refreshed(
    asked: Asked, arrays: tuple[Tree, tuple[Tree, ...]], plan: Plan, since: Array | None, depth: int, share: Share
) -> Tree:
    """The answer for a batch, whose first `depth` axes count the matrices: one conditional for all of them."""
    old, args = arrays
    compute = functools.partial(_computed, asked.f, depth)
    due = plan.due(asked.at, since)
    which, branches = due.astype(jnp.int32), [lambda old, *args: old, compute]
    if plan.phase == "spread" and share.of > 1:
        branches.append(functools.partial(_some, compute, plan, share, asked.at, depth))
        which = jnp.where(
            asked.at == plan.first, 1, jnp.where((asked.at > plan.first) & jnp.any(_whose(plan, share, asked.at)), 2, 0)
        )
    for condition, f in asked.instead:
        branches.append(functools.partial(_computed, f, depth))
        which = jnp.where(condition, len(branches) - 1, which)
    if not isinstance(which, jax.core.Tracer):
        return branches[int(which)](old, *args)
    if len(branches) == 2:
        return jax.lax.cond(which > 0, compute, branches[0], old, *args)
    return jax.lax.switch(which, branches, old, *args)


def _computed(f: Callable[..., Tree], depth: int, old: Tree, *args: Tree) -> Tree:
    """f of each matrix; where that is not finite, what was there before."""

    def one(old: Tree, *args: Tree) -> Tree:
        with mixing(old, args):
            new = jax.tree.map(lambda n, o: round_to(jnp.asarray(n), o.dtype), f(old, *args), old)
        finite = functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(new)], jnp.asarray(True))
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    for _ in range(depth):
        one = jax.vmap(one)
    return one(old, *args)


def _turn(plan: Plan, share: Share, t: Array) -> tuple[Array, Array]:
    """Which members have their turn at the t-th update: from the one to before the other."""
    assert isinstance(plan.every, int)
    tau = (t - plan.first) % plan.every
    ceil = lambda x: -(-x * share.of // plan.every)
    return ceil(tau), ceil(tau + 1)


def _whose(plan: Plan, share: Share, t: Array) -> Array:
    """Which of the members that are here have their turn."""
    low, high = _turn(plan, share, t)
    members = jnp.asarray(share.members)
    return (members >= low) & (members < high)


def _some(compute: Callable[..., Tree], plan: Plan, share: Share, t: Array, depth: int, old: Tree, *args: Tree) -> Tree:
    """The refresh of those members only whose turn it is: a part of the batch."""
    assert isinstance(plan.every, int)
    if not depth:
        return compute(old, *args)
    mine = _whose(plan, share, t)
    those = jnp.argsort(~mine)[: min(-(-share.of // plan.every), len(share.members))]
    flat = lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[depth:]), tree)
    part = lambda tree: jax.tree.map(lambda x: x[those], flat(tree))
    some = part(old)
    deep = lambda tree: jax.tree.map(lambda x: x.reshape(len(those), *(1,) * (depth - 1), *x.shape[1:]), tree)
    new = jax.tree.map(lambda x, o: x.reshape(o.shape), compute(deep(some), *map(deep, map(part, args))), some)
    new = jax.tree.map(lambda n, o: jnp.where(mine[those].reshape(-1, *(1,) * (n.ndim - 1)), n, o), new, some)
    put = lambda x, n: flat(x).at[those].set(n).reshape(x.shape)
    return jax.tree.map(put, old, new)
