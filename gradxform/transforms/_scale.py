"""Multiplying updates by a number."""

from __future__ import annotations

from gradxform._types import Hyper, Real
from gradxform.core import GradientTransformationExtraArgs, elementwise
from gradxform.registry import transform


@transform(source="Optax", homogeneity=1)
@elementwise()
def identity(g, s, p, c):
    """Pass updates on as they are.

        u = g

    >>> tx = gx.adam(1e-3) if params else gx.identity()

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any.
    Source   Optax.
    Differs  no.
    """
    return g, s


@transform(source="Optax", example={"step_size": -0.1}, homogeneity=1)
@elementwise()
def scale(g, s, p, c, step_size: Real):
    """Multiply updates by a number.

        u = step_size g

    Args:
      step_size: the factor; a number, an array or a schedule.

    >>> gx.scale(-0.5).update(jnp.array([2.0]), gx.EmptyState())[0]
    Array([-1.], dtype=float32)

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    those of g, times step_size.
    Shapes   any.
    Source   Optax.
    Differs  step_size is not rounded to the update's dtype; it may be a schedule.
    Raises   HyperparameterError: step_size is not a finite number.
    """
    return step_size * g, s


@transform(source="Optax", example={"learning_rate": 0.1}, homogeneity=1)
@elementwise()
def scale_by_learning_rate(g, s, p, c, learning_rate: Real | None = None, *, flip_sign: bool = True):
    """Turn a direction of ascent into a step of descent.

        u = -learning_rate g

    With flip_sign=False the sign stays; with learning_rate=None nothing happens.

    Args:
      learning_rate: the size of a step, a number, an array or a schedule; None: the updates pass as they are.
      flip_sign: whether the step goes against the update, so that gradients are descended.

    >>> gx.scale_by_learning_rate(0.1).update(jnp.array([2.0]), gx.EmptyState())[0]
    Array([-0.2], dtype=float32)

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    those of g, times learning_rate.
    Shapes   any.
    Source   Optax.
    Differs  the rate is not rounded to the update's dtype.
    Raises   HyperparameterError: learning_rate is not a finite number.
    """
    if learning_rate is None:
        return g, s
    return (-learning_rate * g if flip_sign else learning_rate * g), s


def scale_by_schedule(step_size_fn: Hyper) -> GradientTransformationExtraArgs:
    """Multiply updates by a schedule's value.

        u = step_size_fn(k) g            k updates are complete

    The same as `scale(step_size_fn)`.

    Args:
      step_size_fn: the factor as a function of the number of completed updates.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.scale_by_schedule(lambda k: -1e-3 / (k + 1)))

    State    ScaleByScheduleState(count). Memory: none.
    Units    those of g, times the schedule's.
    Shapes   any.
    Source   Optax.
    Differs  the value is not rounded to the update's dtype.
    Raises   HyperparameterError: step_size_fn is not a number or schedule.
    """
    return scale(step_size_fn)
