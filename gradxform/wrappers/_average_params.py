"""Averages of the parameters, to evaluate with: exponential, plain, of the tail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import mixing, round_to
from gradxform._types import (
    Array,
    ArrayLike,
    Clock,
    Count,
    Decay,
    DType,
    Field,
    Hyper,
    Inner,
    OptState,
    Params,
    Shared,
    Updates,
    Whole,
)
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._engine import wide_leaf
from gradxform.core._holes import as_array, dtype_of, is_array, is_gap
from gradxform.core._hyper import at_rank, evaluate
from gradxform.optimizers import sgd
from gradxform.registry import transform


def _nothing(decay):
    return 0.0 if decay is None else jnp.zeros(jnp.shape(decay))


class AverageParamsState(NamedTuple):
    """The number of updates, the inner state, the sum of the weights in the average, and the average."""

    count: Clock
    base_optimizer_state: Inner
    weight_sum: Annotated[Shared, Field(first=_nothing, dtype="params")]
    average: Annotated[Updates, Field(stored="accumulator_dtype")]


def _taken_in(s: OptState, decay: ArrayLike | None, debias: bool, start: int, every: int, warmup: bool) -> tuple[Array, Array]:
    """The sum of the weights once the parameters after s.count updates are in the average, and their share of it."""
    since = s.count - start
    number = (since // every).astype(s.weight_sum.dtype)
    old, new = 1.0, 1.0
    if decay is not None:
        new = at_rank(jnp.asarray(1 - decay), s.weight_sum.ndim)
        new = jnp.maximum(new, 9 / (number + 9)) if warmup else new
        old = 1 - new
    total = old * s.weight_sum + new
    if decay is not None and not debias:
        total = jnp.ones_like(s.weight_sum)
        new = jnp.where(s.weight_sum > 0, new, 1)
    due = (since > 0) & (since % every == 0)
    share = new / jnp.where(total > 0, total, 1)
    return jnp.where(due, total, s.weight_sum).astype(s.weight_sum.dtype), jnp.where(due, share, 0)


def _towards(average: Array, p: Array, share: Array) -> Array:
    share = at_rank(share, average.ndim).astype(average.real.dtype)
    return jnp.where(share > 0, average + share * (p - average), average)


def _evaluated(
    params: Params, s: OptState, inside: Callable[[Params], Params],
    decay: Hyper | None, debias: bool, start: int, every: int, warmup: bool,
) -> Params:  # fmt: skip
    """The average, with the parameters of the last update in it; before the first average what is inside evaluates with."""
    decay = evaluate(decay, s.count, "average_params", "decay")
    weight_sum, share = _taken_in(s, decay, debias, start, every, warmup)

    def at(p: Array, average: Array, own: Array) -> Array:
        if not is_array(p):
            return p
        wide = lambda x: wide_leaf(as_array(x), jnp.dtype(jnp.float32))
        with mixing(p, average, share):
            begun = at_rank(weight_sum > 0, jnp.ndim(p))
            return round_to(jnp.where(begun, _towards(wide(average), wide(p), share), wide(own)), dtype_of(p))

    return jax.tree.map(at, params, s.average, inside(params), is_leaf=is_gap)


@transform(
    source="Polyak & Juditsky 1992; Izmailov et al. 2018, arXiv:1803.05407",
    example={"base_optimizer": sgd(0.1)},
    homogeneity=1,
    identities=[("average_params(adam(0.1), warmup=True)", "adam(0.1)"), ("average_params(adam(0.1), None)", "adam(0.1)")],
)
@wrapper(AverageParamsState, scope="elementwise", needs=("params",), evaluate=_evaluated)
def average_params(
    g, s, p, c,
    base_optimizer: GradientTransformation, decay: Decay | None = 0.999, debias: bool = True, accumulator_dtype: DType | None = None, *,
    start: Whole = 0, every: Count = 1, warmup: bool = False,
):  # fmt: skip
    """Average the parameters while another optimizer trains them, and evaluate with the average.

        u       = base_optimizer(g)
        W       = decay W + 1 - decay                   debias=False: 1
        average = average + (1 - decay) / W (p - average)

    p are the parameters after start + every, start + 2 every, ... updates; the first of them is the average as it is. So the average
    never leans to where training began. With debias=False the first keeps the weight of all that would have been before it: PyTorch's
    `AveragedModel` with `get_ema_multi_avg_fn`, and Keras's `use_ema`. With warmup the n-th p has min(decay, n / (n + 9)) for decay.

        average = average + (p - average) / n           decay=None: the mean of n

    That is stochastic weight averaging, PyTorch's `AveragedModel` as it is; from a late `start` on either is a tail average.

    Training itself does not change. `eval_params(tx, state, params)` takes the present parameters in, too, where it is their turn; before
    the first average it gives what base_optimizer evaluates with. What counts are the parameters that training went through, whatever
    stands behind in a chain or around it: rounding to bfloat16, a projection, an update left out.

    Args:
      base_optimizer: the optimizer that trains. It sees nothing of the average.
      decay: how much of the average stays when other parameters are taken in; a number or a schedule; None: the mean of them all.
      debias: divide by the sum W of the weights; False: the first parameters count for all that would have been before them.
      accumulator_dtype: the dtype of the average; None: the parameter's, float32 or wider. In bfloat16 an average stands still.
      start: the number of updates after which averaging begins.
      every: take in the parameters of every so many updates only.
      warmup: forget faster at first, while the parameters move far.

    >>> tx = gx.average_params(gx.adamw(1e-3), decay=0.999)
    >>> averaged = gx.eval_params(tx, tx.init(params), params)

    State    AverageParamsState(count, base_optimizer_state, weight_sum W, average). average: like p, float32 or wider; that of the
             parameters before the last update. Memory: 1 x params, and that of base_optimizer.
    Units    those of base_optimizer.
    Shapes   any, scalars and complex included.
    Source   Polyak & Juditsky 1992; the mean from a step on: Izmailov et al. 2018, arXiv:1803.05407; debiasing as Kingma & Ba 2015,
             arXiv:1412.6980, section 3; warm-up: TensorFlow's `ExponentialMovingAverage`.
    Differs  Optax has none; its `ema` averages updates. The average is of the parameters as they are stored: where base_optimizer keeps
             them ahead of its iterate, or up a slope, of these. `sam(average_params(sgd(0.1)), ...)` averages those before the climb, and
             `master_weights(average_params(...))` the wide copy.
    Raises   MissingArgumentError: no params. HyperparameterError: decay outside [0, 1), start < 0, every < 1. StructureError:
             base_optimizer is not a transformation.
    """
    u, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    before = s._replace(count=c.t - 1)
    weight_sum, share = _taken_in(before, decay, debias, start, every, warmup)
    (average,) = c.map(_towards, s.average, p, like=(s.average,), share=share)
    return u, s._replace(base_optimizer_state=inner_state, weight_sum=weight_sum, average=average)
