"""Wrappers: transformations around transformations."""

from gradxform.wrappers._apply_if_finite import ApplyIfFiniteState as ApplyIfFiniteState
from gradxform.wrappers._apply_if_finite import apply_if_finite as apply_if_finite
