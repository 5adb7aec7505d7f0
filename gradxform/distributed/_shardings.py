"""Where the arrays of a state live, which follows from where the parameters do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.core
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from gradxform._errors import StructureError
from gradxform._messages import brief
from gradxform._types import Array, DType, OptState, Params, Tree
from gradxform.core import GradientTransformation
from gradxform.core._holes import dtype_of, is_gap, with_path
from gradxform.core._transformation import check_transformation
from gradxform.distributed._derived import Derivation, Shaped, spec_of
from gradxform.distributed._per_device import on_all_devices
from gradxform.distributed._placement import Placement, in_memory
from gradxform.distributed._zero import AnyMesh, AxisNames, axes_in, check_axes, is_left_whole, ways, zero_spec

Where = Sharding | PartitionSpec | None


class Leaf(NamedTuple):
    """A parameter: its path, itself, how it is split; None where it is no array."""

    path: str
    x: Tree
    spec: PartitionSpec | None

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.x)

    @property
    def dtype(self) -> DType:
        """As JAX takes it: of NumPy's numbers of 64 bits, those of 32 where it has no others."""
        dtype = dtype_of(self.x)
        return dtype if isinstance(self.x, (jax.Array, Shaped)) else jax.dtypes.canonicalize_dtype(dtype)


def located(owner: str, params: Params, shardings: Tree) -> tuple[AnyMesh, list[Leaf]]:
    """The mesh, and every leaf with how it is split: as `shardings` says, else as the leaf itself does."""
    leaves = [(path or "(root)", x) for path, x in with_path(params)]
    given = [None] * len(leaves) if shardings is None else _spread(owner, shardings, params)
    own = [getattr(x, "sharding", None) for _, x in leaves]
    where = [theirs if said is None else said for said, theirs in zip(given, own, strict=True)]
    meshes = [
        [(path, s.mesh) for (path, _), s in zip(leaves, x, strict=True) if isinstance(s, NamedSharding)] for x in (where, own)
    ]
    mesh = _mesh(owner, meshes[0] or meshes[1], [path for path, _ in leaves])
    return mesh, [Leaf(path, x, _spec(owner, path, x, s, mesh)) for (path, x), s in zip(leaves, where, strict=True)]


def _spread(owner: str, shardings: Tree, params: Params) -> list[Where]:
    """What `shardings` says of each leaf, or of a part of the tree that it is in."""
    is_one = lambda x: x is None or isinstance(x, (Sharding, PartitionSpec))
    given, used, found = dict(with_path(shardings, is_leaf=is_one)), set(), []
    for path, x in with_path(params, is_leaf=is_gap):
        part = path
        while part and part not in given:
            part = part.rpartition("/")[0]
        said = given.get(part, owner)
        used.add(part)
        if is_gap(x):
            continue
        if not is_one(said):
            raise StructureError(
                f"{owner}: `shardings` has {'nothing' if said is owner else brief(said)} for `{path or '(root)'}`. Give a "
                "`NamedSharding` or a `PartitionSpec` for each parameter, or one for all in a part of the tree."
            )
        found.append(said)
    strange = next((part for part in given if part not in used), None)
    if strange is not None:
        raise StructureError(
            f"{owner}: `shardings` has `{strange}`, where there is no parameter. Take it away, or give its parameter."
        )
    return found


def _mesh(owner: str, found: Sequence[tuple[str, AnyMesh]], paths: Sequence[str]) -> AnyMesh:
    """The one that all are on; what is abstract is on the one that is set, if it has the same axes."""
    around = _around()
    known = [*found, *([] if around.empty else [("", around)])]
    if not known:
        raise StructureError(
            f"{owner}: nothing says on which mesh {brief(list(paths))} are. Give `shardings`, a tree of `NamedSharding`, or one for all: "
            "`NamedSharding(mesh, PartitionSpec())` where each device has them whole."
        )
    first, mesh = known[0]
    for path, other in found:
        real = [m for m in (mesh, other) if isinstance(m, Mesh)]
        if mesh.shape != other.shape or (len(real) == 2 and real[0].devices.tolist() != real[1].devices.tolist()):
            raise StructureError(
                f"{owner}: `{first}` is on a mesh of {_axes(mesh)}, and `{path}` on another, of {_axes(other)}. Derive the state of the "
                "parameters of each mesh by itself, with an optimizer of its own."
            )
    return next((m for _, m in known if isinstance(m, Mesh) and m.shape == mesh.shape), mesh)


