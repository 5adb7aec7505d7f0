"""Where state lives: the shardings that are derived, against what the fields are declared to be."""

import functools
from typing import Any, NamedTuple

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import gradxform as gx
from gradxform.core._first import axes_of
from gradxform.core._stage import Stage
from gradxform.core._transformation import Init
from gradxform.distributed import _derived
from gradxform.distributed._zero import zero_spec
from gradxform.kernels import Axes, entry
from gradxform.tree._leafwise import is_encoded, is_gap

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")

SHAPES = {"w": (64, 32), "e": (3, 16, 8), "b": (128,), "odd": (7, 6), "s": ()}
MESHES = {
    "4 x 2": (
        {"fsdp": 4, "tp": 2},
        {"w": P("fsdp", "tp"), "e": P(None, "tp", "fsdp"), "b": P(("fsdp", "tp")), "odd": P(None, "tp")},
    ),
    "1-d": ({"fsdp": 8}, {"w": P(None, "fsdp"), "e": P(None, "fsdp"), "b": P("fsdp"), "odd": P()}),
    "odd": ({"seven": 7, "three": 3}, {"w": P(), "e": P("three"), "b": P(), "odd": P("seven", "three")}),
}
by_mesh = pytest.mark.parametrize("mesh", MESHES)
by_axis_type = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)


def abstract(mesh, dtype=jnp.float32):
    """Shapes on a mesh that needs no devices."""
    sizes, specs = MESHES[mesh]
    devices = AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
    where = lambda name: NamedSharding(devices, specs.get(name, P()))
    return {name: jax.ShapeDtypeStruct(shape, dtype, sharding=where(name)) for name, shape in SHAPES.items()}


def of_devices(sizes, axis_type=AxisType.Auto):
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(axis_type,) * len(sizes))


def place(axis_type, mesh="4 x 2", dtype=jnp.float32):
    """Arrays on devices."""
    sizes, specs = MESHES[mesh]
    devices, rng = of_devices(sizes, axis_type), np.random.default_rng(0)
    put = lambda name, x: jax.device_put(jnp.asarray(x, dtype), NamedSharding(devices, specs.get(name, P())))
    return {name: put(name, rng.normal(size=shape)) for name, shape in SHAPES.items()}


def canonical(spec):
    """The axes of the mesh at each axis, without whole ones at the end."""
    found = [() if e is None else (e,) if isinstance(e, str) else tuple(e) for e in spec]
    while found and not found[-1]:
        found.pop()
    return found


# ---- the law: what a field is declared to be


def along(p, axes, x):
    """What an array is to be whose axes are these of the parameter's."""
    sizes = p.sharding.mesh.shape
    theirs = canonical(p.sharding.spec) + [()] * p.ndim
    split = [() if axis is None or axis in axes[:i] else theirs[axis] for i, axis in enumerate(axes)]
    cut = [names if n % np.prod([sizes[i] for i in names], initial=1) == 0 else () for names, n in zip(split, x.shape, strict=True)]
    return canonical(cut)


def declared(stage, field, p, x):
    """(what it is to be) for each array of an entry of a leaf field."""
    own = Axes(*range(p.ndim))
    if is_encoded(x):  # codes as the parameter, blocks cut to what divides, seeds and limits whole
        return [along(p, own if y.ndim == p.ndim else (None,) * y.ndim, y) for y in x]
    axes = axes_of(stage, field, p.shape)
    if axes is None:
        return [along(p, own, x)]
    each = jax.tree.leaves(axes, is_leaf=lambda a: isinstance(a, Axes))
    return [along(p, a, y) for a, y in zip(each, jax.tree.leaves(x), strict=True)]


def law(tx, params, state, got):
    """Pairs of (what it is to be, what it is) for every array of a state."""
    spec = tx.update
    if isinstance(spec, Stage) and spec.layout.cls is not None:
        layout = spec.layout
        shapes, where = layout.read(state, ""), layout.read(got, "")
        leaves, treedef = jax.tree.flatten(params, is_leaf=is_gap)
        for name, field in layout.fields.items():
            values = [getattr(x, name, None) for x in (shapes, where)]
            if field.kind == "leaf" and values[0] is not None:
                for p, x, y in zip(leaves, *map(treedef.flatten_up_to, values), strict=True):
                    if not (is_gap(p) or is_gap(x)):
                        yield from zip(declared(spec, field, p, x), [canonical(z.spec) for z in jax.tree.leaves(y)], strict=True)
            elif field.kind != "inner":
                yield from (([], canonical(y.spec)) for y in jax.tree.leaves(values[1]))
    parts, places = spec.parts(state), spec.parts(got)
    for part, place, seen in zip(parts, places, spec.seen(params, len(parts)), strict=True):
        yield from law(part.tx, seen, part.state, place.state)


