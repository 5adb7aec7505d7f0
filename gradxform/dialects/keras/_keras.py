"""What Keras's optimizers have in common: the arguments of their base class."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from gradxform._errors import HyperparameterError
from gradxform.core import GradientTransformationExtraArgs, chain
from gradxform.dialects._dialect import dialect
from gradxform.dialects._pieces import is_zero, shrink
from gradxform.dialects.keras._ema import track_params
from gradxform.transforms import clip, clip_by_global_norm, clip_by_norm

CLIPS = {"clipnorm": clip_by_norm, "clipvalue": clip, "global_clipnorm": clip_by_global_norm}


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    given = {name: arguments[name] for name in CLIPS if arguments[name] is not None}
    if len(given) > 1:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise HyperparameterError(f"{owner}: only one of {', '.join(f'`{n}`' for n in CLIPS)} can be set, but got {shown}.")


keras_optimizer = functools.partial(dialect, "keras", check=_check)


def optimizer(
    *step: Any,
    clipnorm: Any,
    clipvalue: Any,
    global_clipnorm: Any,
    use_ema: bool,
    ema_momentum: Any,
    ema_overwrite_frequency: Any,
    learning_rate: Any = None,
    weight_decay: Any = None,
) -> GradientTransformationExtraArgs:
    """The order in which Keras does things: clip the gradient, let the parameters shrink, step, average.

    g = clip(g)                     clipnorm: each leaf's norm; global_clipnorm: that of all; clipvalue: each element; 0 and None: off
    u = step(g) - learning_rate weight_decay p
    average p + u                   if use_ema; every ema_overwrite_frequency-th time p + u becomes the average
    """
    sizes = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
    clips = [CLIPS[name](size) for name, size in sizes.items() if not is_zero(size)]
    decay = [] if is_zero(weight_decay) else [shrink(learning_rate, weight_decay)]
    average = [track_params(ema_momentum, ema_overwrite_frequency)] if use_ema else []
    return chain(*clips, *step, *decay, *average)
