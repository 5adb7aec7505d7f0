"""A state for each device."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gradxform._types import Array, OptState, Tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._parts import Part
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.registry import transform
from gradxform.transforms import trace


class PerDeviceState(NamedTuple):
    """The inner state; each array has a first axis for the devices, of which one device sees one element."""

    inner_state: OptState


class PerDevice(Spec):
    """The update of `per_device`."""

    def __init__(self, inner: Any, axis_name: Any):
        self.inner, self.axis_name = inner, axis_name
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "per_device"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.axis_name), {}

    def init(self, params: Any) -> PerDeviceState:
        return PerDeviceState(jax.tree.map(lambda x: _varying(x[None], self.axis_name), self.inner.init(params)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        mine = jax.tree.map(lambda x: x[0], state.inner_state)
        updates, new = self.inner.update(updates, mine, params, **extra_args_for(self.inner.update, extra))
        return updates, state._replace(inner_state=jax.tree.map(lambda x: _varying(x[None], self.axis_name), new))

    def parts(self, state: Any) -> list[Part]:
        return [Part("", self.inner, jax.tree.map(lambda x: x[0], state.inner_state))]

    def joined(self, state: Any, parts: Sequence[Part]) -> tuple[Spec, Any]:
        same = lambda old, new: jnp.broadcast_to(new, old.shape)
        spec = self if parts[0].tx is self.inner else PerDevice(parts[0].tx, self.axis_name)
        return spec, state._replace(inner_state=jax.tree.map(same, state.inner_state, parts[0].state))


def _varying(x: Array, axis_name: Hashable) -> Array:
    """x as something that `shard_map` takes to differ along a mapped axis; outside of any as it is."""
    if axis_name is None:
        return x
    try:
        here = jax.lax.axis_index(axis_name)
    except NameError:
        return x
    return jnp.where(here >= 0, x, x)


@transform(source="gradxform", example={"inner": trace(0.9), "axis_name": None})
def per_device(inner: GradientTransformation, axis_name: Hashable) -> GradientTransformationExtraArgs:
    """Give each device a state of its own, for a transformation that comes before the devices' gradients are put together.

        u_i, s_i = inner(g_i, s_i)            i the devices along axis_name

    An array of the state that is of shape (n,) on one device is (1, n) here, and (devices, n) outside of `shard_map`, where it is split
    along its first axis: `per_device_specs` makes the specifications. Make the state inside `shard_map` too.

        specs = per_device_specs(jax.eval_shape(tx.init, params), "data")
        state = jax.shard_map(tx.init, mesh=mesh, in_specs=P(), out_specs=specs)(params)

    State    PerDeviceState(inner_state). Memory: that of inner, on every device.
    Units    those of inner.
    Shapes   those of inner.
    Source   gradxform.
    Differs  no.
    Raises   StructureError: inner is not a transformation.
    """
    check_transformation(inner, "per_device")
    return transformation(PerDevice(inner, axis_name))


def per_device_specs(state: OptState, axis_name: Hashable) -> Tree:
    """A `PartitionSpec` for each array of a state: split along the first axis inside `per_device`, replicated elsewhere."""
    split = lambda x: jax.tree.map(lambda _: PartitionSpec(axis_name) if isinstance(x, PerDeviceState) else PartitionSpec(), x)
    return jax.tree.map(split, state, is_leaf=lambda x: isinstance(x, PerDeviceState))
