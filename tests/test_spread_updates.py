"""Matrices dealt out over devices with all of their state: the numbers of one device, what travels, where the state rests."""

import math
from typing import Any, NamedTuple

import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import gradxform as gx

P = PartitionSpec
AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")
by_axis_type = pytest.mark.parametrize("axis_type", [AUTO, EXPLICIT], ids=lambda a: a.name)

MAKERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "soap": (gx.scale_by_soap, {"every": 2}),
    "shampoo": (gx.scale_by_shampoo, {"every": 2, "b2": 0.99, "graft": "adam"}),
    "kl_shampoo": (gx.scale_by_kl_shampoo, {}),
    "kl_soap": (gx.scale_by_kl_soap, {}),
    "psgd_kron": (gx.scale_by_psgd_kron, {"every": 2}),
    "splus": (gx.scale_by_splus, {"every": 2}),
    "asgo": (gx.scale_by_asgo, {"every": 2}),
    "dion": (gx.scale_by_dion, {}),
}
KEPT = {
    "soap": 6,
    "shampoo": 6,
    "kl_shampoo": 5,
    "kl_soap": 6,
    "psgd_kron": 3,
    "splus": 6,
    "asgo": 3,
    "dion": 2,
}  # of a square matrix
READ = {"splus": 1.0}  # parameters, which travel as they are
CLOSE = {"dion": 1e-3}  # a QR of square matrices, at every step
by_maker = pytest.mark.parametrize("name", MAKERS)
ROLES = {"weight_dimension_numbers": "flax"}
SCANNED = {"a": (8, 16, 16), "b": (16, 16, 24)}
SINGLE = {f"w{i}": (16, 16) for i in range(8)}
MIXED = {"few": (3, 16, 16), "uneven": (12, 16, 24), "even": (8, 16, 16), "w": (16, 16)}


def mesh_of(sizes, axis_type):
    devices = np.array(jax.devices()[: math.prod(sizes.values())])
    return Mesh(devices.reshape(tuple(sizes.values())), tuple(sizes), axis_types=(axis_type,) * len(sizes))


def draw(shapes, seed):
    r = np.random.default_rng(seed)
    return {k: jnp.asarray(r.standard_normal(shape), jnp.float32) for k, shape in shapes.items()}


def rows(x):
    """How a leaf is split: by the rows of its matrices."""
    return P(*(None,) * (x.ndim - 2), "fsdp", None) if x.ndim > 1 else P("fsdp" if x.shape[0] % 8 == 0 else None)


def put(tree, mesh, spec=rows):
    return {k: jax.device_put(x, NamedSharding(mesh, spec(x))) for k, x in tree.items()}


def steps(tx, params, state, place=lambda tree: tree, number=5):
    """The last updates, and the state."""
    update, us = jax.jit(lambda g, s, p: tx.update(g, s, p)), None
    for t in range(1, number + 1):
        us, state = update(place(draw({k: x.shape for k, x in params.items()}, t)), state, params)
    return us, state


def assert_close(found, expected, rtol=1e-5, atol=1e-5):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


def compiled(tx, params, state):
    """A step whose results are split as what it is given."""

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    where = jax.tree.map(lambda x: x.sharding, (params, state))
    return jax.jit(step, out_shardings=where).lower(params, state, params).compile()


def travelled(tx, shapes, mesh, spec=rows, **options):
    """The bytes of collectives in a step by kind, as multiples of the float32 bytes of a device's part of the parameters; the step."""
    params = put(draw(shapes, 0), mesh, spec)
    step = compiled(tx, params, gx.init_sharded(tx, params, **options))
    own = sum(4 * math.prod(x.sharding.shard_shape(x.shape)) for x in params.values())
    found: dict[str, float] = {}
    for kind, size in hlo.collectives(step):
        found[kind] = found.get(kind, 0.0) + size / own
    return found, step


# ---- the numbers of one device


@by_maker
@pytest.mark.parametrize("shapes", [SCANNED, MIXED], ids=["scanned", "mixed"])
def test_eight_devices(name, shapes):
    """Over two refreshes; matrices that the devices divide and such as they do not. The state stays where it was made."""
    make, options = MAKERS[name]
    mesh, one, params = mesh_of({"fsdp": 8}, AUTO), make(**ROLES, **options), draw(shapes, 0)
    tx = make(**ROLES, **options, spread="fsdp", wire=None)
    placed = put(params, mesh)
    first = gx.init_sharded(tx, placed)
    found = steps(tx, placed, first, lambda tree: put(tree, mesh))
    assert_close(found, steps(one, params, one.init(params)), 1e-4, CLOSE.get(name, 1e-4))
    for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(found[1]), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)


