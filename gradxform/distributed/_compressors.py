"""Compressors: an array as digits -1, 0, 1 and one scale."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Protocol

import jax.numpy as jnp

from gradxform._parameters import Parameter
from gradxform._types import Array, Range
from gradxform.distributed import _wire

_THRESHOLD = Parameter("threshold", inspect.Parameter.empty, Range("(0, inf)"), is_data=True, keyword_only=False)


class Compressor(Protocol):
    """What `error_feedback` sends with."""

    @property
    def common(self) -> bool:
        """Whether the scale is the same on every device."""
        ...

    def encode(self, p: Array) -> tuple[Array, Array]:
        """The digits and the scale of a real array."""
        ...


@dataclasses.dataclass(frozen=True)
class TwoBit:
    """The compressor of `two_bit`."""

    threshold: float
    common = True
    """Whether the scale is the same on every device."""

    def encode(self, p: Array) -> tuple[Array, Array]:
        """The digits and the scale of a real array."""
        t = jnp.asarray(self.threshold, p.dtype)
        return (p >= t).astype(jnp.int8) - (p <= -t).astype(jnp.int8), t

    def __repr__(self) -> str:
        return f"two_bit(threshold={self.threshold!r})"


@dataclasses.dataclass(frozen=True)
class ScaledSign:
    """The compressor of `scaled_sign`."""

    common = False

    def encode(self, p: Array) -> tuple[Array, Array]:
        """The digits and the scale of a real array."""
        return _wire.signs(p), jnp.sum(jnp.abs(p)) / max(p.size, 1)

    def __repr__(self) -> str:
        return "scaled_sign()"


def two_bit(threshold: float = 0.5) -> TwoBit:
    """The compressor that sends -threshold, 0 or threshold.

        C(p) = threshold ([p >= threshold] - [p <= -threshold])             at every element

    It is made for `error_feedback`, which keeps what is not sent until it has grown to the threshold. Choose it near the size of a
    typical element of the gradient: much smaller, and the residual grows without end; much larger, and nothing is sent for long.

    Args:
      threshold: what is sent of an element, and how large it must be for that.

    >>> compressor = gx.distributed.two_bit(threshold=0.01)

    Sent     1/4 byte per element one way, and the sum as one byte per element back (two from 128 devices on); float32 is 4 and 4.
    Units    threshold has those of p.
    Source   MXNet's KVStore, `compression_params={"type": "2bit", "threshold": 0.5}`.
    Differs  MXNet's server adds; here the mean is taken: multiply by the number of devices for the sum. The way back is compressed too.
    Raises   HyperparameterError: threshold <= 0.
    """
    _THRESHOLD.check("two_bit", threshold)
    return TwoBit(float(threshold))


def scaled_sign() -> ScaledSign:
    """The compressor that sends the signs, and the mean size of the elements.

        C(p) = ||p||_1 / d sign(p)            d elements

    >>> compressor = gx.distributed.scaled_sign()

    Sent     1/4 byte per element one way, and the mean as float32 back; float32 is 4 and 4.
    Units    those of p.
    Source   Karimireddy et al. 2019, arXiv:1901.09847, section 4; leaf by leaf, as in section 6.
    Differs  no.
    """
    return ScaledSign()
