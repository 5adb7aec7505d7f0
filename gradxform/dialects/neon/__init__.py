"""neon's optimizers and schedules: their arguments, their defaults, their numbers.

Every optimizer also takes by keyword what neon's take (`adadelta` without the two on gradients):

    gradient_clip_value   clip each element of the gradient; None or 0: off
    gradient_clip_norm    multiply by c / max(||g||, c), over all leaves of this optimizer, g before the clip by value. In
                          `gradient_descent_momentum` it multiplies the gradient; elsewhere the step, and the accumulators see g without it
    param_clip_value      keep the parameters in [-c, c]
    stochastic_round      round narrow parameters (bfloat16, float16) at random instead of to nearest, with the random `key`

`learning_rate` may be a schedule, of the number of completed updates; neon's count epochs, hence their `updates_per_epoch`. Gradients are
those of the mean loss: neon divides by the size of the mini-batch. Updates are ready for `apply_updates`.

Differs: the documentation's gradient_clip_norm "scales each gradient by k", whatever the norm; in neon
param_clip_value is lost where momentum_coef is 0.

Not taken: `name`; `schedule` (a schedule as learning_rate); a number of bits as stochastic_round (the dtype of the parameters says it);
`MultiOptimizer._reset_mapping` (make another one, and `init` its state).
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.dialects.neon._adadelta import adadelta as adadelta
    from gradxform.dialects.neon._adagrad import adagrad as adagrad
    from gradxform.dialects.neon._adam import adam as adam
    from gradxform.dialects.neon._gradient_descent import gradient_descent_momentum as gradient_descent_momentum
    from gradxform.dialects.neon._multi_optimizer import multi_optimizer as multi_optimizer
    from gradxform.dialects.neon._rmsprop import rmsprop as rmsprop
    from gradxform.dialects.neon._schedules import exp_schedule as exp_schedule
    from gradxform.dialects.neon._schedules import poly_schedule as poly_schedule
    from gradxform.dialects.neon._schedules import power_schedule as power_schedule
    from gradxform.dialects.neon._schedules import schedule as schedule
    from gradxform.dialects.neon._schedules import shift_schedule as shift_schedule
    from gradxform.dialects.neon._schedules import step_schedule as step_schedule
else:
    TABLE = {
        "._adadelta": "adadelta",
        "._adagrad": "adagrad",
        "._adam": "adam",
        "._gradient_descent": "gradient_descent_momentum",
        "._multi_optimizer": "multi_optimizer",
        "._rmsprop": "rmsprop",
        "._schedules": "exp_schedule poly_schedule power_schedule schedule shift_schedule step_schedule",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
