"""The backtracking line search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Field, Shared, Tree, Updates
from gradxform.core import wrapper
from gradxform.linesearch._example import bowl
from gradxform.linesearch._line import (
    NEEDS,
    Found,
    Line,
    LineSearch,
    Number,
    Point,
    check_number,
    number,
    scalar_dtype,
    violation,
    whole_steps,
)
from gradxform.registry import transform


class BacktrackingLinesearchInfo(NamedTuple):
    """The number of evaluations, and by how much the step violates the condition; 0 if it does not."""

    num_linesearch_steps: Array
    decrease_error: Array


def _no_report(params):
    return BacktrackingLinesearchInfo(jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, scalar_dtype(jax.tree.leaves(params))))


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The step, the value and the gradient (None if it is not kept) after it, and a report of the search."""

    learning_rate: Annotated[Shared, number(1), Field(constant=True)]
    value: Annotated[Shared, number(np.inf)]
    grad: Annotated[Updates, Field(dtype="p", first=lambda zero: zero, when=lambda store_grad: store_grad)]
    info: Annotated[Shared, Field(first=_no_report)]


class _Search(NamedTuple):
    """A search on its way: evaluations so far, the step, its value, its gradients once it is accepted, and its error."""

    k: Array
    a: Array
    f: Array
    grads: list[Array] | None
    error: Array


class BacktrackingLineSearch(LineSearch):
    """The search of `scale_by_backtracking_linesearch`."""

    @property
    def keeps_grad(self) -> bool:
        return self.args["store_grad"]

    def search(self, line: Line, start: Point, grads: list[Array], rate: Array) -> Found:
        x, most = self.numbers(line.dtype), whole_steps(self.args["max_backtracking_steps"])
        guess = jnp.where(rate > 0, jnp.minimum(x["increase_factor"] * rate, x["max_learning_rate"]), x["max_learning_rate"])
        far = jnp.full((), jnp.inf, line.dtype)
        kept = grads if self.keeps_grad else None

        def step(s: _Search) -> _Search:
            a = jnp.where(s.k > 0, x["decrease_factor"] * s.a, s.a)
            f, pull = line.value(a, self.keeps_grad)
            error = violation(f - (1 + x["rtol"]) * start.f - a * x["slope_rtol"] * start.df)
            last = (error <= x["atol"]) | (s.k == most)
            found = jax.lax.cond(last, pull, lambda: s.grads) if pull else None
            return _Search(s.k + 1, a, f, found, error)

        going = lambda s: ~(s.error <= x["atol"]) & (s.k <= most)
        end = jax.lax.while_loop(going, step, _Search(jnp.zeros((), jnp.int32), guess, start.f, kept, far))
        if self.args["verbose"]:
            jax.debug.callback(_report, start, end._replace(grads=None), x["atol"])
        stay = jnp.isinf(end.error)
        a, f, kept = jax.tree.map(lambda old, new: jnp.where(stay, old, new), (start.a, start.f, kept), (end.a, end.f, end.grads))
        return Found(a, f, kept, {"num_linesearch_steps": end.k, "decrease_error": end.error})


def _report(start: Point, end: _Search, atol: Array) -> None:
    """Say on the host why a search failed."""
    if end.error <= atol:
        return
    finite = "The last one is made." if np.isfinite(end.error) else "The objective is not finite at the last one. No step is made."
    print(  # noqa: T201
        f"scale_by_backtracking_linesearch: no step satisfies the condition of decrease. {finite} value {start.f:.6g}, slope "
        f"{start.df:.6g}, step {end.a:.6g}, error {end.error:.3g}, after {end.k} evaluations."
    )


def _check(owner: str, given: Mapping[str, Tree]) -> None:
    check_number(owner, "max_backtracking_steps", given["max_backtracking_steps"], "[0, inf)")
    for name in ("slope_rtol", "decrease_factor", "increase_factor", "max_learning_rate", "atol", "rtol"):
        check_number(owner, name, given[name], "[0, inf]")


@transform(
    source="Armijo 1966, doi:10.2140/pjm.1966.16.1; Nocedal & Wright 1999, Algorithm 3.1",
    example={"max_backtracking_steps": 15},
    needs=bowl(-1),
    homogeneity=1,
)
@wrapper(ScaleByBacktrackingLinesearchState, needs=NEEDS, check=_check)
def scale_by_backtracking_linesearch(
    g, s, p, c,
    max_backtracking_steps: int, slope_rtol: Number = 1e-4, decrease_factor: Number = 0.8, increase_factor: Number = 1.5,
    max_learning_rate: Number = 1.0, atol: Number = 0.0, rtol: Number = 0.0, store_grad: bool = False, verbose: bool = False,
):  # fmt: skip
    """Scale the updates by the first of ever shorter steps that decreases the objective enough.

        a = min(increase_factor a, max_learning_rate)                           a the last step, 1 at first
        while value_fn(p + a u) > (1 + rtol) value + slope_rtol a <grad, u> + atol:
            a = decrease_factor a
        u = a u

    A step is found if u descends, so if <grad, u> < 0. Where the objective is not finite at any step that is tried, a = 0.

    Args:
      max_backtracking_steps: most times that the step is decreased; the last one is taken as it is.
      slope_rtol: the part of the decrease that the slope promises which is enough.
      decrease_factor: the factor of a step that does not decrease enough.
      increase_factor: how much longer than the last step the first trial may be.
      max_learning_rate: the longest step.
      atol: how much larger the value may be.
      rtol: how much larger the value may be, relative to it.
      store_grad: keep the gradient after the step, for `value_and_grad_from_state`.
      verbose: print why a search failed.

    >>> tx = gx.chain(gx.sgd(1.0), gx.scale_by_backtracking_linesearch(max_backtracking_steps=15))
    >>> f = lambda p: jnp.sum(p["w"] ** 2)
    >>> value, grad = jax.value_and_grad(f)(params)
    >>> updates, state = tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=f)

    `update` takes the same arguments as that of `scale_by_zoom_linesearch`, which explains them.

    State    ScaleByBacktrackingLinesearchState(learning_rate, value, grad, info), after the step; grad as of `jax.grad`, or None.
             Numbers are float32 or wider. Memory: with store_grad 1 x params.
    Units    those of u: scaling the objective by k > 0 does not change a (atol aside).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` a device searches along its own parts, by what `value_fn` returns for these, and takes a step of its
             own; under `jit` there is one search.
    Source   Armijo 1966; Nocedal & Wright 1999, Algorithm 3.1; the growing step Vaswani et al. 2019, arXiv:1905.09997.
    Differs  Optax takes `grad` of complex parameters unconjugated here, unlike in its zoom line search; compiles the search anew in
             each un-jitted update; stays at a step of 0 once a search has found none, and then keeps the value that is not finite; raises
             on extra arguments that `value_fn` does not take. Here they pass.
    Raises   MissingArgumentError: no params, value, grad, value_fn, or an argument of value_fn. HyperparameterError: a number is
             negative or NaN, max_backtracking_steps < 0. StructureError: value_fn returns no scalar.
    """
    return BacktrackingLineSearch(c.stage.name(), **c.stage.args).along(c, s, p)
