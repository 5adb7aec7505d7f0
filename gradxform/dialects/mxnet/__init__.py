"""MXNet's optimizers and learning rate schedulers: their arguments, their defaults, their numbers.

Every optimizer takes what the class of that name takes, and by keyword what MXNet's base class takes:

    rescale_grad=1.0      g = rescale_grad g
    clip_gradient=None    g = clip(g, -clip_gradient, clip_gradient)
    wd=0.0                g = g + wd wd_mult p                  in this order, unless the docstring says otherwise
    lr_mult, wd_mult      per-leaf factors of the rate and of wd: labels as in `scale_by_multiplier`, {"*bias": 0.0}
    multi_precision       update float32 copies of narrower parameters: `master_weights`

`learning_rate` may be a schedule, of the number of completed updates; the `*_scheduler` functions make MXNet's. A scheduler's rate is its
base_lr: nothing is overridden. Updates are ready for `apply_updates`.

Not taken, with what to use instead: `begin_num_update` (the count is in the state; save that), `lr_scheduler` (a schedule as
learning_rate), `param_idx2name` and `param_dict` (paths), `lazy_update` (a gradient is dense; `masked` leaves whole leaves alone),
`aggregate_num` and `use_fused_step` (compile the step with `jax.jit`), `KVStore` and `allreduce_grads` (`mean_over(axis_name)` before the
optimizer in a chain; with `compression_params={"type": "2bit", "threshold": t}` `error_feedback(two_bit(t), axis_name)`: see
`gradxform.distributed`). LARS's exclusion by name is a `partition` into `lars` and `sgd`.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.dialects.mxnet._adabelief import adabelief as adabelief
    from gradxform.dialects.mxnet._adadelta import adadelta as adadelta
    from gradxform.dialects.mxnet._adagrad import adagrad as adagrad
    from gradxform.dialects.mxnet._adagrad import group_adagrad as group_adagrad
    from gradxform.dialects.mxnet._adam import adam as adam
    from gradxform.dialects.mxnet._adam import adamw as adamw
    from gradxform.dialects.mxnet._adamax import adamax as adamax
    from gradxform.dialects.mxnet._dcasgd import dcasgd as dcasgd
    from gradxform.dialects.mxnet._ftml import ftml as ftml
    from gradxform.dialects.mxnet._ftrl import ftrl as ftrl
    from gradxform.dialects.mxnet._lamb import lamb as lamb
    from gradxform.dialects.mxnet._lans import lans as lans
    from gradxform.dialects.mxnet._lars import lars as lars
    from gradxform.dialects.mxnet._lbsgd import lbsgd as lbsgd
    from gradxform.dialects.mxnet._nadam import nadam as nadam
    from gradxform.dialects.mxnet._rmsprop import rmsprop as rmsprop
    from gradxform.dialects.mxnet._schedulers import cosine_scheduler as cosine_scheduler
    from gradxform.dialects.mxnet._schedulers import factor_scheduler as factor_scheduler
    from gradxform.dialects.mxnet._schedulers import multi_factor_scheduler as multi_factor_scheduler
    from gradxform.dialects.mxnet._schedulers import poly_scheduler as poly_scheduler
    from gradxform.dialects.mxnet._sgd import nag as nag
    from gradxform.dialects.mxnet._sgd import sgd as sgd
    from gradxform.dialects.mxnet._sgld import sgld as sgld
    from gradxform.dialects.mxnet._signum import signum as signum
else:
    TABLE = {
        "._adabelief": "adabelief",
        "._adadelta": "adadelta",
        "._adagrad": "adagrad group_adagrad",
        "._adam": "adam adamw",
        "._adamax": "adamax",
        "._dcasgd": "dcasgd",
        "._ftml": "ftml",
        "._ftrl": "ftrl",
        "._lamb": "lamb",
        "._lans": "lans",
        "._lars": "lars",
        "._lbsgd": "lbsgd",
        "._nadam": "nadam",
        "._rmsprop": "rmsprop",
        "._schedulers": "cosine_scheduler factor_scheduler multi_factor_scheduler poly_scheduler",
        "._sgd": "nag sgd",
        "._sgld": "sgld",
        "._signum": "signum",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
