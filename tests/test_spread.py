"""Whole matrices dealt out over devices: who gets which, what travels, and that the numbers are those of one device."""

import math
from typing import Any, NamedTuple

import aot
import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import gradxform as gx
from gradxform.core import _allotment
from gradxform.linear_algebra._newton_schulz import newton_schulz

P = PartitionSpec
eight = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")
by_axis_type = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)


def gpt2(width):
    """The matrices of twelve layers."""
    layer = {"qkv": (width, 3 * width), "proj": (width, width), "fc": (width, 4 * width), "out": (4 * width, width)}
    return {f"{name}{i}": shape for i in range(12) for name, shape in layer.items()}


# ---- who gets which


class Deal(NamedTuple):
    """Shapes, a number of devices; how many times the elements travel, and how busy the devices are."""

    shapes: Any
    devices: int
    times: float
    busy: float


DEALS = {
    "as many as devices": Deal([(64, 96)] * 8, 8, 1.0, 1.0),
    "a shape and its transpose": Deal([(64, 96)] * 4 + [(96, 64)] * 4, 8, 1.0, 1.0),
    "twelve on eight": Deal([(64, 96)] * 12, 8, 4 / 3, 0.75),
    "one on eight": Deal([(64, 96)], 8, 8.0, 1 / 8),
    "GPT-2 on eight": Deal(gpt2(768).values(), 8, 152 / 144, 18 / 19),
    "Llama's, not the largest first": Deal([(1024, 256)] * 16 + [(1024, 1024)] * 16 + [(1024, 3584)] * 8, 8, 1.0, 1.0),
}


@pytest.mark.fast
@pytest.mark.parametrize("deal", DEALS.values(), ids=DEALS)
def test_allotment(deal):
    found = _allotment.of_shapes(list(deal.shapes), deal.devices)
    assert sum(group.devices for group in found.groups) == deal.devices
    for i, kind in enumerate(found.kinds):
        assert kind.number == deal.devices * found.every[i] + sum(group.devices * group.takes[i] for group in found.groups)
    elements = sum(map(math.prod, deal.shapes))
    assert found.travelling * deal.devices == pytest.approx(2 * elements * deal.times)
    assert found.padding == found.travelling * deal.devices - 2 * elements
    assert found.busy == pytest.approx(deal.busy)
    assert sum(group.devices * cost for group, cost in zip(found.groups, found.costs, strict=True)) == pytest.approx(1)


# ---- what travels


class Case(NamedTuple):
    """A mesh, how each matrix is sharded over it, over what matrices are dealt out."""

    mesh: dict[str, int]
    spec: PartitionSpec
    spread: str | tuple[str, ...]


CASES = {
    "rows": Case({"fsdp": 8}, P("fsdp", None), "fsdp"),
    "columns": Case({"fsdp": 8}, P(None, "fsdp"), "fsdp"),
    "rows, beside data": Case({"data": 2, "fsdp": 4}, P("fsdp", None), "fsdp"),
    "columns, beside data": Case({"data": 2, "fsdp": 4}, P(None, "fsdp"), "fsdp"),
    "both": Case({"fsdp": 4, "tensor": 2}, P("fsdp", "tensor"), ("fsdp", "tensor")),
    "both, turned": Case({"fsdp": 4, "tensor": 2}, P("tensor", "fsdp"), ("fsdp", "tensor")),
    "rows by both": Case({"fsdp": 4, "tensor": 2}, P(("fsdp", "tensor"), None), ("fsdp", "tensor")),
    "the smaller axis first": Case({"data": 2, "fsdp": 4}, P("data", "fsdp"), ("data", "fsdp")),
    "columns by three": Case({"data": 2, "fsdp": 2, "tensor": 2}, P(None, ("data", "fsdp", "tensor")), ("data", "fsdp", "tensor")),
}


def draw(shapes, seed):
    r = np.random.default_rng(seed)
    return {k: jnp.asarray(r.standard_normal(shape), jnp.float32) for k, shape in shapes.items()}


def put(tree, mesh, spec):
    return {k: jax.device_put(x, NamedSharding(mesh, P(*spec[: x.ndim]))) for k, x in tree.items()}