@pytest.mark.fast
@by_axis_type
@pytest.mark.parametrize("phase", ["all", "spread"])
def test_each_has_its_turn_as_on_one_device(axis_type, phase):
    """Of matrices of two shapes, some of which rest on a device while others only fill it up, the same are refreshed at the same steps."""
    mesh, one, params = mesh_of({"fsdp": 8}, axis_type), gx.scale_by_soap(**ROLES, every=3, phase=phase), draw(MIXED, 0)
    tx, placed = gx.scale_by_soap(**ROLES, every=3, phase=phase, spread="fsdp", wire=None), put(params, mesh)
    found = steps(tx, placed, gx.init_sharded(tx, placed), lambda tree: put(tree, mesh), 7)
    assert_close(found, steps(one, params, one.init(params), number=7))


@pytest.mark.parametrize("name", ["soap", "psgd_kron"])
def test_narrow_gradients_and_updates(name):
    """In bfloat16 they are rounded once each, and nothing else is."""
    make, options = MAKERS[name]
    narrow = lambda tree: jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(x.dtype), tree)
    mesh, one, params = mesh_of({"fsdp": 8}, AUTO), make(**ROLES, **options), draw(SCANNED, 0)
    tx, placed = make(**ROLES, **options, spread="fsdp"), put(params, mesh)
    us, state = steps(tx, placed, gx.init_sharded(tx, placed), lambda tree: put(tree, mesh))
    expected, kept = steps(one, params, one.init(params), narrow)
    assert_close(us, narrow(expected), 2**-7)
    assert_close(state, kept, 1e-4, 1e-4)


WRAPPED = {
    "accumulate": lambda tx: gx.accumulate(tx, 2),
    "store": lambda tx: gx.store(tx, "bfloat16"),
    "masked": lambda tx: gx.masked(tx, {"a": True, "default": False}),
    "partition": lambda tx: gx.partition({"m": tx, "rest": gx.sgd(0.1)}, {"a": "m", "default": "rest"}),
    "apply_if_finite": lambda tx: gx.apply_if_finite(gx.chain(tx, gx.clip_by_global_norm(0.5)), 2),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_inside_others(wrap):
    mesh, params = mesh_of({"fsdp": 8}, AUTO), draw(SCANNED, 0)
    tx, one = (wrap(gx.scale_by_soap(**ROLES, every=2, **more)) for more in ({"spread": "fsdp", "wire": None}, {}))
    placed = put(params, mesh)
    state = gx.init_sharded(tx, placed)
    assert any(spec[0] == "fsdp" for x in jax.tree.leaves(state) if x.ndim == 3 and len(spec := x.sharding.spec))
    found, expected = steps(tx, placed, state, lambda tree: put(tree, mesh)), steps(one, params, one.init(params))
    assert_close(found[0], expected[0], 2e-2 if "store" in repr(tx) else 1e-4, 1e-4)


def test_over_seeds_and_inside_a_scan():
    """The conditional is a select there, as it is on one device."""
    mesh, params = mesh_of({"fsdp": 8}, AUTO), {"a": draw(SCANNED, 0)["a"]}
    tx, one = gx.scale_by_soap(**ROLES, every=2, spread="fsdp", wire=None), gx.scale_by_soap(**ROLES, every=2)
    gs = {"a": jnp.stack([jnp.stack([draw(SCANNED, t)["a"] * (1 + i) for t in range(4)]) for i in range(2)])}
    run = lambda tx, p: lambda gs: jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(p), gs)[1]
    placed = jax.device_put(gs["a"], NamedSharding(mesh, P(None, None, None, "fsdp")))
    assert_close(jax.jit(jax.vmap(run(tx, put(params, mesh))))({"a": placed}), jax.jit(jax.vmap(run(one, params)))(gs), 1e-4, 1e-4)


KINDS = {
    "heads": ({"w": (16, 8, 4)}, {"weight_dimension_numbers": gx.WeightDimensionNumbers(0, 2)}),
    "layers and experts": ({"w": (8, 2, 6, 4)}, {"weight_dimension_numbers": "flax"}),
    "blocks": ({"w": (16, 32)}, {"block_size": 8}),
    "a vector with a basis": ({"w": (16,)}, {"precondition_1d": True}),
    "a tensor": ({"w": (8, 6, 4)}, {}),
}