def _around() -> AnyMesh:
    """The mesh that is set; an empty one if none is."""
    if hasattr(jax.sharding, "get_mesh"):  # since JAX 0.9
        return jax.sharding.get_mesh()
    abstract = jax.sharding.get_abstract_mesh()
    return abstract if abstract.empty else jax.device_put(np.zeros([]), PartitionSpec()).sharding.mesh


def _axes(mesh: AnyMesh) -> str:
    devices = f" on devices {[d.id for d in mesh.devices.flat]}" if isinstance(mesh, Mesh) else ""
    return f"{dict(mesh.shape)}{devices}"[:200]


def _spec(owner: str, path: str, x: Tree, where: Where, mesh: AnyMesh) -> PartitionSpec | None:
    """How a leaf is split, which it must be possible to split so."""
    if not (hasattr(x, "shape") and hasattr(x, "dtype")) and not isinstance(x, (bool, int, float, complex)):
        return None
    shape = np.shape(x)
    spec = where.spec if isinstance(where, NamedSharding) else where
    if not isinstance(spec, PartitionSpec):
        if not shape:
            return PartitionSpec()  # a number is whole everywhere
        raise StructureError(
            f"{owner}: nothing says how `{path}` of shape {shape} is split: its sharding is {brief(where)}. Give `shardings`, where "
            "`PartitionSpec()` means that each device has it whole."
        )
    for name in axes_in(spec):
        check_axes(owner, f"shardings` for `{path}", name, mesh)
    parts = [ways(entry, mesh.shape) for entry in spec]
    if len(parts) > len(shape) or any(n % k for n, k in zip(shape, parts, strict=False)):
        raise StructureError(
            f"{owner}: `{path}` has shape {shape}, which {spec} does not divide on a mesh of {_axes(mesh)}. Leave None in the place of "
            "an axis that is to be whole."
        )
    return spec


