"""The parameters to evaluate with."""

from __future__ import annotations

from gradxform._types import Model, OptState
from gradxform.core import GradientTransformation
from gradxform.core._evaluate import evaluated
from gradxform.core._transformation import check_transformation
from gradxform.core._trees import numbers_may_go


def eval_params(tx: GradientTransformation, state: OptState, params: Model) -> Model:
    """The parameters to evaluate with, whatever the optimizer keeps in their place.

        w = p - decay v         Nesterov's momentum: p is the look-ahead point, v the velocity; the gradient belongs to p
        w = p                   where nothing declares otherwise

    With `trace(decay, nesterov=True)`, `nesterov(decay)` and all that is made of them, p = w + decay v. The velocity is the trace as
    the later members of the chain scale it, -learning_rate trace in `sgd`; at a constant rate, or with the rate before the momentum,
    (w, v) is Nesterov's own sequence v' = decay v - a grad(w + decay v), w' = w + v'. With a scheduled rate after the momentum w is
    where the last gradient step led from the look-ahead point, w' = p - a grad(p).

    The average, where an optimizer keeps one of the parameters: `average_params`, `schedule_free`, Keras's `use_ema`.

    Nested chains, masks, partitions and wrappers are looked through. A transformation declares its own by the option `evaluate=` of its
    kernel's decorator, or by a method `eval_params(state, params, after)` of its `update` (`gradxform.core._evaluate`).

    Args:
      tx: the transformation that trains; one of another library declares nothing.
      state: its state after the updates that were applied to `params`.
      params: the stored parameters. Train on with these.

    >>> tx = gx.contrib.schedule_free_adamw(1e-3)
    >>> averaged = gx.eval_params(tx, tx.init(params), params)

    Returns:
      The parameters to evaluate with; `params` itself where they are the same.

    Source   Sutskever et al. 2013, section 7; Bengio et al. 2013, arXiv:1212.0901, equations 6 and 7.
    Raises   StructureError: what comes after the momentum does more than scale the updates, or two members of a chain declare something.
    """
    check_transformation(tx, "eval_params")
    with numbers_may_go():
        return evaluated(tx, state, params, lambda updates: updates)
