"""Others' formats of 8 bits, code for code against the libraries (`golden/make_formats.py`)."""

import pathlib
import pickle
import re
import sys

import children
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization
from formats_cases import FORMATS, by_format, drawn, golden, saved, values_of
from golden.formats_problem import KEPT, SETTINGS, SHAPES, STEPS, first, gradients, numbers
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradxform as gx
from gradxform.core._encoded import as_encoded
from gradxform.precision import store
from gradxform.precision.formats._dynamic import values

CODECS = {cls.__name__: cls for _, *classes in FORMATS.values() for cls in classes}
by_codec = pytest.mark.parametrize("cls", CODECS.values(), ids=CODECS)


def like(shape, dtype=np.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def encoded(cls, x):
    entry = cls.zeros(like(x.shape), 0)
    assert entry is not None
    return entry.encode(jnp.asarray(x))


def spread_numbers(cls, shape=(16, 512), seed=0):
    rng = np.random.RandomState(seed)
    x = rng.standard_normal(shape) * np.exp(rng.standard_normal(shape))
    return (np.square(x) if cls.nonnegative else x).astype(np.float32)


# ---- code for code


@pytest.mark.parametrize("sign", ["signed", "unsigned"])
@by_format
def test_codes_and_scales_are_the_librarys(name, sign):
    """Of 6144 numbers: zeros, ties, blocks of zeros, below the least scale, spread over 60 octaves."""
    cls = FORMATS[name][1 + (sign == "unsigned")]
    x = numbers() if sign == "signed" else np.square(numbers())
    codes, scales = (golden()[f"numbers/{name}/{sign}/{part}"] for part in ("codes", "scales"))
    zero = cls.zeros(like(x.shape), 0)
    for encode in (cls.encode, jax.jit(cls.encode)):
        entry = encode(zero, jnp.asarray(x))
        np.testing.assert_array_equal(entry[0], codes, strict=True)
        np.testing.assert_array_equal(entry[1], scales.reshape(entry[1].shape), strict=True)


@by_format
def test_forty_updates_store_the_same_codes(name):
    """The library's AdamW beside `store(adamw)`: an update's last bit may be rounded otherwise, which seldom reaches a code."""
    beta1, beta2 = SETTINGS["betas"]
    tx = store(gx.adamw(SETTINGS["lr"], beta1, beta2, SETTINGS["eps"], weight_decay=SETTINGS["weight_decay"]), name)
    params, states = drawn(tx, first(), gradients, STEPS)
    for field in ("mu", "nu"):
        for i, step in enumerate(KEPT):
            entry = getattr(states[step][0], field)["w"]
            codes, scales = (golden()[f"run/{name}/{field}/{part}"][i] for part in ("codes", "scales"))
            apart = np.abs(np.asarray(entry[0]).astype(int) - codes)
            assert apart.max() <= 1
            assert np.count_nonzero(apart) <= 4  # of 4096; none at all with JAX 0.10
            np.testing.assert_allclose(np.float32(entry[1]).reshape(-1), np.float32(scales), rtol=1e-5)
    away = np.abs(params["w"] - golden()[f"run/{name}/params"]) / np.abs(params["w"]).max()
    assert np.count_nonzero(away > 2e-5) <= 4
    assert away.max() < 1e-3


def test_the_maps_are_the_librarys():
    for name, signed, unsigned in (
        ("bitsandbytes:8bit", "__bnb_optimizer_quant_state__/qmap1", "__bnb_optimizer_quant_state__/qmap2"),
        ("torchao:8bit", "exp_avg/qmap", "exp_avg_sq/qmap"),
    ):
        for path, sign in ((signed, True), (unsigned, False)):
            np.testing.assert_array_equal(saved(name)[f"state/0/{path}"], values(sign), strict=True)


# ---- the codecs as such


@by_codec
def test_what_begins_is_zero_and_so_are_zeros(cls):
    zero = cls.zeros(like((16, 512)), 0)
    assert not np.any(zero.decode())
    assert zero.shape == (16, 512)
    assert not np.any(zero.encode(jnp.zeros((16, 512))).decode())


@by_codec
def test_a_stored_value_stays(cls):
    """Encoding what was decoded gives the same codes, and scales but for the last bit.

    bitsandbytes looks codes up on a grid of 2^-15, on which some of its own numbers near 0 are nearer to a neighbour. The dynamic map has
    1 but not -1, so the largest number of a block must be positive.
    """
    x = spread_numbers(cls)
    x[:, ::32] = 1.25 * np.abs(x).max()
    entry = encoded(cls, x)
    again = entry.encode(entry.decode())
    moved = np.abs(np.asarray(again[0]).astype(int) - np.asarray(entry[0]).astype(int))
    assert moved.max() <= cls.__name__.startswith("Bitsandbytes")
    assert np.mean(moved) < 0.01
    np.testing.assert_allclose(again[1], entry[1], rtol=2e-7)


@by_codec
def test_blocks_lie_along_the_last_axis_that_fits(cls):
    """In another place of the same array they have the same codes."""
    x = spread_numbers(cls, (3, 256, 20))
    entry, turned = encoded(cls, x), encoded(cls, np.ascontiguousarray(np.moveaxis(x, 1, 2)))
    block = 32 if cls.__name__.startswith("Flash") else 256
    assert entry[1].shape == (3, 256 // block, 20)
    np.testing.assert_array_equal(entry[0], np.moveaxis(np.asarray(turned[0]), 2, 1))
    np.testing.assert_array_equal(entry.decode(), np.moveaxis(np.asarray(turned.decode()), 2, 1))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 256), "float32"),
        ((4095,), "float32"),
        ((100, 90), "float32"),
        ((), "float32"),
        ((16, 512), "complex64"),
        ((0, 256), "float32"),
    ],
    ids=str,
)
@by_codec
def test_leaves_that_are_small_or_do_not_fit_stay_wide(cls, shape, dtype):
    assert cls.zeros(like(shape, dtype), 0) is None