def stepper(tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    return step


def travelled(tx, shapes, mesh, spec):
    """Bytes of the results of collectives in a step, as multiples of the float32 bytes of a device's part of the parameters."""
    place = NamedSharding(mesh, spec)
    params = {k: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place) for k, shape in shapes.items()}
    state = jax.eval_shape(tx.init, params)
    everywhere, by_shape = NamedSharding(mesh, P()), {x.shape: place for x in params.values()}
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=by_shape.get(x.shape, everywhere)), state)
    out = (dict.fromkeys(params, place), jax.tree.map(lambda x: x.sharding, state))
    compiled = jax.jit(stepper(tx), out_shardings=out).lower(params, state, params).compile()
    own = sum(4 * math.prod(place.shard_shape(shape)) for shape in shapes.values())
    return sum(size for _, size in hlo.collectives(compiled)) / own, compiled


def mesh_of(sizes, axis_type, devices=None):
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices).reshape(tuple(sizes.values())), tuple(sizes), axis_types=(axis_type,) * len(sizes))


SQUARE = {f"w{i}": (64, 32) for i in range(8)}
TURNED = {f"{k}{i}": shape for i in range(4) for k, shape in {"a": (64, 32), "b": (32, 64)}.items()}


@eight
@pytest.mark.parametrize("shapes", [SQUARE, TURNED], ids=["one shape", "a shape and its transpose"])
@by_axis_type
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matrices_travel_once_there_and_once_back(case, axis_type, shapes):
    """Of the float32 parameters of a device, in bfloat16."""
    found, compiled = travelled(gx.muon(0.1, spread=case.spread), shapes, mesh_of(case.mesh, axis_type), case.spec)
    assert found <= 1.05
    assert {kind for kind, _ in hlo.collectives(compiled)} == {"all-to-all"}


ALIKE = {f"w{i}": ((64, 32), P("fsdp", "tensor")) for i in range(4)}
BESIDE = {  # what other axes shard too: the mesh, and each matrix with how it is sharded
    "alike": ({"fsdp": 4, "tensor": 2}, ALIKE),
    "a shape sharded in two ways": ({"fsdp": 4, "tensor": 2}, {**ALIKE, "x": ((64, 32), P("tensor", "fsdp"))}),
    "left over": ({"fsdp": 4, "tensor": 2}, {"a": ((64, 32), P("fsdp", "tensor")), "b": ((96, 96), P(("tensor", "fsdp")))}),
    "three axes": ({"data": 2, "fsdp": 2, "tensor": 2}, {**ALIKE, "x": ((64, 32), P("tensor", "fsdp"))}),
    "one of them whole": ({"fsdp": 4, "tensor": 2}, {**ALIKE, "x": ((64, 32), P("fsdp")), "y": ((32, 16), P())}),
}


@eight
@pytest.mark.parametrize("case", BESIDE.values(), ids=BESIDE)
def test_what_other_axes_shard_too(case):
    """As many bytes as planned, and the numbers of one device."""
    sizes, leaves = case
    mesh, tx = mesh_of(sizes, AxisType.Explicit), gx.scale_by_muon(spread="fsdp", wire=jnp.float32)
    specs = {k: spec for k, (_, spec) in leaves.items()}
    gs = draw({k: shape for k, (shape, _) in leaves.items()}, 2)
    placed = {k: jax.device_put(g, NamedSharding(mesh, specs[k])) for k, g in gs.items()}
    update = jax.jit(lambda g: tx.update(g, tx.init(g))[0], out_shardings={k: x.sharding for k, x in placed.items()})
    compiled = update.lower(placed).compile()
    planned = sum(c.bytes for c in gx.plan(tx, gs, sizes, specs).collectives if c.part == "update")
    assert sum(n for _, n in hlo.collectives(compiled)) == pytest.approx(planned, rel=0.05)
    assert_close(compiled(placed), gx.scale_by_muon().update(gs, gx.scale_by_muon().init(gs))[0], 5e-6)


@eight
@pytest.mark.parametrize("spec", [P(), P("fsdp"), P(None, "tensor"), P("data", "fsdp")], ids=str)
def test_what_is_gathered_at_home_travels_as_narrow(spec):
    """Where an axis that is crossed shards nothing: as many bytes as planned."""
    sizes, tx = {"data": 2, "fsdp": 2, "tensor": 2}, gx.muon(0.1, spread=("fsdp", "tensor"))
    mesh = mesh_of(sizes, AxisType.Explicit)
    found, _ = travelled(tx, SQUARE, mesh, spec)
    params = {k: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec)) for k, shape in SQUARE.items()}
    plan = gx.plan(tx, params, mesh)
    assert found * plan.parameter_bytes == pytest.approx(sum(c.bytes for c in plan.collectives if c.part == "update"), rel=0.05)


