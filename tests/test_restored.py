"""What was saved is what is restored: the digest sees every bit, and `check_restored` says what is the matter with a state."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from oracle import optax
from test_checkpoints import OPTIMIZERS

import gradxform as gx
from gradxform import registry
from gradxform.surgery._digest import _sums
from gradxform.testing import case_for

DTYPES = {
    "bfloat16": 16, "bool": 1, "complex64": 64, "complex128": 128, "float16": 16, "float32": 32, "float64": 64, "float4_e2m1fn": 4,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "int4": 4, "int8": 8, "int32": 32, "int64": 64, "uint16": 16, "uint32": 32, "uint64": 64,
}  # fmt: skip
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
needs_devices = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")
pytestmark = pytest.mark.filterwarnings("ignore:.*look turned:UserWarning")  # its `b` is as long as `w` has rows
P = {"w": jnp.linspace(-1, 1, 48).reshape(8, 6), "b": jnp.arange(1.0, 9.0)}


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def drawn(name, shape=(8, 6)):
    """Random bits, NaNs among them, as an array; and the bytes that hold its bits, which may be changed."""
    dtype = dtype_of(name)
    raw = np.random.default_rng(3).integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8)
    if DTYPES[name] < 8:
        raw &= (1 << DTYPES[name]) - 1
    return raw.view(dtype)[..., 0], raw


def of(x):
    (found,) = gx.digest(x).values()
    return found


def placements():
    """A sharding on each of many meshes, by name."""
    every = jax.devices()
    shapes = {"one": (1, 1), "two rows": (2, 1), "4 x 2": (4, 2), "eight rows": (8, 1)}
    specs = {"rows": ("a", None), "columns": (None, "b"), "both": ("a", "b"), "whole": ()}
    for kind in (AxisType.Auto, AxisType.Explicit):
        for name, (m, n) in shapes.items():
            mesh = Mesh(np.array(every[-m * n :]).reshape(m, n), ("a", "b"), axis_types=(kind, kind))
            for how, spec in specs.items():
                yield f"{kind.name} {name} {how}", NamedSharding(mesh, PartitionSpec(*spec))


@needs_devices
@by_dtype
def test_the_digest_is_the_same_wherever_an_array_lies(dtype, x64):
    x, _ = drawn(dtype)
    expected = of(x)
    assert expected.startswith(f"{dtype}[8,6] ")
    assert of(jnp.asarray(x)) == expected
    placed = dict(placements())
    for where in placed if dtype == "float32" else ("Auto 4 x 2 both", "Explicit eight rows rows"):
        sharding = placed[where]
        assert of(jax.device_put(x, sharding)) == expected, where


@pytest.mark.fast
@pytest.mark.parametrize("kind", ["pinned_host", "unpinned_host"])
def test_the_digest_of_what_lies_on_the_host(kind):
    if kind not in {m.kind for m in jax.devices()[0].addressable_memories()}:
        pytest.skip(f"this device has no {kind}")
    x = jax.device_put(P["w"], P["w"].sharding.with_memory_kind(kind))
    assert x.sharding.memory_kind == kind
    assert gx.digest(x) == gx.digest(P["w"])


@pytest.mark.fast
@by_dtype
def test_every_bit_counts(dtype, x64):
    """Each of the bits of one element, flipped alone, in an array on the device: no two digests are the same."""
    x, raw = drawn(dtype)
    found = {of(x)}
    for bit in range(DTYPES[dtype]):
        raw[5, 2, bit // 8] ^= 1 << bit % 8
        found.add(of(jnp.asarray(x)))
        raw[5, 2, bit // 8] ^= 1 << bit % 8
    assert len(found) == DTYPES[dtype] + 1


@pytest.mark.fast
def test_two_elements_that_change_places_count():
    x = np.arange(24, dtype=np.int32).reshape(4, 6)
    found = {of(x)}
    for i in range(24):
        for j in range(i):
            y = x.copy()
            y.flat[[i, j]] = y.flat[[j, i]]
            found.add(of(y))
    assert len(found) == 1 + 24 * 23 // 2


@pytest.mark.fast
def test_bits_count_and_not_values():
    differ = [
        (jnp.float32(0.0), jnp.float32(-0.0)),
        (np.uint32(0x7FC00000).view(np.float32), np.uint32(0x7FC00001).view(np.float32)),  # payloads of NaNs
        (np.uint32(0x7F800001).view(np.float32), np.uint32(0x7FC00001).view(np.float32)),  # a NaN that signals
        (jax.random.key(0), jax.random.key(1)),
        (jax.random.key(0), jax.random.key_data(jax.random.key(0))),
        (jax.random.key(0, impl="rbg"), jax.random.key(0, impl="unsafe_rbg")),
        (jnp.zeros(4), jnp.zeros((2, 2))),
        (jnp.zeros(4), jnp.zeros(4, jnp.int32)),
        (jnp.zeros(4), jnp.zeros(5)),
        ({"a": jnp.ones(2)}, {"b": jnp.ones(2)}),
        ({"a": jnp.ones(2), "b": jnp.zeros(2)}, {"a": jnp.zeros(2), "b": jnp.ones(2)}),
        ({"a/b": 1, "a": {"b": 2}}, {"a/b": 2, "a": {"b": 1}}),  # of one path
    ]
    for x, y in differ:
        assert gx.digest(x) == gx.digest(x)
        assert gx.digest(x) != gx.digest(y), (x, y)
    assert len(gx.digest({"a/b": 1, "a": {"b": 2}})) == 2


def mixed(i):
    """`lowbias32` in Python's integers."""
    i = ((i ^ (i >> 16)) * 0x7FEB352D) % 2**32
    i = ((i ^ (i >> 15)) * 0x846CA68B) % 2**32
    return i ^ (i >> 16)


