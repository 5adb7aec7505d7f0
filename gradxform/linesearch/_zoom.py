"""The zoom line search, for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

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


class ZoomLinesearchInfo(NamedTuple):
    """The number of evaluations, and by how much the step violates the condition of decrease and that of curvature; 0 if it does not."""

    num_linesearch_steps: Array
    decrease_error: Array
    curvature_error: Array


def _no_report(params):
    far = lambda: jnp.full((), jnp.inf, scalar_dtype(jax.tree.leaves(params)))
    return ZoomLinesearchInfo(jnp.zeros((), jnp.int32), far(), far())


class ScaleByZoomLinesearchState(NamedTuple):
    """The step, the value and the gradient after it, and a report of the search."""

    learning_rate: Annotated[Shared, number(1), Field(constant=True)]
    value: Annotated[Shared, number(np.inf)]
    grad: Annotated[Updates, Field(dtype="p", first=lambda zero: zero)]
    info: Annotated[Shared, Field(first=_no_report)]


class _Search(NamedTuple):
    """A search on its way.

    Attributes:
      k: evaluations so far.
      new, grads: the last point and its gradients.
      bracketed: whether an acceptable step is known to lie between `low` and `high`.
      low, high, ref: the interval, `low` the end of lower value, and a third point to interpolate through.
      safe, safe_grads: a point that satisfies the condition of decrease; the starting point if none was met.
      decrease, curvature: by how much the last point violates either condition.
    """

    k: Array
    new: Point
    grads: list[Array] | None
    bracketed: Array
    low: Point
    high: Point
    ref: Point
    safe: Point
    safe_grads: list[Array] | None
    decrease: Array
    curvature: Array
    done: Array
    failed: Array


class ZoomLineSearch(LineSearch):
    """The search of `scale_by_zoom_linesearch`."""

    def search(self, line: Line, start: Point, grads: list[Array], rate: Array) -> Found:
        x = self.numbers(line.dtype)
        guess = jnp.where(rate > 0, rate, 1) if self.args["initial_guess_strategy"] == "keep" else jnp.ones((), line.dtype)
        no, far = jnp.asarray(False), jnp.full((), jnp.inf, line.dtype)
        zero = jnp.zeros((), jnp.int32)
        begin = _Search(zero, start, grads, no, start, start, start, start, grads, far, far, no, no)

        def step(s: _Search) -> _Search:
            a, last = self._expand(s, guess, x)
            new, grads = line.point(jnp.where(s.bracketed, _interpolate(s.low, s.high, s.ref), a))
            errors = self._decrease_error(new, start, x), violation(jnp.abs(new.df) - x["curv_rtol"] * jnp.abs(start.df))
            return self._judge(s, new, grads, *errors, last, x)

        end = jax.lax.while_loop(lambda s: ~(s.done | s.failed), step, begin)
        back = end.failed & ((end.safe.a > 0) | jnp.isinf(end.decrease))
        a, f, grads = _choose(back, (end.safe.a, end.safe.f, end.safe_grads), (end.new.a, end.new.f, end.grads))
        if self.args["verbose"]:
            jax.debug.callback(_report, start, end._replace(grads=None, safe_grads=None), a, x["stepsize_precision"])
        return Found(a, f, grads, {"num_linesearch_steps": end.k, "decrease_error": end.decrease, "curvature_error": end.curvature})

    def _expand(self, s: _Search, guess: Array, x: Mapping[str, Array]) -> tuple[Array, Array]:
        """The next step while there is no bracket, and whether it is the largest that is allowed."""
        a = jnp.where(s.k == 0, guess, x["increase_factor"] * s.new.a)
        most = x.get("max_learning_rate")
        return (a, jnp.asarray(False)) if most is None else (jnp.minimum(a, most), a >= most)

    def _decrease_error(self, new: Point, start: Point, x: Mapping[str, Array]) -> Array:
        """Armijo's condition; near a minimum, where rounding hides the decrease, Hager and Zhang's in terms of slopes."""
        error = new.f - start.f - x["slope_rtol"] * new.a * start.df
        if "approx_dec_rtol" in x:
            slope = new.df - (2 * x["slope_rtol"] - 1) * start.df
            error = jnp.minimum(error, jnp.maximum(slope, new.f - start.f - x["approx_dec_rtol"] * jnp.abs(start.f)))
        return violation(error)

    def _judge(
        self, s: _Search, new: Point, grads: list[Array], decrease: Array, curvature: Array, last: Array, x: Mapping[str, Array]
    ) -> _Search:
        """What the new point makes of the interval: Algorithm 3.5 until there is a bracket, then 3.6."""
        ok = jnp.maximum(decrease, curvature) <= x["tol"]
        decreased = decrease <= x["tol"]
        safe, safe_grads = _choose(decreased & (~s.bracketed | (new.f < s.safe.f)), (new, grads), (s.safe, s.safe_grads))

        low = _choose(s.bracketed, s.low, s.new)  # the end that the new point is compared with
        above = (decrease > 0) | ((new.f >= low.f) & (s.bracketed | (s.k > 0)))
        turned = ~above & jnp.where(s.bracketed, new.df * (s.high.a - low.a) >= 0, new.df >= 0)
        moved = jnp.where(s.bracketed, ~above, turned)
        high = _choose(turned, low, _choose(above | ~s.bracketed, new, s.high))
        ref = _choose(s.bracketed, _choose(above | turned, s.high, low), _choose(moved, new, low))
        low = _choose(moved, new, low)

        bracketed = s.bracketed | above | turned | ok
        narrow = s.bracketed & (jnp.abs(s.high.a - s.low.a) <= x["stepsize_precision"]) & (safe.a > 0)
        done = ok | (last & ~bracketed)
        failed = ~done & ((s.k + 1 >= whole_steps(self.args["max_linesearch_steps"])) | narrow)
        return _Search(s.k + 1, new, grads, bracketed, low, high, ref, safe, safe_grads, decrease, curvature, done, failed)


def _choose(condition: Array, one: Tree, other: Tree) -> Tree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _interpolate(low: Point, high: Point, ref: Point) -> Array:
    """The minimum of a cubic through the three points, of a parabola through two, or the middle: the first that is well inside."""
    h, k = high.a - low.a, ref.a - low.a
    inside = lambda d, margin: (d / h > margin) & (d / h < 1 - margin)
    r, q = ((p.f - low.f - low.df * d) / (d * d) for p, d in ((high, h), (ref, k)))
    third = (r - q) / (h - k)  # low.f + low.df d + second d^2 + third d^3
    second = r - third * h
    root = jnp.sqrt(second * second - 3 * third * low.df)
    cubic = jnp.where(second > 0, -low.df / (second + root), (root - second) / (3 * third))
    square = -low.df / (2 * r)
    return low.a + jnp.where(inside(cubic, 0.2), cubic, jnp.where(inside(square, 0.1), square, h / 2))


def _report(start: Point, end: _Search, a: Array, precision: Array) -> None:
    """Say on the host why a search failed."""
    if end.done and end.curvature <= 0:
        return
    reasons = []
    if end.done or end.safe.a > 0:
        reasons.append("The step satisfies the condition of decrease, but not that of curvature.")
    if end.done:
        reasons.append("`max_learning_rate` was reached before an interval was found.")
    if end.bracketed and abs(end.high.a - end.low.a) <= precision:
        reasons.append(f"The interval has shrunk to {abs(end.high.a - end.low.a):.3g}, below `stepsize_precision`.")
    if not (end.done or end.safe.a > 0):
        reasons.append("No step satisfies the condition of decrease.")
        if not start.df < 0:
            reasons.append("The updates do not descend: the slope at 0 is not negative.")
        elif np.isinf(end.decrease):
            reasons.append("The objective is not finite at any step that was tried. No step is made.")
        else:
            reasons.append("Allow more steps, or compute in float64.")
    print(  # noqa: T201
        f"scale_by_zoom_linesearch: {' '.join(reasons)} value {start.f:.6g}, slope {start.df:.6g}, step {a:.6g}, errors of decrease "
        f"{end.decrease:.3g} and of curvature {end.curvature:.3g}, after {end.k} evaluations."
    )


def _check(owner: str, given: Mapping[str, Tree]) -> None:
    check_number(owner, "max_linesearch_steps", given["max_linesearch_steps"], "[1, inf)")
    for name in ("max_learning_rate", "approx_dec_rtol"):
        check_number(owner, name, given[name], "[0, inf]", nullable=True)
    for name in ("tol", "increase_factor", "slope_rtol", "curv_rtol", "stepsize_precision"):
        check_number(owner, name, given[name], "[0, inf]")


@transform(
    source="Nocedal & Wright 1999, Algorithms 3.5 and 3.6; Hager & Zhang 2006, doi:10.1145/1132973.1132979",
    example={"max_linesearch_steps": 20, "initial_guess_strategy": "one"},
    needs=bowl(-1),
    homogeneity=1,
)
@wrapper(ScaleByZoomLinesearchState, needs=NEEDS, check=_check)
def scale_by_zoom_linesearch(
    g, s, p, c,
    max_linesearch_steps: int, max_learning_rate: Number | None = None, tol: Number = 0.0, increase_factor: Number = 2.0,
    slope_rtol: Number = 1e-4, curv_rtol: Number = 0.9, approx_dec_rtol: Number | None = 1e-6,
    stepsize_precision: Number = 1e-5, initial_guess_strategy: Literal["keep", "one"] = "keep", verbose: bool = False,
):  # fmt: skip
    """Scale the updates by a step that satisfies the strong Wolfe conditions.

        f(a) = value_fn(p + a u)                               g the gradient, f'(a) = <g(p + a u), u>
        f(a)    <= f(0) + slope_rtol a f'(0) + tol             decrease
        |f'(a)| <= curv_rtol |f'(0)| + tol                     curvature
        u = a u

    The step grows by `increase_factor` from the guess until an interval holds an acceptable one, and then the interval shrinks
    around the minimum of a cubic or a parabola. Where f(a) <= f(0) + approx_dec_rtol |f(0)|, so near a minimum that rounding hides the
    decrease, f'(a) <= (2 slope_rtol - 1) f'(0) will do for the first condition; `None` turns that off.

    Args:
      max_linesearch_steps: most evaluations of `value_fn`, each with its gradient.
      max_learning_rate: bound on a; the step is at that bound where the conditions would need a longer one.
      tol: how far the two conditions may be missed.
      increase_factor: the factor of a step as long as no interval holds an acceptable one.
      slope_rtol: the part of the decrease that the slope promises which is enough.
      curv_rtol: the part of the slope that may be left at the end of the step.
      approx_dec_rtol: how much larger the value may be, relative to it, where rounding hides the decrease; None: not at all.
      stepsize_precision: an interval this short is not divided further if some step has satisfied the condition of decrease.
      initial_guess_strategy: the first guess: 1 ("one", for quasi-Newton directions), or the step of the last search ("keep").
      verbose: print why a search failed.

    >>> tx = gx.chain(gx.sgd(1.0), gx.scale_by_zoom_linesearch(max_linesearch_steps=20))
    >>> f = lambda p: jnp.sum(p["w"] ** 2)
    >>> value, grad = jax.value_and_grad(f)(params)
    >>> updates, state = tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=f)

    `update` takes `value` and `grad` at p, `value_fn`, and by keyword what `value_fn` takes beside the parameters. `grad` is what an
    optimizer is given, for complex parameters the conjugate of `jax.grad`. `value_fn` sees whole parameters also inside `masked`
    and `partition`. Without jit it is traced at every update, so it may read what changes, and compiled where its trace is new.

    State    ScaleByZoomLinesearchState(learning_rate, value, grad, info), after the step; grad as of `jax.grad`, for
             `value_and_grad_from_state`. Numbers are float32 or wider. Memory: 1 x params.
    Units    those of u: scaling f by k > 0 does not change a (approx_dec_rtol and tol aside).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` a device searches along its own parts, by what `value_fn` returns for these, and takes a step of its
             own; under `jit` there is one search.
    Source   Nocedal & Wright 1999, Algorithms 3.5 and 3.6; Hager & Zhang 2006, Algorithm 851.
    Differs  Optax traces `value_fn` twice, and compiles the search anew in each un-jitted update; stays at a step of 0 once a search has
             found none; raises on extra arguments that `value_fn` does not take. Here they pass.
    Raises   MissingArgumentError: no params, value, grad, value_fn, or an argument of value_fn. HyperparameterError: a number is
             negative or NaN, max_linesearch_steps < 1. StructureError: value_fn returns no scalar.
    """
    return ZoomLineSearch(c.stage.name(), **c.stage.args).along(c, s, p)
