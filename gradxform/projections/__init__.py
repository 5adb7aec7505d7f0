"""Projections: the nearest point of a set, for a tree as one vector.

    projection_simplex(params)          projection_l2_ball(params, scale=3.0)

The names are those of `optax.projections`. All are differentiable, and a scale may be traced. Narrow dtypes are computed in float32.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.projections._box import projection_box as projection_box
    from gradxform.projections._box import projection_hypercube as projection_hypercube
    from gradxform.projections._box import projection_linf_ball as projection_linf_ball
    from gradxform.projections._box import projection_non_negative as projection_non_negative
    from gradxform.projections._euclidean import projection_halfspace as projection_halfspace
    from gradxform.projections._euclidean import projection_hyperplane as projection_hyperplane
    from gradxform.projections._euclidean import projection_l2_ball as projection_l2_ball
    from gradxform.projections._euclidean import projection_l2_sphere as projection_l2_sphere
    from gradxform.projections._euclidean import projection_vector as projection_vector
    from gradxform.projections._simplex import projection_l1_ball as projection_l1_ball
    from gradxform.projections._simplex import projection_l1_sphere as projection_l1_sphere
    from gradxform.projections._simplex import projection_simplex as projection_simplex
else:
    TABLE = {
        "._box": "projection_box projection_hypercube projection_linf_ball projection_non_negative",
        "._euclidean": "projection_halfspace projection_hyperplane projection_l2_ball projection_l2_sphere projection_vector",
        "._simplex": "projection_l1_ball projection_l1_sphere projection_simplex",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
