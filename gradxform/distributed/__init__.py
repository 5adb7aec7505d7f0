"""Data-parallel training: what happens to the gradients of many devices on the way into one update.

    tx = chain(mean_over("data"), adam(1e-3))                                   the mean, whatever follows
    tx = chain(error_feedback(two_bit(0.5), "data"), sgd(0.1))                  two bits per element, MXNet's KVStore
    tx = chain(majority_vote("data"), scale(-1e-3))                             signSGD with majority vote

All of them run inside `jax.shard_map` or `jax.pmap` over an axis of that name, where each device has a gradient of its own; with
`axis_name=None` they run on one device, as if there were no other. Under `shard_map` the gradient with respect to replicated
parameters is already the sum over the devices: take it with respect to `jax.lax.pcast(params, axis_name, to="varying")`. The updates
are the same on every device. A state that differs from device to device has a leading axis for them: see `per_device`. A digit cannot
say NaN, and what is infinite is never all sent: put `zero_nans()` and `clip` first, so that neither stays in a residual for ever.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.distributed._compressors import ScaledSign as ScaledSign
    from gradxform.distributed._compressors import TwoBit as TwoBit
    from gradxform.distributed._compressors import scaled_sign as scaled_sign
    from gradxform.distributed._compressors import two_bit as two_bit
    from gradxform.distributed._error_feedback import ErrorFeedbackState as ErrorFeedbackState
    from gradxform.distributed._error_feedback import compressed_mean as compressed_mean
    from gradxform.distributed._error_feedback import error_feedback as error_feedback
    from gradxform.distributed._mean import majority_vote as majority_vote
    from gradxform.distributed._mean import mean_over as mean_over
    from gradxform.distributed._per_device import PerDeviceState as PerDeviceState
    from gradxform.distributed._per_device import per_device as per_device
    from gradxform.distributed._per_device import per_device_specs as per_device_specs
    from gradxform.distributed._shardings import init_sharded as init_sharded
    from gradxform.distributed._shardings import state_shardings as state_shardings
else:
    TABLE = {
        "._compressors": "ScaledSign TwoBit scaled_sign two_bit",
        "._error_feedback": "ErrorFeedbackState compressed_mean error_feedback",
        "._mean": "majority_vote mean_over",
        "._per_device": "PerDeviceState per_device per_device_specs",
        "._shardings": "init_sharded state_shardings",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