class Planned(NamedTuple):
    """Leaves on a mesh, how they are split, over what matrices are dealt out and the state is split further; where a plan holds."""

    shapes: dict[str, tuple[int, ...]]
    mesh: dict[str, int]
    spec: PartitionSpec
    spread: str | tuple[str, ...]
    zero: str | tuple[str, ...] | None = None
    holds: str = "explicit axes"


TWELVE, ONE = {"a": (12, 64, 32)}, {"w": (64, 32)}
TWO, BESIDE_DATA = {"fsdp": 4, "tensor": 2}, {"data": 2, "fsdp": 4}
PLANNED = {
    "leaves": Planned(SQUARE, {"fsdp": 8}, P("fsdp"), "fsdp", holds="any mesh"),
    "twelve by two axes": Planned(TWELVE, TWO, P(None, "fsdp", "tensor"), ("fsdp", "tensor"), holds="any mesh"),
    "twelve by one of two": Planned(TWELVE, TWO, P(None, "fsdp"), ("fsdp", "tensor")),
    "one beside tensor": Planned(ONE, TWO, P("fsdp", "tensor"), "fsdp"),
    "one that nothing splits": Planned(ONE, {"fsdp": 8}, P(), "fsdp"),
    "the smaller axis first on one side": Planned(SQUARE, BESIDE_DATA, P(("data", "fsdp")), ("data", "fsdp")),
    "zero": Planned(SQUARE, BESIDE_DATA, P("fsdp"), "fsdp", "data"),
    "zero by both": Planned(SQUARE, BESIDE_DATA, P("fsdp"), ("data", "fsdp"), ("data", "fsdp")),
    "zero of what nothing splits": Planned(SQUARE, BESIDE_DATA, P(), "fsdp", "data"),
    "zero of layers": Planned({"a": (16, 64, 32)}, BESIDE_DATA, P(None, "fsdp"), "fsdp", "data"),
}


@eight
@pytest.mark.parametrize("case", PLANNED.values(), ids=PLANNED)
def test_as_planned(case):
    """A step whose results are split as what it is given moves what is planned; on an automatic mesh where the plan says so."""
    tx = gx.scale_by_muon(spread=case.spread, weight_dimension_numbers=gx.MuonDimensionNumbers(-2, -1))
    for axis_type in (AxisType.Explicit, AxisType.Auto)[: 1 + (case.holds == "any mesh")]:
        params = put(draw(case.shapes, 0), mesh := mesh_of(case.mesh, axis_type), case.spec)
        state = gx.init_sharded(tx, params, zero=case.zero)
        where = jax.tree.map(lambda x: x.sharding, (params, state))
        compiled = jax.jit(stepper(tx), out_shardings=where).lower(params, state, params).compile()
        plan = gx.plan(tx, params, mesh, zero=case.zero)
        assert {one.holds for one in plan.assignments} == {case.holds}
        planned = sum(c.bytes for c in plan.collectives if c.part in ("update", "new parameters"))
        assert sum(n for _, n in hlo.collectives(compiled)) == pytest.approx(planned, rel=0.05)


class Counted(NamedTuple):
    """Leaves that are split along the axis which counts their matrices; how many float32 parameters travel if the mesh is explicit."""

    mesh: dict[str, int]
    spec: PartitionSpec
    spread: str | tuple[str, ...]
    explicit: float
    automatic: float | None = None  # None: XLA finds ways of its own


COUNTED = {
    "by all": Counted({"fsdp": 8}, P("fsdp"), "fsdp", 0.0, 8.0),
    "beside data": Counted({"data": 2, "fsdp": 4}, P("fsdp"), "fsdp", 0.0, 4.0),
    "by two": Counted({"fsdp": 4, "tensor": 2}, P(("fsdp", "tensor")), ("fsdp", "tensor"), 0.0, 10.0),
    "by the first of two": Counted({"fsdp": 4, "tensor": 2}, P("fsdp", None, "tensor"), ("fsdp", "tensor"), 1.0),
    "by the second of two": Counted({"fsdp": 4, "tensor": 2}, P("tensor", "fsdp"), ("fsdp", "tensor"), 1.0),
    "by another": Counted({"fsdp": 4, "tensor": 2}, P("tensor", "fsdp"), "fsdp", 1.0),
    "while another splits columns": Counted({"fsdp": 4, "tensor": 2}, P("fsdp", None, "tensor"), "fsdp", 1.0),
}
LAYERS = {"a": (8, 64, 32), "b": (16, 64, 32), "c": (8, 32, 64)}


