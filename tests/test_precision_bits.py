"""Random bits from a counter: their quality, and that neither sharding nor compiling changes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradxform as gx
from gradxform.precision._counter import WEYL, advanced, folded, uint32

pytestmark = pytest.mark.fast

N = 2**20


def truth(shape, seed):
    """The definition, in whole numbers of 64 bits."""
    i = ((np.arange(np.prod(shape, dtype=int), dtype=np.uint64) + np.uint64(seed % 2**32)) * np.uint64(WEYL)) % 2**32
    i = ((i ^ (i >> np.uint64(16))) * np.uint64(0x7FEB352D)) % 2**32
    i = ((i ^ (i >> np.uint64(15))) * np.uint64(0x846CA68B)) % 2**32
    return (i ^ (i >> np.uint64(16))).astype(np.uint32).reshape(shape)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (0, 3), (3, 4), (1, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 2, 2**40 + 3, -1])
def test_the_definition(shape, seed):
    bits = gx.precision.counter_bits(shape, seed)
    assert (bits.shape, bits.dtype) == (shape, jnp.uint32)
    np.testing.assert_array_equal(bits, truth(shape, seed))
    np.testing.assert_array_equal(jax.jit(gx.counter_bits, static_argnums=0)(shape, jnp.uint32(seed % 2**32)), truth(shape, seed))


@pytest.mark.parametrize("seed", [0, 12345, 2**31])
def test_they_are_uniform(seed):
    """Mean and spread of a uniform number, each of 256 classes of the high, middle and low bits, each single bit."""
    h = np.asarray(gx.counter_bits((1024, 1024), seed)).ravel()
    u = h / 2.0**32
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / N)
    assert abs(u.std() * np.sqrt(12) - 1) < 4e-3
    for shift in (0, 8, 16, 24):
        counts = np.bincount(h >> np.uint32(shift) & np.uint32(255), minlength=256)
        assert 0.6 < ((counts - N / 256) ** 2 / (N / 256)).sum() / 255 < 1.45  # five standard deviations of chi^2 with 255 degrees
    for bit in range(32):
        assert abs((h >> np.uint32(bit) & np.uint32(1)).mean() - 0.5) < 5 * 0.5 / np.sqrt(N)


@pytest.mark.parametrize("part", ["all", "low", "high"])
def test_neighbours_and_seeds_are_uncorrelated(part):
    """Right, below, diagonally, the next seed, the next step, the next leaf; also in the half of the bits that bfloat16 uses."""
    cut = {"all": lambda h: h, "low": lambda h: h & np.uint32(0xFFFF), "high": lambda h: h >> np.uint32(16)}[part]
    draw = lambda seed: cut(np.asarray(gx.counter_bits((1024, 1024), seed))).astype(np.float64)
    h = draw(7)
    others = {
        "right": (h[:, 1:], h[:, :-1]),
        "below": (h[1:], h[:-1]),
        "diagonal": (h[1:, 1:], h[:-1, :-1]),
        "next seed": (draw(8), h),
        "next step": (draw(advanced(uint32(7))), h),
        "next leaf": (draw(folded(uint32(7), 1)), draw(folded(uint32(7), 0))),
        "next seed's leaf": (draw(folded(uint32(8), 0)), draw(folded(uint32(7), 0))),
    }
    for name, (a, b) in others.items():
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5e-3, name  # 1e-3 is one standard error


def test_seeds_of_parts_do_not_follow_one_another():
    seeds = np.asarray([[folded(uint32(seed), i) for i in range(16)] for seed in range(16)], np.int64).ravel()
    assert np.diff(np.sort(seeds)).min() > 1000


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
@pytest.mark.parametrize("spec", [("a", "b"), (("a", "b"), None), (None, "a"), ()])
def test_they_do_not_depend_on_the_sharding(axis_type, spec):
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    x = jnp.zeros((16, 8), jnp.uint32)
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))
    with_bits = jax.jit(lambda x, seed: x + gx.counter_bits(x.shape, seed))
    y = with_bits(sharded, jnp.uint32(3))
    np.testing.assert_array_equal(y, truth((16, 8), 3))
    assert y.sharding.is_equivalent_to(sharded.sharding, 2)


@pytest.mark.parametrize("axes", ["a", ("a", "b")])
def test_parts_in_shard_map_count_on(axes):
    mesh, spec = jax.make_mesh((4, 2), ("a", "b")), PartitionSpec(axes, None)
    inside = lambda seed: gx.counter_bits((2, 8), seed, axis_name=axes)
    bits = jax.jit(jax.shard_map(inside, mesh=mesh, in_specs=PartitionSpec(), out_specs=spec))(jnp.uint32(5))
    np.testing.assert_array_equal(bits, truth(bits.shape, 5))
    assert bits.shape[0] == (8 if axes == "a" else 16)


def test_each_member_of_vmap_has_its_own():
    seeds = jnp.asarray([3, 3 + WEYL, 99], jnp.uint32)
    np.testing.assert_array_equal(
        jax.vmap(lambda seed: gx.counter_bits((4, 5), seed))(seeds), np.stack([truth((4, 5), int(seed)) for seed in seeds])
    )


def test_no_key_and_no_array_of_indices_for_all_leaves():
    """What is computed for two leaves of one shape has nothing in common that is as large as they are."""
    text = str(
        jax.make_jaxpr(lambda a, b: (gx.counter_bits((64, 64), a), gx.counter_bits((64, 64), b)))(jnp.uint32(1), jnp.uint32(2))
    )
    assert "threefry" not in text
    assert "random" not in text
    assert text.count("iota") in (2, 4)  # one for each axis, of each leaf or of a program that both share
    assert "shape=(64, 64)" not in text
