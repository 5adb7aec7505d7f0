"""State in the host's memory: the same numbers, found there again after every step, and fetched a leaf at a time."""

import functools
import typing

import aot
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import gradxform as gx
from gradxform.core._engine import ENGINES

HOST = "pinned_host"
OLD = jax.__version_info__ < (0, 10)
SHAPES = {"b": (8,), "s": (), "v": (16, 6), "w": (16, 6)}

pytestmark = pytest.mark.skipif(OLD, reason="this JAX compiles no step whose state lies on the host")

TXS = {
    "adamw": gx.adamw(1e-2),
    "one array per axis": gx.sm3(1e-2),
    "muon": gx.muon(1e-2),
    "8 bit": gx.store(gx.adamw(1e-2)),
    "16 bit": gx.store(gx.lion(1e-2), "16bit"),
    "sums over the tree": gx.chain(gx.clip_by_global_norm(0.1), gx.adamw(1e-2)),
    "lists": gx.dog(),
    "memories": gx.scale_by_lbfgs(),
    "partition": gx.partition({"a": gx.adam(1e-2), "b": gx.sgd(0.1, 0.9)}, lambda p: dict(zip(p, "abab", strict=False))),
    "accumulate": gx.accumulate(gx.adam(1e-2), 2),
    "branch-free": gx.MultiSteps(gx.adam(1e-2), 2),
    "condition": gx.apply_if_finite(gx.adam(1e-2), 3),
    "schedule-free": gx.schedule_free_adamw(1e-2),
    "sam": gx.contrib.sam(gx.sgd(0.1, 0.9), gx.adam(0.05)),
    "flatten": gx.flatten(gx.adam(1e-2)),
    "vectors for all": gx.contrib.mechanize(gx.adam(1e-2)),
    "sums of the state": gx.contrib.prodigy(),
    "a copy in a branch": gx.outer(gx.adam(1e-2), 2),
    "master weights": gx.precision.master_weights(gx.adamw(1e-2)),
    "keys": gx.chain(gx.add_noise(0.1, 0.5, key=0), gx.trace(0.9)),
}


def parameters(axis_type=AxisType.Auto, dtype=jnp.float32):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(axis_type,), devices=jax.devices()[:2])
    rng = np.random.default_rng(0)
    spec = lambda shape: P("d") if shape else P()
    return {k: jax.device_put(jnp.asarray(rng.normal(size=n), dtype), NamedSharding(mesh, spec(n))) for k, n in SHAPES.items()}


def kinds(state):
    return [x.sharding.memory_kind for x in jax.tree.leaves(state)]


def wanted(tx, params, placement=HOST):
    return [x.memory_kind for x in jax.tree.leaves(gx.state_shardings(tx, params, placement=placement))]


def steps(update, state, params):
    for k in range(3):
        u, state = update(jax.tree.map(lambda p, k=k: p * (k - 0.5), params), state, params)
        params = gx.apply_updates(params, u)
        yield params, state


def same(ours, theirs):
    plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(plain(x), plain(y)), ours, theirs)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "un-jitted"])
@pytest.mark.parametrize("name", TXS)
def test_the_numbers_are_those_of_a_state_on_the_device(name, compiled):
    tx, params = TXS[name], parameters(dtype=jnp.bfloat16 if name == "master weights" else jnp.float32)
    where = wanted(tx, params)
    assert HOST in where
    there = gx.init_sharded(tx, params, placement=HOST)
    assert [kind == HOST for kind in kinds(there)] == [kind == HOST for kind in where]
    update = jax.jit(tx.update) if compiled else tx.update
    for here, far in zip(steps(update, gx.init_sharded(tx, params), params), steps(update, there, params), strict=True):
        same(far, here)
        assert kinds(far[1]) == kinds(there)


