"""`chain` and `named_chain`: transformations one after another."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradxform._errors import StructureError
from gradxform._messages import wrong_state
from gradxform._types import OptState, Params, Tree, Updates
from gradxform.core import _engine, _run
from gradxform.core._evaluate import After, evaluated, preceded
from gradxform.core._parts import Part
from gradxform.core._roles import beginning
from gradxform.core._stage import Stage
from gradxform.core._transformation import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Spec,
    check_transformation,
    extra_args_for,
    transformation,
)
from gradxform.core._trees import numbers_may_go


class Chain(Spec):
    """A sequence of transformations, named or not. Neighbouring leafwise stages, nested chains included, run as one call per leaf."""

    def __init__(self, members: tuple[Any, ...], labels: tuple[str, ...] | None = None):
        self.given, self.labels = members, labels

    @property
    def members(self) -> tuple[Any, ...]:
        return self.given

    def __reduce__(self) -> tuple[object, ...]:
        return (Chain, (self.given, self.labels), {"maker": self.maker})

    def name(self) -> str:
        return "chain" if self.labels is None else "named_chain"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return self.given if self.labels is None else tuple(zip(self.labels, self.given, strict=True)), {}

    @property
    def own_scope(self) -> str:
        return "elementwise"

    def init(self, params: Params) -> OptState:
        with beginning(params):
            return self.box([tx.init(params) for tx in self.members])

    def box(self, states: Sequence[OptState]) -> OptState:
        return tuple(states) if self.labels is None else OrderedDict(zip(self.labels, states, strict=True))

    def unbox(self, state: OptState) -> Sequence[OptState]:
        if self.labels is None:
            known, wanted = (
                isinstance(state, (tuple, list)),
                f"a tuple of {len(self.members)} states, one for each of {self!r:.300}",
            )
        else:
            known, wanted = (
                isinstance(state, Mapping) and tuple(state) == self.labels,
                f"a dictionary with keys {list(self.labels)}",
            )
        if not known or len(state) != len(self.members):
            raise wrong_state(self.maker or self.name(), wanted, state)
        return list(state.values()) if isinstance(state, Mapping) else state

    def flat_states(self, state: OptState) -> list[OptState]:
        """The states of all stages, nested chains opened."""
        pairs = zip(self.members, self.unbox(state), strict=True)
        return [x for tx, s in pairs for x in (tx.update.flat_states(s) if isinstance(tx.update, Chain) else [s])]

    def nest(self, flat: Iterator[OptState]) -> OptState:
        """The inverse of `flat_states`."""
        return self.box([tx.update.nest(flat) if isinstance(tx.update, Chain) else next(flat) for tx in self.members])

    def parts(self, state: OptState) -> list[Part]:
        labels = self.labels or [""] * len(self.members)
        return [Part(*part) for part in zip(labels, self.members, self.unbox(state), strict=True)]

    def joined(self, state: OptState, parts: Sequence[Part]) -> tuple[Spec, OptState]:
        return Chain(tuple(p.tx for p in parts), self.labels), self.box([p.state for p in parts])

    @functools.cached_property
    def updates(self) -> list[Any]:
        """The updates of all stages, nested chains opened."""
        return [u for tx in self.members for u in (tx.update.updates if isinstance(tx.update, Chain) else [tx.update])]

    @functools.cached_property
    def plan(self) -> list[tuple[list[Any], _engine.Program | None]]:
        """Runs of leafwise stages, each with its program; any other transformation alone, without one."""
        runs: list[list[Any]] = []
        for update in self.updates:
            if runs and _joins(runs[-1], update):
                runs[-1].append(update)
            else:
                runs.append([update])
        return [(run, _engine.program_for(tuple(s.slot for s in run)) if _is_leafwise(run[0]) else None) for run in runs]

    def __call__(self, updates: Updates, state: OptState, params: Params | None = None, **extra: Tree) -> tuple[Updates, OptState]:
        old, new = iter(self.flat_states(state)), []
        for run, program in self.plan:
            states = [next(old) for _ in run]
            if program is None:
                updates, s = run[0](updates, states[0], params, **extra_args_for(run[0], extra))
                new.append(s)
            else:
                with numbers_may_go():
                    updates, states = _run.run_leaves(program, run, updates, states, params, extra)
                new += states
        return updates, self.nest(iter(new))

    def eval_params(self, state: OptState, params: Params, after: After) -> Params:
        found, declared = params, None
        for tx, s in reversed(list(zip(self.members, self.unbox(state), strict=True))):
            ours = evaluated(tx, s, params, after)
            if ours is not params and declared is not None:
                raise StructureError(
                    f"eval_params: both {tx!r:.200} and {declared!r:.200} say what parameters to evaluate with, and a chain cannot tell "
                    "how the two combine. Evaluate with the parameters as they are, or keep one of them."
                )
            if isinstance(tx.update, Spec) and tx.update.averages:
                return ours
            found, declared = (found, declared) if ours is params else (ours, tx)
            after = preceded(tx, s, after)
        return found


def _is_leafwise(update: object) -> bool:
    return isinstance(update, Stage) and not update.kernel.whole


def _joins(run: Sequence[Any], update: Stage) -> bool:
    """Whether a stage can be executed in one call per leaf with the run before it."""
    both = _is_leafwise(run[0]) and _is_leafwise(update)
    return (
        both
        and update.kernel.total is None
        and not (run[0].kernel.sees or update.kernel.sees)
        and (update.kernel.stack, update.slot.spread) == (run[0].kernel.stack, run[0].slot.spread)
    )


def chain(*args: GradientTransformation) -> GradientTransformationExtraArgs:
    """Apply transformations one after another.

        u, s1 = tx1.update(g, s1);  u, s2 = tx2.update(u, s2);  ...

    Args:
      args: transformations, in the order in which they are applied.

    >>> tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)

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

    Args:
      args: pairs (name, transformation), in the order in which they are applied.

    >>> tx = gx.named_chain(("clip", gx.clip(1.0)), ("adam", gx.adam(1e-3)))
    >>> list(tx.init(params))
    ['clip', 'adam']

    State    an `OrderedDict` from name to the member's state.
    Source   Optax.
    Differs  as `chain`.
    Raises   StructureError: a member is not a transformation, or two have one name.
    """
    for member in args:
        if not (isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str)):
            raise StructureError(f"named_chain: expected pairs (name, transformation), but got {member!r}.")
        check_transformation(member[1], f"named_chain, member {member[0]!r}")
    names = [name for name, _ in args]
    if len(set(names)) < len(names):
        raise StructureError(f"named_chain: names must differ, but got {names}.")
    return transformation(Chain(tuple(tx for _, tx in args), tuple(names)))