def check_law(tx, params):
    got = gx.state_shardings(tx, params)
    state = jax.eval_shape(tx.init, jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params))
    assert jax.tree.structure(got) == jax.tree.structure(state)
    pairs = list(law(tx, params, state, got))
    assert len(pairs) == len(jax.tree.leaves(got))
    assert [pair for pair in pairs if pair[0] != pair[1]] == []


OWN_AXES = {
    "galore",
    "scale_by_galore",
    "per_device",
}  # a space that the gradients span, an axis for devices: these have their tests
REGISTERED = sorted({*gx.names(kind="*"), *gx.names("*.*")} - OWN_AXES)


def taken(name, params):
    """The leaves that one of that name takes."""
    ndim = entry(name).ndim if name in REGISTERED else None
    return {n: p for n, p in params.items() if ndim in (None, p.ndim)}


@by_mesh
def test_every_registered_one_obeys_the_law(mesh):
    for name in REGISTERED:
        check_law(entry(name)(), taken(name, abstract(mesh)))


def labels(tree):
    return {name: "a" if name in "wbs" else "b" for name in tree}


def each(tx, **names):
    return gx.partition({"a": tx, "b": gx.sm3(0.1)}, labels)


STORAGES = ["8bit", "16bit", "torchao:8bit", "torchao:fp8", "bitsandbytes:8bit", "flash:8bit"]
FACTORED = functools.partial(gx.adafactor, 0.1, min_dim_size_to_factor=2)
COMPOSED = {
    **{f"store {name}": gx.store(gx.adamw(0.1), name) for name in STORAGES},
    "store by field": gx.store(gx.adam(0.1), {"mu": "bfloat16", "nu": "float8"}),
    "clip, store": gx.chain(gx.clip_by_global_norm(1.0), gx.store(gx.muon(0.1), "16bit")),
    "store in partition": each(gx.store(gx.adam(0.1), "8bit")),
    "master_weights": gx.master_weights(gx.store(gx.adam(0.1), "8bit")),
    "master_weights 16": gx.master_weights(gx.adam(0.1), bits=16),
    "accumulate": gx.accumulate(FACTORED(), 4),
    "MultiSteps": gx.MultiSteps(gx.sm3(0.1), 4),
    "schedule_free": gx.schedule_free(gx.sgd(0.1), 0.1),
    "partition": each(FACTORED()),
    "masked": gx.masked(FACTORED(), gx.by_ndim(2)),
    "named_chain": gx.named_chain(("first", gx.adam(0.1)), ("then", gx.trace(0.9))),
    "inject_hyperparams": gx.inject_hyperparams(gx.adamw)(0.1),
    "apply_if_finite": gx.apply_if_finite(gx.lbfgs(0.1), 3),
    "lookahead": gx.lookahead(gx.adam(0.1), 3, 0.5),
    "monitor": gx.chain(gx.monitor({"norm": gx.tree.norm}), gx.novograd(0.1)),
    "mu_dtype": gx.adam(gx.cosine_decay_schedule(0.1, 10), mu_dtype=jnp.bfloat16),
    "reduce_on_plateau": gx.chain(gx.adam(0.1), gx.reduce_on_plateau()),
    "noise": gx.noisy_sgd(0.1, key=0),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_what_is_composed_obeys_the_law(name):
    tx = COMPOSED[name]
    for mesh in MESHES:
        check_law(tx, abstract(mesh, jnp.bfloat16 if "16" in name else jnp.float32))


@pytest.mark.parametrize("part", range(2))
def test_under_zero_the_law_is_that_of_parameters_that_are_split_further(part):
    """What has several axes and is whole all the same is split by itself."""
    params = abstract("4 x 2")
    mesh = params["w"].sharding.mesh
    whole = {name: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=NamedSharding(mesh, P())) for name, p in params.items()}
    further = lambda p: NamedSharding(mesh, zero_spec(P(), p.shape, mesh, "fsdp"))
    split = {name: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=further(p)) for name, p in whole.items()}
    everything = {**{name: entry(name)() for name in REGISTERED}, **COMPOSED}
    for name in list(everything)[part::2]:
        tx = everything[name]
        got = gx.state_shardings(tx, taken(name, whole), zero="fsdp")
        state = jax.eval_shape(tx.init, jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), taken(name, params)))
        pairs = list(law(tx, taken(name, split), state, got))
        assert len(pairs) == len(jax.tree.leaves(got))
        different = [pair for pair in pairs if pair[0] != pair[1]]
        assert all(not was and is_now.count(("fsdp",)) == 1 for was, is_now in different), name