@eight
@by_axis_type
@pytest.mark.parametrize("case", COUNTED.values(), ids=COUNTED)
def test_leaves_split_where_they_count_matrices(case, axis_type):
    """Whole matrices stay where they are, as planned, with the numbers of one device; an automatic mesh hides that from the engine."""
    dims, mesh = {"weight_dimension_numbers": gx.MuonDimensionNumbers(-2, -1)}, mesh_of(case.mesh, axis_type)
    tx, place = gx.scale_by_muon(spread=case.spread, **dims), lambda tree: put(tree, mesh, case.spec)
    found, _ = travelled(tx, LAYERS, mesh, case.spec)
    expected = case.explicit if axis_type is AxisType.Explicit else case.automatic
    if expected is not None:
        assert found == pytest.approx(expected, rel=0.05)
        plan = gx.plan(tx, place(draw(LAYERS, 0)), mesh)
        assert found * plan.parameter_bytes == pytest.approx(sum(c.bytes for c in plan.collectives if c.part == "update"), rel=0.05)
    gs, one = draw(LAYERS, 1), gx.scale_by_muon(**dims)
    update = jax.jit(lambda g: tx.update(g, tx.init(g))[0])
    assert_close(update(place(gs)), one.update(gs, one.init(gs))[0], 4e-3)


@eight
@pytest.mark.parametrize("wire", [None, jnp.float32])
def test_on_a_wide_wire_twice_as_much_travels(wire):
    found, _ = travelled(gx.muon(0.1, spread="fsdp", wire=wire), SQUARE, mesh_of({"fsdp": 8}, AxisType.Auto), P("fsdp", None))
    assert found == pytest.approx(2.0, abs=0.05)


@eight
@pytest.mark.parametrize("case", [CASES["rows"], CASES["both"]], ids=["rows", "both"])
def test_what_does_not_divide_is_dealt_out_as_planned(case):
    """Twelve layers: the compiled step moves what the arithmetic says."""
    shapes = gpt2(32)
    found, _ = travelled(gx.muon(0.1, spread=case.spread), shapes, mesh_of(case.mesh, AxisType.Auto), case.spec)
    planned = _allotment.of_shapes(list(shapes.values()), 8)
    elements = sum(map(math.prod, shapes.values()))
    assert found == pytest.approx(2 * planned.travelling / (4 * elements / 8), rel=0.01)
    assert found <= 1.4


@pytest.mark.aot
@pytest.mark.parametrize("case", [CASES["rows"], CASES["columns"], CASES["both"]], ids=["rows", "columns", "both"])
@by_axis_type
def test_on_the_h100(case, axis_type):
    pytest.importorskip("jax_cuda12_plugin")
    shapes = {f"w{i}": (2048, 2048) for i in range(8)}
    mesh = mesh_of(case.mesh, axis_type, aot.h100())
    found, compiled = travelled(gx.muon(0.1, spread=case.spread), shapes, mesh, case.spec)
    assert found <= 1.05
    assert {kind for kind, size in hlo.collectives(compiled) if size > 1024} == {"all-to-all"}


@pytest.mark.aot
@by_axis_type
def test_layers_that_are_split_do_not_travel_on_the_h100(axis_type):
    pytest.importorskip("jax_cuda12_plugin")
    tx = gx.muon(0.1, spread="fsdp", weight_dimension_numbers=gx.MuonDimensionNumbers(-2, -1))
    found, _ = travelled(tx, {"a": (8, 256, 128), "b": (16, 128, 128)}, mesh_of({"fsdp": 8}, axis_type, aot.h100()), P("fsdp"))
    assert found == 0


# ---- the same numbers

SHAPES = {"a": (24, 8), "t": (8, 24), "v": (8,), **{f"w{i}": (16, 8) for i in range(9)}}
MIXED, GRADS = draw(SHAPES, 0), draw(SHAPES, 1)


def two_steps(tx, params, grads):
    state, step = tx.init(params), jax.jit(stepper(tx))
    for _ in range(2):
        params, state = step(params, state, grads)
    return params, state


def assert_close(ours, expected, atol):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=0, atol=atol)


@pytest.fixture(scope="module")
def on_one():
    return two_steps(gx.muon(0.1), MIXED, GRADS)


