"""Small functions that users of Optax call by hand: norms with safe derivatives, saturating counters, scaled gradients.

safe_norm(x, min_norm=1e-6)         safe_increment(count)           scale_gradient(features, 0.1)

They have Optax's names. What the library itself computes with is in `gradxform._numerics`.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform._numerics import abs_sq as abs_sq
    from gradxform.numerics._normal import MultiNormalDiagFromLogScale as MultiNormalDiagFromLogScale
    from gradxform.numerics._normal import multi_normal as multi_normal
    from gradxform.numerics._safe import safe_increment as safe_increment
    from gradxform.numerics._safe import safe_int32_increment as safe_int32_increment
    from gradxform.numerics._safe import safe_norm as safe_norm
    from gradxform.numerics._safe import safe_root_mean_squares as safe_root_mean_squares
    from gradxform.numerics._scale_gradient import scale_gradient as scale_gradient
else:
    TABLE = {
        "gradxform._numerics": "abs_sq",
        "._normal": "MultiNormalDiagFromLogScale multi_normal",
        "._safe": "safe_increment safe_int32_increment safe_norm safe_root_mean_squares",
        "._scale_gradient": "scale_gradient",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
