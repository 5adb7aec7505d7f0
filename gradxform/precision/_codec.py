"""Codecs: how the values of a state field are stored, and the names by which a storage is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar, cast, runtime_checkable

import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._types import Array, ArrayLike, DType, Shape, Tree
from gradxform.core._encoded import register

C = TypeVar("C", bound=type)
Named = TypeVar("Named")


class Codec(Protocol):
    """How the values of one array are stored: a NamedTuple of arrays, decorated with `codec`, which is what the state then holds.

        @codec("truncated")
        class Truncated(NamedTuple):
            top: Array

            @classmethod
            def zeros(cls, like, seed):
                return cls(jnp.zeros_like(like, dtype=jnp.uint16))

            def decode(self, partner=None):
                return jax.lax.bitcast_convert_type(self.top.astype(jnp.uint32) << 16, jnp.float32)

            def encode(self, x, partner=None):
                bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
                return self._replace(top=(bits >> 16).astype(jnp.uint16))

    All of its fields are arrays, so that a state passes through every library that takes trees of arrays. What is set when it is made, as
    a range, is a scalar array among them: restored from a file, an entry is encoded as it was.

    Attributes:
      partner: whether the values are stored relative to those of the field that bounds them; `decode` and `encode` get these.
      nonnegative: whether it has no negative numbers.
      biased: whether the mean of what is read back differs from what was written, as when rounded to nearest. Slow averages of it drift.
      seed: of one that rounds at random, a field of this name: a uint32, to which `encode` adds 0x9E3779B9. It moves with the device's
        part where `store` is told an `axis_name`.
      shape: of the array that it stands for: that of the first field, unless the class says otherwise.
      dtype: that of the array that `decode` returns: float32.
    """

    partner: ClassVar[bool]
    nonnegative: ClassVar[bool]
    biased: ClassVar[bool]

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> DType: ...

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> Codec | None:
        """All zeros, made directly; None where this leaf cannot be stored so, and stays wide.

        Args:
          like: an array, or something abstract with a shape and a dtype. Make arrays by `jnp.zeros_like(like, dtype=...)`: they are then
            laid out over devices as it is.
          seed: a uint32, another for each leaf, for those that round at random.
        """
        ...

    def decode(self, partner: Array | None = None) -> Array:
        """The values, in float32."""
        ...

    def encode(self, x: Array, partner: Array | None = None) -> Codec:
        """x, float32 or wider, stored as this is; with a seed, the next one."""
        ...


@runtime_checkable
class Storage(Protocol):
    """What begins a stored field: a codec, a codec with its settings, or a dtype."""

    @property
    def zeros(self) -> Callable[[Array, ArrayLike], Tree]:
        """(like, seed) -> an encoded entry, a plain array, or None, as `Codec.zeros`."""
        ...


Rule = Callable[..., Storage | None]
"""(facts) -> the storage of a field by what it holds (`gradxform.precision.Facts`); None: it stays wide."""
STORAGES: dict[str, Storage | Rule] = {}
"""By name."""


def codec(name: str) -> Callable[[C], C]:
    """A decorator that makes a NamedTuple of arrays a codec (`Codec`), and known by that name as a storage."""

    def decorate(cls: C) -> C:
        lacking = [f for f in ("zeros", "decode", "encode") if not callable(getattr(cls, f, None))]
        if not getattr(cls, "_fields", ()) or lacking:
            raise StructureError(
                f"codec {name!r}: expected a NamedTuple of arrays with `zeros`, `decode` and `encode`, but {cls.__name__} has no "
                f"{' and no '.join(lacking or ['fields'])}."
            )
        for attribute, value in _DEFAULTS.items():
            if not hasattr(cls, attribute):
                setattr(cls, attribute, value)
        register(cls)
        return named_storage(name)(cls)

    return decorate


def named_storage(name: str) -> Callable[[Named], Named]:
    """A decorator that makes a storage, or a `Rule` for fields of several kinds, known by a name."""

    def decorate(x: Named) -> Named:
        STORAGES[name] = cast(Storage | Rule, x)
        return x

    return decorate


_DEFAULTS = {
    "partner": False,
    "nonnegative": False,
    "biased": False,
    "shape": property(lambda self: self[0].shape),
    "ndim": property(lambda self: len(self.shape)),
    "size": property(lambda self: math.prod(self.shape)),
    "dtype": jnp.dtype(jnp.float32),
}
