"""AMSGrad."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Clock, Decay, DType, Field, Hyper, NonNegative, Real, RealUpdates, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


class ScaleByAmsgradState(NamedTuple):
    """The running means of g and |g|^2, not debiased, and the largest that the second, debiased or not, has been."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True, lasting=True)]
    nu_max: Annotated[RealUpdates, Field(nonnegative=True)]


@transform(source="Reddi et al. 2018, arXiv:1904.09237, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByAmsgradState)
def scale_by_amsgrad(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0, mu_dtype: DType | None = None,
    bias_correction_mu: bool = True, bias_correction_nu: Literal[True, False, "after"] = True,
):  # fmt: skip
    """Divide the gradient's running mean by the largest running root mean square that it has had.

        mu     = b1 mu + (1 - b1) g
        nu     = b2 nu + (1 - b2) |g|^2
        nu_max = max(nu_max, nu^)                                   x^ = x / (1 - b^t)
        u      = mu^ / (sqrt(nu_max + eps_root) + eps)

    bias_correction_mu=False: mu for mu^. bias_correction_nu=False: nu for nu^; "after": max(nu_max, nu) is stored, and then debiased.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      bias_correction_mu: divide the mean by 1 - b1^t, since it begins at 0.
      bias_correction_nu: divide the mean of squares by 1 - b2^t: True before the maximum is taken, "after" behind it, False not at all.

    >>> tx = gx.chain(gx.scale_by_amsgrad(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu, nu_max: like p but real. Memory: 3 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Reddi et al. 2018, arXiv:1904.09237, Algorithm 2, which has no bias corrections.
    Differs  bias_correction_nu="after", what PyTorch and TensorFlow do, is new. Float32 averages for narrow parameters, so that a zero
             float16 gradient gives 0. nu is real.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, an unknown bias_correction_nu.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    m = c.debias(mu, b1) if bias_correction_mu else mu
    nu_max = jnp.maximum(s.nu_max, c.debias(nu, b2) if bias_correction_nu is True else nu)
    v = c.debias(nu_max, b2) if bias_correction_nu == "after" else nu_max
    return m / (jnp.sqrt(v + eps_root) + eps), s._replace(mu=mu, nu=nu, nu_max=nu_max)


@optimizer(
    source="Reddi et al. 2018, arXiv:1904.09237",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def amsgrad(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: Literal[True, False, "after"] = True,
):
    """AMSGrad: Adam whose divisor never shrinks.

        mu     = b1 mu + (1 - b1) g
        nu     = b2 nu + (1 - b2) |g|^2
        nu_max = max(nu_max, nu^)                                   x^ = x / (1 - b^t)
        u      = -learning_rate mu^ / (sqrt(nu_max + eps_root) + eps)

    bias_correction_nu="after" is PyTorch's and TensorFlow's AMSGrad: nu_max = max(nu_max, nu), and nu_max^ divides.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      bias_correction_mu: divide the mean by 1 - b1^t, since it begins at 0.
      bias_correction_nu: divide the mean of squares by 1 - b2^t: True before the maximum is taken, "after" behind it, False not at all.

    >>> tx = gx.amsgrad(1e-3, bias_correction_nu="after")  # as in PyTorch

    State    (ScaleByAmsgradState(count, mu, nu, nu_max), EmptyState()). Memory: 3 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element.
    Shapes   any, scalars and complex included.
    Source   Reddi et al. 2018, arXiv:1904.09237, Algorithm 2, which has no bias corrections.
    Differs  as `scale_by_amsgrad`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, an unknown bias_correction_nu.
    """
    direction = scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu)
    return chain(direction, scale_by_learning_rate(learning_rate))
