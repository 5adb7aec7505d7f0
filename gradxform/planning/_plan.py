"""`plan`: what training with an optimizer takes of each device of a mesh, from shapes alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gradxform._types import Params, Tree
from gradxform.core import GradientTransformation
from gradxform.core._transformation import check_transformation
from gradxform.distributed._zero import names_of
from gradxform.planning._advice import advice
from gradxform.planning._asked import Asked
from gradxform.planning._hardware import Hardware, hardware_of
from gradxform.planning._mesh import Devices, axes_of
from gradxform.planning._record import Plan


def plan(
    tx: GradientTransformation,
    params: Params,
    mesh: Devices,
    shardings: Tree | None = None,
    *,
    zero: str | tuple[str, ...] | None = None,
    axes: Mapping[str, str] | None = None,
    hardware: str | Hardware = "H100",
    gathers: int = 2,
) -> Plan:
    """What training with an optimizer takes of each device, and of its time at least: from shapes alone, without a device.

        print(plan(adamw(1e-3), jax.eval_shape(model.init, key, batch), {"data": 16, "fsdp": 8}, specs, zero="data"))

    It prints as tables of 80 columns, and is data as well: `plan(...).state_bytes`. Counted are parameters, gradients and state; what
    travels, as XLA's partitioner has it on a GPU: gradients are reduced, or reduced and scattered where what the step changes is split,
    parameters are gathered, and an update that multiplies matrices gathers what it needs; the products of the update. Not counted are
    activations and the model's own work. What does not fit is said in one sentence, with what would.

    Args:
      tx: the optimizer.
      params: the parameters, or their shapes and dtypes, with shardings or without.
      mesh: a mesh, an abstract one, or the sizes of its axes by name: the last axis runs through neighbouring devices.
      shardings: how the parameters are split: a tree like params of `PartitionSpec` or `NamedSharding`; None: as their own shardings say,
        and those that have none are whole on every device.
      zero: the axes over which the batch is split, a name or a tuple, as in `state_shardings`: the state is split over all of them.
      axes: what the axes of the mesh are for, by name: "data" splits the batch; "fsdp" the batch, and parameters, which are gathered where
        they are used; "tensor" parameters, which stay split; "expert" the batch and what only some tokens use. An axis of one of these
        names need not be listed.
      hardware: the name of a device (`gradxform.planning.HARDWARE`), or a record of one (`gradxform.planning.Hardware`).
      gathers: how often a step gathers a parameter that the batch's axes split: twice where the backward pass does so again, as under
        `jax.checkpoint`, and so for each microbatch.

    >>> shapes = {"w": jax.ShapeDtypeStruct((8192, 8192), jnp.bfloat16)}
    >>> found = gx.plan(gx.adamw(1e-3), shapes, {"data": 8}, zero="data")
    >>> found.parameter_bytes, found.state_bytes, found.binds
    (134217728, 67108868, 'links within a node')

    Returns:
      A `Plan`: `state_bytes`, `fields`, `collectives`, `parts`, `step_seconds`, `binds`, `fits`, `advice`, ...

    Source   ZeRO: arXiv:1910.02054; rings: Thakur et al. 2005, "Optimization of collective communication operations in MPICH".
    Differs  Optax has none.
    Raises   StructureError: tx is not a transformation; `shardings` is not like params; a leaf is split over an axis that the mesh lacks
             or that does not divide it; an axis of no devices. UnknownNameError: hardware of no known name; an axis of the mesh with none
             of the four names that `axes` does not explain; an axis in `axes` or `zero` that the mesh lacks; `spread` names such an axis.
    """
    check_transformation(tx, "plan")
    asked = Asked(tx, params, axes_of(mesh, axes), shardings, names_of(zero), hardware_of(hardware), gathers)
    found = asked.plan()
    return found if found.fits else dataclasses.replace(found, advice=advice(found, asked))
