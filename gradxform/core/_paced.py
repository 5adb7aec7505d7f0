"""The order in which what a traced function reads from the host is fetched.

A kernel of whole trees reads and writes its fields as it likes, perhaps all leaves of one before the next. Its trace says which of the new
values need which of the old ones, however it is written. So it is evaluated leaf by leaf: what is made of one comes before what fetches
the next.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from gradxform._types import Array, Tree
from gradxform.core._placement import after, is_on_host, waits

BARRIER = "optimization_barrier"
SMALL = 16
"""What has fewer elements than this part of the mean of the arrays on the host is small."""


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


def size(v: Var) -> int:
    return math.prod(getattr(v.aval, "shape", ()))


class _Evaluation:
    """A trace, of which some values are known."""

    def __init__(self, closed: ClosedJaxpr, far: Sequence[Array]):
        self.jaxpr: Jaxpr = closed.jaxpr
        self.known: dict[Var, Array] = dict(zip(self.jaxpr.constvars, closed.consts, strict=True))
        self.known |= zip(self.jaxpr.invars, far, strict=True)
        self.makers = {v: i for i, e in enumerate(self.jaxpr.eqns) for v in e.outvars}

    def in_order(self, own: int) -> list[Var]:
        """What is made of arrays on the host: what is made of the first, and of all that is needed with it, and so on.

        What needs all of the first `own` arrays comes last; if that is whatever needs any, nothing. What is small, such as a sum, needs
        none of them: it stays, and what it was made of needs not.
        """
        reads = {v: 1 << i for i, v in enumerate(self.jaxpr.invars)}
        little = sum(map(size, reads)) / (SMALL * max(len(reads), 1))
        for e in self.jaxpr.eqns:
            depends = [reads.get(v, 0) if isinstance(v, Var) else 0 for v in e.invars]
            if e.primitive.name != BARRIER:
                depends = [functools.reduce(operator.or_, depends, 0)] * len(e.outvars)
            reads |= {v: bits if size(v) > max(little, 1) else 0 for v, bits in zip(e.outvars, depends, strict=True)}
        out = list(dict.fromkeys(v for v in self.jaxpr.outvars if isinstance(v, Var) and reads.get(v)))
        all_own = (1 << own) - 1
        late = [v for v in out if own > 1 and reads[v] & all_own == all_own]
        if late and all(v in late for v in out if reads[v] & all_own):
            return []
        together: list[int] = []
        for v in out:
            if v not in late:
                joined = [bits for bits in together if bits & reads[v]]
                together = [bits for bits in together if not bits & reads[v]]
                together.append(functools.reduce(operator.or_, joined, reads[v]))
        first = lambda v: next(bits & -bits for bits in together if bits & reads[v])
        return [*sorted((v for v in out if v not in late), key=first), *late]

    def needs(self, wanted: Collection[Var]) -> list[JaxprEqn]:
        """The operations that are to be executed for these values."""
        operations, left = set(), list(wanted)
        while left:
            v = left.pop()
            if v not in self.known and self.makers[v] not in operations:
                operations.add(self.makers[v])
                left += [x for x in self.jaxpr.eqns[self.makers[v]].invars if isinstance(x, Var)]
        return [self.jaxpr.eqns[i] for i in sorted(operations)]

    def fetched(self, eqns: Sequence[JaxprEqn]) -> list[Var]:
        """What operations read from the host."""
        read = (v for e in eqns if e.primitive.name != BARRIER for v in e.invars if isinstance(v, Var))
        return list(dict.fromkeys(v for v in read if v in self.known and is_on_host(self.known[v])))

    def execute(self, eqns: Sequence[JaxprEqn]) -> None:
        """Execute these, whose arguments are known."""
        makes = [v for e in eqns for v in e.outvars]
        reads = list(dict.fromkeys(v for e in eqns for v in e.invars if isinstance(v, Var) and v in self.known))
        part = self.jaxpr.replace(constvars=[], invars=reads, outvars=makes, eqns=list(eqns))
        self.known |= zip(makes, jaxpr_as_fun(ClosedJaxpr(part, []))(*[self.known[v] for v in reads]), strict=True)


def _evaluated(closed: ClosedJaxpr, far: Sequence[Array], own: int) -> list[Array]:
    """What a trace computes of these arrays, each fetched in its turn."""
    these, last = _Evaluation(closed, far), []
    order = [] if closed.effects else these.in_order(own)
    if not order:
        return jaxpr_as_fun(closed)(*far)
    for wanted in [*([v] for v in order), [v for v in closed.jaxpr.outvars if isinstance(v, Var)]]:
        eqns = these.needs(wanted)
        fetched = these.fetched(eqns)
        if fetched and last:
            xs, ys = after([these.known[v] for v in fetched], [these.known[v] for v in last])
            these.known |= zip([*fetched, *last], [*xs, *ys], strict=True)
            last = []
        these.execute(eqns)
        last += wanted
    return [v.val if isinstance(v, Literal) else these.known[v] for v in closed.jaxpr.outvars]
