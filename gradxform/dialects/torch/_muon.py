"""`torch.optim.Muon`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import abs_sq
from gradxform._types import Count, Decay, Field, Hyper, NonNegative, Real, Updates
from gradxform.core import per_leaf
from gradxform.dialects.torch._torch import minimizer, torch_optimizer
from gradxform.linear_algebra._newton_schulz import adjoint
from gradxform.optimizers import MuonDimensionNumbers, scale_by_shape
from gradxform.optimizers._matrices import ShapeScale

ADJUSTMENTS: dict[str | None, ShapeScale] = {
    None: "original",
    "original": "original",
    "match_rms_adamw": "match_rms_adamw",
    "spectral_unclamped": "spectral",
}
ROWS_ARE_OUTPUTS = MuonDimensionNumbers(reduction_axis=1, output_axis=0)


class OrthogonalState(NamedTuple):
    """The running mean of g."""

    mu: Annotated[Updates, Field(mean="momentum")]


def _b(x):
    """Round to bfloat16, in float32; of complex numbers both parts."""
    if jnp.iscomplexobj(x):
        return jax.lax.complex(_b(x.real), _b(x.imag))
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def _product(x, y):
    """A product of bfloat16 matrices, summed in float32, not rounded."""
    if jnp.iscomplexobj(x):
        return x @ y
    return jnp.matmul(x.astype(jnp.bfloat16), y.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def _newton_schulz(m, coefficients, steps, eps):
    a, b, c = (jnp.asarray(x, jnp.float32) for x in coefficients)
    x = _b(m.astype(jnp.complex64 if jnp.iscomplexobj(m) else jnp.float32))
    x = adjoint(x) if m.shape[0] > m.shape[1] else x
    x = _b(x / jnp.maximum(_b(jnp.sqrt(jnp.sum(abs_sq(x)))), _b(jnp.asarray(eps, jnp.float32))))
    for _ in range(steps):
        gram = _b(_product(x, adjoint(x)))
        x = _b(a * x + _product(_b(b * gram + c * _product(gram, gram)), x))
    return adjoint(x) if m.shape[0] > m.shape[1] else x


@per_leaf(OrthogonalState, stack=True)
def orthogonal_momentum(
    g, s, p, c,
    momentum: Decay = 0.95, nesterov: bool = True, a: Real = 3.4445, b: Real = -4.775, c_: Real = 2.0315,
    eps: NonNegative = 1e-7, ns_steps: Count = 5,
):  # fmt: skip
    """The gradient's running mean, orthogonalized in bfloat16: see `muon`."""
    if g.ndim != 2:
        raise StructureError(
            f"torch.muon: expected a matrix, but the leaf has shape {g.shape}. "
            "Give it to another optimizer with `gradxform.partition`."
        )
    mu = s.mu + (1 - momentum) * (g - s.mu)
    m = mu - (mu - g) * (1 - momentum) if nesterov else mu
    return _newton_schulz(m, (a, b, c_), ns_steps, eps).astype(g.dtype), s._replace(mu=mu)


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    if arguments["adjust_lr_fn"] not in ADJUSTMENTS:
        raise HyperparameterError(
            f"{owner}: `adjust_lr_fn` must be one of {', '.join(map(repr, ADJUSTMENTS))}, but got {arguments['adjust_lr_fn']!r}."
        )


@torch_optimizer(core="muon", ndim=2, check=_check)
def muon(
    lr: NonNegative[Hyper] = 1e-3,
    weight_decay: NonNegative[Hyper] = 0.1,
    momentum: Decay[Hyper] = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[Real[Hyper], Real[Hyper], Real[Hyper]] = (3.4445, -4.775, 2.0315),
    eps: NonNegative[Hyper] = 1e-7,
    ns_steps: Count = 5,
    adjust_lr_fn: Literal["original", "match_rms_adamw", "spectral_unclamped"] | None = None,
):
    """`torch.optim.Muon`: orthogonalized momentum for matrices, iterated in bfloat16, with decoupled weight decay.

        mu = momentum mu + (1 - momentum) g
        m  = momentum mu + (1 - momentum) g             nesterov=False: m = mu
        x  = m / max(||m||, eps)
        x  = a x + (b A + c A A) x                      A = x x*; ns_steps times; (a, b, c) = ns_coefficients
        u  = -lr (r x + weight_decay p)                 r = sqrt(max(1, rows / columns)); 0.2 sqrt(max(rows, columns)) if
                                                        adjust_lr_fn="match_rms_adamw", sqrt(rows / columns) if
                                                        "spectral_unclamped"

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      weight_decay: decoupled decay: the part of the parameters, times lr, that is taken away at each update.
      momentum: how much of the running mean of gradients stays at each update.
      nesterov: look ahead by one step of the momentum.
      ns_coefficients: the three coefficients of the Newton-Schulz polynomial.
      eps: the least norm by which the matrix is divided first.
      ns_steps: the number of Newton-Schulz steps.
      adjust_lr_fn: how the rate depends on the shape: "original" or None, "match_rms_adamw", "spectral_unclamped".

    >>> from gradxform.dialects import torch
    >>> tx = torch.muon(lr=0.02)
    >>> updates, state = tx.update(grads["w"], tx.init(params["w"]), params["w"])

    State    a chain's; OrthogonalState(mu). Memory: 1 x params.
    Units    lr has those of a spectral norm.
    Shapes   matrices (outputs, inputs), as in `torch.nn.Linear`: r takes the first axis for the outputs.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   PyTorch 2.13, `torch.optim.Muon`; spectral_unclamped: 2.14; Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
    Differs  momentum < 1. Every product is rounded to bfloat16 as there: `gradxform.muon` iterates in float32. Complex matrices are
             allowed, which PyTorch refuses.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: an argument out of range, an unknown adjust_lr_fn.
             MissingArgumentError: no params.
    """
    a, b, c = ns_coefficients
    return minimizer(
        orthogonal_momentum(momentum, nesterov, a, b, c, eps, ns_steps),
        scale_by_shape(ROWS_ARE_OUTPUTS, shape_scale=ADJUSTMENTS[adjust_lr_fn]),
        lr=lr,
        weight_decay=weight_decay,
        decoupled=True,
    )
