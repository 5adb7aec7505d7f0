"""Holes: leaves that are absent. The lift steps over them, so no kernel ever sees one."""

from __future__ import annotations

from typing import TypeGuard

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from gradxform._numerics import is_inexact
from gradxform._types import Array, DType, OptState, Params, Tree, TreeDef
from gradxform.tree._leafwise import MaskedNode as MaskedNode
from gradxform.tree._leafwise import is_gap


def is_array(x: object) -> bool:
    """A leaf with inexact numbers in it; integers, float0, functions and gaps are not."""
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return isinstance(x, (float, complex))
    return is_inexact(dtype) and hasattr(x, "shape")


def dtype_of(x: Tree) -> np.dtype:
    return x.dtype if hasattr(x, "dtype") else np.dtype(jax.dtypes.canonicalize_dtype(np.result_type(x)))


def as_array(x: Tree) -> Array:
    """A Python number as an array of the default dtype."""
    return x if hasattr(x, "dtype") else jnp.asarray(x, dtype_of(x))


def fresh(p: Tree, dtype: DType | None = None) -> Array:
    """A copy of a parameter in a buffer of its own; zeros for an abstract one."""
    dtype = dtype or dtype_of(p)
    return jnp.zeros(p.shape, dtype) if isinstance(p, jax.ShapeDtypeStruct) else jnp.array(p, dtype, copy=True)


def on_the_mesh_of(params: Params, state: OptState) -> OptState:
    """The state, with arrays that are on one device put on every device of the parameters' mesh.

    There an update will leave counts and the like; if they began elsewhere, the second step would compile again. Where the parameters
    are on several sets of devices, as the stages of a pipeline are, such arrays stay where each of these may have them.
    """
    concrete = lambda x: isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    committed = [x.sharding for x in jax.tree.leaves(params) if concrete(x) and x.committed]
    meshes = [sharding.mesh for sharding in committed if isinstance(sharding, NamedSharding)]
    if not meshes or len({frozenset(sharding.device_set) for sharding in committed}) > 1:
        return state
    everywhere = NamedSharding(meshes[0], PartitionSpec())
    alone = lambda x: concrete(x) and isinstance(x.sharding, SingleDeviceSharding)
    return jax.tree.map(lambda x: _put(x, everywhere) if alone(x) else x, state)


def _put(x: Array, sharding: NamedSharding) -> Array:
    """An array on these devices, of which other processes may have some."""
    if not is_key(x):
        return jax.device_put(x, sharding)
    return jax.random.wrap_key_data(jax.device_put(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))


def is_key(x: object) -> TypeGuard[Array]:
    return isinstance(x, jax.Array) and bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def flatten(tree: Tree) -> tuple[list[Tree], TreeDef]:
    """Leaves and structure, with gaps kept as leaves."""
    return jax.tree.flatten(tree, is_leaf=is_gap)


def paths(tree: Tree) -> list[str]:
    """A readable path for each leaf of `flatten(tree)`, such as `encoder/0/bias`."""
    with_path = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_gap)[0]
    return [jax.tree_util.keystr(path, simple=True, separator="/") or "(root)" for path, _ in with_path]
