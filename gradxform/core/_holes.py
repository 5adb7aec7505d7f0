"""Holes: leaves that are absent. The lift steps over them, so no kernel ever sees one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeGuard

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding
from jax.tree_util import GetAttrKey

from gradxform._numerics import is_inexact, is_whole
from gradxform._types import Array, DType, OptState, Params, Tree, TreeDef
from gradxform.tree._leafwise import MaskedNode as MaskedNode
from gradxform.tree._leafwise import is_gap


def is_array(x: object) -> bool:
    """A leaf with inexact numbers in it; integers, float0, functions and gaps are not.

    Args:
      x: anything that may stand in a tree.

    >>> gx.kernels.is_array(jnp.ones(2)), gx.kernels.is_array(jnp.arange(2)), gx.kernels.is_array(None)
    (True, False, False)
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return isinstance(x, (float, complex))
    return is_inexact(dtype) and hasattr(x, "shape")


def is_whole_array(x: object) -> bool:
    """A leaf of whole numbers or flags: as a parameter it is none to optimise, as a gradient of another it is a gradient."""
    dtype = getattr(x, "dtype", None)
    return isinstance(x, int) if dtype is None else is_whole(dtype) and hasattr(x, "shape")


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
    axes = lambda x: [None] * x.ndim if AxisType.Explicit in meshes[0].axis_types else []  # as the types of updated ones say it
    everywhere = lambda x: NamedSharding(meshes[0], PartitionSpec(*axes(x)))
    alone = lambda x: concrete(x) and isinstance(x.sharding, SingleDeviceSharding)
    return jax.tree.map(lambda x: _put(x, everywhere(x)) if alone(x) else x, state)


def _put(x: Array, sharding: NamedSharding) -> Array:
    """An array on these devices, of which other processes may have some."""
    if not is_key(x) or sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    return jax.random.wrap_key_data(jax.device_put(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))


def is_key(x: object) -> TypeGuard[Array]:
    return isinstance(x, jax.Array) and bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def is_sparse(x: object) -> bool:
    """A sparse array of JAX's, a node of the tree whose leaves are its data and their indices."""
    sparse = sys.modules.get("jax.experimental.sparse")
    return sparse is not None and isinstance(x, sparse.JAXSparse)


def sparse_indices(tree: Tree) -> set[int]:
    """Which leaves of `flatten(tree)` are indices of a sparse array."""
    found, i = set(), 0
    for node in jax.tree.leaves(tree, is_leaf=lambda x: is_gap(x) or is_sparse(x)):
        inside = jax.tree.leaves(node) if is_sparse(node) else [node]
        found |= {i + j for j, x in enumerate(inside) if is_sparse(node) and x is not node.data}
        i += len(inside)
    return found


def flatten(tree: Tree) -> tuple[list[Tree], TreeDef]:
    """Leaves and structure, with gaps kept as leaves."""
    return jax.tree.flatten(tree, is_leaf=is_gap)


def paths(tree: Tree) -> list[str]:
    """A readable path for each leaf of `flatten(tree)`, such as `encoder/0/bias`, the same in the libraries whose trees agree in names."""
    return [path or "(root)" for path, _ in with_path(tree, is_leaf=is_gap)]


def with_path(tree: Tree, is_leaf: Callable[[Tree], bool] | None = None) -> list[tuple[str, Tree]]:
    """Path and leaf of each leaf. A step into a box is not part of the path; a key or an attribute of that name is."""
    found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]
    boxes = set()
    if any(GetAttrKey("value") in path for path, _ in found):
        boxes = {path for path, x in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_box)[0] if is_box(x)}
    steps = lambda path: tuple(key for i, key in enumerate(path) if path[:i] not in boxes)
    return [(jax.tree_util.keystr(steps(path), simple=True, separator="/"), x) for path, x in found]


BOXES = (("flax.nnx.variablelib", "Variable"), ("flax.nnx.variablelib", "VariableState"), ("flax.core.meta", "AxisMetadata"))
"""Classes of other libraries, which need not be installed, that hold one value under the attribute `value`, and facts about it."""


def is_box(x: Tree) -> bool:
    return any(isinstance(x, getattr(sys.modules.get(module), name, ())) for module, name in BOXES)
