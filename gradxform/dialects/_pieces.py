"""Small pieces that the dialects share."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array, Field, Hyper, NonNegative, Number, Real
from gradxform.core import GradientTransformationExtraArgs, elementwise, layout
from gradxform.core._hyper import Fraction, is_number
from gradxform.optimizers import FactoredState
from gradxform.optimizers._adafactor import mean_axes
from gradxform.transforms import keep_params_in_box


def is_zero(x: Hyper | None) -> bool:
    """Whether an argument is absent or the number 0, so that the stage that it asks for can be left out."""
    return x is None or (is_number(x) and bool(x == 0))


def one_minus_power(b: float | Array | Fraction, t: Array) -> Array:
    """1 - b^t, accurate to the last digits also where b^t is nearly 1.

    In float32, 1 - 0.999^t is off by 1.3e-5 of itself if computed as it stands; systems that compute it on the host are not.
    """
    log = jnp.log1p(-jnp.asarray(1 - b))
    return -jnp.expm1(t.astype(log.dtype) * log)


@elementwise(needs=("params",))
def shrink(g, s, p, c, learning_rate: Real, weight_decay: NonNegative):
    """Let the parameters shrink by themselves, whatever the step.

        u = g - learning_rate weight_decay p

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    learning_rate has those of p / g, weight_decay those of g / p.
    Shapes   any.
    Source   Loshchilov & Hutter 2019, arXiv:1711.05101, as a stage after the learning rate.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument < 0.
    """
    return g - weight_decay * learning_rate * p, s


def box(most: Number | None) -> list[GradientTransformationExtraArgs]:
    """The stage that keeps the parameters in [-most, most]; none for None and 0."""
    return [] if most is None or is_zero(most) else [keep_params_in_box(-most, most)]


def _mean(over: int | None) -> Field:
    return Field(axes=lambda shape: mean_axes(shape, (len(shape) - 2, len(shape) - 1) if len(shape) > 1 else None, over))


LAST_TWO_AXES = layout(FactoredState, v_row=_mean(over=1), v_col=_mean(over=0), v=_mean(over=None))
"""`FactoredState` where the last two axes are factored, whatever their size."""
