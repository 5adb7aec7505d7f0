"""Momentum: running sums and averages of the updates."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import READS_CLOCK, Clock, DType, Field, Momentum, Range, Unit, Updates, Value
from gradxform.core import elementwise
from gradxform.registry import transform
from gradxform.tree import scale, sub

EmaDecay = Annotated[Value, Range("(-1, 1]")]


class TraceState(NamedTuple):
    """The decaying sum of past updates."""

    trace: Annotated[Updates, Field(stored="accumulator_dtype", mean="decay")]


class EmaState(NamedTuple):
    """The exponential moving average of past updates, not debiased."""

    count: Clock
    ema: Annotated[Updates, Field(stored="accumulator_dtype", mean="decay")]


def _behind(p, s, after, decay, nesterov=True):
    """The iterate behind the look-ahead point that is stored: w = p - after(decay trace)."""
    return sub(p, after(scale(decay, s.trace))) if nesterov else p


@transform(source="Polyak 1964; Sutskever et al. 2013", example={"decay": 0.9}, homogeneity=1)
@elementwise(TraceState, evaluate=_behind)
def trace(
    g, s, p, c,
    decay: Momentum, nesterov: bool = False, accumulator_dtype: DType | None = None, dampening: Annotated[Unit, READS_CLOCK] | None = None,
):  # fmt: skip
    """Accumulate a decaying sum of the updates: heavy-ball momentum.

        trace = g + decay trace
        u     = trace                    nesterov: g + decay trace

    With dampening, trace = (1 - dampening) g + decay trace from the second update on; the first takes the whole g.

    Args:
      decay: how much of the decaying sum stays at each update.
      nesterov: look ahead by one step of the momentum.
      accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.
      dampening: the part of each gradient but the first that is left out of the momentum; None: nothing.

    >>> tx = gx.chain(gx.trace(0.9, nesterov=True), gx.scale_by_learning_rate(0.1))

    State    trace: like p, float32 or wider unless accumulator_dtype says otherwise; with dampening or a schedule in a CountedState,
             which knows the first update. Memory: 1 x params.
    Units    those of g; a constant g grows to (1 - dampening) g / (1 - decay).
    Shapes   any, scalars and complex included.
    Source   Polyak 1964; the nesterov form Sutskever et al. 2013, section 7; dampening: PyTorch's SGD.
    Differs  `dampening` is new; the trace of bfloat16 and float16 parameters is float32.
    Raises   HyperparameterError: decay outside [-1, 1], dampening outside [0, 1].
    """
    fresh = g if c.t is None or dampening is None else jnp.where(c.t > 1, 1 - dampening, 1) * g  # no clock: dampening is 0
    trace = fresh + decay * s.trace
    return (g + decay * trace if nesterov else trace), s._replace(trace=trace)


@transform(source="Nesterov 1983; Bengio et al. 2013, arXiv:1212.0901", example={"decay": 0.9}, homogeneity=1)
@elementwise(TraceState, evaluate=_behind)
def nesterov(g, s, p, c, decay: Momentum, accumulator_dtype: DType | None = None):
    """Nesterov's accelerated gradient, with the look-ahead point as the parameter.

        trace = g + decay trace
        u     = g + decay trace

    With a constant rate a and v = -a trace, the parameters are w + decay v, where (w, v) is Nesterov's own sequence
    v' = decay v - a grad(w + decay v), w' = w + v'.

    Args:
      decay: how much of the decaying sum stays at each update.
      accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.nesterov(0.9), gx.scale_by_learning_rate(0.1))

    State    trace: like p, float32 or wider. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   Nesterov 1983; in this form Bengio et al. 2013, arXiv:1212.0901, equation 7.
    Differs  no. It is `trace(decay, nesterov=True)` under its own name.
    Raises   HyperparameterError: decay outside [-1, 1].
    """
    trace = g + decay * s.trace
    return g + decay * trace, s._replace(trace=trace)


@transform(source="Optax", example={"decay": 0.9}, homogeneity=1)
@elementwise(EmaState)
def ema(g, s, p, c, decay: EmaDecay, debias: bool = True, accumulator_dtype: DType | None = None):
    """Replace updates by their exponential moving average.

        ema = decay ema + (1 - decay) g
        u   = ema / (1 - decay^t)              debias=False: ema

    With decay = 1 the average stays 0, and there is nothing to correct: u = 0. It is an average of updates, a momentum. What PyTorch,
    Keras and diffusion models call EMA is one of the parameters, to evaluate with: `average_params`.

    Args:
      decay: how much of the average stays at each update.
      debias: divide the average by 1 - decay^t, since it begins at 0.
      accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.ema(0.9), gx.scale_by_learning_rate(0.1))

    State    count; ema: like p, float32 or wider unless accumulator_dtype says otherwise. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   Optax.
    Differs  the average of bfloat16 and float16 parameters is float32 (in bfloat16, 0.999 rounds to 1 and nothing decays).
             With decay = 1 Optax's u is NaN.
    Raises   HyperparameterError: decay outside (-1, 1].
    """
    ema = decay * s.ema + (1 - decay) * g
    return (c.debias(ema, decay) if debias else ema), s._replace(ema=ema)