@by_format
def test_store_leaves_those_as_arrays(name):
    params = {k: jnp.zeros(shape) for k, shape in {**SHAPES, "none": (70, 70)}.items()}
    state = store(gx.adam(1e-2), name).init(params)[0]
    signed, unsigned = FORMATS[name][1:]
    fits = {"w", "flat"} if name == "flash:8bit" else {"w"}
    for k in params:
        wanted = (signed, unsigned) if k in fits else (jax.Array, jax.Array)
        assert isinstance(state.mu[k], wanted[0]), k
        assert isinstance(state.nu[k], wanted[1]), k


@by_codec
def test_float64_and_narrow_leaves(cls):
    x = spread_numbers(cls)
    with jax.enable_x64(True):
        entry = cls.zeros(like(x.shape, np.float64), 0).encode(jnp.asarray(x, jnp.float64))
        assert entry.decode().dtype == jnp.float32
    np.testing.assert_array_equal(entry[0], encoded(cls, x)[0])


@by_codec
def test_what_is_not_finite_is_not_hidden(cls):
    x = spread_numbers(cls)
    for bad in (np.nan, np.inf):
        x[3, 100] = bad
        assert not np.all(np.isfinite(encoded(cls, x).decode()[3]))
        assert np.all(np.isfinite(np.delete(np.asarray(encoded(cls, x).decode()), 3, 0)))


@by_codec
def test_entries_pass_pickles_msgpack_and_mappings(cls):
    """NNX hands a mapping back: no two codecs may have the same fields."""
    entry = encoded(cls, spread_numbers(cls))
    packed = serialization.from_bytes(cls.zeros(like(entry.shape), 0), serialization.to_bytes(entry))
    for found in (packed, pickle.loads(pickle.dumps(entry)), as_encoded(entry._asdict())):
        assert type(found) is cls
        np.testing.assert_array_equal(found.decode(), entry.decode())


def test_formats_are_loaded_when_they_are_asked_for():
    code = """
import sys, gradxform as gx
gx.store(gx.adam(1e-3))
assert not [m for m in sys.modules if m.startswith("gradxform.precision.formats")]
print(gx.store(gx.adam(1e-3), "torchao:8bit"))
assert "gradxform.precision.formats._torchao_8bit" in sys.modules
"""
    assert "torchao:8bit" in children.run(sys.executable, "-c", code, cwd=pathlib.Path(gx.__file__).parent.parent)


