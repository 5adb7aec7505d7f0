"""An outer optimizer over the local steps of another: DiLoCo."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from gradxform._types import Array, Clock, Count, Field, Inner, OptState, Params, Updates
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._evaluate import evaluated
from gradxform.core._placement import on_device
from gradxform.core._update_if import update_if
from gradxform.optimizers import sgd
from gradxform.registry import transform
from gradxform.wrappers._copies import Copy, as_params, widened

NESTEROV = sgd(0.7, momentum=0.9, nesterov=True)


class OuterState(NamedTuple):
    """The number of updates, the two states, and the parameters after the last outer step."""

    count: Clock
    base_optimizer_state: Inner
    outer_state: Annotated[Inner, Field(first=lambda outer_optimizer, params: outer_optimizer.init(widened(params)))]
    snapshot: Annotated[Copy, Field(far=True)]


def _drift(u: Array, p: Array, begun: Array) -> Array:
    return begun - (p + u)


def _moved(u: Array, p: Array, snapshot: Array, step: Array) -> tuple[Array, Array]:
    return snapshot + step - p, snapshot + step


def _evaluated(params: Params, s: OptState, outer_optimizer: GradientTransformation) -> Params:
    return evaluated(outer_optimizer, s.outer_state, as_params(params, s.snapshot), lambda updates: updates)


@transform(
    source="Douillard et al. 2023, arXiv:2311.08105, Algorithm 1",
    example={"base_optimizer": sgd(0.1), "every": 2},
    homogeneity=1,
    identities=[("outer(adam(0.1), 5)", "adam(0.1)")],
)
@wrapper(
    OuterState, scope="elementwise", needs=("params",), evaluate=_evaluated, inner_steps=lambda step, every: (step, step // every)
)
def outer(
    g, s, p, c,
    base_optimizer: GradientTransformation, every: Count,
    outer_optimizer: GradientTransformation = NESTEROV,
):  # fmt: skip
    """DiLoCo: train with local steps, and take what they come to for the gradient of an outer optimizer.

        u        = base_optimizer(g)
        snapshot = snapshot + outer_optimizer(snapshot - (p + u))           at every `every`-th update
        u        = snapshot - p

    The state of base_optimizer goes on all the while. `eval_params(tx, state, params)` is what outer_optimizer evaluates with at the
    snapshot: behind the look-ahead, if that is Nesterov's.

    Devices that train apart, with gradients that are each one's own, meet in the outer step alone if it begins with their mean: inside
    `shard_map` or `pmap` over the axis "workers" by outer_optimizer = chain(mean_over("workers"), sgd(0.7, momentum=0.9, nesterov=True)).
    Nothing is sent in between. On one device `outer(tx, k, sgd(a))` is Lookahead, with the parameters as they are for its fast ones.

    Args:
      base_optimizer: the optimizer of the local steps.
      every: the number of local steps to an outer one.
      outer_optimizer: gets snapshot - p as its gradient and the snapshot as its parameters.

    >>> tx = gx.outer(gx.adamw(1e-3), every=30)
    >>> shared = gx.eval_params(tx, tx.init(params), params)

    State    OuterState(count, base_optimizer_state, outer_state, snapshot). snapshot: like p, float32 or wider, p at first. Memory:
             1 x params, and that of both optimizers.
    Units    u has those of base_optimizer; a rate of outer_optimizer is a number.
    Shapes   any, scalars and complex included.
    Source   Douillard et al. 2023, arXiv:2311.08105, Algorithm 1; its outer rate 0.7 and momentum 0.9.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: every < 1. StructureError: not a transformation.
    """
    u, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)

    def meet(u: Updates, state: OptState, p: Params) -> tuple[Updates, OptState]:
        outer_state, snapshot = state[0], on_device(state[1])
        (drift,) = c.map(
            _drift, u, p, as_params(p, snapshot), like=(snapshot,)
        )  # local steps began at the snapshot as it is stored
        step, outer_state = outer_optimizer.update(drift, outer_state, snapshot)
        u, snapshot = c.map(_moved, u, p, snapshot, step, like=(u, snapshot))
        return u, (outer_state, snapshot)

    together = GradientTransformation(outer_optimizer.init, meet)
    u, (outer_state, snapshot) = update_if(c.t % every == 0, together, u, (s.outer_state, s.snapshot), p, unchanged=True)
    return u, s._replace(base_optimizer_state=inner_state, outer_state=outer_state, snapshot=snapshot)
