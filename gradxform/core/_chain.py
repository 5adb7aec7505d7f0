"""`chain` and `named_chain`: transformations one after another."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradxform._errors import StructureError
from gradxform._types import OptState, Params, Tree, Updates
from gradxform.core import _engine, _run
from gradxform.core._evaluate import After, evaluated, preceded
from gradxform.core._kernel import SCOPES
from gradxform.core._parts import Part
from gradxform.core._stage import Stage
from gradxform.core._transformation import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Spec,
    check_transformation,
    extra_args_for,
    scope_of,
    transformation,
)


class Chain(Spec):
    """A sequence of transformations. Neighbouring leafwise stages, nested chains included, run as one call per leaf."""

    labels: Sequence[str] | None = None

    def __init__(self, members: tuple[Any, ...]):
        self.given = self.members = members

    def __reduce__(self):
        return (type(self), (self.given,))

    def name(self) -> str:
        return "chain"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return self.given, {}

    @property
    def scope(self) -> str:
        return max(map(scope_of, self.members), key=SCOPES.index, default="elementwise")

    def init(self, params: Params) -> OptState:
        return self.box([tx.init(params) for tx in self.members])

    def box(self, states: Sequence[OptState]) -> OptState:
        return tuple(states)

    def unbox(self, state: OptState) -> Sequence[OptState]:
        if not isinstance(state, (tuple, list)) or len(state) != len(self.members):
            raise StructureError(
                f"{self.name()}: the state should be a tuple of {len(self.members)} states, one for each of {self!r:.300}, "
                f"but is {state!r:.200}. Pass the state that this transformation's `init` or last `update` returned."
            )
        return state

    def flat_states(self, state: OptState) -> list[OptState]:
        """The states of all stages, nested chains opened."""
        flat = []
        for tx, s in zip(self.members, self.unbox(state), strict=True):
            flat.extend(tx.update.flat_states(s) if isinstance(tx.update, Chain) else [s])
        return flat

    def nest(self, flat: Iterator[OptState]) -> OptState:
        """The inverse of `flat_states`."""
        return self.box([tx.update.nest(flat) if isinstance(tx.update, Chain) else next(flat) for tx in self.members])

    def parts(self, state: OptState) -> list[Part]:
        labels = self.labels or [""] * len(self.members)
        return [Part(*part) for part in zip(labels, self.members, self.unbox(state), strict=True)]

    def joined(self, state: OptState, parts: Sequence[Part]) -> tuple[Spec, OptState]:
        members = tuple((p.label, p.tx) if self.labels else p.tx for p in parts)
        return type(self)(members), self.box([p.state for p in parts])

    @functools.cached_property
    def updates(self) -> list[Any]:
        """The updates of all stages, nested chains opened."""
        return [u for tx in self.members for u in (tx.update.updates if isinstance(tx.update, Chain) else [tx.update])]

    @functools.cached_property
    def plan(self) -> list[tuple[int, int, _engine.Program | None]]:
        """(start, stop, program) of each run of leafwise stages; (i, i + 1, None) for any other transformation."""
        plan, start, stages = [], 0, self.updates
        while start < len(stages):
            stop = start
            while stop < len(stages) and _joins(stages[start:stop], stages[stop]):
                stop += 1
            program = _engine.program_for(tuple(s.slot for s in stages[start:stop])) if stop > start else None
            plan.append((start, max(stop, start + 1), program))
            start = plan[-1][1]
        return plan

    def __call__(self, updates: Updates, state: OptState, params: Params | None = None, **extra: Tree) -> tuple[Updates, OptState]:
        states = self.flat_states(state)
        for start, stop, program in self.plan:
            stages = self.updates[start:stop]
            if program is not None:
                updates, states[start:stop] = _run.run_leaves(program, stages, updates, states[start:stop], params, extra)
            else:
                updates, states[start] = stages[0](updates, states[start], params, **extra_args_for(stages[0], extra))
        return updates, self.nest(iter(states))

    def eval_params(self, state: OptState, params: Params, after: After) -> Params:
        found, declared = params, None
        for tx, s in zip(reversed(self.members), reversed(list(self.unbox(state))), strict=True):
            ours = evaluated(tx, s, params, after)
            if ours is not params and declared is not None:
                raise StructureError(
                    f"eval_params: both {tx!r:.200} and {declared!r:.200} say what parameters to evaluate with, and a chain cannot tell "
                    "how the two combine. Evaluate with the parameters as they are, or keep one of them."
                )
            if ours is not params:
                found, declared = ours, tx
            after = preceded(tx, s, after)
        return found


def _joins(run: Sequence[Stage], update: Any) -> bool:
    """Whether a stage can be executed in one call per leaf with the run before it."""
    if not isinstance(update, Stage) or update.kernel.whole:
        return False
    return not run or (update.kernel.total is None and update.kernel.stack == run[0].kernel.stack)


class NamedChain(Chain):
    """A chain whose state is a dictionary with a name for each member."""

    def __init__(self, members: tuple[tuple[str, Any], ...]):
        self.given, self.labels = members, [name for name, _ in members]
        self.members = tuple(tx for _, tx in members)

    def name(self) -> str:
        return "named_chain"

    def box(self, states: Sequence[OptState]) -> OptState:
        return OrderedDict(zip(self.labels or (), states, strict=True))

    def unbox(self, state: OptState) -> Sequence[OptState]:
        if not isinstance(state, Mapping) or list(state) != self.labels:
            raise StructureError(f"named_chain: the state should be a dictionary with keys {self.labels}, but is {state!r:.200}.")
        return list(state.values())


def chain(*args: GradientTransformation) -> GradientTransformationExtraArgs:
    """Apply transformations one after another.

        u, s1 = tx1.update(g, s1);  u, s2 = tx2.update(u, s2);  ...

    State    the tuple of the members' states. `chain()` is the identity, with the state `()`.
    Source   Optax.
    Differs  neighbouring leafwise stages run as one compiled call per leaf, with the same numbers; an empty chain is allowed; members
             of any library are accepted, and get the extra arguments that their `update` takes.
    Raises   StructureError: a member is not a transformation.
    """
    for i, tx in enumerate(args):
        check_transformation(tx, f"chain, member {i}")
    return transformation(Chain(args))


def named_chain(*args: tuple[str, GradientTransformation]) -> GradientTransformationExtraArgs:
    """Apply named transformations one after another; as `chain`, but the state is a dictionary.

    State    an `OrderedDict` from name to the member's state.
    Source   Optax.
    Differs  as `chain`.
    Raises   StructureError: a member is not a transformation, or two have one name.
    """
    for member in args:
        if not (isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str)):
            raise StructureError(f"named_chain: expected pairs (name, transformation), but got {member!r}.")
        check_transformation(member[1], f"named_chain, member {member[0]!r}")
    members = [name for name, _ in args]
    if len(set(members)) < len(members):
        raise StructureError(f"named_chain: names must differ, but got {members}.")
    return transformation(NamedChain(tuple(args)))