@pytest.mark.parametrize("engine", ENGINES)
def test_on_every_engine(engine):
    tx, params = gx.adamw(1e-2), parameters()
    with gx.kernels.engine(engine):
        step = tx.update if engine == "plain" else jax.jit(lambda *args: tx.update(*args))
        u, state = step(params, gx.init_sharded(tx, params, placement=HOST), params)
    v, expected = jax.jit(tx.update)(params, tx.init(params), params)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), (u, state), (v, expected))
    assert kinds(state) == kinds(gx.init_sharded(tx, params, placement=HOST))


@pytest.mark.fast
def test_groups_of_matrices_wait_for_one_another():
    """Those of one shape are fetched together, and then those of the next."""
    tx = gx.scale_by_muon()
    params = {k: jnp.ones(shape) for k, shape in {"a": (8, 4), "b": (8, 4), "c": (4, 4), "d": (8, 8)}.items()}
    place = jax.sharding.NamedSharding(jax.make_mesh((8,), ("d",)), jax.sharding.PartitionSpec())
    params = jax.device_put(params, place)
    there = gx.init_sharded(tx, params, placement={"mu": HOST})
    assert str(jax.make_jaxpr(tx.update)(params, there, params)).count("optimization_barrier") == 2


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
def test_a_field_by_name_and_no_numbers(axis_type):
    tx, params = gx.store(gx.adamw(lambda count: 1e-2)), parameters(axis_type)
    where = gx.state_shardings(tx, params, zero="d", placement={"mu": HOST})
    adam = where[0]
    assert {k: x.codes.memory_kind for k, x in adam.mu.items() if k != "s"} == dict.fromkeys("bvw", HOST)
    assert adam.mu["w"].codes.spec == P("d")
    on_device = [
        adam.count,
        adam.mu["s"],
        adam.mu["w"].seed,
        adam.mu["w"].limit,
        *jax.tree.leaves(adam.nu),
        *jax.tree.leaves(where[1:]),
    ]
    assert HOST not in kinds_of(on_device)
    state = gx.init_sharded(tx, params, placement={"mu": HOST, "nu": "device"})
    u, new = jax.jit(tx.update)(params, state, params)
    same((u, new), jax.jit(tx.update)(params, gx.init_sharded(tx, params), params))


def kinds_of(shardings):
    return [x.memory_kind for x in shardings]


@pytest.mark.fast
def test_leaves_wait_for_one_another_where_they_come_from_the_host():
    """A barrier between each two leaves, in a traced step only; none where the state is on the device."""
    tx, params = gx.adamw(1e-2), parameters()
    barriers = lambda state: str(jax.make_jaxpr(tx.update)(params, state, params)).count("optimization_barrier")
    there = gx.init_sharded(tx, params, placement=HOST)
    assert barriers(there) == len(SHAPES) - 2  # the number is on the device, and waits for none
    assert barriers(gx.init_sharded(tx, params)) == 0


@pytest.mark.fast
def test_groups_of_a_partition_wait_for_one_another():
    tx, params = gx.partition({"a": gx.adam(1e-2), "b": gx.adam(1e-2)}, dict(zip("bsvw", "aaab", strict=True))), parameters()
    there = gx.init_sharded(tx, params, placement=HOST)
    assert (
        str(jax.make_jaxpr(tx.update)(params, there, params)).count("optimization_barrier") == 2
    )  # b, v; then w of the other group


def by_the_user(g, s, p, c):
    """All leaves of one field before those of the next."""
    total = jax.tree.map(lambda x, a: a + x.astype(a.dtype), g, s.total)
    last = jax.tree.map(lambda x, a: a - x.astype(a.dtype), g, s.last)
    return jax.tree.map(lambda x, t, b: (t + b).astype(x.dtype), g, total, last), s._replace(total=total, last=last)


class Kept(typing.NamedTuple):
    total: gx.kernels.Updates
    last: gx.kernels.Updates


