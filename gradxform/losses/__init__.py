"""Losses: plain functions of predictions and targets, without a mean over the batch.

    softmax_cross_entropy_with_integer_labels(logits, labels).mean()

The names are those of `optax.losses`. Narrow dtypes are computed in float32 and rounded once, at the end; 0 log 0 is 0, in derivatives
too; what `where` excludes may be anything, NaN included; shapes that do not belong together raise an error that names them.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.losses._cosine import cosine_distance as cosine_distance
    from gradxform.losses._cosine import cosine_similarity as cosine_similarity
    from gradxform.losses._ctc import ctc_loss as ctc_loss
    from gradxform.losses._ctc import ctc_loss_with_forward_probs as ctc_loss_with_forward_probs
    from gradxform.losses._divergence import convex_kl_divergence as convex_kl_divergence
    from gradxform.losses._divergence import generalized_kl_divergence as generalized_kl_divergence
    from gradxform.losses._divergence import kl_divergence as kl_divergence
    from gradxform.losses._divergence import kl_divergence_with_log_targets as kl_divergence_with_log_targets
    from gradxform.losses._fenchel_young import make_fenchel_young_loss as make_fenchel_young_loss
    from gradxform.losses._margin import hinge_loss as hinge_loss
    from gradxform.losses._margin import multiclass_hinge_loss as multiclass_hinge_loss
    from gradxform.losses._margin import multiclass_perceptron_loss as multiclass_perceptron_loss
    from gradxform.losses._margin import multiclass_sparsemax_loss as multiclass_sparsemax_loss
    from gradxform.losses._margin import perceptron_loss as perceptron_loss
    from gradxform.losses._margin import sparsemax_loss as sparsemax_loss
    from gradxform.losses._ranking import ranking_softmax_loss as ranking_softmax_loss
    from gradxform.losses._regression import huber_loss as huber_loss
    from gradxform.losses._regression import l2_loss as l2_loss
    from gradxform.losses._regression import log_cosh as log_cosh
    from gradxform.losses._regression import squared_error as squared_error
    from gradxform.losses._segmentation import binary_dice_loss as binary_dice_loss
    from gradxform.losses._segmentation import dice_loss as dice_loss
    from gradxform.losses._segmentation import multiclass_generalized_dice_loss as multiclass_generalized_dice_loss
    from gradxform.losses._self_supervised import ntxent as ntxent
    from gradxform.losses._self_supervised import triplet_margin_loss as triplet_margin_loss
    from gradxform.losses._sigmoid import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
    from gradxform.losses._sigmoid import sigmoid_focal_loss as sigmoid_focal_loss
    from gradxform.losses._smoothing import smooth_labels as smooth_labels
    from gradxform.losses._softmax import poly_loss_cross_entropy as poly_loss_cross_entropy
    from gradxform.losses._softmax import safe_softmax_cross_entropy as safe_softmax_cross_entropy
    from gradxform.losses._softmax import softmax_cross_entropy as softmax_cross_entropy
    from gradxform.losses._softmax import softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels
else:
    TABLE = {
        "._cosine": "cosine_distance cosine_similarity",
        "._ctc": "ctc_loss ctc_loss_with_forward_probs",
        "._divergence": "convex_kl_divergence generalized_kl_divergence kl_divergence kl_divergence_with_log_targets",
        "._fenchel_young": "make_fenchel_young_loss",
        "._margin": (
            "hinge_loss multiclass_hinge_loss multiclass_perceptron_loss multiclass_sparsemax_loss perceptron_loss sparsemax_loss"
        ),
        "._ranking": "ranking_softmax_loss",
        "._regression": "huber_loss l2_loss log_cosh squared_error",
        "._segmentation": "binary_dice_loss dice_loss multiclass_generalized_dice_loss",
        "._self_supervised": "ntxent triplet_margin_loss",
        "._sigmoid": "sigmoid_binary_cross_entropy sigmoid_focal_loss",
        "._smoothing": "smooth_labels",
        "._softmax": (
            "poly_loss_cross_entropy safe_softmax_cross_entropy softmax_cross_entropy softmax_cross_entropy_with_integer_labels"
        ),
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
