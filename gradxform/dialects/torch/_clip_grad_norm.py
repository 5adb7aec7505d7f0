"""`torch.nn.utils.clip_grad_norm_`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax.numpy as jnp

from gradxform._declare import declare
from gradxform._errors import HyperparameterError
from gradxform._numerics import sum_sq
from gradxform._types import Bound, Hyper
from gradxform.core import GradientTransformationExtraArgs, per_tree
from gradxform.core._hyper import is_number

F = TypeVar("F", bound=Callable[..., Any])


def _power(g, s, p, c, norm_type):
    return sum_sq(g) if norm_type == 2 else jnp.sum(jnp.abs(g) ** norm_type)


@per_tree(total=_power)
def clip_by_torch_norm(g, s, p, c, max_norm: Bound, norm_type: float = 2.0):
    """The step of `clip_grad_norm`: see there."""
    norm = jnp.sqrt(c.total) if norm_type == 2 else c.total ** (1 / norm_type)
    return g * jnp.minimum(max_norm / (norm + 1e-6), 1), s


@per_tree()
def clip_by_torch_max_norm(g, s, p, c, max_norm: Bound):
    """The step of `clip_grad_norm` with norm_type = inf: see there."""
    norm = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(x), initial=0) for x in g], 0)
    return [x * jnp.minimum(max_norm / (norm + 1e-6), 1) for x in g], s


def _check(owner: str, arguments: Mapping[str, object]) -> None:
    norm_type = arguments["norm_type"]
    if not is_number(norm_type) or not norm_type > 0:
        raise HyperparameterError(f"{owner}: `norm_type` must be a number in (0, inf], but got {norm_type!r:.100}.")


def _declared(fn: F) -> F:
    return cast(F, declare(fn, lambda bound: fn(*bound.args, **bound.kwargs), owner=f"torch.{fn.__name__}", check=_check))


@_declared
def clip_grad_norm(max_norm: Bound[Hyper], norm_type: float = 2.0) -> GradientTransformationExtraArgs:
    """`torch.nn.utils.clip_grad_norm_`, to stand before the optimizer in a chain.

        ||g|| = (sum over all leaves of |g|^norm_type)^(1 / norm_type)          norm_type = inf: max |g|
        u     = g min(1, max_norm / (||g|| + 1e-6))

        gx.chain(torch.clip_grad_norm(1.0), torch.adamw(lr=3e-4))

    Args:
      max_norm: the norm above which gradients are scaled down; inf: never.
      norm_type: the power of the norm; inf for the largest absolute value.

    >>> from gradxform.dialects import torch
    >>> tx = gx.chain(torch.clip_grad_norm(1.0), torch.adamw(lr=3e-4))

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any, complex included.
    Source   PyTorch 2.13, `torch.nn.utils.clip_grad_norm_`.
    Differs  from `clip_by_global_norm` by the 1e-6. Where the norm is not finite, nor is the result, as with
             error_if_nonfinite=False. `clip_grad_value_` is `gradxform.clip`.
    Raises   HyperparameterError: max_norm < 0, norm_type <= 0.
    """
    return clip_by_torch_max_norm(max_norm) if norm_type == math.inf else clip_by_torch_norm(max_norm, float(norm_type))