PACED = {  # what a kernel of whole trees keeps: barriers of the wrapper, of its two leaves on the host
    "average_params": (lambda: gx.average_params(gx.sgd(0.1)), 1),
    "apply_every": (lambda: gx.apply_every(3), 1),
    "accumulate": (lambda: gx.accumulate(gx.sgd(0.1), 3), 1),
    "MultiSteps": (lambda: gx.MultiSteps(gx.sgd(0.1), 3), 1),
    "schedule_free": (lambda: gx.schedule_free(gx.sgd(0.1), 0.1), 1),
    "gpa": (lambda: gx.gpa(gx.sgd(0.1)), 1),
    "master_weights": (lambda: gx.precision.master_weights(gx.sgd(0.1), dtype=jnp.float32), 1),
    "a user's": (lambda: gx.kernels.wrapper(Kept)(by_the_user)(), 1),
    "mechanize": (lambda: gx.contrib.mechanize(gx.sgd(1.0)), 2),  # of the kernel, and of the wrapper around it
    "outer": (lambda: gx.outer(gx.sgd(0.1), 3), 1),
    "sam": (lambda: gx.contrib.sam(gx.sgd(0.1), gx.sgd(0.05)), 2),  # one in each branch
    "lbfgs": (lambda: gx.scale_by_lbfgs(3), 1),
}


@pytest.mark.parametrize("name", PACED)
def test_what_wrappers_keep_is_fetched_in_turn(name):
    """However the kernel is written; with the numbers of a state on the device."""
    make, barriers = PACED[name]
    tx = make()
    params = {k: x for k, x in parameters(dtype=jnp.bfloat16).items() if k in "vw"}
    there, here = gx.init_sharded(tx, params, placement=HOST), gx.init_sharded(tx, params)
    count = lambda state: str(jax.make_jaxpr(tx.update)(params, state, params)).count("optimization_barrier")
    assert count(here) == 0 < barriers <= count(there)
    same(jax.jit(tx.update)(params, there, params), jax.jit(tx.update)(params, here, params))


@pytest.mark.fast
@pytest.mark.parametrize("name", ["prodigy", "dadapt_adamw", "mechanize", "lbfgs"])
def test_what_is_summed_first_is_read_apart(name):
    """In a branch for each leaf, which no compiler can merge with the fetch for the update; where the state is on the device in none."""
    tx = gx.scale_by_lbfgs(3) if name == "lbfgs" else getattr(gx.contrib, name)(*[gx.sgd(1.0)][: name == "mechanize"])
    params = {k: x for k, x in parameters().items() if k in "vw"}
    sums = lambda state: str(jax.make_jaxpr(tx.update)(params, state, params)).count("= cond[") - (name == "lbfgs")
    assert sums(gx.init_sharded(tx, params, placement=HOST)) == len(params)
    assert sums(gx.init_sharded(tx, params)) == 0


@pytest.mark.fast
def test_a_field_that_stays_as_it_is_is_not_fetched():
    """The first parameters are read for the sum, and nothing is put back."""
    tx, params = gx.scale_by_dog(("distance", 1e-3)), {k: x for k, x in parameters().items() if k in "vw"}
    there = gx.init_sharded(tx, params, placement=HOST)
    assert "MemorySpace.Host" not in str(jax.make_jaxpr(lambda s: tx.update(params, s, params))(there))


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "un-jitted"])
@pytest.mark.parametrize("placement", [HOST, {"updates": HOST}, {"diff_updates_memory": HOST}], ids=["all", "last", "ring"])
def test_a_ring_on_the_host_is_renewed_row_by_row(placement, compiled):
    """With the newest pair, or where that has no curvature with what it holds one place further."""
    tx, params = gx.scale_by_lbfgs(3), parameters()
    near, far = gx.init_sharded(tx, params), gx.init_sharded(tx, params, placement=placement)
    update = jax.jit(tx.update) if compiled else tx.update
    shifted, where = 0, kinds(far)
    for k, slope in enumerate([1.0, 1.0, 2.0, 1.5, -3.0, -6.0, 2.0]):
        grads, before = jax.tree.map(lambda p, slope=slope: slope * p, params), near
        (u, near), (v, far) = update(grads, near, params), update(grads, far, params)
        same((v, far), (u, near))
        assert kinds(far) == where
        rolled = np.array_equal(np.roll(before.weights_memory, 1), near.weights_memory)
        shifted += k > 2 and bool(near.weights_memory[-1] > 0) and rolled
        params = jax.tree.map(lambda p: 0.8 * p, params)
    assert shifted


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
def test_matrices_that_are_dealt_out_have_their_momentum_on_the_host(axis_type):
    params = {name: parameters(axis_type)[name] for name in "vw"}
    tx = gx.muon(1e-2, spread="d")
    there, update = gx.init_sharded(tx, params, placement=HOST), jax.jit(tx.update)
    for here, far in zip(steps(update, gx.init_sharded(tx, params), params), steps(update, there, params), strict=True):
        same(far, here)
        assert kinds(far[1]) == kinds(there)


