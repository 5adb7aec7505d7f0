"""Primitives, by kind: scale, momentum, root mean squares, clipping, decay, noise, ..."""

from gradxform._types import ConditionFn as ConditionFn
from gradxform._types import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from gradxform.core import MaskedNode as MaskedNode
from gradxform.core import MaskedState as MaskedState
from gradxform.core import PartitionState as PartitionState
from gradxform.core import chain as chain
from gradxform.core import freeze as freeze
from gradxform.core import masked as masked
from gradxform.core import named_chain as named_chain
from gradxform.core import partition as partition
from gradxform.core import selective_transform as selective_transform
from gradxform.transforms._adaptive_clip import adaptive_grad_clip as adaptive_grad_clip
from gradxform.transforms._adaptive_clip import unitwise_clip as unitwise_clip
from gradxform.transforms._adaptive_clip import unitwise_norm as unitwise_norm
from gradxform.transforms._apply_every import ApplyEvery as ApplyEvery
from gradxform.transforms._apply_every import apply_every as apply_every
from gradxform.transforms._box import keep_params_in_box as keep_params_in_box
from gradxform.transforms._centralize import centralize as centralize
from gradxform.transforms._clip import clip as clip
from gradxform.transforms._clip import clip_by_block_rms as clip_by_block_rms
from gradxform.transforms._clip import clip_by_global_norm as clip_by_global_norm
from gradxform.transforms._clip import clip_by_norm as clip_by_norm
from gradxform.transforms._decay import WeightDecaySchedule as WeightDecaySchedule
from gradxform.transforms._decay import add_decayed_weights as add_decayed_weights
from gradxform.transforms._empty_states import AdaptiveGradClipState as AdaptiveGradClipState
from gradxform.transforms._empty_states import AddDecayedWeightsState as AddDecayedWeightsState
from gradxform.transforms._empty_states import ClipByGlobalNormState as ClipByGlobalNormState
from gradxform.transforms._empty_states import ClipState as ClipState
from gradxform.transforms._empty_states import NonNegativeParamsState as NonNegativeParamsState
from gradxform.transforms._empty_states import ScaleByTrustRatioState as ScaleByTrustRatioState
from gradxform.transforms._empty_states import ScaleState as ScaleState
from gradxform.transforms._infinity_norm import ScaleByInfinityNormState as ScaleByInfinityNormState
from gradxform.transforms._infinity_norm import scale_by_infinity_norm as scale_by_infinity_norm
from gradxform.transforms._momentum import EmaState as EmaState
from gradxform.transforms._momentum import TraceState as TraceState
from gradxform.transforms._momentum import ema as ema
from gradxform.transforms._momentum import nesterov as nesterov
from gradxform.transforms._momentum import trace as trace
from gradxform.transforms._monitor import MonitorState as MonitorState
from gradxform.transforms._monitor import SnapshotState as SnapshotState
from gradxform.transforms._monitor import measure_with_ema as measure_with_ema
from gradxform.transforms._monitor import monitor as monitor
from gradxform.transforms._monitor import snapshot as snapshot
from gradxform.transforms._multiplier import scale_by_multiplier as scale_by_multiplier
from gradxform.transforms._noise import AddNoiseState as AddNoiseState
from gradxform.transforms._noise import add_noise as add_noise
from gradxform.transforms._nonfinite import ZeroNansState as ZeroNansState
from gradxform.transforms._nonfinite import zero_nans as zero_nans
from gradxform.transforms._nonnegative import keep_params_nonnegative as keep_params_nonnegative
from gradxform.transforms._normalize import NormalizeState as NormalizeState
from gradxform.transforms._normalize import normalize as normalize
from gradxform.transforms._normalize import normalize_by_update_norm as normalize_by_update_norm
from gradxform.transforms._per_example import per_example_global_norm_clip as per_example_global_norm_clip
from gradxform.transforms._per_example import per_example_layer_norm_clip as per_example_layer_norm_clip
from gradxform.transforms._privacy import DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState
from gradxform.transforms._privacy import differentially_private_aggregate as differentially_private_aggregate
from gradxform.transforms._regularizer import add_regularizer as add_regularizer
from gradxform.transforms._regularizer import l1_penalty as l1_penalty
from gradxform.transforms._regularizer import l2_penalty as l2_penalty
from gradxform.transforms._rms import ScaleByRmsState as ScaleByRmsState
from gradxform.transforms._rms import ScaleByRmsWithCountState as ScaleByRmsWithCountState
from gradxform.transforms._rms import ScaleByRStdDevState as ScaleByRStdDevState
from gradxform.transforms._rms import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
from gradxform.transforms._rms import scale_by_rms as scale_by_rms
from gradxform.transforms._rms import scale_by_stddev as scale_by_stddev
from gradxform.transforms._rss import ScaleByRssState as ScaleByRssState
from gradxform.transforms._rss import scale_by_rss as scale_by_rss
from gradxform.transforms._scale import identity as identity
from gradxform.transforms._scale import scale as scale
from gradxform.transforms._scale import scale_by_learning_rate as scale_by_learning_rate
from gradxform.transforms._scale import scale_by_schedule as scale_by_schedule
from gradxform.transforms._sign import scale_by_sign as scale_by_sign
from gradxform.transforms._trust_ratio import scale_by_param_block_norm as scale_by_param_block_norm
from gradxform.transforms._trust_ratio import scale_by_param_block_rms as scale_by_param_block_rms
from gradxform.transforms._trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio

_WRAPPERS = [
    "ApplyIfFiniteState",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "MultiSteps",
    "MultiStepsState",
    "apply_if_finite",
    "conditionally_mask",
    "conditionally_transform",
    "flatten",
    "skip_large_updates",
    "skip_not_finite",
]


def __getattr__(name: str):
    """What Optax has in this module and stands among the wrappers here, a layer above."""
    if name not in _WRAPPERS:
        raise AttributeError(f"module 'gradxform.transforms' has no attribute {name!r}")
    import gradxform.wrappers

    return getattr(gradxform.wrappers, name)


def __dir__():
    return sorted([*globals(), *_WRAPPERS])
