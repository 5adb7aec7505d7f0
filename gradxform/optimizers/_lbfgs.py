"""L-BFGS."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._numerics import sum_sq
from gradxform._types import Array, Axes, Clock, Count, Field, Hyper, Real, Shared, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain, per_tree
from gradxform.core._placement import apart, each_in_turn, is_on_host, on_device, placed, waits
from gradxform.linesearch import scale_by_zoom_linesearch
from gradxform.linesearch._example import bowl
from gradxform.registry import optimizer, transform
from gradxform.transforms import identity, scale, scale_by_learning_rate


def _ring(zero, memory_size):
    """Room for as many arrays like a leaf, laid out over devices like it."""
    return jnp.broadcast_to(zero, (memory_size, *zero.shape))


Far = Annotated[Updates, Field(far=True)]
Ring = Annotated[Far, Field(first=_ring, axes=lambda shape: Axes(None, *range(len(shape))), constant=True)]
"""Empty as long as no pair has positive curvature. On the host it stays there: a row at a time is fetched."""


class ScaleByLBFGSState(NamedTuple):
    """The last parameters and gradients, and rings of the last differences s of parameters, y of gradients, and of 1 / <s, y>."""

    count: Clock
    params: Far
    updates: Far
    diff_params_memory: Ring
    diff_updates_memory: Ring
    weights_memory: Annotated[Shared, Field(first=lambda memory_size: jnp.zeros(memory_size), constant=True)]


def _dot(xs: Sequence[Array], ys: Sequence[Array]) -> Array:
    """sum Re(conj(x) y)"""
    return sum((jnp.sum((x.conj() * y).real) for x, y in zip(xs, ys, strict=True)), jnp.zeros(()))


def _row(ring: Array, i: Array | int) -> Array:
    return on_device(jax.lax.dynamic_index_in_dim(ring, i, keepdims=False))


def _along(rings: Sequence[Array], i: Array, ys: Sequence[Array]) -> Array:
    """sum Re(conj(x) y) with the rows i as x."""
    return sum(each_in_turn(lambda y, ring: _dot([_row(ring, i)], [y]), ys, rings), jnp.zeros(()))


def _plus(xs: Sequence[Array], a: Array, rings: Sequence[Array], i: Array) -> list[Array]:
    """x + a y with the rows i as y, in the dtype of x."""
    return each_in_turn(lambda x, ring: (x + a * _row(ring, i)).astype(x.dtype), xs, rings)


Row = Callable[[], Array]


def _stored(rings: Sequence[Array], pair: Sequence[Array], newest: Array) -> list[Array]:
    """The rings with the pair, and 1 / <s, y>, in the newest place, which was that of the oldest."""
    return [ring.at[newest].set(x.astype(ring.dtype)) for ring, x in zip(rings, pair, strict=True)]


def _kept(rings: Sequence[Array], pair: Sequence[Array], newest: Array) -> list[Array]:
    """The rings with what they hold one place further, since that is where the newest is looked for."""
    return [jnp.roll(ring, 1, axis=0) for ring in rings]


@jax.jit
def _row_by_row(ring: Array, pair: Array, newest: Array, curved: Array) -> Array:
    """What `_stored` makes of a ring on the host, or `_kept` if not `curved`: each row goes to the place of the next."""
    put = lambda x, i, ring: jax.lax.dynamic_update_index_in_dim(ring, placed(x, ring), i, 0)

    def further(k: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        ring, x = at
        i = (k - 1) % len(ring)
        old = _row(ring, i)
        x, old = jax.lax.optimization_barrier(
            (jnp.where(k == 0, old, x), old)
        )  # read before it is written, so that no ring is copied
        return put(x, i, ring), old

    ring, x = jax.lax.fori_loop(0, jnp.where(curved, 0, len(ring) + 1), further, (ring, pair.astype(ring.dtype)))
    return put(x, jnp.where(curved, newest, 0), ring)


def _products(dp: Row, dg: Row) -> tuple[Array, Array, Array]:
    """<s, y>, <s, s> and <y, y> of the last differences at one leaf."""
    s, y = dp(), dg()
    return _dot([s], [y]), _dot([s], [s]), sum_sq(y)


def _renewed(rings: Sequence[Array], pair: Sequence[Row], newest: Array, curved: Array) -> list[Array]:
    """The rings with the pair, if it is `curved`; on the host one after another."""
    near = [i for i, x in enumerate(rings) if not is_on_host(x)]
    far = [i for i, x in enumerate(rings) if is_on_host(x)]
    found = jax.lax.cond(curved, _stored, _kept, [rings[i] for i in near], [pair[i]() for i in near], newest)
    row_by_row = lambda ring, row: _row_by_row(ring, row(), newest, curved)
    found += each_in_turn(row_by_row, [rings[i] for i in far], [pair[i] for i in far])
    return [found[k] for k in np.argsort([*near, *far])]


@jax.jit
def _two_loop(g: Sequence[Array], s: Sequence[Array], y: Sequence[Array], rho: Array, gamma: Array, oldest: Array) -> list[Array]:
    """Algorithm 7.4: the product of the inverse Hessian that the rings stand for, and g."""
    order = (oldest + jnp.arange(rho.shape[0], dtype=oldest.dtype)) % rho.shape[0]

    def back(q, i):
        alpha = (rho[i] * _along(s, i, q)).astype(rho.dtype)
        return _plus(q, -alpha, y, i), alpha

    def forth(r, i_alpha):
        i, alpha = i_alpha
        beta = rho[i] * _along(y, i, r)
        return _plus(r, alpha - beta, s, i), None

    q, alphas = jax.lax.scan(back, list(g), order, reverse=True)
    r = [(gamma * x).astype(x.dtype) for x in q]
    return jax.lax.scan(forth, r, (order, alphas))[0]


@transform(source="Nocedal & Wright 1999, Algorithm 7.4; Liu & Nocedal 1989", homogeneity=None)
@per_tree(
    ScaleByLBFGSState,
    needs=("params",),
)
def scale_by_lbfgs(g, s, p, c, memory_size: Count = 10, scale_init_precond: bool = True):
    """Multiply the gradient by the inverse Hessian that the last differences of parameters and gradients tell of.

        s_k = p - p_last;  y_k = g - g_last;  rho_k = 1 / <s_k, y_k>            from the second update on
        gamma = <s_k, y_k> / <y_k, y_k>                                         min(1, 1 / ||g||) at first; 1 if not scale_init_precond
        q = g;      alpha_i = rho_i <s_i, q>;  q = q - alpha_i y_i              i = k, ..., k - memory_size + 1
        u = gamma q;  beta = rho_i <y_i, u>;   u = u + (alpha_i - beta) s_i     i = k - memory_size + 1, ..., k

    The inner products are over all leaves. A pair with <s, y> <= eps |s| |y|, eps the precision of the dtype, or not a number, is not
    stored: it would make H indefinite, and u could climb. On a convex objective there is none.

    Args:
      memory_size: how many differences of parameters and gradients are kept.
      scale_init_precond: begin with the curvature of the last difference, rather than with 1.

    >>> tx = gx.chain(gx.scale_by_lbfgs(memory_size=5), gx.scale_by_learning_rate(0.1))

    State    ScaleByLBFGSState(count, params, updates, diff_params_memory, diff_updates_memory, weights_memory). The rings have a new
             first axis of length memory_size. All float32 or wider. Memory: (2 memory_size + 2) x params.
    Units    those of p: u is Newton's step. The first u has those of g, or norm 1 if g is longer than that.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Nocedal & Wright 1999, Algorithm 7.4; Liu & Nocedal 1989, doi:10.1007/BF01589116.
    Differs  Optax stores pairs of negative curvature too, and then goes to a maximum. It sets gamma = 0 where the parameters have not
             moved but the gradient has changed, and then u is 0 for ever; here gamma is that of the last pair, and 1 if there is none.
             Its `init` returns one buffer twice.
    Raises   MissingArgumentError: no params. HyperparameterError: memory_size < 1.
    """
    oldest, newest = s.count % memory_size, (s.count - 1) % memory_size
    started = s.count > 0
    change = lambda x, before: lambda: jnp.where(started, x - on_device(before), 0)
    dp, dg = ([change(x, y) for x, y in zip(xs, ys, strict=True)] for xs, ys in ((p, s.params), (g, s.updates)))
    far = waits([*s.params, *s.updates])  # then it is fetched for these sums, and again to be stored
    sums = [apart(functools.partial(_products, *one)) if far else _products(*one) for one in zip(dp, dg, strict=True)]
    sy, ss, yy = (sum(xs, jnp.zeros(())) for xs in zip(*sums, strict=True)) if sums else [jnp.zeros(())] * 3
    info = jnp.finfo(sy.dtype)  # of a number below `tiny` the reciprocal overflows
    curved = (sy > info.tiny) & (sy > info.eps * jnp.sqrt(ss) * jnp.sqrt(yy))
    pair = [*dp, *dg, lambda: 1 / jnp.where(curved, sy, 1)]
    *rings, rho = _renewed([*s.diff_params_memory, *s.diff_updates_memory, s.weights_memory], pair, newest, curved)
    rings = [rings[: len(dp)], rings[len(dp) :]]
    gamma = jnp.ones(())
    if scale_init_precond:
        last_yy = jnp.where(curved, yy, sum(each_in_turn(lambda y: sum_sq(_row(y, newest)), rings[1]), jnp.zeros(())))
        last_sy = jnp.where(curved, sy, 1 / jnp.where(rho[newest] > 0, rho[newest], 1))
        known = (rho[newest] > 0) & (last_yy > 0)
        first = 1 / jnp.maximum(jnp.sqrt(_dot(g, g)), 1)
        gamma = jnp.where(started, jnp.where(known, last_sy / jnp.where(known, last_yy, 1), 1), first)
    u = _two_loop(g, *rings, rho, gamma, oldest)
    return u, s._replace(params=p, updates=g, diff_params_memory=rings[0], diff_updates_memory=rings[1], weights_memory=rho)


@optimizer(
    source="Liu & Nocedal 1989, doi:10.1007/BF01589116; Nocedal & Wright 1999, Algorithm 7.5",
    needs=bowl(1),
    rates={"default": 1.0},
)
def lbfgs(
    learning_rate: Real[Hyper] | None = None,
    memory_size: Count = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = scale_by_zoom_linesearch(20, initial_guess_strategy="one"),  # noqa: B008
) -> GradientTransformationExtraArgs:
    """L-BFGS: quasi-Newton steps from the last differences of parameters and gradients, their length by a line search.

        u = -H g                            H as in `scale_by_lbfgs`; with a learning rate u = -learning_rate H g
        u = a u                             a as in `scale_by_zoom_linesearch`, by default

    `update(g, state, p, value=..., grad=g, value_fn=...)` evaluates `value_fn` along u; `value_and_grad_from_state(value_fn)` takes the
    next value and gradient from the state. It is meant for objectives without noise. With linesearch=None the extra arguments are not
    needed, and a learning rate below 1 is wise.

    Args:
      learning_rate: a factor of the direction, in the place of a line search; None: no factor.
      memory_size: how many differences of parameters and gradients are kept.
      scale_init_precond: begin with the curvature of the last difference, rather than with 1.
      linesearch: the transformation that finds the length of a step; None: none.

    >>> f = lambda p: jnp.sum(p["w"] ** 2)
    >>> tx, gradient = gx.lbfgs(), jax.grad(f)(params)
    >>> updates, state = tx.update(gradient, tx.init(params), params, value=f(params), grad=gradient, value_fn=f)

    State    (ScaleByLBFGSState, EmptyState(), ScaleByZoomLinesearchState). Memory: (2 memory_size + 3) x params.
    Units    those of p.
    Shapes   any, scalars and complex included; complex gradients are the conjugates of `jax.grad`.
    Sharded  inside `shard_map` a device searches along its own parts, by what `value_fn` returns for these, and takes a step of its
             own; under `jit` there is one search.
    Source   Liu & Nocedal 1989; Nocedal & Wright 1999, Algorithm 7.5.
    Differs  as `scale_by_lbfgs` and `scale_by_zoom_linesearch`.
    Raises   MissingArgumentError: no params, value, grad or value_fn. HyperparameterError: learning_rate is not a finite number.
    """
    return searched(scale_by_lbfgs(memory_size, scale_init_precond), learning_rate, linesearch)


def searched(
    direction: GradientTransformation, learning_rate: Real[Hyper] | None, linesearch: GradientTransformation | None
) -> GradientTransformationExtraArgs:
    """Steps against a direction, their length by a learning rate, a line search, both or neither."""
    scaling = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return chain(direction, scaling, identity() if linesearch is None else linesearch)