@pytest.mark.fast
def test_what_cannot_be_there_is_refused():
    params, adam = parameters(), gx.adam(1e-2)
    asked = lambda tx, placement, params=params: gx.state_shardings(tx, params, placement=placement)
    with pytest.raises(gx.StructureError, match=r"must be 'pinned_host', or a dictionary .* got 'unpinned_host'"):
        asked(adam, "unpinned_host")
    with pytest.raises(gx.StructureError, match=r"names 'muu', .* There are mu, nu\. Did you mean 'mu'"):
        asked(adam, {"muu": HOST})
    with pytest.raises(gx.StructureError, match=r"names 'mu', .* There are none"):
        asked(gx.sgd(0.1), {"mu": HOST})

    by_hand = gx.GradientTransformation(lambda p: gx.TraceState(p), lambda u, s, p=None: (u, s))
    with pytest.raises(
        gx.StructureError, match=r"`trace` of TraceState, whose transformation is of another library, or written by hand"
    ):
        asked(gx.chain(adam, by_hand), HOST)
    assert HOST in wanted(gx.chain(adam, by_hand), params, {"mu": HOST})
    abstract = NamedSharding(AbstractMesh((2,), ("d",)), P())
    shapes = {"w": jax.ShapeDtypeStruct((4, 6), jnp.float32, sharding=abstract)}
    assert wanted(adam, shapes).count(HOST) == 2


@pytest.mark.fast
def test_what_differs_from_device_to_device_stays_there():
    tx = gx.chain(gx.error_feedback(gx.scaled_sign(), "d"), gx.adam(1e-2))
    where = gx.state_shardings(tx, parameters(), placement=HOST)
    assert HOST not in kinds_of(jax.tree.leaves(where[0]))
    assert HOST in kinds_of(jax.tree.leaves(where[1]))


# ---- ahead of time, for accelerators: 24 leaves of 2^20 parameters, these and the gradients in 16 bits

MIB = 2**20
ROOM = {"h100": 24, "v5e": 40}  # what the transfers and the updates of a leaf or two take on the way
STATES = {  # MiB on the host
    "float32": (gx.adamw(1e-3), HOST, 192),
    "mu only": (gx.adamw(1e-3), {"mu": HOST}, 96),
    "16 bit": (gx.store(gx.adamw(1e-3), "16bit"), HOST, 96),
    "8 bit": (gx.store(gx.adamw(1e-3), {"mu": "bfloat16", "nu": "float8"}), HOST, 72),
}


