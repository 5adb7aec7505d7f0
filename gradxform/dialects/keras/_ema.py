"""The moving average of the parameters that Keras's optimizers keep with `use_ema`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._types import Clock, Count, Field, OptState, Params, Unit, Updates
from gradxform.core import elementwise
from gradxform.core._holes import is_array, is_gap


class ParamsEmaState(NamedTuple):
    """The exponential moving average of the parameters after each update."""

    count: Clock
    average: Annotated[Updates, Field(mean="momentum")]


def _average(p, s, after):
    """Keras's average begins as a copy of the parameters."""
    return jax.tree.map(lambda p, x: jnp.where(s.count > 0, x, p) if is_array(p) else p, p, s.average, is_leaf=is_gap)


@elementwise(ParamsEmaState, needs=("params",), evaluate=_average, averages=True)
def track_params(g, s, p, c, momentum: Unit = 0.99, overwrite_frequency: Count | None = None):
    """Average the updated parameters, and now and then put them at their average.

        q       = p + g
        average = momentum average + (1 - momentum) q           q at the first update
        u       = g                                             average - p at every overwrite_frequency-th update

    Only at the end of a chain is g the whole update.

    State    count; average: like p, float32 or wider. Memory: 1 x params.
    Units    those of g, which are those of p.
    Shapes   any.
    Source   Keras 3.15, `use_ema`.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: momentum outside [0, 1], overwrite_frequency < 1.
    """
    q = p + g
    average = jnp.where(c.t == 1, q, s.average + (1 - momentum) * (q - s.average))
    u = g if overwrite_frequency is None else jnp.where(c.t % overwrite_frequency == 0, average - p, g)
    return u, s._replace(average=average)


def ema_params(state: OptState) -> Params:
    """The average of the parameters that a Keras optimizer with `use_ema=True` keeps in its state: what to evaluate with.

    `eval_params(tx, state, params)` gives the same in the parameters' dtypes, and before the first update the parameters. Keras's
    `finalize_variable_values` puts it in the place of the parameters at the end of `fit`.

    Args:
      state: the state of an optimizer with `use_ema=True`, alone or inside others.

    >>> from gradxform.dialects import keras
    >>> average = keras.ema_params(keras.adam(1e-3, use_ema=True).init(params))

    Raises   StructureError: no such average is in the state, or more than one.
    """
    is_ema = lambda x: isinstance(x, ParamsEmaState)
    found = [x for x in jax.tree.leaves(state, is_leaf=is_ema) if is_ema(x)]
    if len(found) != 1:
        raise StructureError(
            f"keras.ema_params: expected the state of one optimizer made with `use_ema=True`, but found {len(found)} averages in it. "
            "Pass the state that its `init` or last `update` returned."
        )
    return found[0].average
