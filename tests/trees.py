"""What tests ask about trees."""

import jax
import numpy as np


def assert_close(a, b, rtol=1e-6, atol=1e-7):
    """The same structure, and leaves that agree."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


def is_zero(tree):
    return all(not np.any(x) for x in jax.tree.leaves(tree))
