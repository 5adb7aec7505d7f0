"""Sharpness-aware minimization: gradients from where a few steps uphill lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError
from gradxform._numerics import round_to, sum_sq, widen
from gradxform._types import Count, OptState, ParamsCopy, Shared, parameters_of
from gradxform.core import EmptyState, GradientTransformation, GradientTransformationExtraArgs, apply_updates, per_tree
from gradxform.core._chain import check_transformation
from gradxform.core._clocks import at_step, check_complete
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import dtype_of, fresh, is_array, is_gap, on_the_mesh_of
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.registry import transform
from gradxform.transforms import scale
from gradxform.tree._leafwise import wide

NormalizeState = EmptyState


@transform(source="Foret et al. 2021, arXiv:2010.01412, equation 2", homogeneity=0)
@per_tree(total=sum_sq)
def normalize(g, s, p, c):
    """Give the whole tree of updates the norm 1.

        u = g / ||g||                           over all leaves; 0 where g is

    State    EmptyState(). Memory: none.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Source   Foret et al. 2021, arXiv:2010.01412, equation 2.
    Differs  zero stays zero, where Optax divides 0 by 0; the norm is summed in float32 or wider.
    """
    norm = jnp.sqrt(c.total)
    return g / jnp.where(norm > 0, norm, 1), s


class SAMState(NamedTuple):
    """Steps uphill since the last step of the optimizer, the two states, and the parameters before those steps."""

    steps_since_sync: Shared
    opt_state: OptState
    adv_state: OptState
    cache: ParamsCopy


def _map(f: Any, *trees: Any) -> Any:
    """f at the arrays of the first tree; its other leaves stay."""
    return jax.tree.map(lambda x, *rest: f(x, *rest) if is_array(x) else x, *trees, is_leaf=is_gap)


def _either(first: Any, one: Any, other: Any) -> Any:
    """The trees `one` or `other`, in the dtypes of parameters."""
    return _map(lambda x, y: jnp.where(first, x, y).astype(dtype_of(x)), one, other)


class SAM(Spec):
    """The update of `sam`."""

    def __init__(self, optimizer: Any, adv_optimizer: Any, options: Mapping[str, Any]):
        self.optimizer, self.adv_optimizer, self.options = optimizer, adv_optimizer, dict(options)
        self.sync_period, self.reset_state = options["sync_period"], options["reset_state"]
        self.wide_updates = getattr(optimizer.update, "wide_updates", False)

    def name(self) -> str:
        return "sam"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.optimizer, self.adv_optimizer), self.options

    def init(self, params: Any) -> SAMState:
        copy = lambda p: fresh(p) if is_array(p) or hasattr(p, "shape") else p
        cache = None if self.options["opaque_mode"] else jax.tree.map(copy, params, is_leaf=is_gap)
        state = SAMState(jnp.zeros([], jnp.int32), self.optimizer.init(params), self.adv_optimizer.init(params), cache)
        return on_the_mesh_of(params, state)

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise MissingArgumentError("sam: needs the parameters, but `params` is None. Call `update(updates, state, params)`.")
        run = self._opaque if self.options["opaque_mode"] else self._transparent
        return run(updates, state, params, extra)

    def _uphill(self, updates: Any, adv_state: Any, params: Any, extra: Any) -> tuple[Any, Any]:
        update = self.adv_optimizer.update
        u, adv_state = update(updates, adv_state, params, **extra_args_for(update, extra))
        return _map(jnp.negative, u), adv_state

    def _downhill(self, updates: Any, opt_state: Any, params: Any, extra: Any) -> tuple[Any, Any]:
        update = self.optimizer.update
        return update(updates, opt_state, params, **extra_args_for(update, extra))

    def _transparent(self, updates: Any, state: Any, params: Any, extra: Any) -> tuple[Any, Any]:
        """One step uphill, or from above one of the optimizer, taken from where the climb began."""
        n, trees = state.steps_since_sync, Trees("sam", updates)
        cache = _either(n == 0, params, state.cache)

        def climb(opt_state: Any, adv_state: Any) -> Any:
            u, adv_state = self._uphill(updates, adv_state, params, extra)
            return self._present(trees, u), opt_state, adv_state

        def sync(opt_state: Any, adv_state: Any) -> Any:
            u, opt_state = self._downhill(updates, opt_state, cache, extra)
            u = _map(lambda u, p, c: u + (wide(c) - wide(p)), u, params, cache)
            return self._present(trees, u), opt_state, self.adv_optimizer.init(params) if self.reset_state else adv_state

        last = n == self.sync_period - 1
        if isinstance(last, jax.core.Tracer):
            us, opt_state, adv_state = jax.lax.cond(last, sync, climb, state.opt_state, state.adv_state)
        else:
            us, opt_state, adv_state = (sync if last else climb)(state.opt_state, state.adv_state)
        u, n = trees.together(trees.put(trees.leaves, us)), jnp.where(last, 0, n + 1)
        return u, state._replace(steps_since_sync=n, opt_state=opt_state, adv_state=adv_state, cache=cache)

    def _present(self, trees: Trees, u: Any) -> list[Any]:
        """The updates at the present leaves, in one dtype whichever optimizer made them."""
        us = trees.pick(trees.take("an update", u))
        dtypes = [dtype_of(trees.leaves[i]) for i in trees.present]
        return [round_to(x, widen(d) if self.wide_updates else d) for x, d in zip(us, dtypes, strict=True)]

    def _opaque(self, updates: Any, state: Any, params: Any, extra: Any) -> tuple[Any, Any]:
        """The whole climb, and the step of the optimizer."""
        if extra.get("grad_fn") is None:
            raise MissingArgumentError(
                "sam: with opaque_mode=True it needs the extra argument `grad_fn`, which was not given. "
                "Call `update(updates, state, params, grad_fn=lambda params, i: ...)`."
            )
        g, adv_state, above = updates, state.adv_state, params
        for i in range(self.sync_period - 1):
            u, adv_state = self._uphill(g, adv_state, above, extra)
            above = apply_updates(above, u)
            g = extra["grad_fn"](above, i)
            if self.options["batch_axis_name"] is not None:
                g = jax.lax.pmean(g, axis_name=self.options["batch_axis_name"])
        if self.reset_state:
            adv_state = self.adv_optimizer.init(params)
        u, opt_state = self._downhill(g, state.opt_state, params, extra)
        return u, state._replace(opt_state=opt_state, adv_state=adv_state)

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        opaque = self.options["opaque_mode"]
        rounds = step if opaque else step // self.sync_period
        if not opaque:
            check_complete(self.name(), step, step % self.sync_period)
            state = state if only_schedules else at_step(state, steps_since_sync=0)
        return state, (rounds, 0 if self.reset_state else rounds * (self.sync_period - 1))

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        if state.cache is not None:
            params = _either(state.steps_since_sync > 0, state.cache, params)
        return evaluated(self.optimizer, state.opt_state, params, after)


@transform(
    source="Foret et al. 2021, arXiv:2010.01412, Algorithm 1",
    example={"optimizer": scale(-0.1), "adv_optimizer": scale(-0.05)},
    homogeneity=1,
)
def sam(
    optimizer: GradientTransformation,
    adv_optimizer: GradientTransformation,
    sync_period: Count = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> GradientTransformationExtraArgs:
    """SAM: let the optimizer descend with the gradient found uphill, at the worst point near the parameters.

        u = -adv_optimizer(g)                   sync_period - 1 times; cache is p before the first
        u = cache + optimizer(g) - p            then once

    The paper's is `sam(sgd(rate), chain(normalize(), sgd(rho)))`: a climb of length rho. Between the steps of `optimizer` the
    parameters stand uphill; evaluate with `eval_params(tx, state, params)`.

    Args:
      optimizer: it descends, with the gradient found uphill and the parameters from before the climb.
      adv_optimizer: it descends too; its updates are turned around.
      sync_period: every so many updates one is that of `optimizer`.
      reset_state: start `adv_optimizer` afresh after that.
      opaque_mode: climb within one update, for training with side effects such as batch statistics. Call
        `update(g, state, params, grad_fn=f)`, where f(params, i) is the gradient after the i-th step uphill.
      batch_axis_name: the axis over which to average those gradients (`jax.lax.pmean`).

    State    SAMState(steps_since_sync, opt_state, adv_state, cache). cache is a copy of p, or None in opaque_mode. Memory: 1 x params
             (none in opaque_mode), and that of both.
    Units    those of optimizer.
    Shapes   any, scalars and complex included.
    Source   Foret et al. 2021, arXiv:2010.01412, Algorithm 1.
    Differs  unknown extra arguments are allowed, and passed on to both. Only one of the two is executed, so that NaN of the other does
             not leak. sync_period=1 is `optimizer`. The state can be donated together with the parameters.
    Raises   MissingArgumentError: no params; no grad_fn in opaque_mode. StructureError: not a transformation. HyperparameterError:
             sync_period < 1.
    """
    check_transformation(optimizer, "sam, optimizer")
    check_transformation(adv_optimizer, "sam, adv_optimizer")
    parameters_of(sam)["sync_period"].check("sam", sync_period)
    options = {
        "sync_period": sync_period,
        "reset_state": reset_state,
        "opaque_mode": opaque_mode,
        "batch_axis_name": batch_axis_name,
    }
    return transformation(SAM(optimizer, adv_optimizer, options))