@by_axis_type
@pytest.mark.parametrize(("shapes", "options"), KINDS.values(), ids=KINDS)
def test_what_leaves_are_made_of(shapes, options, axis_type):
    mesh, params = mesh_of({"fsdp": 8}, axis_type), draw(shapes, 0)
    tx, one = gx.scale_by_soap(**options, every=2, spread="fsdp", wire=None), gx.scale_by_soap(**options, every=2)
    spec = lambda x: P("fsdp", *(None,) * (x.ndim - 1))
    placed = put(params, mesh, spec)
    found = steps(tx, placed, gx.init_sharded(tx, placed), lambda tree: put(tree, mesh, spec), 3)
    assert_close(found, steps(one, params, one.init(params), number=3), 1e-4, 1e-4)


def test_complex_and_un_jitted():
    mesh, params = mesh_of({"fsdp": 8}, AUTO), {k: jax.lax.complex(x, x[::-1]) for k, x in draw(SCANNED, 0).items()}
    for wire, rtol in ((None, 1e-5), (jnp.bfloat16, 2**-6)):
        tx, one = gx.scale_by_asgo(**ROLES, spread="fsdp", wire=wire), gx.scale_by_asgo(**ROLES)
        placed = put(params, mesh)
        found, _ = tx.update(placed, gx.init_sharded(tx, placed))
        assert_close(found, one.update(params, one.init(params))[0], rtol, rtol)


@pytest.mark.parametrize("sizes", [{"fsdp": 1}, {"fsdp": 4}, {"data": 2, "fsdp": 4}], ids=str)
def test_other_meshes(sizes):
    mesh, params = mesh_of(sizes, AUTO), draw(SCANNED, 0)
    tx, one = gx.scale_by_soap(**ROLES, every=2, spread="fsdp", wire=None), gx.scale_by_soap(**ROLES, every=2)
    placed = put(params, mesh)
    found = steps(tx, placed, gx.init_sharded(tx, placed), lambda tree: put(tree, mesh))
    assert_close(found, steps(one, params, one.init(params)), 1e-4, 1e-4)


# ---- what travels


@by_maker
@by_axis_type
def test_layers_in_one_leaf(name, axis_type):
    """Gradients travel there and updates back; the state does not; each kind of matrices has one conditional."""
    make, options = MAKERS[name]
    found, step = travelled(make(**ROLES, **options, spread="fsdp"), SCANNED, mesh_of({"fsdp": 8}, axis_type))
    assert sum(found.values()) <= 1.05 + READ.get(name, 0.0)
    assert set(found) == {"all-to-all"}
    assert step.as_text().count(" conditional(") == (0 if name == "dion" else len(SCANNED))


@by_maker
def test_matrices_that_are_leaves(name):
    """Their state travels too, there and back."""
    make, options = MAKERS[name]
    found, step = travelled(make(**ROLES, **options, spread="fsdp"), SINGLE, mesh_of({"fsdp": 8}, AUTO))
    assert found["all-to-all"] == pytest.approx(1 + 2 * KEPT[name] + READ.get(name, 0.0))
    assert sum(found.values()) - found["all-to-all"] <= 0.1  # numbers for each matrix
    assert step.as_text().count(" conditional(") == (name != "dion")


@by_axis_type
def test_by_two_axes_in_one(axis_type):
    mesh, spec = mesh_of({"fsdp": 4, "tensor": 2}, axis_type), lambda x: P(*(None,) * (x.ndim - 2), "fsdp", "tensor")
    move = lambda shapes: travelled(gx.scale_by_soap(**ROLES, spread=("fsdp", "tensor")), shapes, mesh, spec)[0]
    assert move(SCANNED) == {"all-to-all": pytest.approx(1.0)}
    assert move(SINGLE) == {"all-to-all": pytest.approx(1 + 2 * KEPT["soap"])}


def test_on_a_wide_wire_twice_as_much_travels():
    found, _ = travelled(gx.scale_by_soap(**ROLES, spread="fsdp", wire=None), SCANNED, mesh_of({"fsdp": 8}, AUTO))
    assert found == {"all-to-all": pytest.approx(2.0)}


def test_leaves_of_one_shape_have_one_conditional():
    """Some of them are where their devices are, and some are brought there."""
    shapes = {"a": (8, 16, 16), "b": (16, 16, 16), "few": (3, 16, 16), "w": (16, 16)}
    _, step = travelled(gx.scale_by_soap(**ROLES, phase="spread", spread="fsdp"), shapes, mesh_of({"fsdp": 8}, AUTO))
    assert step.as_text().count(" conditional(") == 1


