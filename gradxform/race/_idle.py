"""Stages that find nothing to act on, such as one for matrices where there are none."""

from __future__ import annotations

from gradxform._types import OptState
from gradxform.core import GradientTransformation
from gradxform.surgery._pieces import Pieces


def idle(tx: GradientTransformation, state: OptState) -> list[str]:
    """The stages with a field for each parameter that have one for none: all parameters went elsewhere."""
    found = []
    for piece in Pieces(tx, state).pieces:
        layout = piece.layout
        full = [f for f in layout.leaf if layout.fields[f].axes is None and layout.fields[f].when is None] if layout else []
        if full and not set(full) & piece.fields.keys():
            found.append(piece.path)
    return found