@pytest.fixture
def no_rules(monkeypatch):
    """JAX as if it could type no `init`."""
    typed = _derived.Derivation.typed

    def refused(self, f, *args):
        if isinstance(f, Init) and any(x.sharding for x in jax.tree.leaves(args)):
            raise TypeError("JAX has no rule for it")
        return typed(self, f, *args)

    monkeypatch.setattr(_derived.Derivation, "typed", refused)


@by_mesh
def test_what_is_declared_is_enough_where_jax_has_no_rule(no_rules, mesh):
    for name in REGISTERED:
        check_law(entry(name)(), taken(name, abstract(mesh)))
    for name, tx in COMPOSED.items():
        check_law(tx, abstract(mesh, jnp.bfloat16 if "16" in name else jnp.float32))


def specs_of(tree):
    return {jax.tree_util.keystr(path): canonical(x.spec) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


# ---- transformations of Optax

OPTAX = ("adamw", "lamb", "lion", "novograd", "radam", "amsgrad", "rmsprop", "adagrad", "yogi", "adadelta")


def both(optax, make, mesh):
    """What a call makes of Optax's functions, and of ours."""
    params = {name: p for name, p in abstract(mesh).items() if p.ndim}  # Optax's sm3 has nothing for a number
    return [specs_of(gx.state_shardings(make(room), params)) for room in (optax, gx)]


@by_mesh
def test_those_of_optax_are_split_as_ours(mesh):
    optax = pytest.importorskip("optax")
    for name in OPTAX:
        theirs, ours = both(optax, lambda room, name=name: getattr(room, name)(0.1), mesh)
        assert any(ours.values()) or mesh == "odd"
        assert list(theirs.values()) == list(ours.values()), name
    chosen = {name: name != "b" for name in SHAPES if SHAPES[name]}
    theirs, ours = both(
        optax, lambda room: room.chain(room.clip_by_global_norm(1.0), room.masked(room.adafactor(0.1), chosen)), mesh
    )
    assert theirs == ours
    theirs, ours = both(optax, lambda room: gx.chain(room.clip_by_global_norm(1.0), room.scale_by_adam(), gx.scale(-0.1)), mesh)
    assert theirs == ours


@pytest.mark.skipif(
    jax.__version_info__ < (0, 10, 2), reason="this JAX's zeros_like, by which Optax makes them, loses how a shape is split"
)
@by_mesh
def test_what_optax_keeps_of_single_axes_is_split_as_ours(mesh):
    optax = pytest.importorskip("optax")
    for make in (lambda room: room.adafactor(0.1, min_dim_size_to_factor=2), lambda room: room.sm3(0.1)):
        theirs, ours = both(optax, make, mesh)
        assert list(theirs.values()) == list(ours.values())


class Sorted(NamedTuple):
    order: Any
    total: Any


def unknown(params):
    """An `init` that JAX cannot type: it flattens what is split along two axes."""
    flat = jax.tree.map(lambda p: jnp.zeros_like(p).reshape(-1).reshape(p.shape), params)
    return Sorted(flat, jnp.zeros(()))


def test_another_librarys_init_that_jax_cannot_type():
    tx = gx.GradientTransformation(unknown, lambda g, s, p=None: (g, s))
    with pytest.raises(Exception, match="reshape"), jax.set_mesh(of_devices(MESHES["4 x 2"][0], AxisType.Explicit)):
        jax.eval_shape(tx.init, place(AxisType.Explicit))
    got = gx.state_shardings(gx.chain(tx, gx.trace(0.9)), abstract("4 x 2"))
    assert got[0].order["e"].spec == got[1].trace["e"].spec == P(None, "tp", "fsdp")
    assert got[0].total.spec == P()


# ---- axes that are no parameter's


def test_galore_keeps_the_longer_side_of_a_basis_and_the_other_of_what_it_projects():
    got = gx.state_shardings(gx.contrib.galore(0.1, rank=4), abstract("4 x 2"))[0]
    assert {name: canonical(x.spec) for name, x in got.projector.items()} == {
        "w": [("fsdp",)],
        **{name: [] for name in ("e", "b", "odd", "s")},
    }
    mu = {name: canonical(x.spec) for name, x in got.base_optimizer_state.mu.items()}
    assert mu == {"w": [(), ("tp",)], "odd": [(), ("tp",)], "e": [(), ("tp",), ("fsdp",)], "b": [("fsdp", "tp")], "s": []}


def test_a_state_for_each_device_is_split_along_their_axis():
    params = abstract("4 x 2")
    got = gx.state_shardings(gx.chain(gx.error_feedback(gx.two_bit(0.1), "fsdp"), gx.sgd(0.1, momentum=0.9)), params)
    split = {"w": [("fsdp",), (), ("tp",)], "b": [("fsdp",), ("tp",)], "s": [("fsdp",)]}
    residual = got[0].inner_state.residual
    assert {name: canonical(x.spec) for name, x in residual.items()} == {**split, "e": split["w"], "odd": split["w"]}
    counted = gx.state_shardings(gx.per_device(gx.add_noise(0.1, 0.5, key=0), ("fsdp", "tp")), params)
    assert list(specs_of(counted).values()) == [[("fsdp", "tp")]] * 2


def test_all_parameters_in_one_vector_are_whole_but_for_zero():
    params = {name: x for name, x in abstract("1-d").items() if name in "we"}
    tx = gx.flatten(gx.adam(0.1))
    assert {tuple(x) for x in specs_of(gx.state_shardings(tx, params)).values()} == {()}
    assert gx.state_shardings(tx, params, zero="fsdp")[0].mu.spec == P("fsdp")


# ---- where the parameters are said to be


@by_axis_type
def test_arrays_and_shapes_of_any_mesh(axis_type):
    params = place(axis_type)
    expected = specs_of(gx.state_shardings(gx.adamw(0.1), abstract("4 x 2")))
    mesh = params["w"].sharding.mesh
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=p.sharding), params)
    with jax.set_mesh(mesh):
        under = gx.state_shardings(gx.adamw(0.1), params)
        typed = gx.state_shardings(gx.adamw(0.1), jax.eval_shape(lambda: params)) if axis_type is AxisType.Explicit else under
    for got in (gx.state_shardings(gx.adamw(0.1), params), gx.state_shardings(gx.adamw(0.1), shapes), under, typed):
        assert specs_of(got) == expected
        assert {x.mesh for x in jax.tree.leaves(got)} == {mesh}
    assert all(x == params[name].sharding for name, x in got[0].mu.items())  # as it is written there


