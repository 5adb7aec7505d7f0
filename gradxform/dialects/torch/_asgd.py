"""`torch.optim.ASGD`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import Clock, Field, Hyper, NonNegative, Real, Shared, Updates
from gradxform.core import chain, elementwise
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.torch._torch import torch_optimizer
from gradxform.transforms import add_decayed_weights, scale


def _start(lr, lambd, alpha):
    return jnp.broadcast_to(lr, jnp.broadcast_shapes(*map(jnp.shape, (lr, lambd, alpha)))) * 1.0


def _advance(eta, c, lr, lambd, alpha):
    return lr / (1 + lambd * lr * c.t.astype(c.dtype)) ** alpha


class AsgdState(NamedTuple):
    """The step size of the next update, and the average of the parameters."""

    count: Clock
    eta: Annotated[Shared, Field(first=_start, advance=_advance)]
    ax: Updates


@elementwise(AsgdState, needs=("params",))
def averaged_descent(
    g, s, p, c, lr: NonNegative = 1e-2, lambd: NonNegative = 1e-4, alpha: Real = 0.75, t0: Real = 1e6
):  # fmt: skip
    """Descend with a step size that decays, and average the parameters from update t0 on.

        q   = p (1 - lambd eta) - eta g                 u = q - p
        eta = lr / (1 + lambd lr t)^alpha               the first eta is lr
        ax  = ax + (q - ax) / max(1, t - 1 - t0)

    State    count; eta; ax: like p, float32 or wider. Memory: 1 x params.
    Units    lr has those of p / g, lambd those of g / p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.ASGD`; Polyak & Juditsky 1992.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: lr or lambd < 0.
    """
    q = p * (1 - lambd * s.eta) - s.eta * g
    n = c.t.astype(c.dtype) - 1 - t0
    ax = jnp.where(n > 1, s.ax + (q - s.ax) / jnp.maximum(n, 1), q)
    return q - p, s._replace(ax=ax)


@torch_optimizer()
def asgd(
    lr: NonNegative[Hyper] = 1e-2,
    lambd: NonNegative[Hyper] = 1e-4,
    alpha: Real[Hyper] = 0.75,
    t0: Real[Hyper] = 1e6,
    weight_decay: NonNegative[Hyper] = 0.0,
    maximize: bool = False,
):
    """`torch.optim.ASGD`: descent with a step size that decays; the average of the parameters is in the state.

        g   = g + weight_decay p                        -g + weight_decay p if maximize
        u   = -eta (g + lambd p)
        eta = lr / (1 + lambd lr t)^alpha               the first eta is lr
        ax  = ax + (p + u - ax) / max(1, t - 1 - t0)

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      lambd: the decay of the parameters, and of the step size.
      alpha: the power with which the step size falls.
      t0: the update at which averaging begins.
      weight_decay: the part of the parameters that is added to the gradient.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.asgd(lr=0.01, t0=1000)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; AsgdState(count, eta, ax). Memory: 1 x params.
    Units    lr has those of p / g.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.ASGD`; Polyak & Juditsky 1992, SIAM J. Control Optim. 30.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: lr, lambd or weight_decay < 0.
    """
    decay = [] if is_zero(weight_decay) else [add_decayed_weights(weight_decay)]
    return chain(*([scale(-1.0)] if maximize else []), *decay, averaged_descent(lr, lambd, alpha, t0))
