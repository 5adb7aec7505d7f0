"""The order in which what a traced function reads from the host is fetched.

A kernel of whole trees reads and writes its fields as it likes, perhaps all leaves of one before the next. Its trace says which of the new
values need which of the old ones, however it is written. So it is evaluated leaf by leaf: what is made of one comes before what fetches
the next.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.core
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun

from gradxform._types import Array, Tree
from gradxform.core._placement import after, is_on_host, waits


def paced(f: Callable[..., Tree], own: Tree, others: Tree) -> Tree:
    """f(own, others), which fetches nothing more from the host until what it makes of what it has fetched is there, or back.

    Where everything that is made of `own` needs all of it, as after a sum over the leaves or if one call computes them all, they are on the
    device together, and nothing is to be gained. What is not traced, or has effects, is executed as it is written.
    """
    leaves, structure = jax.tree.flatten((own, others))
    if not waits(leaves):
        return f(own, others)
    far = [i for i, x in enumerate(leaves) if is_on_host(x)]
    out: list[Any] = []

    def of_far(xs: Sequence[Array]) -> list[Array]:
        known = dict(zip(far, xs, strict=True))
        found, treedef = jax.tree.flatten(f(*structure.unflatten([known.get(i, x) for i, x in enumerate(leaves)])))
        out[:] = found, treedef
        return [x for x in found if isinstance(x, jax.Array)]

    xs = [leaves[i] for i in far]
    closed = jax.make_jaxpr(of_far)(xs)
    made = iter(_evaluated(closed, xs, sum(map(is_on_host, jax.tree.leaves(own)))))
    found, treedef = out
    return treedef.unflatten([next(made) if isinstance(x, jax.Array) else x for x in found])


class _Evaluation:
    """A trace, of which some values are known."""

    def __init__(self, closed: ClosedJaxpr, far: Sequence[Array]):
        self.jaxpr: Jaxpr = closed.jaxpr
        self.known: dict[Var, Array] = dict(zip(self.jaxpr.constvars, closed.consts, strict=True))
        self.waiting = dict(zip(self.jaxpr.invars, far, strict=True))
        self.makers = {v: i for i, e in enumerate(self.jaxpr.eqns) for v in e.outvars}

    def in_order(self, own: int) -> list[Var]:
        """What is computed of what waits: what needs the fewest arrays comes first, and of the first of them.

        Nothing, if whatever needs one of the first `own` arrays needs them all.
        """
        reads = {v: 1 << i for i, v in enumerate(self.jaxpr.invars)}
        for e in self.jaxpr.eqns:
            depends = [reads.get(v, 0) for v in e.invars if isinstance(v, Var)]
            reads |= dict.fromkeys(e.outvars, functools.reduce(operator.or_, depends, 0))
        out = dict.fromkeys(v for v in self.jaxpr.outvars if isinstance(v, Var) and reads.get(v))
        all_own = (1 << own) - 1
        if own > 1 and all(reads[v] & all_own in (0, all_own) for v in out):
            return []
        return sorted(out, key=lambda v: (reads[v].bit_count(), reads[v] & -reads[v]))

    def needs(self, wanted: Collection[Var]) -> tuple[list[int], list[Var]]:
        """The operations that are to be executed for these values, and what they fetch."""
        operations, fetched, left = set(), [], list(wanted)
        while left:
            v = left.pop()
            if v in self.waiting:
                fetched.append(v)
            elif v not in self.known and self.makers[v] not in operations:
                operations.add(self.makers[v])
                left += [x for x in self.jaxpr.eqns[self.makers[v]].invars if isinstance(x, Var)]
        return sorted(operations), list(dict.fromkeys(fetched))

    def execute(self, operations: Sequence[int]) -> None:
        """Execute these, whose arguments are known."""
        eqns = [self.jaxpr.eqns[i] for i in operations]
        makes = [v for e in eqns for v in e.outvars]
        reads = list(dict.fromkeys(v for e in eqns for v in e.invars if isinstance(v, Var) and v in self.known))
        part = self.jaxpr.replace(constvars=[], invars=reads, outvars=makes, eqns=eqns)
        self.known |= zip(makes, jaxpr_as_fun(ClosedJaxpr(part, []))(*[self.known[v] for v in reads]), strict=True)


def _evaluated(closed: ClosedJaxpr, far: Sequence[Array], own: int) -> list[Array]:
    """What a trace computes of these arrays, each fetched in its turn."""
    these, last = _Evaluation(closed, far), []
    order = [] if closed.effects else these.in_order(own)
    if not order:
        return jaxpr_as_fun(closed)(*far)
    for wanted in [*([v] for v in order), [v for v in closed.jaxpr.outvars if isinstance(v, Var)]]:
        operations, fetched = these.needs(wanted)
        if fetched and last:
            xs, ys = after([these.waiting[v] for v in fetched], [these.known[v] for v in last])
            these.waiting |= zip(fetched, xs, strict=True)
            these.known |= zip(last, ys, strict=True)
            last = []
        these.known |= {v: these.waiting.pop(v) for v in fetched}
        these.execute(operations)
        last += wanted
    return [v.val if isinstance(v, Literal) else these.known[v] for v in closed.jaxpr.outvars]
