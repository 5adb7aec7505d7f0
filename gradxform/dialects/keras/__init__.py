"""Keras's optimizers: the arguments and the numbers of Keras 3.15.

Every function takes what the class of that name takes; its updates are ready for `apply_updates`. `learning_rate` may be a schedule: a
function of the number of completed updates, as Keras calls its own, which are in `schedules`. `eval_params(tx, state, params)` is the
average that `use_ema` keeps; `ema_params(state)` finds it without the optimizer.

Not taken are `loss_scale_factor` (divide the gradients), `gradient_accumulation_steps` (accumulate around the transformation), `name`,
and `jit_compile` (compile the step with `jax.jit`). For `exclude_from_weight_decay` use `gradxform.partition` with two of a kind. Keras
keeps its rate in `floatx`: with float64 parameters its numbers are ours if that is float64 too.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.dialects.keras import schedules as schedules
    from gradxform.dialects.keras._adadelta import adadelta as adadelta
    from gradxform.dialects.keras._adafactor import adafactor as adafactor
    from gradxform.dialects.keras._adagrad import adagrad as adagrad
    from gradxform.dialects.keras._adam import adam as adam
    from gradxform.dialects.keras._adam import adamw as adamw
    from gradxform.dialects.keras._adamax import adamax as adamax
    from gradxform.dialects.keras._ema import ema_params as ema_params
    from gradxform.dialects.keras._ftrl import ftrl as ftrl
    from gradxform.dialects.keras._lamb import lamb as lamb
    from gradxform.dialects.keras._lion import lion as lion
    from gradxform.dialects.keras._nadam import nadam as nadam
    from gradxform.dialects.keras._rmsprop import rmsprop as rmsprop
    from gradxform.dialects.keras._sgd import sgd as sgd
else:
    TABLE = {
        ".": "schedules",
        "._adadelta": "adadelta",
        "._adafactor": "adafactor",
        "._adagrad": "adagrad",
        "._adam": "adam adamw",
        "._adamax": "adamax",
        "._ema": "ema_params",
        "._ftrl": "ftrl",
        "._lamb": "lamb",
        "._lion": "lion",
        "._nadam": "nadam",
        "._rmsprop": "rmsprop",
        "._sgd": "sgd",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
