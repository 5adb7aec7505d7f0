"""Rprop."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Bound, Field, Hyper, NonNegative, Range, Updates, Value
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale

Smaller = Annotated[Value, Range("[0, 1]")]
Larger = Annotated[Value, Range("[1, inf)")]


def _initial(zero, learning_rate):
    size = jnp.full_like(zero.real, learning_rate)
    return jax.lax.complex(size, size) if jnp.iscomplexobj(zero) else size


class ScaleByRpropState(NamedTuple):
    """The step size of each element, and its last step, 0 where the gradient's sign had changed."""

    step_sizes: Annotated[Updates, Field(first=_initial)]
    prev_updates: Updates


def _resilient(g, size, prev, eta_minus, eta_plus, least, most):
    """The next step and step size, for real arrays."""
    agreement = jnp.sign(g) * jnp.sign(prev)
    factor = jnp.where(agreement > 0, eta_plus, jnp.where(agreement < 0, eta_minus, 1))
    size = jnp.clip(size * factor, least, most)
    return jnp.where(agreement < 0, 0, size * jnp.sign(g)), size


@transform(source="Riedmiller & Braun 1993, ICNN", homogeneity=0, example={"learning_rate": 0.1})
@elementwise(ScaleByRpropState)
def scale_by_rprop(
    g, s, p, c,
    learning_rate: NonNegative, eta_minus: Smaller = 0.5, eta_plus: Larger = 1.2,
    min_step_size: NonNegative = 1e-6, max_step_size: Bound = 50.0,
):  # fmt: skip
    """Step by a size that grows while an element's gradient keeps its sign, and shrinks when the sign changes.

        step_sizes = clip(eta step_sizes, min_step_size, max_step_size)     eta_plus, eta_minus, 1 for g prev > 0, < 0, = 0
        u          = step_sizes sign(g)                                     0 where g prev < 0; prev is the last u

    The first step_sizes are learning_rate; a schedule counts only at its beginning. For full batches.

    Args:
      learning_rate: the first size of every element's step; of a schedule only the beginning counts.
      eta_minus: the factor of an element's step where the gradient's sign has changed.
      eta_plus: the factor of an element's step where the gradient's sign has stayed.
      min_step_size: the least step of an element.
      max_step_size: the largest step of an element.

    >>> tx = gx.chain(gx.scale_by_rprop(1e-2), gx.scale(-1.0))

    State    step_sizes, prev_updates: like p, float32 or wider. Memory: 2 x params.
    Units    learning_rate and the sizes have those of p; u does not depend on the size of g.
    Shapes   any, scalars included; real and imaginary parts are two parameters, as in PyTorch.
    Source   Riedmiller & Braun 1993, ICNN; without taking a step back, as in PyTorch: Igel & Huesken 2000, iRprop-.
    Differs  Optax 0.2.8 gives the last update in the place of this one, at first 0 (its pull request 1725). g prev cannot underflow:
             its sign is the product of two signs. A learning_rate outside of the bounds is clipped, as in PyTorch; it is
             a size, so that a negative one, which Optax clips too, raises.
    Raises   HyperparameterError: eta_minus outside [0, 1], eta_plus < 1, another argument < 0.
    """
    numbers = jnp.asarray(eta_minus), eta_plus, min_step_size, max_step_size
    if jnp.iscomplexobj(g):
        real = _resilient(g.real, s.step_sizes.real, s.prev_updates.real, *numbers)
        imag = _resilient(g.imag, s.step_sizes.imag, s.prev_updates.imag, *numbers)
        u, size = (jax.lax.complex(x, y) for x, y in zip(real, imag, strict=True))
    else:
        u, size = _resilient(g, s.step_sizes, s.prev_updates, *numbers)
    return u, s._replace(step_sizes=size, prev_updates=u)


@optimizer(
    source="Riedmiller & Braun 1993, ICNN",
    example={"learning_rate": 1e-2},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 1e-4},
)
def rprop(
    learning_rate: NonNegative[Hyper],
    eta_minus: Smaller[Hyper] = 0.5,
    eta_plus: Larger[Hyper] = 1.2,
    min_step_size: NonNegative[Hyper] = 1e-6,
    max_step_size: Bound[Hyper] = 50.0,
):
    """Rprop: only the signs of gradients count, and whether they change.

        step_sizes = clip(eta step_sizes, min_step_size, max_step_size)     eta_plus, eta_minus, 1 for g prev > 0, < 0, = 0
        u          = -step_sizes sign(g)                                    0 where g prev < 0; prev is the last step_sizes sign(g)

    The first step_sizes are learning_rate; a schedule counts only at its beginning. For full batches.

    Args:
      learning_rate: the first size of every element's step; of a schedule only the beginning counts.
      eta_minus: the factor of an element's step where the gradient's sign has changed.
      eta_plus: the factor of an element's step where the gradient's sign has stayed.
      min_step_size: the least step of an element.
      max_step_size: the largest step of an element.

    >>> tx = gx.rprop(1e-2)

    State    (ScaleByRpropState(step_sizes, prev_updates), EmptyState()). Memory: 2 x params.
    Units    learning_rate and the sizes have those of p; u does not depend on the size of g.
    Shapes   any, scalars included; real and imaginary parts are two parameters, as in PyTorch.
    Source   Riedmiller & Braun 1993, ICNN; without taking a step back, as in PyTorch: Igel & Huesken 2000, iRprop-.
    Differs  as `scale_by_rprop`.
    Raises   HyperparameterError: eta_minus outside [0, 1], eta_plus < 1, another argument < 0.
    """
    return chain(scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale(-1.0))