@eight
@by_axis_type
@pytest.mark.parametrize(("wire", "atol"), [(None, 5e-6), (jnp.bfloat16, 4e-3)], ids=["wide", "bfloat16"])
def test_eight_devices(axis_type, wire, atol, on_one):
    """Two steps of 0.1, with matrices that are left over, of several shapes. In bfloat16 an element is off by 2^-9 of itself."""
    mesh = mesh_of({"fsdp": 8}, axis_type)
    place = lambda tree: put(tree, mesh, P("fsdp", None))
    tx = gx.muon(0.1, spread="fsdp", wire=wire)
    step, params, state = jax.jit(stepper(tx)), place(MIXED), tx.init(place(MIXED))
    for _ in range(2):
        params, state = found = step(params, state, place(GRADS))
    assert step._cache_size() == 1
    assert_close(found, on_one, atol)
    assert all(
        x.sharding.is_equivalent_to(y.sharding, x.ndim) for x, y in zip(found[0].values(), place(MIXED).values(), strict=True)
    )


@eight
@by_axis_type
@pytest.mark.parametrize("make", [gx.normuon, gx.adamuon, gx.dion2, gx.scion])
def test_others_of_the_family(make, axis_type):
    place = lambda tree: put(tree, mesh_of({"fsdp": 8}, axis_type), P("fsdp", None))
    found = two_steps(make(0.1, spread="fsdp", wire=None), place(MIXED), place(GRADS))
    assert_close(found, two_steps(make(0.1), MIXED, GRADS), 2e-5)


@gx.kernels.per_leaf(stack=True, sees="matrix")
def orthogonal(
    g, s, p, c, a: gx.kernels.Real = 3.4445, b: gx.kernels.Real = -4.7750, c_: gx.kernels.Real = 2.0315,
    spread: gx.kernels.SpreadOver = None, wire: gx.kernels.Wire = None,
):  # fmt: skip
    return c.whole(newton_schulz, g, jnp.stack([a, b, c_]), 5), s


@eight
@pytest.mark.fast
def test_the_same_bits():
    """Of the same matrices each device makes what one makes of all. What is computed before, XLA may reassociate with it on one."""
    gs = draw({f"w{i}": (64, 96) for i in range(8)}, 1)
    update = lambda tx, gs: tx.update(gs, tx.init(gs))[0]
    found = update(orthogonal(spread="fsdp"), put(gs, mesh_of({"fsdp": 8}, AxisType.Auto), P("fsdp", None)))
    jax.tree.map(np.testing.assert_array_equal, found, update(orthogonal(), gs))


@eight
@pytest.mark.parametrize("devices", [1, 4])
def test_fewer_devices(devices, on_one):
    mesh = mesh_of({"fsdp": devices}, AxisType.Auto, jax.devices()[:devices])
    place = lambda tree: put(tree, mesh, P("fsdp", None))
    assert_close(two_steps(gx.muon(0.1, spread="fsdp", wire=None), place(MIXED), place(GRADS)), on_one, 5e-6)


WRAPPED = {
    "accumulate": lambda tx: gx.accumulate(tx, 2),
    "store": lambda tx: gx.store(tx, "bfloat16"),
    "chain": lambda tx: gx.chain(gx.clip_by_global_norm(0.5), tx),
    "masked": lambda tx: gx.masked(tx, {"a": True, "default": False}),
    "apply_if_finite": lambda tx: gx.apply_if_finite(tx, 2),
}


@eight
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_inside_others(wrap):
    place = lambda tree: put(tree, mesh_of({"fsdp": 8}, AxisType.Auto), P("fsdp", None))
    found = two_steps(wrap(gx.muon(0.1, spread="fsdp", wire=None)), place(MIXED), place(GRADS))
    expected = two_steps(wrap(gx.muon(0.1)), MIXED, GRADS)
    assert_close(found[0], expected[0], 5e-6)


KINDS = {
    "complex": (lambda x: jax.lax.complex(x, x[::-1]), {}),
    "batches": (lambda x: jnp.stack([x, 2 * x, x + 1]), {"weight_dimension_numbers": gx.MuonDimensionNumbers(1, 2)}),
    "heads": (lambda x: x.reshape(x.shape[0], 4, -1), {"weight_dimension_numbers": gx.MuonDimensionNumbers(0, (1, 2))}),
    "coefficients that are an array": (lambda x: x, {"ns_coeffs": jnp.array([1.5, -0.5, 0.0])}),
    "adaptive": (lambda x: x, {"adaptive": True}),
    "a schedule": (lambda x: x, {"beta": gx.linear_schedule(0.9, 0.95, 3)}),
}


