"""Small functions that users of Optax call by hand: norms with safe derivatives, saturating counters, scaled gradients.

safe_norm(x, min_norm=1e-6)         safe_increment(count)           scale_gradient(features, 0.1)
"""

from gradxform._numerics import abs_sq as abs_sq
from gradxform.numerics._normal import MultiNormalDiagFromLogScale as MultiNormalDiagFromLogScale
from gradxform.numerics._normal import multi_normal as multi_normal
from gradxform.numerics._safe import safe_increment as safe_increment
from gradxform.numerics._safe import safe_int32_increment as safe_int32_increment
from gradxform.numerics._safe import safe_norm as safe_norm
from gradxform.numerics._safe import safe_root_mean_squares as safe_root_mean_squares
from gradxform.numerics._scale_gradient import scale_gradient as scale_gradient
