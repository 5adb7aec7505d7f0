"""Wrappers: transformations around transformations."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach
from gradxform._optax_names import ONCE_WRAPPERS

if TYPE_CHECKING:
    from gradxform.surgery import Transfer as Transfer
    from gradxform.surgery import eval_params as eval_params
    from gradxform.surgery import get_hyperparams as get_hyperparams
    from gradxform.surgery import reset_group as reset_group
    from gradxform.surgery import resume_at as resume_at
    from gradxform.surgery import set_hyperparams as set_hyperparams
    from gradxform.surgery import transfer_state as transfer_state
    from gradxform.wrappers._accumulate import AccumulateState as AccumulateState
    from gradxform.wrappers._accumulate import accumulate as accumulate
    from gradxform.wrappers._apply_if_finite import ApplyIfFiniteState as ApplyIfFiniteState
    from gradxform.wrappers._apply_if_finite import apply_if_finite as apply_if_finite
    from gradxform.wrappers._average_params import AverageParamsState as AverageParamsState
    from gradxform.wrappers._average_params import average_params as average_params
    from gradxform.wrappers._cautious import CautiousState as CautiousState
    from gradxform.wrappers._cautious import cautious as cautious
    from gradxform.wrappers._conditionally import ConditionallyMaskState as ConditionallyMaskState
    from gradxform.wrappers._conditionally import ConditionallyTransformState as ConditionallyTransformState
    from gradxform.wrappers._conditionally import conditionally_mask as conditionally_mask
    from gradxform.wrappers._conditionally import conditionally_transform as conditionally_transform
    from gradxform.wrappers._ema_nesterov import EmaNesterovState as EmaNesterovState
    from gradxform.wrappers._ema_nesterov import ema_nesterov as ema_nesterov
    from gradxform.wrappers._flatten import flatten as flatten
    from gradxform.wrappers._gpa import GPAState as GPAState
    from gradxform.wrappers._gpa import gpa as gpa
    from gradxform.wrappers._graft import GraftState as GraftState
    from gradxform.wrappers._graft import graft as graft
    from gradxform.wrappers._hyperball import HyperballState as HyperballState
    from gradxform.wrappers._hyperball import hyperball as hyperball
    from gradxform.wrappers._lookahead import LookaheadParams as LookaheadParams
    from gradxform.wrappers._lookahead import LookaheadState as LookaheadState
    from gradxform.wrappers._lookahead import lookahead as lookahead
    from gradxform.wrappers._loss_scale import LossScaleState as LossScaleState
    from gradxform.wrappers._loss_scale import loss_scale as loss_scale
    from gradxform.wrappers._loss_scale import loss_scale_of as loss_scale_of
    from gradxform.wrappers._mechanize import MechanicState as MechanicState
    from gradxform.wrappers._mechanize import mechanize as mechanize
    from gradxform.wrappers._multi_steps import MultiSteps as MultiSteps
    from gradxform.wrappers._multi_steps import MultiStepsState as MultiStepsState
    from gradxform.wrappers._multi_steps import skip_large_updates as skip_large_updates
    from gradxform.wrappers._multi_steps import skip_not_finite as skip_not_finite
    from gradxform.wrappers._outer import OuterState as OuterState
    from gradxform.wrappers._outer import outer as outer
    from gradxform.wrappers._reduce_on_plateau import ReduceLROnPlateauState as ReduceLROnPlateauState
    from gradxform.wrappers._reduce_on_plateau import reduce_on_plateau as reduce_on_plateau
    from gradxform.wrappers._sam import SAMState as SAMState
    from gradxform.wrappers._sam import sam as sam
    from gradxform.wrappers._schedule_free import ScheduleFreeState as ScheduleFreeState
    from gradxform.wrappers._schedule_free import schedule_free as schedule_free
    from gradxform.wrappers._schedule_free import schedule_free_adamw as schedule_free_adamw
    from gradxform.wrappers._schedule_free import schedule_free_eval_params as schedule_free_eval_params
    from gradxform.wrappers._schedule_free import schedule_free_sgd as schedule_free_sgd
    from gradxform.wrappers._split_complex import SplitRealAndImaginaryState as SplitRealAndImaginaryState
    from gradxform.wrappers._split_complex import split_real_and_imaginary as split_real_and_imaginary
    from gradxform.wrappers._width import ScaleByWidthState as ScaleByWidthState
    from gradxform.wrappers._width import initial_scale as initial_scale
    from gradxform.wrappers._width import scale_by_width as scale_by_width
else:
    TABLE = {
        "._accumulate": "AccumulateState accumulate",
        "._apply_if_finite": "ApplyIfFiniteState apply_if_finite",
        "._average_params": "AverageParamsState average_params",
        "._cautious": "CautiousState cautious",
        "._conditionally": "ConditionallyMaskState ConditionallyTransformState conditionally_mask conditionally_transform",
        "._ema_nesterov": "EmaNesterovState ema_nesterov",
        "._flatten": "flatten",
        "._gpa": "GPAState gpa",
        "._graft": "GraftState graft",
        "._hyperball": "HyperballState hyperball",
        "._lookahead": "LookaheadParams LookaheadState lookahead",
        "._loss_scale": "LossScaleState loss_scale loss_scale_of",
        "._mechanize": "MechanicState mechanize",
        "._multi_steps": "MultiSteps MultiStepsState skip_large_updates skip_not_finite",
        "._outer": "OuterState outer",
        "._reduce_on_plateau": "ReduceLROnPlateauState reduce_on_plateau",
        "._sam": "SAMState sam",
        "._schedule_free": "ScheduleFreeState schedule_free schedule_free_adamw schedule_free_eval_params schedule_free_sgd",
        "._split_complex": "SplitRealAndImaginaryState split_real_and_imaginary",
        "._width": "ScaleByWidthState initial_scale scale_by_width",
    }
    UNLISTED = ONCE_WRAPPERS
    __getattr__, __dir__ = attach(__name__, TABLE, unlisted=UNLISTED)
