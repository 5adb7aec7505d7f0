"""Dense quasi-Newton methods that scale themselves: SSBFGS and SSBroyden."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import parts, promote, round_to, widen
from gradxform._types import Array, Clock, Field, Hyper, Params, Real, Shared
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, wrapper
from gradxform.core._holes import as_array, dtype_of, flatten, is_array
from gradxform.linear_algebra._products import dot, matmul
from gradxform.linesearch import scale_by_zoom_linesearch
from gradxform.linesearch._example import bowl
from gradxform.optimizers._lbfgs import searched
from gradxform.registry import optimizer, transform

Method = Literal["ssbfgs", "ssbroyden"]
MOST = 20_000  # elements: of which the matrix has 1.6 GB in float32


def _flat(xs: Sequence[Array]) -> Array:
    """Arrays as one real vector, float32 or wider, complex ones by their parts."""
    pieces = [part.astype(widen(part.dtype)).ravel() for x in xs for part in parts(x)]
    dtype = promote(*(x.dtype for x in pieces)) if pieces else jnp.dtype(jnp.float32)
    return jnp.concatenate([jnp.zeros(0, dtype), *(x.astype(dtype) for x in pieces)])


def _unflat(v: Array, like: Sequence[Array]) -> list[Array]:
    """The inverse, in the dtypes of `like`."""
    sizes = [len(parts(x)) * x.size for x in like]
    pieces = [
        jnp.split(part, len(parts(x)))
        for x, part in zip(like, jnp.split(v, list(itertools.accumulate(sizes))[:-1])[: len(like)], strict=True)
    ]
    whole = lambda own: own[0] if len(own) == 1 else jax.lax.complex(*own)
    return [round_to(whole(own), x.dtype).reshape(x.shape) for x, own in zip(like, pieces, strict=True)]


def _zeros(params: Params) -> Array:
    return _flat([jnp.zeros_like(as_array(x)) for x in flatten(params)[0] if is_array(x)])


def _identity(params: Params) -> Array:
    v = _zeros(params)
    if len(v) > MOST:
        raise StructureError(
            f"scale_by_ss_quasi_newton: the parameters have {len(v):,} elements, of which a dense inverse Hessian has {len(v) ** 2:,}. "
            f"At most {MOST:,} elements are taken; `lbfgs` needs 20 numbers for each."
        )
    return jnp.eye(len(v), dtype=v.dtype) + v[:, None]  # laid out over devices as the vector


Vector = Annotated[Shared, Field(first=_zeros, constant=True)]


class ScaleBySSQuasiNewtonState(NamedTuple):
    """The last parameters and gradients as vectors, the inverse Hessian, and its product with that gradient."""

    count: Clock
    flat_params: Vector
    flat_updates: Vector
    hessian_inv: Annotated[Shared, Field(first=_identity, constant=True)]
    flat_prec_grad: Vector


def _safe(x: Array) -> Array:
    """x to divide by, where it is positive."""
    return jnp.where(x > 0, x, 1)


def _scales(method: Method, b: Array, h: Array, n: int) -> tuple[Array, Array]:
    """tau and phi."""
    tau = jnp.minimum(1, 1 / b)
    if method == "ssbfgs":
        return tau, jnp.ones_like(tau)
    k = h * b - 1  # not negative, but for rounding
    curved = k > 0
    r = jnp.minimum(1, h * (1 - jnp.where(curved, jnp.sqrt(jnp.maximum(k, 0) / (k + 1)), 0)))
    least = jnp.where(curved, (r - 1) / _safe(k), -jnp.inf)
    theta = jnp.maximum(least, jnp.minimum(1 / r, (1 - b) / b))
    sigma = 1 + k * theta
    q = sigma ** (-1 / max(n - 1, 1))
    up = theta > 0
    tau = jnp.where(up, tau * jnp.minimum(q, 1 / _safe(theta)), jnp.minimum(tau * q, sigma))
    return tau, (1 - theta) / (1 + k * theta)


def _renewed(method: Method, H: Array, s: Array, y: Array, b: Array) -> Array:
    """The matrix after a step s along which the gradient has changed by y."""
    Hy = matmul(H, y)
    ys, yHy = dot(y, s), dot(y, Hy)
    v = jnp.sqrt(yHy) * (s / ys - Hy / yHy)
    tau, phi = _scales(method, b, yHy / ys, len(s))
    return (H - jnp.outer(Hy, Hy) / yHy + phi * jnp.outer(v, v)) / tau + jnp.outer(s, s) / ys


@transform(source="Urban, Stefanou & Pons 2025, doi:10.1016/j.jcp.2024.113656", homogeneity=None)
@wrapper(ScaleBySSQuasiNewtonState, needs=("params",))
def scale_by_ss_quasi_newton(g, s, p, c, method: Method = "ssbfgs", scale_init_precond: bool = True):
    """Multiply the gradient by a dense inverse Hessian, which is scaled before it learns from the last step.

        s = p - p_last;  y = g - g_last                 all leaves as one vector, of n real elements
        b = s' H^-1 s / (y' s);  h = y' H y / (y' s)    s' H^-1 s = -a s' g_last: the last step was s = -a H g_last
        v = sqrt(y' H y) (s / (y' s) - H y / (y' H y))
        H = (H - H y y' H / (y' H y) + phi v v') / tau + s s' / (y' s)
        u = H g                                         H = I at first, times min(1, 1 / ||g||) if scale_init_precond

        ssbfgs      phi = 1,  tau = min(1, 1 / b)
        ssbroyden   k = h b - 1;  r = min(1, h (1 - sqrt(k / (k + 1))));  theta = max((r - 1) / k, min(1 / r, (1 - b) / b))
                    sigma = 1 + k theta;  q = sigma^(-1 / (n - 1));  phi = (1 - theta) / (1 + k theta)
                    tau = min(1, 1 / b) min(q, 1 / theta) if theta > 0, else min(q min(1, 1 / b), sigma)

    Where y' s <= 0, or the new H is not finite, it stays as it was.

    Args:
      method: "ssbfgs" or "ssbroyden".
      scale_init_precond: begin with min(1, 1 / ||g||) I, rather than with I.

    >>> tx = gx.chain(gx.scale_by_ss_quasi_newton("ssbroyden"), gx.scale_by_learning_rate(0.1))

    State    ScaleBySSQuasiNewtonState(count, flat_params, flat_updates, hessian_inv, flat_prec_grad): vectors of n, a matrix n x n. All
             float32 or wider. Memory: n + 3 x params.
    Cost     4 n^2 FLOPs for the products with H, and 8 n^2 for what is added to it.
    Units    those of p: u is Newton's step. The first u has those of g, or norm 1 if g is longer than that.
    Shapes   any, scalars and complex included, of at most 20,000 real elements together.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Urban, Stefanou & Pons 2025, J. Comput. Phys. 523, 113656, doi:10.1016/j.jcp.2024.113656; Al-Baali 1998.
    Differs  Optax has none. It is for float64: in float32 H is lost where the steps become small.
    Raises   MissingArgumentError: no params. HyperparameterError: an unknown method. StructureError: more than 20,000 elements.
    """
    H, started = s.hessian_inv, s.count > 0
    trees = c.trees
    ps, gs = trees.like("`params`", p), trees.leaves
    arrays = [i for i, x in enumerate(ps) if is_array(x)]
    like = [as_array(ps[i]) for i in arrays]
    x, last = _flat(like), _unflat(s.flat_updates, like)
    g_ = _flat([as_array(gs[i]) if is_array(gs[i]) else before for i, before in zip(arrays, last, strict=True)]).astype(H.dtype)
    dx, dg = jnp.where(started, x.astype(H.dtype) - s.flat_params, 0), jnp.where(started, g_ - s.flat_updates, 0)
    # H^-1 s = -a g_last, and a is found from s = -a H g_last
    a = -dot(dx, s.flat_prec_grad) / _safe(dot(s.flat_prec_grad, s.flat_prec_grad))
    ys, sBs = dot(dg, dx), -a * dot(dx, s.flat_updates)
    curved = started & (ys > 0) & (sBs > 0)
    only = lambda v: jnp.where(curved, v, 1)  # nothing is divided by 0 where nothing is learnt
    new = _renewed(method, H, only(dx), only(dg), only(sBs) / only(ys))
    H = jnp.where(curved & jnp.all(jnp.isfinite(new)), new, H)
    if scale_init_precond:
        H = jnp.where(started, H, H / jnp.maximum(jnp.linalg.norm(g_), 1))
    u = matmul(H, g_)
    found = dict(zip(arrays, _unflat(u, like), strict=True))
    us = [round_to(found[i], dtype_of(x)) if i in found and is_array(x) else x for i, x in enumerate(gs)]
    s = s._replace(flat_params=x.astype(H.dtype), flat_updates=g_, hessian_inv=H, flat_prec_grad=u)
    return trees.together(us), s


@optimizer(
    source="Urban, Stefanou & Pons 2025, doi:10.1016/j.jcp.2024.113656; Al-Baali 1998", needs=bowl(1), rates={"default": 1.0}
)
def ssbfgs(
    learning_rate: Real[Hyper] | None = None,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = scale_by_zoom_linesearch(20, initial_guess_strategy="one"),  # noqa: B008
) -> GradientTransformationExtraArgs:
    """Self-scaled BFGS: dense quasi-Newton steps, their length by a line search.

        u = -H g                            H as in `scale_by_ss_quasi_newton("ssbfgs")`; with a learning rate u = -learning_rate H g
        u = a u                             a as in `scale_by_zoom_linesearch`, by default

    What physics-informed networks of some thousand parameters are trained with, in float64. `update` is called as that of `lbfgs`.

    Args:
      learning_rate: a factor of the direction, in the place of a line search; None: no factor.
      scale_init_precond: begin with min(1, 1 / ||g||) I, rather than with I.
      linesearch: the transformation that finds the length of a step; None: none.

    >>> f = lambda p: jnp.sum(p["w"] ** 2)
    >>> tx, gradient = gx.ssbfgs(), jax.grad(f)(params)
    >>> updates, state = tx.update(gradient, tx.init(params), params, value=f(params), grad=gradient, value_fn=f)

    State    (ScaleBySSQuasiNewtonState, EmptyState(), ScaleByZoomLinesearchState). Memory: n + 4 x params, n their number of elements.
    Cost     12 n^2 FLOPs a step, and what the search evaluates.
    Units    those of p.
    Shapes   any, scalars and complex included, of at most 20,000 real elements together.
    Sharded  inside `shard_map` a device searches along its own parts, by what `value_fn` returns for these, and takes a step of its
             own; under `jit` there is one search.
    Source   Urban, Stefanou & Pons 2025, J. Comput. Phys. 523, 113656, doi:10.1016/j.jcp.2024.113656; Al-Baali 1998.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params, value, grad or value_fn. HyperparameterError: learning_rate is not a finite number.
    """
    return searched(scale_by_ss_quasi_newton("ssbfgs", scale_init_precond), learning_rate, linesearch)


@optimizer(
    source="Urban, Stefanou & Pons 2025, doi:10.1016/j.jcp.2024.113656; Al-Baali 1998", needs=bowl(1), rates={"default": 1.0}
)
def ssbroyden(
    learning_rate: Real[Hyper] | None = None,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = scale_by_zoom_linesearch(20, initial_guess_strategy="one"),  # noqa: B008
) -> GradientTransformationExtraArgs:
    """Self-scaled Broyden: dense quasi-Newton steps from a family that has BFGS in it, their length by a line search.

        u = -H g                            H as in `scale_by_ss_quasi_newton("ssbroyden")`; with a learning rate u = -learning_rate H g
        u = a u                             a as in `scale_by_zoom_linesearch`, by default

    What physics-informed networks of some thousand parameters are trained with, in float64. `update` is called as that of `lbfgs`.

    Args:
      learning_rate: a factor of the direction, in the place of a line search; None: no factor.
      scale_init_precond: begin with min(1, 1 / ||g||) I, rather than with I.
      linesearch: the transformation that finds the length of a step; None: none.

    >>> f = lambda p: jnp.sum(p["w"] ** 2)
    >>> tx, gradient = gx.ssbroyden(), jax.grad(f)(params)
    >>> updates, state = tx.update(gradient, tx.init(params), params, value=f(params), grad=gradient, value_fn=f)

    State    (ScaleBySSQuasiNewtonState, EmptyState(), ScaleByZoomLinesearchState). Memory: n + 4 x params, n their number of elements.
    Cost     12 n^2 FLOPs a step, and what the search evaluates.
    Units    those of p.
    Shapes   any, scalars and complex included, of at most 20,000 real elements together.
    Sharded  inside `shard_map` a device searches along its own parts, by what `value_fn` returns for these, and takes a step of its
             own; under `jit` there is one search.
    Source   Urban, Stefanou & Pons 2025, J. Comput. Phys. 523, 113656, doi:10.1016/j.jcp.2024.113656; Al-Baali 1998.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params, value, grad or value_fn. HyperparameterError: learning_rate is not a finite number.
    """
    return searched(scale_by_ss_quasi_newton("ssbroyden", scale_init_precond), learning_rate, linesearch)
