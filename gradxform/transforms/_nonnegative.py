"""Keeping parameters from becoming negative."""

from __future__ import annotations

from gradxform.registry import transform
from gradxform.transforms._box import keep_params_in_box


@transform(
    source="projected gradient descent, Goldstein 1964", identities=[("keep_params_nonnegative()", "keep_params_in_box(low=0.0)")]
)
def keep_params_nonnegative():
    """Change updates so that no parameter becomes negative.

        u = max(p + g, 0) - p

    The last stage of a chain: it sees the step. Parameters that are negative become 0.

    >>> tx = gx.chain(gx.adam(1e-3), gx.keep_params_nonnegative())

    State    EmptyState(). Memory: none.
    Units    those of p, like g.
    Shapes   any, scalars included; real and imaginary parts are bounded alike.
    Source   the projection on a cone, Goldstein 1964.
    Differs  no, from Optax.
    Raises   MissingArgumentError: no params.
    """
    return keep_params_in_box(low=0.0)