@by_format
def test_vmap_stacks_entries(name):
    """One state for each of three copies, made and updated together, is that of each alone."""
    tx = store(gx.adam(1e-2), name)
    p = jnp.asarray(np.random.RandomState(0).standard_normal((3, 16, 512)), jnp.float32)
    update = jax.jit(lambda g, s: tx.update(g, s)[1])
    together = jax.vmap(update)(p, jax.vmap(tx.init)(p))[0]
    for i in range(3):
        alone = update(p[i], tx.init(p[i]))[0]
        np.testing.assert_array_equal(together.mu[0][i], alone.mu[0])
        np.testing.assert_array_equal(together.nu.decode()[i], alone.nu.decode())  # decoded outside `vmap`


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torchao:4bit", "no codec of 4 bits"),
        ("4bit", "no codec of 4 bits"),
        ("linear:8bit", "rounds to 0"),
        ("flat:8bit", "across devices"),
        ("coat", "a power of each"),
        ("torchao:8bits", "Did you mean 'torchao:8bit'"),
    ],
)
def test_other_formats_are_refused_by_name(name, reason):
    with pytest.raises(gx.UnknownNameError, match=reason):
        store(gx.adam(1e-3), name)


def test_second_moments_that_become_zero_lead_astray():
    """What the docstring says of gradients whose sizes spread, and why the formats are not recommended."""
    rng = np.random.RandomState(0)
    size, mean = np.exp(1.5 * rng.standard_normal((32, 512))) * 1e-3, rng.standard_normal((32, 512))
    grads = [((rng.standard_normal((32, 512)) + 0.3 * mean) * size).astype(np.float32) for _ in range(60)]
    rms = lambda x: float(np.sqrt(np.mean(np.square(x))))
    end = lambda tx: drawn(tx, jnp.zeros((32, 512)), lambda i: grads[i], 60)
    wide = np.asarray(end(gx.adamw(1e-2))[0])
    away, zeros = {}, {}
    for name in ("16bit", "8bit", *FORMATS):
        params, states = end(store(gx.adamw(1e-2), name))
        away[name] = rms(params - wide) / rms(wide)
        zeros[name] = int(np.sum(values_of(states[-1][0].nu) == 0))
    assert away["16bit"] < 0.01
    assert away["8bit"] < 0.1
    assert 0.1 < away["bitsandbytes:8bit"] < 0.5
    for name in ("torchao:8bit", "torchao:fp8", "flash:8bit"):
        assert away[name] > 2
        assert zeros[name] > 100
    assert zeros["8bit"] == zeros["bitsandbytes:8bit"] == 0


# ---- on several devices

COLLECTIVE = re.compile(r" (all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all)(?:-start)?\(")


def on_eight(axis_type, spec):
    mesh = jax.make_mesh((8,), ("d",), axis_types=(axis_type,))
    return NamedSharding(mesh, PartitionSpec(*spec))


@pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
@by_format
def test_rows_need_no_communication(name, axis_type):
    """Blocks along the last axis, the first one sharded: the same bits as on one device, and each device has its own."""
    _, *classes = FORMATS[name]
    sharding = on_eight(axis_type, ("d", None))
    for cls in classes:
        x = spread_numbers(cls, (64, 512))
        step = jax.jit(lambda e, x: (lambda new: (new, new.decode()))(e.encode(x)))
        zero, sharded = cls.zeros(jnp.asarray(x), 0), jax.device_put(x, sharding)
        start = cls.zeros(sharded, 0)
        program = step.lower(start, sharded).compile()
        assert not COLLECTIVE.findall(program.as_text())
        found = program(start, sharded)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(step(zero, jnp.asarray(x))), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
            assert a.sharding.is_equivalent_to(sharding, 2)


@pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")
@pytest.mark.parametrize("spec", [("d", None), (None, "d")], ids=["rows", "columns"])
@by_format
def test_a_block_across_devices_is_gathered(name, spec):
    """768 numbers are 3 blocks of 256, which eight devices do not share out, or 24 of 32, which they do: 1.3's table, on eight."""
    x = np.random.RandomState(0).standard_normal((64, 768)).astype(np.float32)
    tx = store(gx.adamw(1e-2), name)
    step = jax.jit(lambda g, s, p: tx.update(g, s, p))
    wide = step(x, tx.init(jnp.asarray(x)), x)[1][0]
    params = jax.device_put(x, on_eight(AxisType.Auto, spec))
    program = step.lower(params, tx.init(params), params).compile()
    crosses = spec == (None, "d") and name != "flash:8bit"
    assert bool(COLLECTIVE.findall(program.as_text())) == crosses
    found = program(params, tx.init(params), params)[1][0]
    for field in ("mu", "nu"):
        np.testing.assert_array_equal(getattr(found, field)[0], getattr(wide, field)[0])
    if crosses:
        explicit = jax.device_put(x, on_eight(AxisType.Explicit, spec))
        with pytest.raises(Exception, match="reshape is not supported"):
            step(explicit, tx.init(explicit), explicit)
