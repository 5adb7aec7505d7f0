"""An inner update that is made or left out, as a traced condition says."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp

from gradxform._numerics import round_to
from gradxform._types import Array, ArrayLike, OptState, Params, Updates
from gradxform.core._holes import flatten, is_array
from gradxform.core._paced import paced
from gradxform.core._placement import chosen, placed
from gradxform.core._transformation import GradientTransformation
from gradxform.core._whole import as_before


def update_if(
    wanted: ArrayLike,
    inner: GradientTransformation,
    g: Updates,
    s: OptState,
    p: Params | None = None,
    *,
    branch_free: bool = False,
    unchanged: bool = False,
) -> tuple[Updates, OptState]:
    """The update and the state of `inner` if `wanted`, else zeros, or the updates `unchanged`, and the state as it was.

        u, s' = inner(g, s, p)            if wanted
        u, s' = 0, s                      otherwise; unchanged=True: g, s

    For the kernel of a `wrapper`, whose inner transformation has the extra arguments with it. The inner update is executed only if wanted;
    `branch_free`: always, and then selected. Where `wanted` is known, as it is without jit, nothing is compiled for the choice. The new
    state has the dtypes of the old one, and an update the dtype that `inner` gives it.

    Args:
      wanted: whether to update, a flag that may be traced.
      inner: the transformation inside, as the kernel got it.
      g: the updates.
      s: the state of inner.
      p: the parameters, if inner needs them.
      branch_free: compute both and choose, without a branch.
      unchanged: give the updates as they came, rather than zeros, where not wanted.

    >>> class OnceState(typing.NamedTuple):
    ...     done: gx.kernels.Shared
    ...     inner_state: gx.kernels.Inner
    >>> @gx.kernels.wrapper(gx.kernels.layout(OnceState, done=gx.kernels.Field(first=lambda: False)))
    ... def once(g, s, p, c, inner: gx.GradientTransformation):
    ...     u, state = gx.kernels.update_if(~s.done, inner, g, s.inner_state, p)
    ...     return u, s._replace(done=s.done | True, inner_state=state)
    >>> tx = once(gx.adam(1e-3))

    Source   gradxform.
    """
    leaves, treedef = flatten(g)
    present = [i for i, x in enumerate(leaves) if is_array(x)]

    def made(s: OptState, rest: None) -> tuple[list[Array], OptState]:
        u, new = inner.update(g, s, p)
        us = treedef.flatten_up_to(u)
        return [jnp.asarray(us[i]) for i in present], placed(as_before(new, s), s)

    make = lambda s: paced(made, s, None)

    def leave(s: OptState) -> tuple[list[Array], OptState]:
        made = jax.eval_shape(make, s)[0]  # the dtypes; those of the gradients unless `inner` widens
        keep = lambda x, u: round_to(jnp.asarray(x), u.dtype) if unchanged else jnp.zeros_like(x, dtype=u.dtype)
        return [keep(leaves[i], u) for i, u in zip(present, made, strict=True)], s

    if branch_free:
        us, new = make(s)
        us = [jnp.where(wanted, u, jnp.zeros_like(u)) for u in us]
        s = chosen(wanted, new, s)
    elif isinstance(wanted, jax.core.Tracer):
        us, s = jax.lax.cond(wanted, make, leave, s)
    else:
        us, s = (make if wanted else leave)(s)
    for i, u in zip(present, us, strict=True):
        leaves[i] = u
    return treedef.unflatten(leaves), s