WRAPPERS = {  # MiB on the host, and on the way on the H100 and on v5e; unpaced these take 104 to 4224
    "average_params": (gx.average_params(gx.sgd(1e-3)), 96, 12, 24),
    "around adamw": (gx.average_params(gx.adamw(1e-3)), 288, 24, 40),
    "apply_every": (gx.apply_every(4), 96, 12, 28),
    "accumulate": (gx.accumulate(gx.sgd(1e-3), 4), 96, 12, 36),
    "schedule_free": (gx.schedule_free_adamw(1e-3), 144, 16, 32),
    "gpa": (gx.gpa(gx.sgd(1e-3)), 192, 20, 40),
    "master_weights": (gx.precision.master_weights(gx.adamw(1e-3)), 288, 32, 44),
    "partition": (
        gx.partition({"a": gx.adamw(1e-3), "b": gx.adamw(1e-3)}, lambda p: {k: "ab"[i % 2] for i, k in enumerate(p)}),
        192,
        20,
        40,
    ),
    "prodigy": (gx.contrib.prodigy(), 336, 28, 60),
    "dog": (gx.dog(), 48, 8, 28),
    "mechanize": (gx.contrib.mechanize(gx.adamw(1.0)), 240, 28, 112),
    "outer": (gx.outer(gx.adamw(1e-3), 10), 384, 130, 60),  # 48 in the updates' dtype into the branches, and as many out of them
    "sam": (gx.contrib.sam(gx.sgd(0.1, 0.9), gx.adam(0.05)), 336, 70, 64),
    "lbfgs": (gx.scale_by_lbfgs(), 2112, 500, 500),  # five times the parameters in float32, rather than 44 times
}


class OnHost(NamedSharding):
    """What a `NamedSharding` is of a GPU that is there: of one that is only described, JAX drops the kind of memory."""

    memory_kind = HOST

    def __eq__(self, other):
        return isinstance(other, OnHost) and super().__eq__(other)

    def __hash__(self):
        return hash((HOST, super().__hash__()))


def described(target):
    mesh = Mesh(np.array(getattr(aot, target)()[:1]), ("d",))
    narrow = lambda mesh: jax.ShapeDtypeStruct((1024, 1024), jnp.float16, sharding=NamedSharding(mesh, P()))
    on = lambda mesh: {f"w{i}": narrow(mesh) for i in range(24)}
    return mesh, on


def memory_of(tx, placement, target):
    """What a step takes where its state lies as that says."""
    mesh, on = described(target)
    where = gx.state_shardings(tx, on(mesh.abstract_mesh), placement=placement)
    cls = lambda s: OnHost if s.memory_kind == HOST else NamedSharding
    shaped = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=cls(s)(mesh, s.spec))
    if target == "v5e":
        shaped = lambda x, s: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=NamedSharding(mesh, s.spec, memory_kind=s.memory_kind)
        )
    params = on(mesh)
    state = jax.tree.map(shaped, jax.eval_shape(tx.init, params), where)

    def step(params, state, grads):
        u, state = tx.update(grads, state, params)
        return gx.apply_updates(params, u), state

    return jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile().memory_analysis()


@pytest.mark.aot
@pytest.mark.parametrize("target", ROOM)
@pytest.mark.parametrize("name", STATES)
def test_bytes_on_accelerators(name, target):
    """Without `placement` it is 288 MiB on the device and none on the host; unpaced, v5e takes 211 MiB on the way."""
    pytest.importorskip("libtpu" if target == "v5e" else "jax_cuda12_plugin")
    tx, placement, host = STATES[name]
    if (name, target) == ("8 bit", "v5e"):
        mesh, on = described(target)
        with pytest.raises(gx.StructureError, match="`nu` is stored in 8 bits, which a TPU lays out otherwise than its host"):
            gx.state_shardings(tx, on(mesh), placement=placement)
        return
    memory = memory_of(tx, placement, target)
    assert round(memory.argument_size_in_bytes / MIB) == 96 + (96 if name == "mu only" else 0)
    assert round(memory.host_argument_size_in_bytes / MIB) == host == round(memory.host_alias_size_in_bytes / MIB)
    assert memory.temp_size_in_bytes <= ROOM[target] * MIB


@pytest.mark.aot
@pytest.mark.parametrize("target", ROOM)
@pytest.mark.parametrize("name", WRAPPERS)
def test_bytes_of_wrappers_on_accelerators(name, target):
    pytest.importorskip("libtpu" if target == "v5e" else "jax_cuda12_plugin")
    tx, host, *room = WRAPPERS[name]
    memory = memory_of(tx, HOST, target)
    assert round(memory.host_argument_size_in_bytes / MIB) == host == round(memory.host_alias_size_in_bytes / MIB)
    assert memory.temp_size_in_bytes <= room[target == "v5e"] * MIB
