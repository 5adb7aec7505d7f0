"""Primitives, by kind: scale, momentum, root mean squares, clipping, decay, noise, ..."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach
from gradxform._optax_names import TRANSFORMS

if TYPE_CHECKING:
    from gradxform._types import ConditionFn as ConditionFn
    from gradxform._types import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
    from gradxform.core import EmptyState
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
    from gradxform.transforms._clip_qk import clip_qk as clip_qk
    from gradxform.transforms._decay import add_decayed_weights as add_decayed_weights
    from gradxform.transforms._decay_policy import WeightDecaySchedule as WeightDecaySchedule
    from gradxform.transforms._floor import floor_by_param_norm as floor_by_param_norm
    from gradxform.transforms._grokfast import grokfast as grokfast
    from gradxform.transforms._hutchinson import HutchinsonState as HutchinsonState
    from gradxform.transforms._hutchinson import hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian
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
    from gradxform.wrappers import ApplyIfFiniteState as ApplyIfFiniteState
    from gradxform.wrappers import ConditionallyMaskState as ConditionallyMaskState
    from gradxform.wrappers import ConditionallyTransformState as ConditionallyTransformState
    from gradxform.wrappers import MultiSteps as MultiSteps
    from gradxform.wrappers import MultiStepsState as MultiStepsState
    from gradxform.wrappers import apply_if_finite as apply_if_finite
    from gradxform.wrappers import conditionally_mask as conditionally_mask
    from gradxform.wrappers import conditionally_transform as conditionally_transform
    from gradxform.wrappers import flatten as flatten
    from gradxform.wrappers import skip_large_updates as skip_large_updates
    from gradxform.wrappers import skip_not_finite as skip_not_finite

    AdaptiveGradClipState = AddDecayedWeightsState = ClipByGlobalNormState = ClipState = EmptyState
    NonNegativeParamsState = ScaleByTrustRatioState = ScaleState = EmptyState
else:
    TABLE = TRANSFORMS | {
        "._adaptive_clip": "adaptive_grad_clip unitwise_clip unitwise_norm",
        "._apply_every": "ApplyEvery apply_every",
        "._box": "keep_params_in_box",
        "._centralize": "centralize",
        "._clip": "clip clip_by_block_rms clip_by_global_norm clip_by_norm",
        "._clip_qk": "clip_qk",
        "._decay": "add_decayed_weights",
        "._decay_policy": "WeightDecaySchedule",
        "._floor": "floor_by_param_norm",
        "._grokfast": "grokfast",
        "._hutchinson": "HutchinsonState hutchinson_estimator_diag_hessian",
        "._infinity_norm": "ScaleByInfinityNormState scale_by_infinity_norm",
        "._momentum": "EmaState TraceState ema nesterov trace",
        "._monitor": "MonitorState SnapshotState measure_with_ema monitor snapshot",
        "._multiplier": "scale_by_multiplier",
        "._noise": "AddNoiseState add_noise",
        "._nonfinite": "ZeroNansState zero_nans",
        "._nonnegative": "keep_params_nonnegative",
        "._normalize": "NormalizeState normalize normalize_by_update_norm",
        "._per_example": "per_example_global_norm_clip per_example_layer_norm_clip",
        "._privacy": "DifferentiallyPrivateAggregateState differentially_private_aggregate",
        "._regularizer": "add_regularizer l1_penalty l2_penalty",
        "._rms": (
            "ScaleByRmsState ScaleByRmsWithCountState ScaleByRStdDevState ScaleByRStdDevWithCountState scale_by_rms scale_by_stddev"
        ),
        "._rss": "ScaleByRssState scale_by_rss",
        "._scale": "identity scale scale_by_learning_rate scale_by_schedule",
        "._sign": "scale_by_sign",
        "._trust_ratio": "scale_by_param_block_norm scale_by_param_block_rms scale_by_trust_ratio",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