def test_shardings_say_it_for_parameters_that_do_not():
    params = jax.tree.map(np.asarray, place(AxisType.Auto))
    sizes, specs = MESHES["4 x 2"]
    mesh, specs = of_devices(sizes), {"s": P(), **specs}
    expected = specs_of(gx.state_shardings(gx.adamw(0.1), abstract("4 x 2")))
    assert specs_of(gx.state_shardings(gx.adamw(0.1), params, {k: NamedSharding(mesh, x) for k, x in specs.items()})) == expected
    with jax.set_mesh(mesh):
        assert specs_of(gx.state_shardings(gx.adamw(0.1), params, specs)) == expected
    assert specs_of(gx.state_shardings(gx.adamw(0.1), place(AxisType.Auto), specs)) == expected  # of the arrays' mesh
    nested = {"layers": params, "head": {"w": np.ones((8, 4))}}
    where = {"layers": NamedSharding(mesh, P()), "head": {"w": NamedSharding(mesh, P("fsdp"))}}
    mu = gx.state_shardings(gx.adamw(0.1), nested, where)[0].mu
    assert mu["head"]["w"].spec == P("fsdp")
    assert {x.spec for x in mu["layers"].values()} == {P()}


def test_holes_numbers_and_whatever_is_no_array():
    mesh = of_devices({"data": 8})
    params = {"none": None, "masked": gx.MaskedNode(), "number": 1.5, "w": jnp.ones((8, 2)), "steps": jnp.arange(8)}
    specs = {"none": P(), "masked": P(), "number": P(), "w": P("data"), "steps": P("data")}
    got = gx.state_shardings(gx.adam(0.1), params, {name: NamedSharding(mesh, spec) for name, spec in specs.items()})
    assert jax.tree.structure(got) == jax.tree.structure(gx.adam(0.1).init(params))
    assert {name: x.spec for name, x in got[0].mu.items() if hasattr(x, "spec")} == {k: specs[k] for k in ("number", "w", "steps")}
    state = gx.init_sharded(gx.adam(0.1), params, NamedSharding(mesh, P()))
    assert jax.tree.structure(state) == jax.tree.structure(got)
    static = {"w": jnp.ones((8, 2)), "activation": jax.nn.relu}
    assert jax.tree.leaves(gx.state_shardings(gx.trace(0.9), static, NamedSharding(mesh, P("data"))))[0].spec == P("data")


