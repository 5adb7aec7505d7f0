"""Codecs: the library's own, and a user's of twenty lines, under the laws that `store` rests on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.precision import Bfloat16, Float8, Int8, bound, codec, counter_bits, float8, int8
from gradxform.testing import LawBroken, check_codec


@codec("tests:thousandths")
class Thousandths(NamedTuple):
    """A user's codec: whole thousandths in 16 bits, rounded at random."""

    thousandths: jax.Array
    seed: jax.Array

    @classmethod
    def zeros(cls, like, seed):
        return cls(jnp.zeros_like(like, dtype=jnp.int16), jnp.asarray(seed, jnp.uint32))

    def decode(self, partner=None):
        return self.thousandths.astype(jnp.float32) * jnp.float32(1e-3)

    def encode(self, x, partner=None):
        bits = counter_bits(x.shape, self.seed) >> jnp.uint32(8)
        y = x.astype(jnp.float32) * jnp.float32(1e3)
        down = jnp.floor(y)
        up = bits.astype(jnp.float32) < (y - down) * jnp.float32(2**24)
        return Thousandths(jnp.where(up, down + 1, down).astype(jnp.int16), self.seed + jnp.uint32(0x9E3779B9))


@codec("tests:nearest")
class ToNearest(NamedTuple):
    """Nearest on a linear scale, without seeds: biased, and the small become 0."""

    tenths: jax.Array

    nonnegative = True

    @classmethod
    def zeros(cls, like, seed):
        return cls(jnp.zeros_like(like, dtype=jnp.uint8))

    def decode(self, partner=None):
        return self.tenths.astype(jnp.float32) * jnp.float32(0.1)

    def encode(self, x, partner=None):
        return ToNearest(jnp.rint(x * 10).astype(jnp.uint8))


@pytest.mark.parametrize(
    ("storage", "likely"),
    [
        (Bfloat16, (1e-30, 3e-5, 0.03, 1.1, 2.5)),
        (Float8, (1e-15, 3e-5, 0.03, 1.1, 100.0)),
        (float8(low=-48), (1e-13, 3e-5, 4e4)),
        (Int8, (1e-12, 3e-5, 0.03, 1.1)),
        (int8(8.7), (1e-12, 3e-5, 0.03, 1.1)),
        (Thousandths, (0.03, 0.3333, 2.5)),
    ],
    ids=str,
)
def test_laws(storage, likely):
    check_codec(storage, likely)
    with jax.enable_x64(True):
        check_codec(storage, likely[-1:])


@pytest.mark.fast
def test_the_laws_bite():
    with pytest.raises(LawBroken, match=r"roundings of 0\.33 is 0\.3"):
        check_codec(ToNearest, (0.33,))
    ToNearest.biased = True
    with pytest.raises(LawBroken, match="becomes 0"):
        check_codec(ToNearest, (0.33,))


@pytest.mark.fast
def test_float8_is_a_small_float():
    """Every code as NumPy computes it, and what a float between two codes may become."""
    k = np.arange(1, 256)
    expected = np.concatenate([[0], 2.0 ** (-56 + (k - 1) // 4) * (1 + (k - 1) % 4 / 4)])
    codes = Float8(jnp.arange(256, dtype=jnp.uint8), jnp.uint32(5), jnp.int32(-56))
    np.testing.assert_array_equal(codes.decode(), expected.astype(np.float32))
    np.testing.assert_array_equal(codes.encode(codes.decode()).codes, codes.codes)
    x = jnp.full((4096,), 0.9)
    assert set(np.asarray(Float8.zeros(x, 0).encode(x).decode()).tolist()) == {0.875, 1.0}
    ends = jnp.asarray([-1.0, 0.0, 1e-30, 1e30, jnp.inf, jnp.nan])
    e = Float8.zeros(ends, 0).encode(ends)
    np.testing.assert_array_equal(e.codes, [0, 0, 1, 255, 255, 255])
    assert e.saturated() == 3


@pytest.mark.fast
def test_bfloat16_rounds_to_a_neighbour():
    x = jnp.asarray(np.random.default_rng(0).normal(size=1000), jnp.float32)
    read = Bfloat16.zeros(x, 3).encode(x).decode()
    assert jnp.all(jnp.abs(read - x) < 2.0**-7 * jnp.abs(x))
    assert jnp.all(read == read.astype(jnp.bfloat16).astype(jnp.float32))
    odd = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 3.38e38])
    read = Bfloat16.zeros(odd, 0).encode(odd).decode()
    np.testing.assert_array_equal(read[:3], odd[:3])
    assert jnp.isfinite(read[3])


@pytest.mark.fast
@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.9, 0.99), (0.95, 0.95), (0.0, 0.5)])
def test_the_bound_is_that_of_cauchy_and_schwarz(b1, b2):
    """No sequence of gradients exceeds it, and the worst one, g_k = (b1 / b2)^(n - k), reaches it."""
    n = 4000
    g = (b1 / b2) ** np.arange(n)[::-1] if b1 else np.eye(n)[-1]
    mu = nu = 0.0
    for x in g:
        mu, nu = b1 * mu + (1 - b1) * x, b2 * nu + (1 - b2) * x * x
    np.testing.assert_allclose(mu / np.sqrt(nu), bound(b1, b2), rtol=1e-6)
    g = np.random.default_rng(0).standard_cauchy((1000, 64))
    mu = nu = np.zeros(64)
    for x in g:
        mu, nu = b1 * mu + (1 - b1) * x, b2 * nu + (1 - b2) * x * x
        assert np.all(np.abs(mu) <= bound(b1, b2) * np.sqrt(nu) * (1 + 1e-12))


@pytest.mark.fast
def test_int8_where_the_partner_is_0_or_the_limit_is_passed():
    x, partner = jnp.asarray([1.0, 0.0, -5.0, 5.0, jnp.nan]), jnp.asarray([0.0, 1.0, 1.0, 1.0, 1.0])
    e = Int8.zeros(x, 0, 2.0).encode(x, partner)
    np.testing.assert_array_equal(e.codes, [0, 0, -127, 127, 127])
    np.testing.assert_array_equal(e.decode(partner), [0, 0, -2, 2, 2])
    assert e.saturated() == 3


@pytest.mark.fast
def test_a_codec_is_checked_when_it_is_declared():
    class Half:
        _fields = ()

    with pytest.raises(gx.StructureError, match="Half has no zeros and no decode and no encode"):
        codec("tests:half")(Half)


@pytest.mark.fast
@pytest.mark.parametrize("low", [-127, 65])
def test_settings_are_checked(low):
    with pytest.raises(gx.HyperparameterError, match="low"):
        float8(low=low)
    with pytest.raises(gx.HyperparameterError, match="limit"):
        int8(limit=0.0)
