"""Wrappers: transformations around transformations."""

from gradxform.wrappers._accumulate import AccumulateState as AccumulateState
from gradxform.wrappers._accumulate import accumulate as accumulate
from gradxform.wrappers._apply_if_finite import ApplyIfFiniteState as ApplyIfFiniteState
from gradxform.wrappers._apply_if_finite import apply_if_finite as apply_if_finite
from gradxform.wrappers._eval_params import eval_params as eval_params
