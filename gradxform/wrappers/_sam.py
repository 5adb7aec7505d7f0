"""Sharpness-aware minimization: gradients from where a few steps uphill lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError
from gradxform._numerics import round_to
from gradxform._types import Array, ArrayLike, Count, Field, Inner, OptState, Params, ParamsCopy, Shared, Updates
from gradxform.core import GradientTransformation, apply_updates, wrapper
from gradxform.core._holes import dtype_of, is_array, is_gap
from gradxform.core._paced import paced
from gradxform.core._placement import on_device, placed
from gradxform.core._transformation import widens
from gradxform.core._whole import TreeContext
from gradxform.registry import transform
from gradxform.transforms import scale
from gradxform.wrappers._accumulate import check_complete


class SAMState(NamedTuple):
    """Steps uphill since the last step of the optimizer, the two states, and the parameters before those steps."""

    steps_since_sync: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), at=lambda: 0)]
    opt_state: Inner
    adv_state: Annotated[Inner, Field(aside=True)]
    cache: Annotated[ParamsCopy, Field(when=lambda opaque_mode: not opaque_mode, far=True)]


def _map(f: Callable[..., Array], *trees: Params) -> Params:
    """f at the arrays of the first tree; its other leaves stay."""
    return jax.tree.map(lambda x, *rest: f(x, *rest) if is_array(x) else x, *trees, is_leaf=is_gap)


def _either(first: ArrayLike, one: Params, other: Params) -> Params:
    """The trees `one` or `other`, in the dtypes of parameters."""
    return _map(lambda x, y: jnp.where(first, x, y).astype(dtype_of(x)), one, other)


def _inner_steps(step, s, sync_period, reset_state, opaque_mode):
    rounds = step if opaque_mode else step // sync_period
    if not opaque_mode:
        check_complete("sam", step, step % sync_period)
    return rounds, 0 if reset_state else rounds * (sync_period - 1)


def _before_the_climb(params, s, inside):
    return inside(params if s.cache is None else _either(s.steps_since_sync == 0, params, s.cache))


def _from_above(u: Array, p: Array, start: Array) -> Array:
    return u + (start - p)


def _transparent(
    c: TreeContext, g: Updates, s: OptState, p: Params, optimizer: GradientTransformation, adv_optimizer: GradientTransformation,
    sync_period: int, reset_state: bool,
) -> tuple[Updates, OptState]:  # fmt: skip
    """One step uphill, or from above one of the optimizer, taken from where the climb began."""
    n, trees, wide = s.steps_since_sync, c.trees, widens(optimizer)
    begun = lambda s: _either(n == 0, p, on_device(s.cache))

    def sync(s: OptState, rest: None) -> tuple[list[Array], OptState]:
        start = begun(s)
        u, opt_state = optimizer.update(g, s.opt_state, start)
        us = trees.pick(trees.take("an update", c.map(_from_above, u, p, start)))
        us = us if wide else [round_to(x, g.dtype) for x, g in zip(us, trees.arrays, strict=True)]
        adv_state = placed(adv_optimizer.init(p), s.adv_state) if reset_state else s.adv_state
        return us, s._replace(opt_state=opt_state, adv_state=adv_state, cache=placed(start, s.cache))

    def climb(s: OptState, rest: None) -> tuple[list[Array], OptState]:
        u, adv_state = adv_optimizer.update(g, s.adv_state, p)
        made = jax.eval_shape(sync, s, None)[0] if wide else trees.arrays
        us = [round_to(-jnp.asarray(x), to.dtype) for x, to in zip(trees.pick(trees.take("an update", u)), made, strict=True)]
        return us, s._replace(adv_state=adv_state, cache=placed(begun(s), s.cache))

    last = n == sync_period - 1
    step = lambda f: lambda s: paced(f, s, None)
    if isinstance(last, jax.core.Tracer):
        us, s = jax.lax.cond(last, step(sync), step(climb), s)
    else:
        us, s = (sync if last else climb)(s, None)
    return trees.together(trees.put(trees.leaves, us)), s._replace(steps_since_sync=jnp.where(last, 0, n + 1))


@transform(
    source="Foret et al. 2021, arXiv:2010.01412, Algorithm 1",
    example={"optimizer": scale(-0.1), "adv_optimizer": scale(-0.05)},
    homogeneity=1,
)
@wrapper(SAMState, scope="elementwise", needs=("params",), evaluate=_before_the_climb, inner_steps=_inner_steps)
def sam(
    g, s, p, c,
    optimizer: GradientTransformation, adv_optimizer: GradientTransformation, sync_period: Count = 2, reset_state: bool = True,
    opaque_mode: bool = False, batch_axis_name: str | None = None,
):  # fmt: skip
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

    >>> tx = gx.contrib.sam(gx.sgd(0.1), gx.chain(gx.contrib.normalize(), gx.sgd(0.05)), sync_period=2)

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
    if not opaque_mode:
        return _transparent(c, g, s, p, optimizer, adv_optimizer, sync_period, reset_state)
    if c.extra.get("grad_fn") is None:
        raise MissingArgumentError(
            "sam: with opaque_mode=True it needs the extra argument `grad_fn`, which was not given. "
            "Call `update(updates, state, params, grad_fn=lambda params, i: ...)`."
        )
    adv_state, above = s.adv_state, p
    for i in range(sync_period - 1):
        u, adv_state = adv_optimizer.update(g, adv_state, above)
        above = apply_updates(above, _map(jnp.negative, u))
        g = c.extra["grad_fn"](above, i)
        if batch_axis_name is not None:
            g = jax.lax.pmean(g, axis_name=batch_axis_name)
    u, opt_state = optimizer.update(g, s.opt_state, p)
    return u, s._replace(opt_state=opt_state, adv_state=adv_optimizer.init(p) if reset_state else adv_state)
