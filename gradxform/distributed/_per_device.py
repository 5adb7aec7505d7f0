"""A state for each device."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Hashable, Iterator
from typing import Annotated, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from gradxform._types import Array, Field, Inner, OptState, Params, Tree
from gradxform.core import GradientTransformation, wrapper
from gradxform.distributed._zero import AnyMesh, AxisNames, check_axes, names_of, ways
from gradxform.registry import transform
from gradxform.transforms import trace


def _varying(x: Array, axis_name: Hashable) -> Array:
    """x as something that `shard_map` takes to differ along a mapped axis; outside of any as it is."""
    if axis_name is None:
        return x
    try:
        here = jax.lax.axis_index(axis_name)
    except NameError:
        return x
    if x.size == 0:  # of which JAX makes no `where`
        return jnp.broadcast_to(here.astype(x.dtype), x.shape)
    return jnp.where(here >= 0, x, x)


def _opened(state: OptState) -> OptState:
    return jax.tree.map(lambda x: x[0], state)


def _closed(old: OptState, new: OptState) -> OptState:
    return jax.tree.map(lambda x, y: jnp.broadcast_to(y, x.shape), old, new)


def _stacked(state: OptState, axis_name: Hashable) -> OptState:
    return jax.tree.map(lambda x: _varying(x[None], axis_name), state)


_mesh: contextvars.ContextVar[AnyMesh | None] = contextvars.ContextVar("mesh", default=None)


@contextlib.contextmanager
def on_all_devices(mesh: AnyMesh) -> Iterator[None]:
    """Let the states that are made meanwhile, outside of `shard_map`, have room for all devices of a mesh."""
    token = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(token)


def _first(inner: GradientTransformation, axis_name: Hashable, params: Params) -> OptState:
    mesh, state = _mesh.get(), inner.init(params)
    if mesh is None or axis_name is None:
        return _stacked(state, axis_name)
    names = cast(AxisNames, axis_name)
    check_axes("per_device", "axis_name", names, mesh)
    return jax.tree.map(lambda x: _repeated(x, names, mesh), state)


def _repeated(x: Array, axis_name: AxisNames, mesh: AnyMesh) -> Array:
    """x for each device, split among them; what was split along their axis is not any more."""
    many = jnp.broadcast_to(x[None], (ways(axis_name, mesh.shape), *x.shape))
    typed = jax.typeof(x).sharding
    if AxisType.Explicit not in jax.sharding.get_abstract_mesh().axis_types:
        return many
    taken = names_of(axis_name)
    rest = [tuple(name for name in names_of(entry) if name not in taken) or None for entry in typed.spec]
    return jax.sharding.reshard(many, PartitionSpec(axis_name, *rest))


class PerDeviceState(NamedTuple):
    """The inner state; each array has a first axis for the devices, of which one device sees one element."""

    inner_state: Annotated[Inner, Field(first=_first, through=(_opened, _closed))]


@transform(source="gradxform", example={"inner": trace(0.9), "axis_name": None})
@wrapper(PerDeviceState, scope="elementwise")
def per_device(g, s, p, c, inner: GradientTransformation, axis_name: Hashable):
    """Give each device a state of its own, for a transformation that comes before the devices' gradients are put together.

        u_i, s_i = inner(g_i, s_i)            i the devices along axis_name

    An array of the state that is of shape (n,) on one device is (1, n) here, and (devices, n) outside of `shard_map`, where it is split
    along its first axis: `per_device_specs` makes the specifications. Make the state inside `shard_map` too.

        specs = per_device_specs(jax.eval_shape(tx.init, params), "data")
        state = jax.shard_map(tx.init, mesh=mesh, in_specs=P(), out_specs=specs)(params)

    Args:
      inner: the transformation inside.
      axis_name: the name of the devices' axis, under `shard_map` or `pmap`; a tuple of several.

    >>> tx = gx.chain(gx.distributed.per_device(gx.trace(0.9), "data"), gx.distributed.mean_over("data"), gx.scale_by_learning_rate(0.1))

    State    PerDeviceState(inner_state). Memory: that of inner, on every device.
    Units    those of inner.
    Shapes   those of inner.
    Source   gradxform.
    Differs  no.
    Raises   StructureError: inner is not a transformation.
    """
    u, new = inner.update(g, _opened(s.inner_state), p)
    return u, s._replace(inner_state=_stacked(new, axis_name))


def per_device_specs(state: OptState, axis_name: Hashable) -> Tree:
    """A `PartitionSpec` for each array of a state: split along the first axis inside `per_device`, replicated elsewhere.

    Args:
      state: the state, or its shapes, outside of the devices' axis.
      axis_name: the name of the devices' axis, under `shard_map` or `pmap`; a tuple of several.

    >>> tx = gx.chain(gx.distributed.per_device(gx.trace(0.9), "data"), gx.distributed.mean_over("data"))
    >>> specs = gx.distributed.per_device_specs(jax.eval_shape(tx.init, params), "data")
    """
    split = lambda x: jax.tree.map(lambda _: PartitionSpec(axis_name) if isinstance(x, PerDeviceState) else PartitionSpec(), x)
    return jax.tree.map(split, state, is_leaf=lambda x: isinstance(x, PerDeviceState))
