"""Norms whose order is in their names. Optax warns that these will go; libraries still call them."""

from functools import partial

from gradxform.tree._reduce import norm

tree_l1_norm = partial(norm, ord=1)
tree_l2_norm = partial(norm, ord=2)
tree_linf_norm = partial(norm, ord="inf")