def state_shardings(
    tx: GradientTransformation,
    params: Params,
    shardings: Tree = None,
    *,
    zero: AxisNames | None = None,
    placement: Placement | None = None,
) -> OptState:
    """Where each array of a state is to be, as it follows from where the parameters are.

        state = jit(tx.init, out_shardings=state_shardings(tx, params))(params)

    Nothing is computed: shapes will do, of a model that fits on no device. What is like a parameter is split as that is; of a mean over
    an axis the others are; what has axes of its own is whole along them; counts, keys and seeds are whole everywhere; a state inside
    `per_device` is split along its first axis. So it is whatever the types of the mesh's axes are, for transformations of Optax too:
    `init` is traced with JAX's types that tell shardings, and what these cannot tell is split as the state's fields are declared to be,
    as far as the devices divide it. What another library makes without looking at a parameter, as Optax the memory of L-BFGS, is whole.

    With `spread` an optimizer of matrices that keep others in their state has its devices along the axis that counts the matrices of a
    leaf, if they divide it, and along no other; that is where it computes. What is kept for each axis of other leaves is split, too.

    `zero="data"` is ZeRO-1: the state alone is split further along that axis, of devices that hold the same parameters. Give it to the
    step, where XLA finds out what is to be sent: each device gets its part of the gradients, and the parameters are gathered. Name all
    axes that the batch is split over, and none that it is not: where "fsdp" splits parameters too, `zero=("data", "fsdp")` adds "data" to
    the axis of a leaf that "fsdp" splits, since gradients are reduced and scattered in one along one axis only; with "data" alone, which
    leaves it open whether "fsdp" is an axis of the batch or splits matrices as "tensor" does, they are reduced whole.

        where = jax.tree.map(lambda p: p.sharding, params)
        state_where = state_shardings(tx, params, zero="data")
        step = jax.jit(step, in_shardings=(where, state_where, None), out_shardings=(where, state_where), donate_argnums=(0, 1))

    What these axes do not divide is split over as many of them as do, or stays as it is, and so do vectors of means over rows or
    columns, which weigh nothing. Where the mesh's axes are explicit, the step says nothing of it either: `update` brings what it
    reads to where the state is, and the updates to where the gradients came from. Gradients that are split as the state is make
    updates that are.

    `placement="pinned_host"` leaves the fields that have something for each parameter, or those that are named, in the memory of the
    host. An array says where it lies, so `update` needs not be told: it fetches what it reads of one leaf, and puts the new back before it
    fetches the next, so that the device has room for a leaf or two. Give the step these shardings as above. What wrappers keep themselves
    is fetched so, too, and the memory of L-BFGS, pair by pair. What an optimizer sums over the leaves first, as Prodigy does, is read
    twice. On the device together is what is needed together: all matrices of one shape, or with `spread` all. Updates that the branches
    of a condition make (`accumulate`, `outer`, `sam`) are there together, though what they are made of is not; a GPU copies what a branch
    returns, so that the host keeps that part of the state twice. Of `mechanize` a TPU's compiler fetches the first parameters ahead.

    Args:
      tx: the optimizer, ours or of another library.
      params: the parameters, or their shapes and dtypes, with shardings.
      shardings: where the parameters are to be, if not where they say: a `NamedSharding` or `PartitionSpec` each, or one for a part
        of the tree.
      zero: the axes of the mesh that split the batch, a name or a tuple, over all of which the state is split; None: as the parameters.
      placement: "pinned_host", or a dictionary of that by names of fields, `{"mu": "pinned_host"}`; None: all is on the devices, as are
        numbers, seeds and what is inside `per_device` in any case.

    >>> mesh = jax.sharding.AbstractMesh((2,), ("data",))
    >>> shape = jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=jax.NamedSharding(mesh, jax.P()))
    >>> tuple(gx.state_shardings(gx.sgd(0.1, momentum=0.9), shape, zero="data")[0].trace.spec)
    ('data',)

    Returns:
      A tree like the state, with a `NamedSharding` for each array.

    Source   Rajbhandari et al. 2020, arXiv:1910.02054, of ZeRO-1.
    Differs  Optax has none; there `tree_map_params` gives what has the parameters' tree their shardings, whatever its axes are.
    Raises   StructureError: tx is not a transformation; nothing says where a parameter is; parameters are on several meshes; shardings
             is not laid out like the parameters; a sharding does not divide its parameter; the mesh has no axis of that name; no
             field has the name that placement gives, or the devices cannot keep it there.
    """
    check_transformation(tx, "state_shardings")
    mesh, leaves = located("state_shardings", params, shardings)
    return _derived("state_shardings", tx, params, mesh, leaves, zero, placement)


def leaves_left_whole(params: Params, shardings: Tree = None, *, zero: AxisNames) -> list[str]:
    """Paths of the parameters whose state is not split further along `zero`, since it divides no axis of theirs."""
    mesh, leaves = located("leaves_left_whole", params, shardings)
    check_axes("leaves_left_whole", "zero", zero, mesh)
    return [x.path for x in leaves if x.spec is not None and is_left_whole(x.spec, x.shape, mesh, zero)]


