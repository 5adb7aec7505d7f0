"""A driver, not an optimizer: it calls `init` and `update` of one, by default `lbfgs`, with all steps in one compiled loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform import tree
from gradxform._types import Array, OptState, Params, Tree, Updates
from gradxform.core import GradientTransformation, apply_updates
from gradxform.core._chain import Chain
from gradxform.core._traced import Traced, compiled_loop
from gradxform.core._transformation import check_transformation
from gradxform.linesearch import ScaleByBacktrackingLinesearchState, ScaleByZoomLinesearchState
from gradxform.linesearch._line import as_value
from gradxform.optimizers._lbfgs import lbfgs

SEARCHED = (ScaleByZoomLinesearchState, ScaleByBacktrackingLinesearchState)


class Minimum(NamedTuple):
    """Where `minimize` ended.

    Attributes:
      params: the parameters.
      value, grad: the value and the gradient (as of `jax.grad`) there.
      steps: how many steps were made.
      converged: whether the value is finite and no element of the gradient is larger than `tol`.
      state: the transformation's state.
      aux: what else `fun` returns there; None without `has_aux`.
    """

    params: Params
    value: Array
    grad: Updates
    steps: Array
    converged: Array
    state: OptState
    aux: Tree


def minimize(
    fun: Callable[..., Any],
    params: Params,
    tx: GradientTransformation | None = None,
    *,
    args: tuple[Any, ...] = (),
    max_steps: int = 200,
    tol: float = 1e-5,
    has_aux: bool = False,
) -> Minimum:
    """Minimize a function by gradient steps, in one compiled loop.

        minimize(fun, params)                              lbfgs()
        minimize(fun, params, adam(0.1), max_steps=1000)   any transformation whose updates are added to the parameters

    It ends when no element of the gradient is larger than `tol`, when the value is not finite, when a step after the first leaves both the
    parameters and the state as they are, or after `max_steps`. Where a line search comes last, the value and the gradient after a step are
    the search's own. `fun` and `tx` are traced at every call, and compiled where the trace is new. It may be called inside `jit` and
    `vmap`.

    Args:
      fun: (params, *args) -> value, or (value, aux) with `has_aux`.
      params: where to begin.
      tx: a transformation; None: `lbfgs()`.
      args: further arguments of fun.
      max_steps: the most steps.
      tol: the size of the largest element of the gradient at which it ends.
      has_aux: whether fun returns (value, aux).

    >>> found = gx.minimize(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2))
    >>> [round(float(x), 3) for x in found.params]
    [3.0, 3.0]

    Source   the loop of Nocedal & Wright 1999, Algorithm 7.5.
    Differs  Optax has no such function; jaxopt's `LBFGS(fun).run(params)` was one.
    Raises   StructureError: tx is not a transformation, or fun does not return one real number.
    """
    tx = lbfgs() if tx is None else tx
    check_transformation(tx, "minimize")
    return Traced(functools.partial(_minimize, fun, tx, has_aux), compiled_loop)(params, args, max_steps, tol)


def _minimize(
    fun: Callable[..., Any],
    tx: GradientTransformation,
    has_aux: bool,
    params: Params,
    args: tuple[Any, ...],
    max_steps: int | Array,
    tol: float | Array,
) -> Minimum:
    value_fn = lambda p: as_value("minimize", "fun", fun(p, *args)[0] if has_aux else fun(p, *args))
    last = lambda state: tx.update.flat_states(state)[-1] if isinstance(tx.update, Chain) else state
    first = tx.init(params)
    searches = isinstance(last(first), SEARCHED) and last(first).grad is not None

    def step(m: Minimum) -> tuple[Minimum, Array]:
        grad = tree.conj(m.grad)
        u, state = tx.update(grad, m.state, m.params, value=m.value, grad=grad, value_fn=value_fn)
        params = apply_updates(m.params, u)
        value, grad = (last(state).value, last(state).grad) if searches else jax.value_and_grad(value_fn)(params)
        still = (m.steps > 0) & _is_same((params, state), (m.params, m.state))
        return Minimum(params, value.astype(m.value.dtype), grad, m.steps + 1, converged(value, grad), state, None), still

    converged = lambda value, grad: jnp.isfinite(value) & (tree.norm(grad, ord="inf") <= tol)
    value, grad = jax.value_and_grad(value_fn)(params)
    start = Minimum(params, value, grad, jnp.zeros((), jnp.int32), converged(value, grad), first, None)

    def going(carry: tuple[Minimum, Array]) -> Array:
        m, still = carry
        return ~(m.converged | still) & jnp.isfinite(m.value) & (m.steps < max_steps)

    end, _ = jax.lax.while_loop(going, lambda carry: step(carry[0]), (start, jnp.asarray(False)))
    return end._replace(aux=fun(end.params, *args)[1]) if has_aux else end


def _is_same(new: Tree, old: Tree) -> Array:
    """Whether two trees hold the same numbers."""
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
    return jnp.all(jnp.asarray([jnp.all(a == b) for a, b in pairs if hasattr(a, "dtype")]))
