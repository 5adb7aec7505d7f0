"""What Keras's optimizers have in common: the arguments of their base class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypedDict

from gradxform._errors import HyperparameterError
from gradxform._types import Bound, Count, Hyper, Unit
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain
from gradxform.dialects._dialect import dialect, spelled_out
from gradxform.dialects._pieces import is_zero, shrink
from gradxform.dialects.keras._ema import track_params
from gradxform.transforms import clip, clip_by_global_norm, clip_by_norm

P = ParamSpec("P")
Optimizer = Callable[P, GradientTransformationExtraArgs]
CLIPS = {"clipnorm": clip_by_norm, "clipvalue": clip, "global_clipnorm": clip_by_global_norm}


class Common(TypedDict, total=False):
    """The arguments that every function takes after its own."""

    clipnorm: Bound[Hyper] | None
    clipvalue: Bound[Hyper] | None
    global_clipnorm: Bound[Hyper] | None
    use_ema: bool
    ema_momentum: Unit[Hyper]
    ema_overwrite_frequency: Count | None


DEFAULTS: Common = {
    "clipnorm": None, "clipvalue": None, "global_clipnorm": None,
    "use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None,
}  # fmt: skip


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    given = {name: arguments[name] for name in CLIPS if arguments[name] is not None}
    if len(given) > 1:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise HyperparameterError(f"{owner}: only one of {', '.join(f'`{n}`' for n in CLIPS)} can be set, but got {shown}.")


def keras_optimizer(*, core: str, example: Mapping[str, Any] | None = None) -> Callable[[Optimizer[P]], Optimizer[P]]:
    """Check a function's arguments, the common ones included, as `keras.function`, and register it."""
    decorate = dialect("keras", core=core, example=example, check=_check)
    return lambda fn: decorate(spelled_out(fn, DEFAULTS, by_position=True))


def decay(learning_rate: Hyper, weight_decay: Hyper | None) -> list[GradientTransformationExtraArgs]:
    """The stage that lets the parameters shrink."""
    return [] if is_zero(weight_decay) else [shrink(learning_rate, weight_decay)]


def optimizer(*step: GradientTransformation, common: Mapping[str, Any]) -> GradientTransformationExtraArgs:
    """The order in which Keras does things: clip the gradient, step, with what the parameters shrink by, and average.

    g = clip(g)                     clipnorm: each leaf's norm; global_clipnorm: that of all; clipvalue: each element; 0 and None: off
    u = step(g)                     the last stage of a step is `decay`: u = u - learning_rate weight_decay p
    average p + u                   if use_ema; every ema_overwrite_frequency-th time p + u becomes the average
    """
    clips = [make(common[name]) for name, make in CLIPS.items() if not is_zero(common[name])]
    average = [track_params(common["ema_momentum"], common["ema_overwrite_frequency"])] if common["use_ema"] else []
    return chain(*clips, *step, *average)
