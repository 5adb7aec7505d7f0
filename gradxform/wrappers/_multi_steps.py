"""`MultiSteps`: gradient accumulation as Optax's class has it, which may also leave gradients out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import abs_sq, real_part, round_to
from gradxform._types import Count, OptState, Params, Shared, ShouldSkipUpdateFunction, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._holes import dtype_of, flatten, is_array, on_the_mesh_of
from gradxform.core._transformation import show, transformation
from gradxform.tree._leafwise import wide
from gradxform.wrappers._accumulate import Accumulate, check_every_k


class MultiStepsState(NamedTuple):
    """Gradients in the current mean, inner updates so far, the inner state, the mean, and what the skip function told."""

    mini_step: Shared
    gradient_step: Shared
    inner_opt_state: Any
    acc_grads: Updates
    skip_state: Any = ()


class AccumulateOrSkip(Accumulate):
    """The update of `MultiSteps`."""

    def __init__(self, opt: Any, every_k: Any, use_grad_mean: bool, should_skip: Any, accumulator_dtype: Any):
        super().__init__(opt, every_k, branch_free=False)
        self.use_grad_mean, self.should_skip, self.accumulator_dtype = use_grad_mean, should_skip, accumulator_dtype

    def name(self) -> str:
        return "MultiSteps"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        options: dict[str, Any] = {} if self.use_grad_mean else {"use_grad_mean": False}
        if self.should_skip is not None:
            options["should_skip_update_fn"] = self.should_skip
        if self.accumulator_dtype != jnp.float32:
            options["accumulator_dtype"] = None if self.accumulator_dtype is None else self.accumulator_dtype.name
        return (self.inner, self.every_k), options

    def init(self, params: Any) -> Any:
        told: Any = ()
        if self.should_skip is not None:
            zeros = jax.tree.map(lambda p: jnp.zeros_like(p) if is_array(p) else p, params)
            told = self.should_skip(zeros, jnp.zeros([], jnp.int32), params)[1]
            told = on_the_mesh_of(params, jax.tree.map(lambda x: jnp.array(x, jnp.result_type(x)), told))
        return MultiStepsState(*super().init(params), skip_state=told)

    def zero_mean(self, p: Any) -> Any:
        if self.accumulator_dtype is None or not is_array(p):
            return super().zero_mean(p)
        imaginary = jnp.issubdtype(dtype_of(p), jnp.complexfloating)
        dtype = jnp.promote_types(self.accumulator_dtype, jnp.complex64) if imaginary else self.accumulator_dtype
        return jnp.zeros_like(p, dtype=dtype)

    def skip(self, updates: Any, state: Any, params: Any) -> tuple[Any, Mapping[str, Any]]:
        if self.should_skip is None:
            return None, {}
        skip, told = self.should_skip(updates, state.gradient_step, params)
        skip = jnp.asarray(skip)
        if (skip.dtype, skip.shape) != (jnp.bool_, ()):
            raise StructureError(
                f"MultiSteps: `should_skip_update_fn` must return a boolean scalar first, but {show(self.should_skip)} returned an "
                f"array of dtype {skip.dtype} and shape {skip.shape}. Reduce it with `jnp.any` or `jnp.all`."
            )
        as_it_was = lambda new, old: jnp.asarray(new).astype(old.dtype)
        return skip, {"skip_state": jax.tree.map(as_it_was, told, state.skip_state)}

    def include(self, mean: Any, g: Any, n: Any, skip: Any) -> Any:
        return super().include(mean, g, n, skip) if self.use_grad_mean else _sum(mean, g, skip)


@jax.jit
def _sum(total: Any, g: Any, skip: Any) -> Any:
    wide = jnp.promote_types(total.dtype, g.dtype)
    new = round_to(total.astype(wide) + g.astype(wide), total.dtype)
    return new if skip is None else jnp.where(skip, total, new)


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
        every_k_schedule: Count | Callable[[Any], Any],
        use_grad_mean: bool = True,
        should_skip_update_fn: ShouldSkipUpdateFunction | None = None,
        accumulator_dtype: Any = jnp.float32,
    ):
        check_transformation(opt, "MultiSteps")
        check_every_k("MultiSteps", "every_k_schedule", every_k_schedule)
        dtype = None if accumulator_dtype is None else jnp.dtype(jax.dtypes.canonicalize_dtype(accumulator_dtype))
        self._tx = transformation(AccumulateOrSkip(opt, every_k_schedule, use_grad_mean, should_skip_update_fn, dtype))

    @property
    def inner_opt(self) -> GradientTransformation:
        """The transformation that is updated with the mean."""
        return self._tx.update.inner  # type: ignore[attr-defined]

    @property
    def init(self) -> Callable[[Params], OptState]:
        """The initial state for these parameters."""
        return self._tx.init

    @property
    def update(self) -> Callable[..., tuple[Any, OptState]]:
        """Take in a gradient; the update is zero but for the emitting step."""
        return self._tx.update

    def has_updated(self, state: Any) -> Any:
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


def skip_not_finite(updates: Any, gradient_step: Any, params: Params | None) -> tuple[Any, dict[str, Any]]:
    """Leave out a gradient with an infinite or undefined element: for `MultiSteps(should_skip_update_fn=...)`.

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
    updates: Any, gradient_step: Any, params: Params | None, max_squared_norm: Any
) -> tuple[Any, dict[str, Any]]:
    """Leave out a gradient unless the square of its norm is below a limit; bind the limit with `functools.partial`.

        sum |g|^2 < max_squared_norm

    Returns:
      whether to leave it out, as where the norm is NaN, and a dictionary of `should_skip` and `norm_squared`.

    Source   Optax.
    Differs  squares of narrow dtypes are added in float32 or wider, those of complex elements are real.
    """
    del gradient_step, params
    total = jnp.zeros([], jnp.float32)
    for x in filter(is_array, flatten(updates)[0]):
        square = jnp.sum(abs_sq(wide(x)))
        total = total + square.astype(real_part(square.dtype))
    skip = ~(total < max_squared_norm)
    return skip, {"should_skip": skip, "norm_squared": total}
