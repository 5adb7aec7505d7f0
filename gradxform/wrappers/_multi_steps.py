"""`MultiSteps`: gradient accumulation as Optax's class has it, which may also leave gradients out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import abs_sq, result_dtype
from gradxform._types import Array, ArrayLike, DType, Field, Inner, OptState, Params, Shared, ShouldSkipUpdateFunction, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, wrapper
from gradxform.core._holes import flatten, is_array
from gradxform.core._transformation import show
from gradxform.tree._leafwise import wide
from gradxform.wrappers._accumulate import Begun, Done, Means, Often, collect, mean_with, updates_after


def _told(params, should_skip_update_fn):
    """What the function keeps, for gradients of 0."""
    if should_skip_update_fn is None:
        return ()
    zeros = jax.tree.map(lambda p: jnp.zeros_like(p) if is_array(p) else p, params)
    return should_skip_update_fn(zeros, jnp.zeros([], jnp.int32), params)[1]


class MultiStepsState(NamedTuple):
    """Gradients in the current mean, inner updates so far, the inner state, the mean, and what the skip function told."""

    mini_step: Begun
    gradient_step: Done
    inner_opt_state: Inner
    acc_grads: Annotated[Means, Field(stored="accumulator_dtype")]
    skip_state: Annotated[Shared, Field(first=_told)] = ()


def _sum_with(g: Array, total: Array, n: Array, skip: Array | None) -> Array:
    return total + g if skip is None else jnp.where(skip, total, total + g)


WIDE = jnp.dtype(jnp.float32)


def _inner_steps(step, every_k_schedule):
    return updates_after("MultiSteps", step, every_k_schedule)


@wrapper(MultiStepsState, scope="elementwise", inner_steps=_inner_steps)
def _MultiSteps(
    g, s, p, c, opt: GradientTransformation, every_k_schedule: Often, use_grad_mean: bool = True,
    should_skip_update_fn: ShouldSkipUpdateFunction | None = None, accumulator_dtype: DType | None = WIDE,
):  # fmt: skip
    """The update of `MultiSteps`."""
    skip = None
    if should_skip_update_fn is not None:
        skip, told = should_skip_update_fn(g, s.gradient_step, p)
        skip, s = jnp.asarray(skip), s._replace(skip_state=told)
        if (skip.dtype, skip.shape) != (jnp.bool_, ()):
            raise StructureError(
                f"MultiSteps: `should_skip_update_fn` must return a boolean scalar first, but {show(should_skip_update_fn)} returned an "
                f"array of dtype {skip.dtype} and shape {skip.shape}. Reduce it with `jnp.any` or `jnp.all`."
            )
    return collect(c, g, s, p, opt, every_k_schedule, mean_with if use_grad_mean else _sum_with, skip)


class MultiSteps:
    """Collect gradients, and update along their mean every k-th time; leave out those that a function rejects.

        acc_grads = acc_grads + (g - acc_grads) / (mini_step + 1)          use_grad_mean=False: acc_grads + g
        u, s      = opt(acc_grads, s);  acc_grads = 0                      every k-th time
        u         = 0                                                      otherwise

    `accumulate` as a class with more options, for code that was written for Optax's. It can stand in a chain, a mask or a wrapper as it
    is; `gradient_transformation()` returns the pair.

    Args:
      opt: the transformation that is updated with the mean. It gets the parameters and the extra arguments of the emitting step.
      every_k_schedule: how many gradients make an update: a number, or a function of the number of updates of opt so far.
      use_grad_mean: the mean of the gradients; otherwise their sum.
      should_skip_update_fn: (updates, gradient_step, params) -> (whether to leave this gradient out, a tree to keep in `skip_state`).
        A gradient that is left out does not count. `skip_not_finite` is one; `functools.partial(skip_large_updates, ...)` another.
      accumulator_dtype: of acc_grads, complex for complex parameters; None: like the parameters, float32 or wider.

    State    MultiStepsState(mini_step, gradient_step, inner_opt_state, acc_grads, skip_state). Memory: 1 x params, and that of opt.
    Units    those of opt.
    Shapes   any, scalars and complex included.
    Source   Optax; Goyal et al. 2017, arXiv:1706.02677, section 2.
    Differs  the inner update is executed only on the emitting step, so nothing of a partial mean, NaN or not, gets out; values of a
             schedule are rounded to whole numbers; masked and absent leaves are allowed.
    Raises   HyperparameterError: every_k_schedule is not a whole number >= 1. StructureError: opt is not a transformation.
    """

    def __init__(
        self,
        opt: GradientTransformation,
        every_k_schedule: Often,
        use_grad_mean: bool = True,
        should_skip_update_fn: ShouldSkipUpdateFunction | None = None,
        accumulator_dtype: DType | None = jnp.float32,
    ):
        dtype = None if accumulator_dtype is None else jnp.dtype(jax.dtypes.canonicalize_dtype(accumulator_dtype))
        self._tx = _MultiSteps(opt, every_k_schedule, use_grad_mean, should_skip_update_fn, dtype)
        self.inner_opt = opt

    @property
    def init(self) -> Callable[[Params], OptState]:
        """The initial state for these parameters."""
        return self._tx.init

    @property
    def update(self) -> Callable[..., tuple[Updates, OptState]]:
        """Take in a gradient; the update is zero but for the emitting step."""
        return self._tx.update

    def has_updated(self, state: OptState) -> Array:
        """Whether the last call of `update` was an emitting step."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> GradientTransformationExtraArgs:
        """The pair (init, update)."""
        return self._tx

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MultiSteps) and self._tx.update == other._tx.update

    def __hash__(self) -> int:
        return hash((MultiSteps, self._tx.update))

    def __repr__(self) -> str:
        return repr(self._tx)


