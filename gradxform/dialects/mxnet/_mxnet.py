"""What MXNet's optimizers have in common: the arguments of their base class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypedDict

from gradxform._numerics import clip_elements
from gradxform._types import Array, Bound, Hyper, LeafNumbers, MaskOrFn, NonNegative, Real
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain, elementwise
from gradxform.dialects._dialect import dialect, spelled_out
from gradxform.dialects._pieces import is_zero
from gradxform.precision import master_weights
from gradxform.transforms import clip, scale, scale_by_learning_rate, scale_by_multiplier

P = ParamSpec("P")
Optimizer = Callable[P, GradientTransformationExtraArgs]
Stages = list[GradientTransformationExtraArgs]


class Common(TypedDict, total=False):
    """The arguments that every function takes, by keyword."""

    rescale_grad: Real[Hyper]
    clip_gradient: Bound[Hyper] | None
    wd: NonNegative[Hyper]
    lr_mult: MaskOrFn
    wd_mult: MaskOrFn
    multi_precision: bool


DEFAULTS: Common = {
    "rescale_grad": 1.0, "clip_gradient": None, "wd": 0.0, "lr_mult": None, "wd_mult": None, "multi_precision": False,
}  # fmt: skip


def mxnet_optimizer(
    *,
    core: str | None = None,
    example: Mapping[str, Any] | None = None,
    check: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> Callable[[Optimizer[P]], Optimizer[P]]:
    """Check a function's arguments, the common ones included, as `mxnet.function`, and register it."""
    decorate = dialect("mxnet", core=core, example=example, check=check)
    return lambda fn: decorate(spelled_out(fn, DEFAULTS))


@elementwise(needs=("params",))
def add_multiplied_decay(g, s, p, c, wd: NonNegative = 0.0, wd_mult: LeafNumbers = None):
    """Add the parameters to the updates, times a decay that may differ from leaf to leaf.

        u = g + wd wd_mult p

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    wd has those of g / p.
    Shapes   any, scalars and complex included.
    Labels   wd_mult as the `multipliers` of `scale_by_multiplier`.
    Source   MXNet 2, `Optimizer`.
    Differs  from `add_decayed_weights`: it multiplies where that one masks.
    Raises   MissingArgumentError: no params. HyperparameterError: wd < 0. LabelError: as `scale_by_multiplier`.
    """
    return g + wd * c.wd_mult * p, s


def clipped(g: Array, most: float | Array | None) -> Array:
    """Each element in [-most, most]; None: as it is."""
    return g if most is None else clip_elements(g, most)


def filled(common: Common) -> Mapping[str, Any]:
    """All the common arguments, by name."""
    return {**DEFAULTS, **common}


def rescaled(common: Mapping[str, Any]) -> Stages:
    """The stage that multiplies the gradient by rescale_grad."""
    factor = common["rescale_grad"]
    return [] if isinstance(factor, (int, float)) and factor == 1 else [scale(factor)]


def clips(common: Mapping[str, Any]) -> Stages:
    return [] if common["clip_gradient"] is None else [clip(common["clip_gradient"])]


def decay(common: Mapping[str, Any]) -> Stages:
    """The stage that adds wd wd_mult p."""
    return [] if is_zero(common["wd"]) else [add_multiplied_decay(common["wd"], common["wd_mult"])]


def multiplied(common: Mapping[str, Any]) -> Stages:
    return [] if common["lr_mult"] is None else [scale_by_multiplier(common["lr_mult"])]


def rate(learning_rate: Hyper, common: Mapping[str, Any]) -> Stages:
    """The stages that turn a direction into a step: -learning_rate lr_mult."""
    return [scale_by_learning_rate(learning_rate), *multiplied(common)]


def finished(*stages: GradientTransformation, common: Mapping[str, Any]) -> GradientTransformationExtraArgs:
    """A chain; with multi_precision, on wide copies of narrow parameters."""
    tx = chain(*stages)
    return master_weights(tx) if common["multi_precision"] else tx


def coupled(*stages: GradientTransformation, common: Mapping[str, Any]) -> GradientTransformationExtraArgs:
    """The order in which MXNet does things.

    g = rescale_grad g
    g = clip(g, -clip_gradient, clip_gradient)
    g = g + wd wd_mult p
    u = stages(g)
    """
    return finished(*rescaled(common), *clips(common), *decay(common), *stages, common=common)


def decoupled(*stages: GradientTransformation, common: Mapping[str, Any]) -> GradientTransformationExtraArgs:
    """The same without the third line: where the decay goes is the stages' affair."""
    return finished(*rescaled(common), *clips(common), *stages, common=common)
