"""Weight decay."""

from __future__ import annotations

from gradxform._errors import HyperparameterError
from gradxform._types import Hyper, MaskOrFn, Positive, Real
from gradxform.core import elementwise, masked
from gradxform.registry import transform
from gradxform.transforms._decay_policy import Of, Policy, WeightDecaySchedule, by_policy

NAMES = {"scaled": (), "coupled": (), "cautious": (), "independent": ("peak",), "corrected": ("learning_rate", "peak")}
"""What the formula of a policy names beside weight_decay."""


@elementwise(WeightDecaySchedule, needs=("params",))
def _add_decayed_weights(g, s, p, c, weight_decay: Real = 0.0):
    """Add the parameters, times weight_decay, to the updates."""
    return g + weight_decay * p, s


@transform(source="Krogh & Hertz 1991", example={"weight_decay": 0.1})
def add_decayed_weights(
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    *,
    policy: Policy = "scaled",
    learning_rate: Real[Hyper] | None = None,
    peak: Positive[Hyper] | None = None,
    of: Of = "old",
):
    """Add the parameters, times weight_decay, to the updates.

        u = g + weight_decay p
        u = g + weight_decay p / peak                                       if policy="independent"
        u = g + weight_decay p learning_rate / peak                         if policy="corrected"
        u = g + weight_decay p where g p >= 0, else g                       if policy="cautious"

    of="new": p - learning_rate g, the parameters after the step, in the place of p.

    Before a preconditioner this is an L2 penalty, which policy="coupled" only names; after it, and before the learning rate, it is
    decoupled decay, "scaled" by the rate. peak is the largest rate: "independent" decay is then weight_decay at the top of the schedule
    and falls with it, "corrected" decay falls with its square. "cautious" decay acts where the step makes the parameter
    smaller, too.

    Args:
      weight_decay: the part of the parameters that is added; a number, an array or a schedule.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      policy: how much is added, and where: "scaled", "coupled", "independent", "corrected" or "cautious".
      learning_rate: the rate that the updates are multiplied by later, a number or the same schedule; for "corrected" and of="new".
      peak: the largest learning rate; for "independent" and "corrected".
      of: "old": the parameters; "new": what the step makes of them.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.add_decayed_weights(0.1, mask=gx.by_ndim(2)), gx.scale_by_learning_rate(1e-3))
    >>> rate = gx.cosine_decay_schedule(1e-3, 100)
    >>> decay = gx.add_decayed_weights(0.1, policy="corrected", learning_rate=rate, peak=1e-3)
    >>> tx = gx.chain(gx.scale_by_adam(), decay, gx.scale_by_learning_rate(rate))

    State    EmptyState(); with a schedule WeightDecaySchedule(count); with a mask MaskedState of that. Memory: none.
    Units    weight_decay has those of g / p, of "independent" and "corrected" times those of learning_rate.
    Shapes   any, scalars and complex included.
    Masks    decays where True; see `masked`.
    Source   Krogh & Hertz 1991, NeurIPS 4; decoupled: Loshchilov & Hutter 2019, arXiv:1711.05101; corrected: Defazio 2025,
             arXiv:2506.02285; cautious: Chen et al. 2025, arXiv:2510.12402.
    Differs  policies are new; without one it is Optax's.
    Raises   MissingArgumentError: no params. HyperparameterError: weight_decay is not a finite number, peak <= 0, an unknown policy, an
             unknown of, learning_rate or peak is missing, one that the formula does not name is given.
    """
    wanted = {*NAMES[policy], *(("learning_rate",) if of == "new" else ())}
    for name, value in (("learning_rate", learning_rate), ("peak", peak)):
        if (name in wanted) != (value is not None):
            what = "needs" if name in wanted else "does not look at"
            raise HyperparameterError(f'add_decayed_weights: policy="{policy}" with of="{of}" {what} `{name}`, but got {value!r}.')
    plain = policy in ("scaled", "coupled") and of == "old"
    decay = _add_decayed_weights(weight_decay) if plain else by_policy(weight_decay, policy, learning_rate, peak, of)
    return decay if mask is None else masked(decay, mask)
