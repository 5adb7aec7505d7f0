"""Adam and its relatives: AdamW, NAdam, NAdamW."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Clock, Decay, DType, Field, Hyper, MaskOrFn, NonNegative, Real, RealUpdates, Shared, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByAdamState(NamedTuple):
    """The running means of g and |g|^2, not debiased."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]


def _ones(b1, momentum_decay):
    return jnp.ones(jnp.broadcast_shapes(jnp.shape(b1), jnp.shape(momentum_decay)))


def _product(product, c, b1, momentum_decay):
    return product * momentum_at(c.t.astype(c.dtype), b1, momentum_decay)


class ScaleByNadamState(NamedTuple):
    """The running means of g and |g|^2, not debiased, and the product of the momentum coefficients so far."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    product: Annotated[Shared, Field(first=_ones, advance=_product)]


@transform(source="Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByAdamState)
def scale_by_adam(
    g, s, p, c, b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0, mu_dtype: DType | None = None,
    *, nesterov: bool = False, bias_correction: bool = True,
):  # fmt: skip
    """Divide the gradient's running mean by its running root mean square.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        m  = mu^                                x^ = x / (1 - b^t)
        u  = m / (sqrt(nu^ + eps_root) + eps)

    nesterov:  m = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
    bias_correction=False:  x^ = x, and all divisors of m are 1

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      bias_correction: divide the averages by 1 - b^t, since they begin at 0.

    >>> tx = gx.chain(gx.clip(1.0), gx.scale_by_adam(b2=0.95), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; nesterov: Dozat 2016.
    Differs  float32 averages for narrow parameters, so that a zero float16 gradient gives 0 and bfloat16 averages decay. nu is
             real. `bias_correction` is new.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    debias = c.debias if bias_correction else lambda x, b, ahead=0: x
    m = b1 * debias(mu, b1, ahead=1) + (1 - b1) * debias(g, b1) if nesterov else debias(mu, b1)
    u = m / (jnp.sqrt(debias(nu, b2) + eps_root) + eps)
    return u, s._replace(mu=mu, nu=nu)


def bias_corrected(c, x, b1, b2):
    """x sqrt(1 - b2^t) / (1 - b1^t): of mu / (sqrt(nu) + eps) it is Adam's direction, with eps added before nu is debiased."""
    return c.debias(x, b1) / jnp.sqrt(c.debias(1.0, b2))


def momentum_at(t, b1, momentum_decay):
    """The coefficient of the t-th update; it grows from b1 / 2 to b1."""
    return b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))


@transform(source="Dozat 2016, ICLR workshop; PyTorch", homogeneity=0, example={"eps": 1e-30})
@elementwise(
    ScaleByNadamState,
)
def scale_by_nadam(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0, momentum_decay: NonNegative = 4e-3,
    mu_dtype: DType | None = None,
):  # fmt: skip
    """Nesterov's look-ahead in Adam, with a momentum coefficient that grows.

        b       = b1 (1 - 0.96^(t momentum_decay) / 2)                      b+: the same at t + 1
        product = b product
        mu      = b1 mu + (1 - b1) g
        nu      = b2 nu + (1 - b2) |g|^2
        m       = b+ mu / (1 - b+ product) + (1 - b) g / (1 - product)
        u       = m / (sqrt(nu^ + eps_root) + eps)                          nu^ = nu / (1 - b2^t)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      momentum_decay: how fast the coefficient of the momentum grows to b1.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_nadam(), gx.scale_by_learning_rate(2e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real; product, one number for all leaves
             that advances once per update. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Dozat 2016, "Incorporating Nesterov momentum into Adam", Algorithm 2, as in PyTorch's NAdam.
    Differs  Optax has only a constant b1. MXNet multiplies the product once per parameter array and update.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, momentum_decay < 0.
    """
    t = c.t.astype(c.dtype)
    now, ahead = momentum_at(t, b1, momentum_decay), momentum_at(t + 1, b1, momentum_decay)
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    m = ahead * mu / (1 - ahead * c.product) + (1 - now) * g / (1 - c.product)
    u = m / (jnp.sqrt(c.debias(nu, b2) + eps_root) + eps)
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Kingma & Ba 2015, arXiv:1412.6980",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def adam(
    learning_rate: Real[Hyper], b1: Average[Hyper] = 0.9, b2: Decay[Hyper] = 0.999, eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0, mu_dtype: DType | None = None, *, nesterov: bool = False,
):  # fmt: skip
    """Adam: momentum, divided by the running root mean square of the gradient.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = -learning_rate mu^ / (sqrt(nu^ + eps_root) + eps)              x^ = x / (1 - b^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.adam(1e-3, b2=0.99)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1.
    Differs  as `scale_by_adam`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    return chain(scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Loshchilov & Hutter 2019, arXiv:1711.05101",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("adamw(0.1, weight_decay=0.0)", "adam(0.1)")],
)
def adamw(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 1e-4,
    mask: MaskOrFn = None,
    *,
    nesterov: bool = False,
):
    """AdamW: Adam with weight decay that does not pass through the preconditioner.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = -learning_rate (mu^ / (sqrt(nu^ + eps_root) + eps) + weight_decay p)              x^ = x / (1 - b^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.adamw(gx.cosine_decay_schedule(3e-4, 1000), weight_decay=0.1, mask={"b": False, "default": True})
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2; the decay is multiplied by the rate, as in PyTorch.
    Differs  as `scale_by_adam`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer(
    source="Dozat 2016, ICLR workshop",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("nadam(0.1)", "adam(0.1, nesterov=True)")],
)
def nadam(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    momentum_decay: NonNegative[Hyper] | None = None,
):
    """NAdam: Adam with Nesterov's look-ahead in the numerator.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        m  = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
        u  = -learning_rate m / (sqrt(nu^ + eps_root) + eps)                nu^ = nu / (1 - b2^t)

    With momentum_decay (PyTorch, MXNet 2: 0.004) the coefficient of m grows from b1 / 2 to b1: see `scale_by_nadam`.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      momentum_decay: how fast the coefficient of the momentum grows to b1; None: it is b1 from the start.

    >>> tx = gx.nadam(2e-3, momentum_decay=0.004)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()); with momentum_decay ScaleByNadamState(count, mu, nu, product).
             Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Dozat 2016, "Incorporating Nesterov momentum into Adam", with a constant b1 and no further factor b2.
    Differs  as `scale_by_adam`; `momentum_decay` is new.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, momentum_decay < 0.
    """
    if nesterov and momentum_decay is not None:
        direction = scale_by_nadam(b1, b2, eps, eps_root, momentum_decay, mu_dtype)
        return chain(direction, scale_by_learning_rate(learning_rate))
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@optimizer(
    source="Dozat 2016; Loshchilov & Hutter 2019",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("nadamw(0.1, weight_decay=0.0)", "nadam(0.1)")],
)
def nadamw(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 1e-4,
    mask: MaskOrFn = None,
    *,
    nesterov: bool = True,
):
    """NAdamW: NAdam with decoupled weight decay.

        m = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)                mu, nu as in `nadam`
        u = -learning_rate (m / (sqrt(nu^ + eps_root) + eps) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.nadamw(1e-3, weight_decay=0.01)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Dozat 2016; Loshchilov & Hutter 2019, arXiv:1711.05101.
    Differs  as `scale_by_adam`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)
