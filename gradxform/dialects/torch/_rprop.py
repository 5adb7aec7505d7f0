"""`torch.optim.Rprop`."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Hyper, NonNegative, Range, Updates
from gradxform.core import chain, elementwise
from gradxform.dialects._dialect import Each
from gradxform.dialects.torch._torch import torch_optimizer
from gradxform.transforms import scale

Smaller = Annotated[Hyper, Range("(0, 1)")]
Larger = Annotated[Hyper, Range("(1, inf)")]


class RpropState(NamedTuple):
    """The last gradient, 0 where the step was taken back, and the step size of each element."""

    prev: Updates
    step_size: Updates


def _initial(step_size, lr):
    size = jnp.full_like(step_size.real, lr)
    return jax.lax.complex(size, size) if jnp.iscomplexobj(step_size) else size


def _resilient(g, prev, step_size, eta_minus, eta_plus, least, most):
    """The step, the gradient to remember and the step size, for real arrays."""
    agreement = jnp.sign(g) * jnp.sign(prev)
    factor = jnp.where(agreement > 0, eta_plus, jnp.where(agreement < 0, jnp.asarray(eta_minus), 1))
    step_size = jnp.clip(step_size * factor, least, most)
    g = jnp.where(agreement < 0, 0, g)
    return -jnp.sign(g) * step_size, g, step_size


@elementwise(RpropState, initial={"step_size": _initial})
def resilient_step(
    g, s, p, c,
    lr: NonNegative, eta_minus: Smaller, eta_plus: Larger, step_size_min: NonNegative, step_size_max: NonNegative,
):  # fmt: skip
    """Step by a size that grows while an element's gradient keeps its sign, and shrinks when the sign changes.

        step_size = clip(eta step_size, step_size_min, step_size_max)   eta_plus, eta_minus, 1 for g prev > 0, < 0, = 0
        g         = 0 where g prev < 0
        u         = -sign(g) step_size
        prev      = g

    The first step_size is lr.

    State    prev, step_size: like p, float32 or wider. Memory: 2 x params.
    Units    lr and the sizes have those of p; u does not depend on the size of g.
    Shapes   any, scalars included; real and imaginary parts are two parameters, as in PyTorch.
    Source   PyTorch 2.13, `torch.optim.Rprop`; Riedmiller & Braun 1993.
    Differs  no.
    Raises   HyperparameterError: an argument out of range.
    """
    sizes = eta_minus, eta_plus, step_size_min, step_size_max
    if jnp.iscomplexobj(g):
        real = _resilient(g.real, s.prev.real, s.step_size.real, *sizes)
        imag = _resilient(g.imag, s.prev.imag, s.step_size.imag, *sizes)
        u, prev, step_size = (jax.lax.complex(x, y) for x, y in zip(real, imag, strict=True))
    else:
        u, prev, step_size = _resilient(g, s.prev, s.step_size, *sizes)
    return u, s._replace(prev=prev, step_size=step_size)


@torch_optimizer()
def rprop(
    lr: NonNegative = 1e-2,
    etas: Annotated[Any, Each("(0, 1)", "(1, inf)")] = (0.5, 1.2),
    step_sizes: Annotated[Any, Each("[0, inf)", "[0, inf)")] = (1e-6, 50.0),
    *,
    maximize: bool = False,
):
    """`torch.optim.Rprop`: only the signs of gradients count, and whether they change.

        step_size = clip(eta step_size, step_sizes)     eta = etas[1] if g keeps its sign, etas[0] if not, 1 if one is 0
        g         = 0 where the sign changed            g of this update is the last of the next
        u         = -sign(g) step_size                  sign(g) step_size if maximize

    The first step_size is lr; a schedule counts only at its beginning. For full batches.

    State    a chain's; RpropState(prev, step_size). Memory: 2 x params.
    Units    lr has those of p.
    Shapes   any, scalars included; real and imaginary parts are two parameters, as in PyTorch.
    Source   PyTorch 2.13, `torch.optim.Rprop`; Riedmiller & Braun 1993.
    Differs  g prev cannot underflow: its sign is the product of two signs.
    Raises   HyperparameterError: lr < 0, etas not in (0, 1), (1, inf), step_sizes < 0.
    """
    (eta_minus, eta_plus), (least, most) = etas, step_sizes
    return chain(*([scale(-1.0)] if maximize else []), resilient_step(lr, eta_minus, eta_plus, least, most))