def test_parameters_that_lie_with_their_state():
    """Where the mesh is explicit, and says so, nothing travels."""
    layers = lambda x: P("fsdp", *(None,) * (x.ndim - 1))
    found, _ = travelled(gx.scale_by_soap(**ROLES, spread="fsdp"), SCANNED, mesh_of({"fsdp": 8}, EXPLICIT), layers)
    assert found == {}


class Planned(NamedTuple):
    """Shapes on a mesh, how their matrices are split, and over what their state is split further."""

    shapes: dict[str, tuple[int, ...]]
    sizes: dict[str, int]
    spread: Any
    matrix: tuple[str | None, str | None] = ("fsdp", None)
    zero: Any = None


PLANNED = {
    "layers": Planned(SCANNED, {"fsdp": 8}, "fsdp"),
    "leaves": Planned(SINGLE, {"fsdp": 8}, "fsdp"),
    "filled up": Planned(MIXED, {"fsdp": 8}, "fsdp"),
    "columns": Planned({"a": (12, 16, 24), "b": (8, 16, 16)}, {"fsdp": 8}, "fsdp", (None, "fsdp")),
    "beside data": Planned(MIXED, {"data": 2, "fsdp": 4}, "fsdp"),
    "two axes": Planned({"a": (8, 16, 16), **SINGLE}, {"fsdp": 4, "tensor": 2}, ("fsdp", "tensor"), ("fsdp", "tensor")),
    "leaves beside tensor": Planned(SINGLE, {"fsdp": 4, "tensor": 2}, "fsdp", ("fsdp", "tensor")),
    "leaves beside tensor, turned": Planned({"w": (16, 16), "v": (16, 24)}, {"fsdp": 4, "tensor": 2}, "fsdp", ("tensor", "fsdp")),
    "leaves that nothing splits": Planned(SINGLE, {"fsdp": 8}, "fsdp", (None, None)),
    "one that nothing splits": Planned({"w": (16, 16)}, {"data": 2, "fsdp": 4}, "fsdp", (None, None)),
    "layers beside an axis that splits nothing": Planned(SCANNED, {"fsdp": 4, "tensor": 2}, ("fsdp", "tensor"), (None, "fsdp")),
    "twelve by two axes": Planned({"a": (12, 16, 24)}, {"fsdp": 4, "tensor": 2}, ("fsdp", "tensor"), ("fsdp", "tensor")),
    "twelve by one of two": Planned({"a": (12, 16, 24)}, {"fsdp": 4, "tensor": 2}, ("fsdp", "tensor"), (None, "fsdp")),
    "zero, layers": Planned(SCANNED, {"data": 2, "fsdp": 4}, "fsdp", zero="data"),
    "zero, leaves": Planned(SINGLE, {"data": 2, "fsdp": 4}, "fsdp", (None, "fsdp"), "data"),
    "zero by both": Planned(SINGLE, {"data": 2, "fsdp": 4}, "fsdp", zero=("data", "fsdp")),
    "zero by the same": Planned(MIXED, {"fsdp": 8}, "fsdp", (None, None), "fsdp"),
    "one of two axes": Planned(SCANNED, {"fsdp": 4, "tensor": 2}, "fsdp", ("fsdp", "tensor")),
}


@pytest.mark.parametrize("case", PLANNED.values(), ids=PLANNED)
@pytest.mark.parametrize("name", ["soap", "shampoo", "psgd_kron"])
def test_as_planned(name, case):
    make, options = MAKERS[name]
    spec = lambda x: P(*(None,) * (x.ndim - 2), *case.matrix)
    mesh, tx = mesh_of(case.sizes, EXPLICIT), make(**ROLES, **options, spread=case.spread)
    found, _ = travelled(tx, case.shapes, mesh, spec, zero=case.zero)
    params = put(draw(case.shapes, 0), mesh, spec)
    plan, own = (
        gx.plan(tx, params, mesh, zero=case.zero),
        sum(4 * math.prod(x.sharding.shard_shape(x.shape)) for x in params.values()),
    )
    planned = sum(c.bytes for c in plan.collectives if c.part in ("update", "new parameters"))
    assert planned / own == pytest.approx(sum(found.values()), rel=0.05)
    local = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    kept = [
        x for x in jax.tree.leaves(gx.init_sharded(tx, params, zero=case.zero)) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    ]
    assert plan.state_bytes == pytest.approx(sum(map(local, kept)), abs=16)