def _derived(
    owner: str,
    tx: GradientTransformation,
    params: Params,
    mesh: AnyMesh,
    leaves: Sequence[Leaf],
    zero: AxisNames | None,
    placement: Placement | None,
) -> OptState:
    if zero is not None:
        check_axes(owner, "zero", zero, mesh)
        leaves = [
            leaf._replace(spec=None if leaf.spec is None else zero_spec(leaf.spec, leaf.shape, mesh, zero)) for leaf in leaves
        ]
    derivation = Derivation(mesh, zero)
    typed = [leaf.x if leaf.spec is None else derivation.split(Shaped(leaf.shape, leaf.dtype), leaf.spec) for leaf in leaves]
    state = derivation.state(tx, jax.tree.structure(params).unflatten(typed))
    if zero is not None:
        state = jax.tree.map(lambda x: derivation.further(x, zero), state)
    state = state if placement is None else in_memory(owner, tx, state, placement, mesh)
    written = {(x.ndim, spec_of(x)): leaf.spec for leaf, x in zip(leaves, typed, strict=True) if leaf.spec is not None}
    spec = lambda x: written.get((x.ndim, spec_of(x)), spec_of(x))
    return jax.tree.map(lambda x: NamedSharding(mesh, spec(x), memory_kind=getattr(x.sharding, "memory_kind", None)), state)


def init_sharded(
    tx: GradientTransformation,
    params: Params,
    shardings: Tree = None,
    *,
    zero: AxisNames | None = None,
    placement: Placement | None = None,
) -> OptState:
    """Make the first state where it is to be, so that no device ever holds the whole of it.

        init_sharded(tx, params) = jit(tx.init, out_shardings=state_shardings(tx, params))(params)

    Plain `jit(tx.init)` leaves it to XLA where the state is: the zeros of a moment depend on no parameter, so they are whole on every
    device. A state inside `per_device` gets room for each device of its axis.

    Args:
      tx: the optimizer, ours or of another library.
      params: the parameters; what is not where `shardings` says is sent there.
      shardings: where the parameters are to be, if not where they say: a `NamedSharding` or `PartitionSpec` each, or one for a part
        of the tree.
      zero: the axes of the mesh that split the batch, a name or a tuple, over all of which the state is split; None: as the parameters.
      placement: "pinned_host", or a dictionary of that by names of fields, `{"mu": "pinned_host"}`; None: all is on the devices, as are
        numbers, seeds and what is inside `per_device` in any case.

    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> where = jax.NamedSharding(mesh, jax.P())
    >>> state = gx.init_sharded(gx.adam(1e-3), params, where, zero="data")

    Returns:
      The state that `tx.init` makes, bit for bit but for sums over split axes.

    Source   as `state_shardings`.
    Differs  Optax has none.
    Raises   StructureError: as `state_shardings`; the mesh has no devices.
    """
    check_transformation(tx, "init_sharded")
    mesh, leaves = located("init_sharded", params, shardings)
    if not isinstance(mesh, Mesh):
        raise StructureError(
            "init_sharded: the mesh has no devices. Give `shardings` on a mesh of devices, or enter `jax.set_mesh(mesh)`."
        )
    final = _derived("init_sharded", tx, params, mesh, leaves, zero, placement)
    automatic = (AxisType.Auto,) * len(mesh.axis_names)  # JAX cannot type every `init`
    free = mesh if mesh.axis_types == automatic else Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
    put = lambda x, spec: jax.device_put(x, NamedSharding(free, spec))
    arrays = {i: put(leaf.x, leaf.spec) for i, leaf in enumerate(leaves) if leaf.spec is not None}

    def init(arrays: dict[int, Array]) -> OptState:
        with on_all_devices(mesh):
            return tx.init(jax.tree.structure(params).unflatten([arrays.get(i, leaf.x) for i, leaf in enumerate(leaves)]))

    with jax.sharding.use_abstract_mesh(free.abstract_mesh):
        out = jax.tree.map(lambda s: NamedSharding(free, s.spec, memory_kind=s.memory_kind), final)
        state = jax.jit(init, out_shardings=out)(arrays)
    return state if free is mesh else jax.device_put(state, final)