@pytest.mark.fast
def test_the_digest_is_the_sum_that_it_is_said_to_be():
    """It is in files, so it stays what it is."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    sums = []
    for a, b in ((0x9E3779B9, 0x85EBCA6B), (0xC2B2AE35, 0x27D4EB2F)):
        place = lambda i, j, a=a, b=b: (a + i * a + j * (a + 2 * b)) % 2**32
        sums.append(sum(mixed(int(x[i, j].view(np.uint32)) ^ mixed(place(i, j))) for i in range(2) for j in range(3)) % 2**32)
    assert of(x) == f"float32[2,3] {sums[0]:08x}{sums[1]:08x}"
    assert of(jnp.arange(3, dtype=jnp.bfloat16)) == "bfloat16[3] 42e68cb88863deed"
    assert of(np.array([1 + 2j], np.complex64)) == "complex64[1] 5bdc2b7f0d018504"
    assert of(jnp.zeros((0, 3))) == "float32[0,3] 0000000000000000"


@pytest.mark.fast
def test_the_digest_of_a_state_is_json_and_knows_no_classes():
    tx = gx.store(gx.chain(gx.clip(1.0), gx.adamw(0.1)))
    state = tx.init(P)
    found = gx.digest(state)
    assert json.loads(json.dumps(found)) == found
    assert {"1/0/count", "1/0/mu/w/codes", "1/0/mu/w/seed", "1/0/nu/b/low"} <= found.keys()
    as_lists = [[], [state[1][0]._asdict(), None, None]]
    assert gx.digest(as_lists) == found


@pytest.mark.fast
def test_the_digest_under_guards():
    x, expected = P["w"], of(P["w"])
    with jax.transfer_guard_host_to_device("disallow"):
        assert of(x) == of(np.asarray(x)) == expected
    with jax.disable_jit():
        assert of(x) == expected
    with jax.enable_x64(True):
        wide = jnp.arange(4, dtype=jnp.float64)
        inside = of(wide)
    assert of(wide) == inside == of(np.arange(4.0))


@pytest.mark.fast
@needs_devices
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
def test_the_digest_gathers_nothing(axis_type):
    """From device to device go two numbers from each, and no device makes a copy of what it has."""
    mesh = jax.make_mesh((8,), ("d",), axis_types=(axis_type,))
    for spec in (PartitionSpec("d"), PartitionSpec(None, "d")):
        x = jax.device_put(jnp.zeros((1024, 1024)), NamedSharding(mesh, spec))
        compiled = _sums.lower(x).compile()
        moved = [line for line in compiled.as_text().splitlines() if "all-" in line and "channel_id" in line]
        assert moved
        assert all("u32[1,8]" in line or "u32[8,1]" in line or "= u32[]" in line or "= (u32[]" in line for line in moved), moved
        assert compiled.memory_analysis().temp_size_in_bytes < 4096


ADAM, STORED = gx.adam(0.1), gx.store(gx.adam(0.1))
TREE = {**P, "c": jnp.ones(2)}
LARGER = {**P, "b": jnp.ones(9)}
FIRST_LEFT_OUT = {"w": True, "b": False}
again = lambda old, new: lambda state, params: gx.transfer_state(old, state, new, params).state
afresh = lambda old, new, name: lambda state, params: gx.transfer_state(old, state, new, params, fresh=[name]).state
encoded = lambda tx: lambda state, params: gx.encode_state(state, like=tx.init(params))
plain = lambda state, params: gx.decode_state(state)


def after(tx, params=P, steps=2):
    """A state that is not that of `init`."""
    state = tx.init(params)
    for _ in range(steps):
        _, state = tx.update(params, state, params)
    return state


def flax():
    return pytest.importorskip("flax.serialization")


def bare(x):
    """What a store gives that was not told what to restore into: Orbax lists, dictionaries and None, Flax dictionaries."""
    if isinstance(x, tuple):
        names = getattr(x, "_fields", None)
        return ({n: bare(getattr(x, n)) for n in names} if names else [bare(y) for y in x]) or None
    return {k: bare(y) for k, y in x.items()} if isinstance(x, dict) else x


# name: (transformation, parameters, what was restored, what the error says, what makes it right: (state, params) -> state)
WRONG = {
    "another optimizer": (
        gx.sgd(0.1, 0.9), P, lambda: after(ADAM), "is of another optimizer: at `0` should be TraceState(trace), but is ScaleByAdamState",
        again(ADAM, gx.sgd(0.1, 0.9)),
    ),
    "another optimizer of the same fields": (
        gx.adabelief(0.1), P, lambda: after(ADAM), "is of another optimizer: at `0` should be ScaleByBeliefState(count, mu, nu)",
        again(ADAM, gx.adabelief(0.1)),
    ),
    "a longer chain": (
        gx.chain(ADAM, gx.ema(0.9)), P, lambda: after(ADAM), "is of another optimizer: at `0` should be tuple(0, 1), but is ScaleBy",
        again(ADAM, gx.chain(ADAM, gx.ema(0.9))),
    ),
    "a wrapper more": (
        gx.apply_if_finite(ADAM, 3), P, lambda: after(ADAM), "is of another optimizer: at `(root)` should be ApplyIfFiniteState(",
        again(ADAM, gx.apply_if_finite(ADAM, 3)),
    ),
    "another group": (
        gx.partition({1: ADAM, 2: ADAM}, {"w": 1, "b": 2}), P,
        lambda: after(gx.partition({1: ADAM, 3: ADAM}, {"w": 1, "b": 3})), "is of another optimizer: at `inner_states/2` should be Masked",
        again(gx.partition({1: ADAM, 3: ADAM}, {"w": 1, "b": 3}), gx.partition({1: ADAM, 2: ADAM}, {"w": 1, "b": 2})),
    ),
    "a parameter more": (
        ADAM, TREE, lambda: after(ADAM), "is of other parameters, or of another mask: at `0/mu/c` should be float32[2], but is nothing",
        again(ADAM, ADAM),
    ),
    "a parameter less": (
        ADAM, {"w": P["w"]}, lambda: after(ADAM), "is of other parameters, or of another mask: at `0/mu/b` should be nothing, but is",
        again(ADAM, ADAM),
    ),
    "another mask": (
        gx.masked(ADAM, FIRST_LEFT_OUT), P, lambda: after(gx.masked(ADAM, {"w": True, "b": True})),
        "or of another mask: at `inner_state/0/mu/b` should be nothing, as of a leaf that is masked, but is float32[8]",
        again(gx.masked(ADAM, {"w": True, "b": True}), gx.masked(ADAM, FIRST_LEFT_OUT)),
    ),
    "a parameter of another shape": (
        ADAM, LARGER, lambda: after(ADAM), "is of parameters with other shapes: at `0/mu/b` should be float32[9], but is float32[8]",
        afresh(ADAM, ADAM, "adam"),
    ),
    "another argument": (
        gx.scale_by_lbfgs(5), P, lambda: after(gx.scale_by_lbfgs(3)),
        "has another shape, as of an optimizer with other arguments, or of other parameters: at `diff_params_memory/b` should be",
        afresh(gx.scale_by_lbfgs(3), gx.scale_by_lbfgs(5), "lbfgs"),
    ),
    "plain, to be stored": (
        STORED, P, lambda: after(ADAM), "is stored otherwise: at `0/mu/b` should be Int8 int8[8], but is float32[8]", encoded(STORED),
    ),
    "stored, to be plain": (
        ADAM, P, lambda: after(STORED), "is stored otherwise: at `0/mu/b` should be float32[8], but is Int8 int8[8]", plain,
    ),
    "stored in other codes": (
        STORED, P, lambda: after(gx.store(ADAM, "bfloat16")), "is stored otherwise: at `0/mu/b` should be Int8 int8[8], but is Bfloat16",
        encoded(STORED),
    ),
    "another dtype": (
        gx.adam(0.1, mu_dtype=jnp.bfloat16), P, lambda: after(ADAM), "is stored otherwise: at `0/mu/b` should be bfloat16[8], but is",
        encoded(gx.adam(0.1, mu_dtype=jnp.bfloat16)),
    ),
    "Optax's, to be stored": (
        STORED, P, lambda: after(optax.adam(0.1)), "is stored otherwise: at `0/mu/b` should be Int8 int8[8], but is float32[8]",
        encoded(STORED),
    ),
    "stored, for Optax": (
        optax.adam(0.1), P, lambda: after(STORED), "is stored otherwise: at `0/mu/b` should be float32[8], but is Int8 int8[8]",
        encoded(optax.adam(0.1)),
    ),
    "Optax's": (
        ADAM, P, lambda: after(optax.adam(0.1)), "has other classes with the same fields, as Optax's state has: at `0` should be gradx",
        encoded(ADAM),
    ),
    "ours, for Optax": (
        optax.adam(0.1), P, lambda: after(ADAM), "has other classes with the same fields, as Optax's state has: at `0` should be optax.",
        encoded(optax.adam(0.1)),
    ),
    "without a target": (
        ADAM, P, lambda: bare(after(ADAM)), "has lost its classes: at `(root)` should be tuple(0, 1), but is list(0, 1)",
        encoded(ADAM),
    ),
    "without a target, stored": (
        STORED, P, lambda: bare(after(STORED)), "has lost its classes: at `(root)` should be tuple(0, 1), but is list(0, 1)", None,
    ),
    "without a target, by Flax": (
        STORED, P, lambda: flax().to_state_dict(after(STORED)), "has lost its classes: at `(root)` should be tuple(0, 1), but is dict",
        lambda state, params: flax().from_state_dict(STORED.init(params), state),
    ),
    "without a target, another optimizer": (
        gx.lion(0.1), P, lambda: bare(after(ADAM)), "is of another optimizer: at `0/nu` should be nothing, but is dict(b, w). Restore ",
        None,
    ),
    "without a target, another tree": (
        ADAM, TREE, lambda: bare(after(ADAM)), "is of other parameters, or of another mask: at `0/mu/c` should be float32[2]", None,
    ),
    "without a target, another storage": (
        STORED, P, lambda: bare(after(gx.store(ADAM, "bfloat16"))), "is stored otherwise: at `0/mu/b` should be Int8 int8[8], but is dict(",
        None,
    ),
    "without a target, to be plain": (
        ADAM, P, lambda: bare(after(STORED)), "is stored otherwise: at `0/mu/b` should be float32[8], but is dict(codes, limit,",
        None,
    ),
    "a leaf left out": (
        ADAM, P, lambda: (after(ADAM)[0]._replace(mu={"w": P["w"], "b": ...}), gx.EmptyState()),
        "is half restored: at `0/mu/b` should be float32[8], but is Ellipsis. No file was read there.", None,
    ),
    "shapes alone": (
        ADAM, P, lambda: jax.eval_shape(ADAM.init, P), "is half restored: at `0/count` should be int32[], but is abstract", None,
    ),
    "with the parameters": (ADAM, P, lambda: (P, after(ADAM)), "got a pair whose part 1 is the state", lambda state, params: state[1]),
    "nothing": (ADAM, P, lambda: None, "but is None. Begin with `state = tx.init(params)`.", lambda state, params: ADAM.init(params)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_how_to_make_it_right(name):
    tx, params, make, says, right = WRONG[name]
    state = make()
    with pytest.raises(gx.StructureError) as e:
        gx.check_restored(tx, params, state)
    assert says in str(e.value)
    if right is not None:
        gx.check_restored(tx, params, right(state, params))


CALLS = {
    "another optimizer": "transfer_state(old_tx, state, new_tx, params)",
    "a parameter more": "transfer_state(tx, state, tx, params)",
    "a parameter of another shape": "fresh=",
    "plain, to be stored": "encode_state(state, like=tx.init(params))",
    "stored, to be plain": "decode_state(state)",
    "Optax's": "encode_state(state, like=tx.init(params))",
    "without a target": "jax.eval_shape(tx.init, params)",
    "a leaf left out": "jax.eval_shape(tx.init, params)",
}


@pytest.mark.fast
@pytest.mark.parametrize("name", CALLS)
def test_errors_name_the_call(name):
    tx, params, make, *_ = WRONG[name]
    with pytest.raises(gx.StructureError) as e:
        gx.check_restored(tx, params, make())
    assert CALLS[name] in str(e.value)


@pytest.mark.fast
def test_what_explains_most_is_said_first():
    """The state of another optimizer, stored otherwise, with a leaf that was not read."""
    state = after(gx.store(gx.adam(0.1)))
    state = (state[0]._replace(count=...), *state[1:])
    with pytest.raises(gx.StructureError, match="is of another optimizer: at `1`"):
        gx.check_restored(gx.chain(gx.scale_by_adam(), gx.trace(0.9)), P, state)
    with pytest.raises(gx.StructureError, match="is half restored: at `0/count`"):
        gx.check_restored(ADAM, P, state)


@pytest.mark.parametrize("pattern", ["*", "keras.*", "mxnet.*", "neon.*", "torch.*"])
def test_every_state_is_its_own(pattern):
    """Of all that is registered, with the digest of it, and of it and the parameters; and of shapes."""
    for name in registry.names(pattern):
        case = case_for(name)
        params = case.params()
        state = case.tx.init(params)
        gx.check_restored(case.tx, params, state, gx.digest((params, state)))
        gx.check_restored(case.tx, jax.eval_shape(lambda p: p, params), state, gx.digest(state))


@pytest.mark.fast
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_the_other_library_is_told_from_ours(name):
    ours, theirs = OPTIMIZERS[name](gx), OPTIMIZERS[name](optax)
    for tx, state in ((ours, theirs.init(P)), (theirs, ours.init(P))):
        with pytest.raises(gx.StructureError, match="has other classes with the same fields"):
            gx.check_restored(tx, P, state)
        gx.check_restored(tx, P, gx.encode_state(state, like=tx.init(P)))


def changed(state, f):
    return (state[0]._replace(nu={**state[0].nu, "w": f(state[0].nu["w"])}), *state[1:])


def flipped(x):
    raw = np.asarray(x).copy()
    raw.view(np.uint32)[3, 2] ^= 1
    return jnp.asarray(raw)


# name: what became of the state, and what the error says: where it is, and what may be the matter
SPOILED = {
    "a bit": (lambda s: changed(s, flipped), "`0/nu/w` of the state was float32[8,6] ", "was truncated (1 of 7 leaves differ)"),
    "a leaf": (lambda s: changed(s, jnp.zeros_like), "`0/nu/w` of the state was ", "0 throughout, as where a file was truncated or is"),
    "a step": (lambda s: after(ADAM, steps=3), "`0/count` of the state was ", "(5 of 7 leaves differ)"),
}  # fmt: skip


@pytest.mark.fast
@pytest.mark.parametrize("name", SPOILED)
def test_the_digest_names_what_changed(name):
    spoil, where, why = SPOILED[name]
    state = after(ADAM)
    saved = json.loads(json.dumps(gx.digest((P, state))))
    gx.check_restored(ADAM, P, state, saved)
    with pytest.raises(gx.StructureError) as e:
        gx.check_restored(ADAM, P, spoil(state), saved)
    assert where in str(e.value)
    assert why in str(e.value)


@pytest.mark.fast
def test_other_words_about_digests():
    state = after(ADAM)
    says = lambda match: pytest.raises(gx.StructureError, match=match)
    with says("`w` of the parameters was"):
        gx.check_restored(ADAM, {**P, "w": flipped(P["w"])}, state, gx.digest((P, state)))
    with says("All leaves differ: is the digest of another step?"):
        gx.check_restored(ADAM, P, after(ADAM, steps=3), gx.digest(state))
    with says("It was converted in between"):
        gx.check_restored(ADAM, P, state, gx.digest(after(gx.adam(0.1, mu_dtype=jnp.bfloat16))))
    with says("the state has no leaf `b`, the digest has one"):
        gx.check_restored(ADAM, P, state, gx.digest(P))
    with says("the state has a leaf `0/nu/w`, the digest none"):
        gx.check_restored(ADAM, P, state, {k: x for k, x in gx.digest(state).items() if k != "0/nu/w"})
    with says("a dictionary of strings, but is 'abc'"):
        gx.check_restored(ADAM, P, state, "abc")


@pytest.mark.fast
@needs_devices
def test_devices_are_those_of_the_parameters():
    on = lambda n: NamedSharding(Mesh(np.array(jax.devices()[:n]), ("d",)), PartitionSpec())
    eight, four = jax.device_put(P, on(8)), jax.device_put(P, on(4))
    state = ADAM.init(eight)
    gx.check_restored(ADAM, eight, state)
    with pytest.raises(gx.StructureError, match="is on other devices than the parameters: `0/count` is on 8, they are on 4"):
        gx.check_restored(ADAM, four, state)
    gx.check_restored(ADAM, four, jax.device_put(state, on(4)))
    alone = (state[0]._replace(count=jax.device_put(state[0].count, jax.devices()[0])), *state[1:])
    with pytest.raises(gx.StructureError, match="`0/count` is on 1, they are on 8"):
        gx.check_restored(ADAM, eight, alone)
    with pytest.raises(ValueError, match="incompatible devices"):  # which is what JAX says of it
        jax.jit(ADAM.update)(eight, alone, eight)
    gx.check_restored(ADAM, P, state)  # which JAX takes where the state is


@pytest.mark.fast
@needs_devices
def test_a_row_for_each_device():
    """On fewer devices `shard_map` would hand two rows to each, and the second would be lost."""
    tx, everywhere = gx.chain(gx.per_device(gx.trace(0.9), "d"), gx.mean_over("d")), PartitionSpec()
    specs = gx.per_device_specs(jax.eval_shape(tx.init, P), "d")
    meshes = {n: Mesh(np.array(jax.devices()[:n]), ("d",)) for n in (8, 4, 1)}
    params = jax.device_put(P, NamedSharding(meshes[8], everywhere))
    state = jax.jit(jax.shard_map(tx.init, mesh=meshes[8], in_specs=everywhere, out_specs=specs))(params)
    gx.check_restored(tx, params, state, gx.digest(state))
    for n in (4, 1):
        moved = jax.tree.map(lambda x, spec, n=n: jax.device_put(x, NamedSharding(meshes[n], spec)), state, specs)
        on = jax.device_put(P, NamedSharding(meshes[n], everywhere))
        with pytest.raises(
            gx.StructureError, match=f"of another number of devices: `0/inner_state/trace/b` .* each of 8, and is on {n}"
        ):
            gx.check_restored(tx, on, moved)