def test_one_shape_split_in_two_ways():
    """XLA brings those that are split otherwise to where the first is, on an explicit mesh; a plan says that it is a lower bound."""
    mesh, params = mesh_of({"fsdp": 4, "tensor": 2}, EXPLICIT), draw(SINGLE, 0)
    places = {k: NamedSharding(mesh, P("fsdp", "tensor") if i % 2 else P("tensor", "fsdp")) for i, k in enumerate(SINGLE)}
    place = lambda tree: jax.tree.map(jax.device_put, tree, places)
    tx, one, placed = gx.scale_by_soap(every=2, spread="fsdp", wire=None), gx.scale_by_soap(every=2), place(params)
    state = gx.init_sharded(tx, placed)
    assert_close(steps(tx, placed, state, place, 3), steps(one, params, one.init(params), number=3), 1e-4, 1e-4)
    moved = sum(size for _, size in hlo.collectives(compiled(tx, placed, state)))
    plan = gx.plan(tx, placed, mesh)
    assert [x.holds for x in plan.assignments] == ["at least"]
    assert plan.assignments[0].bytes < moved < 2 * plan.assignments[0].bytes


@pytest.mark.fast
def test_who_gets_which():
    shapes = {"a": jax.ShapeDtypeStruct((12, 64, 64), jnp.float32), "b": jax.ShapeDtypeStruct((16, 64, 64), jnp.float32)}
    found = gx.plan(gx.scale_by_soap(**ROLES, spread="fsdp"), shapes, {"fsdp": 8}, dict.fromkeys(shapes, P(None, "fsdp")))
    (one,) = found.assignments
    assert one.matrices == ((64, 64, 28),)
    assert one.groups == ((8, (4,), 1 / 8),)
    assert one.busy == pytest.approx(28 / 32)
    assert 0 < one.padded_bytes < one.bytes


# ---- where the state rests


@pytest.mark.fast
@by_axis_type
def test_state_shardings(axis_type):
    mesh = mesh_of({"fsdp": 4, "tensor": 2}, axis_type)
    spec = lambda x: P(*(None,) * (x.ndim - 2), "fsdp", "tensor")
    params = put(draw({"a": (8, 16, 16), "few": (3, 16, 16), "w": (16, 16)}, 0), mesh, spec)
    place = lambda **more: jax.tree.map(lambda x: x.spec, gx.state_shardings(gx.scale_by_soap(**ROLES, **more), params))
    found, without = place(spread="fsdp"), place()
    for x in (found.mu["a"], found.nu["a"], *found.factors["a"], *found.bases["a"]):
        assert x in (P("fsdp"), P("fsdp", None, None))
    assert found.mu["few"] == without.mu["few"] == P(None, "fsdp", "tensor")
    assert without.factors["few"][0] == P(None, "fsdp")
    assert found.factors["w"][1] == P("tensor", "fsdp")  # that of the columns, which fsdp would leave whole
    assert place(spread="nowhere") == without


# ---- errors


@pytest.mark.fast
@by_maker
def test_where_there_is_nothing_to_spread_over(name):
    make, options = MAKERS[name]
    params = {"w": draw(SCANNED, 0)["a"]}
    tx = make(**ROLES, **options, spread="fsdp")
    with pytest.raises(gx.HyperparameterError, match=r"there is none here.*jax\.set_mesh"):
        tx.update(params, tx.init(params), params)
    tx, placed = make(**ROLES, **options, spread="model"), put(params, mesh_of({"fsdp": 8}, AUTO))
    with pytest.raises(gx.HyperparameterError, match="`spread` names 'model', but the axes of the mesh are 'fsdp'"):
        tx.update(placed, tx.init(placed), placed)
    with pytest.raises(gx.UnknownNameError, match="has `spread` 'model', but the mesh has the axes fsdp"):
        gx.plan(tx, params, {"fsdp": 8})


@pytest.mark.fast
def test_inside_shard_map_over_that_axis():
    tx, mesh = gx.scale_by_soap(**ROLES, spread="fsdp"), mesh_of({"fsdp": 8}, AUTO)
    update = lambda w: tx.update(w, tx.init(w))[0]
    with pytest.raises(gx.HyperparameterError, match="inside `shard_map` or `pmap` over that axis"):
        jax.shard_map(update, mesh=mesh, in_specs=P("fsdp"), out_specs=P("fsdp"))(draw(SCANNED, 0)["a"])