# ---- the first state, made where it is to be


def same_bits(x, y):
    x, y = (jax.random.key_data(z) if jnp.issubdtype(z.dtype, jax.dtypes.prng_key) else z for z in (x, y))
    return x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()


SUMS = {
    "hyperball",
    "dog",
    "scale_by_dog",
    "scale_by_distance_over_gradients",
}  # begin with a norm, whose last digit follows the order of its sum


CHAINS = by_day.chains(gx.names(kind="*"))
OTHERS = [*(name for name in gx.names(kind="*") if name not in ("per_device", *CHAINS)), *COMPOSED]
PARTS = {f"part {i + 1}": OTHERS[i::4] for i in range(4)}


@pytest.mark.parametrize("names", [*PARTS.values(), pytest.param(CHAINS, marks=pytest.mark.nightly)], ids=[*PARTS, "chains"])
def test_init_sharded_makes_what_init_makes(names):
    params = place(AxisType.Auto)
    alone = jax.tree.map(lambda p: jnp.asarray(np.asarray(p)), params)
    for name in names:
        tx, some = COMPOSED[name] if name in COMPOSED else entry(name)(), taken(name, params)
        made, expected, where = gx.init_sharded(tx, some), tx.init(taken(name, alone)), gx.state_shardings(tx, some)
        assert jax.tree.structure(made) == jax.tree.structure(expected)
        for x, y, sharding in zip(*map(jax.tree.leaves, (made, expected, where)), strict=True):
            assert x.sharding.is_equivalent_to(sharding, x.ndim)
            assert same_bits(x, y) or (name in SUMS and np.allclose(x, y, rtol=1e-6)), name


@by_axis_type
@pytest.mark.parametrize("name", ["adamw", "schedule_free_adamw", "lbfgs", "galore", "noisy_sgd", "flatten"])
def test_init_sharded_on_any_mesh_and_what_it_makes_can_be_donated(axis_type, name):
    tx = gx.flatten(gx.adam(0.1)) if name == "flatten" else entry(name)()
    params = place(axis_type)
    before = jax.tree.map(np.asarray, params)
    mesh = params["w"].sharding.mesh
    state = gx.init_sharded(tx, params, zero="fsdp")
    with jax.set_mesh(mesh):
        again = gx.init_sharded(tx, before, {"s": P(), **MESHES["4 x 2"][1]}, zero="fsdp")
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        assert x.sharding == y.sharding
        assert same_bits(x, y)
    assert {x.sharding.mesh for x in jax.tree.leaves(state)} == {mesh}
    jax.tree.map(np.testing.assert_array_equal, before, params)
    given = jax.tree.leaves((params, state))
    jax.block_until_ready(
        jax.jit(lambda p, s: jax.tree.map(lambda x: x, (p, s)), donate_argnums=(0, 1))(params, state)
    )  # no buffer twice
    assert all(x.is_deleted() or not x.ndim for x in given)


def test_init_sharded_has_room_for_each_device():
    mesh = of_devices({"data": 8})
    params = jax.device_put({"w": jnp.ones((8, 4))}, NamedSharding(mesh, P()))
    tx = gx.chain(gx.error_feedback(gx.two_bit(0.5), "data"), gx.sgd(0.1))
    specs = gx.per_device_specs(jax.eval_shape(tx.init, params), "data")
    theirs = jax.jit(jax.shard_map(tx.init, mesh=mesh, in_specs=P(), out_specs=specs))(params)
    ours = gx.init_sharded(tx, params)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert x.shape == y.shape
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        np.testing.assert_array_equal(x, y)
    step = jax.shard_map(lambda g, s: tx.update(g, s), mesh=mesh, in_specs=(P(), specs), out_specs=(P(), specs))
    _, new = jax.jit(step)(params, ours)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, ours)