def skip_not_finite(updates: Updates, gradient_step: ArrayLike, params: Params | None) -> tuple[Array, dict[str, Any]]:
    """Leave out a gradient with an infinite or undefined element: for `MultiSteps(should_skip_update_fn=...)`.

    Args:
      updates: the gradients.
      gradient_step: the number of completed updates.
      params: the parameters, which are not looked at.

    >>> tx = gx.MultiSteps(gx.adam(1e-3), 4, should_skip_update_fn=gx.skip_not_finite)

    Returns:
      whether to leave it out, and a dictionary of `should_skip` and the count `num_not_finite`.

    Source   Optax.
    Differs  absent leaves are stepped over.
    """
    del gradient_step, params
    count = jnp.zeros([], jnp.int32)
    for x in filter(is_array, flatten(updates)[0]):
        count += jnp.sum(~jnp.isfinite(x), dtype=jnp.int32)
    return count > 0, {"should_skip": count > 0, "num_not_finite": count}


def skip_large_updates(
    updates: Updates, gradient_step: ArrayLike, params: Params | None, max_squared_norm: ArrayLike
) -> tuple[Array, dict[str, Any]]:
    """Leave out a gradient unless the square of its norm is below a limit; bind the limit with `functools.partial`.

        sum |g|^2 < max_squared_norm

    Args:
      updates: the gradients.
      gradient_step: the number of completed updates.
      params: the parameters, which are not looked at.
      max_squared_norm: the square of the norm from which on a gradient is left out.

    >>> skip = functools.partial(gx.skip_large_updates, max_squared_norm=100.0)
    >>> tx = gx.MultiSteps(gx.adam(1e-3), 4, should_skip_update_fn=skip)

    Returns:
      whether to leave it out, as where the norm is NaN, and a dictionary of `should_skip` and `norm_squared`.

    Source   Optax.
    Differs  squares of narrow dtypes are added in float32 or wider, those of complex elements are real.
    """
    del gradient_step, params
    squares = [jnp.sum(abs_sq(wide(x))) for x in filter(is_array, flatten(updates)[0])]
    dtype = result_dtype(jnp.zeros([], jnp.float32), *squares)
    total = sum((x.astype(dtype) for x in squares), jnp.zeros([], dtype))
    skip = ~(total < max_squared_norm)
    return skip, {"should_skip": skip, "norm_squared": total}
