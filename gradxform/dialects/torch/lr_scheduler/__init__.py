"""PyTorch's learning rate schedulers, under the names and with the arguments of `torch.optim.lr_scheduler` 2.13.

    from gradxform.dialects import torch
    from gradxform.dialects.torch.lr_scheduler import CosineAnnealingLR
    tx = torch.adamw(lr=CosineAnnealingLR(3e-4, T_max=1000))

Each takes what the class of that name takes, with the rate of the optimizer, `lr`, in the place of the optimizer, and makes a schedule: its
value at k is the rate after k calls of `scheduler.step()`. Given to an optimizer, that is one call after each `optimizer.step()`. Where
PyTorch's script calls it once in an epoch, say so: `lr = lambda k: schedule(k // updates_per_epoch)`.

`ReduceLROnPlateau`, whose rate follows a metric, makes a transformation, to stand after the optimizer in a chain. `OneCycleMomentum` is
the other half of `OneCycleLR`.

Not taken is `last_epoch`: the number of updates is in the optimizer's state (`gradxform.resume_at` sets it). Lists with a rate, or a
function, for each parameter group are schedules of their own in a `gradxform.partition`. For `MultiplicativeLR`, `ChainedScheduler` and
`CyclicLR` write the product, or `gradxform.cyclic_triangular_schedule`.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.dialects.torch.lr_scheduler._annealing import CosineAnnealingLR as CosineAnnealingLR
    from gradxform.dialects.torch.lr_scheduler._annealing import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
    from gradxform.dialects.torch.lr_scheduler._decays import ConstantLR as ConstantLR
    from gradxform.dialects.torch.lr_scheduler._decays import ExponentialLR as ExponentialLR
    from gradxform.dialects.torch.lr_scheduler._decays import LambdaLR as LambdaLR
    from gradxform.dialects.torch.lr_scheduler._decays import LinearLR as LinearLR
    from gradxform.dialects.torch.lr_scheduler._decays import MultiStepLR as MultiStepLR
    from gradxform.dialects.torch.lr_scheduler._decays import PolynomialLR as PolynomialLR
    from gradxform.dialects.torch.lr_scheduler._decays import SequentialLR as SequentialLR
    from gradxform.dialects.torch.lr_scheduler._decays import StepLR as StepLR
    from gradxform.dialects.torch.lr_scheduler._one_cycle import OneCycleLR as OneCycleLR
    from gradxform.dialects.torch.lr_scheduler._one_cycle import OneCycleMomentum as OneCycleMomentum
    from gradxform.dialects.torch.lr_scheduler._plateau import PlateauState as PlateauState
    from gradxform.dialects.torch.lr_scheduler._plateau import ReduceLROnPlateau as ReduceLROnPlateau
else:
    TABLE = {
        "._annealing": "CosineAnnealingLR CosineAnnealingWarmRestarts",
        "._decays": "ConstantLR ExponentialLR LambdaLR LinearLR MultiStepLR PolynomialLR SequentialLR StepLR",
        "._one_cycle": "OneCycleLR OneCycleMomentum",
        "._plateau": "PlateauState ReduceLROnPlateau",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
