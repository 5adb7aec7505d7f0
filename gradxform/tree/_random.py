"""Random keys and random trees."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gradxform._types import Array, ArrayLike, DType, Tree
from gradxform.tree._leafwise import leafwise


def split_key_like(rng_key: Array, target_tree: Tree) -> Tree:
    """A tree of this structure with a random key of its own at each leaf.

    Args:
      rng_key: a random key.
      target_tree: a tree of arrays.

    >>> keys = gx.tree.split_key_like(jax.random.key(0), params)
    """
    structure = jax.tree.structure(target_tree)
    return structure.unflatten(jax.random.split(rng_key, structure.num_leaves))


def random_like(
    rng_key: Array, target_tree: Tree, sampler: Callable[..., Array] = jax.random.normal, dtype: DType | None = None
) -> Tree:
    """A tree of these shapes, and dtypes unless `dtype` is given, with leaves sampler(key, shape, dtype).

    A sampler that takes `out_sharding` gets the leaf's.

    Args:
      rng_key: a random key.
      target_tree: a tree of arrays.
      sampler: (key, shape, dtype) -> array.
      dtype: the dtype of all leaves; None: each its own.

    >>> noise = gx.tree.random_like(jax.random.key(0), params)
    """
    takes_sharding = "out_sharding" in inspect.signature(sampler).parameters

    def sample(leaf: ArrayLike, key: Array) -> Array:
        placed = {"out_sharding": jax.typeof(leaf).sharding} if takes_sharding and isinstance(leaf, jax.Array) else {}
        return sampler(key, jnp.shape(leaf), jnp.result_type(leaf) if dtype is None else dtype, **placed)

    return jax.tree.map(sample, target_tree, split_key_like(rng_key, target_tree))


@leafwise("input_tree")
def unwrap_random_key_data(input_tree: Tree) -> Tree:
    """The same tree with the numbers of every random key in its place, to compare or print.

    Args:
      input_tree: a tree with random keys in it.

    >>> data = gx.tree.unwrap_random_key_data(gx.sgld(0.1).init(params))
    """
    is_key = isinstance(input_tree, jax.Array) and jnp.issubdtype(input_tree.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(input_tree) if is_key else input_tree