@eight
@pytest.mark.parametrize(("make", "options"), KINDS.values(), ids=KINDS)
def test_un_jitted(make, options):
    gs = {k: make(x) for k, x in GRADS.items() if k in ("a", "t", "w0")}
    placed = put(gs, mesh_of({"fsdp": 8}, AxisType.Auto), P(None, "fsdp", None) if gs["a"].shape[0] == 3 else P("fsdp", None))
    found, expected = (
        tx.update(g, tx.init(g), g)
        for tx, g in ((gx.scale_by_muon(spread="fsdp", wire=None, **options), placed), (gx.scale_by_muon(**options), gs))
    )
    assert_close(found, expected, 1e-4 if "adaptive" in options else 2e-5)


@eight
def test_vmap_over_seeds():
    """A device works on its matrices for all of them."""
    mesh, tx = mesh_of({"fsdp": 8}, AxisType.Auto), gx.scale_by_muon(spread="fsdp", wire=None)
    gs = {k: jnp.stack([x, x[::-1]]) for k, x in GRADS.items() if k != "v"}
    update = lambda tx: jax.jit(jax.vmap(lambda g: tx.update(g, tx.init(g))[0]))
    assert_close(update(tx)(put(gs, mesh, P(None, "fsdp"))), update(gx.scale_by_muon())(gs), 2e-5)


@eight
def test_a_mesh_of_the_context():
    with jax.set_mesh(mesh_of({"fsdp": 8}, AxisType.Auto)):
        found = two_steps(gx.muon(0.1, spread="fsdp", wire=None), MIXED, GRADS)
    assert_close(found, two_steps(gx.muon(0.1), MIXED, GRADS), 5e-6)


@pytest.mark.fast
def test_an_optimizer_says_what_it_was_given():
    assert repr(gx.scale_by_muon(spread="fsdp")).endswith("spread='fsdp')")
    assert gx.muon(0.1, spread="fsdp") != gx.muon(0.1)


# ---- kernels that ask for more


@gx.kernels.per_leaf(stack=True, sees="matrix")
def twice_whole(g, s, p, c, scale: gx.kernels.Real = 2.0, spread: gx.kernels.SpreadOver = None, wire: gx.kernels.Wire = None):
    """Asks twice, for the second time of two matrices."""
    gram = lambda x, k: k * (x @ jnp.swapaxes(x, -1, -2) @ x)
    first = c.whole(gram, g, scale)
    return c.whole(lambda xs: xs[0] + xs[1] @ jnp.swapaxes(xs[1], -1, -2) @ xs[0], (first, g)), s


@eight
def test_a_kernel_asks_twice_and_for_several_matrices():
    mesh = mesh_of({"fsdp": 8}, AxisType.Auto)
    gs = {k: x for k, x in GRADS.items() if k in ("a", "t", "w0", "w1")}
    placed = put(gs, mesh, P("fsdp", None))
    found, _ = twice_whole(spread="fsdp").update(placed, twice_whole().init(placed))
    for k, g in gs.items():
        x = np.asarray(g, np.float64)
        first = 2 * x @ x.T @ x
        np.testing.assert_allclose(np.asarray(found[k]), first + x @ x.T @ first, rtol=1e-5, atol=1e-3)


@eight
@pytest.mark.fast
@pytest.mark.parametrize(
    ("spread", "message"),
    [("model", r"`spread` names 'model', but the axes of the mesh are 'fsdp'"), (("fsdp", "x"), "names 'fsdp', 'x'")],
)
def test_axes_that_the_mesh_has_not(spread, message):
    params = put({"w": MIXED["w0"]}, mesh_of({"fsdp": 8}, AxisType.Auto), P("fsdp", None))
    tx = gx.scale_by_muon(spread=spread)
    with pytest.raises(gx.HyperparameterError, match=message):
        tx.update(params, tx.init(params))


@pytest.mark.fast
def test_without_a_mesh():
    tx = gx.scale_by_muon(spread="fsdp")
    with pytest.raises(gx.HyperparameterError, match=r"there is none here.*jax\.set_mesh"):
        tx.update({"w": MIXED["w0"]}, tx.init({"w": MIXED["w0"]}))
