"""`check_codec`: the laws of a codec, for the library's own and for yours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradxform._types import Array, Tree
from gradxform.precision._codec import Codec, Storage
from gradxform.testing._laws import LawBroken, expect

SHAPE = (16, 24)
ROUNDINGS = 10**6
ERRORS = 4  # standard errors that a mean may be off
Move = Callable[[Codec, Array, Array | None], Tree]


def check_codec(storage: Storage, likely: Sequence[float] = (1e-5, 1e-4, 0.03, 1.0, 2.5)) -> None:
    """Examine a codec, or one with its settings, under the laws that `store` rests on, and raise if one is broken.

        1. zeros are 0, of the leaf's shape, in arrays; `encode` keeps structure, shapes and dtypes
        2. what was read back is a fixed point: encoded and decoded again, it stays
        3. rounding is unbiased: the mean of 10^6 roundings is within four standard errors, unless `biased`
        4. where nothing is negative, no positive number becomes 0
        5. the same bits un-jitted, compiled, in a batch, and laid out over all devices
        6. numbers of 64 bits are taken and rounded once, where they are on

    Args:
      storage: a codec, or something with `zeros(like, seed)`.
      likely: sizes of numbers that it is for.

    >>> gx.testing.check_codec(gx.precision.Float8)

    Raises   LawBroken: with the law, and the numbers where it is broken.
    """
    subject = _Subject(storage, likely)
    for law in (
        _keeps_its_form,
        _is_a_fixed_point,
        _is_unbiased,
        _keeps_what_is_positive,
        _gives_the_same_bits,
        _takes_wide_numbers,
    ):
        try:
            law(subject)
        except LawBroken as e:
            raise LawBroken(f"The codec {storage!r}: {e}") from e


class _Subject:
    """A codec under test, with numbers for it."""

    def __init__(self, storage: Storage, likely: Sequence[float]):
        self.storage, self.likely = storage, likely
        codec = getattr(storage, "codec", storage)
        self.relative = bool(getattr(codec, "partner", False))
        self.nonnegative = bool(getattr(codec, "nonnegative", False))
        self.biased = bool(getattr(codec, "biased", False))

    def zeros(self, like: Array, seed: int = 7) -> Codec:
        found = self.storage.zeros(like, jnp.uint32(seed))
        expect(found is not None, f"`zeros` gives None for an array of shape {like.shape}, so that nothing can be examined.")
        return found

    def values(self) -> tuple[Array, Array | None]:
        """Numbers of many sizes, and their partner, if they need one."""
        rng = np.random.default_rng(0)
        x = np.exp(rng.normal(size=SHAPE)) * rng.choice(self.likely, SHAPE)
        x = x if self.nonnegative else x * rng.choice([-1, 1], SHAPE)
        bound = jnp.asarray((x * rng.uniform(1, 3, SHAPE)) ** 2, jnp.float32) if self.relative else None
        return jnp.asarray(x, jnp.float32), bound


def _written(e: Codec, x: Array, partner: Array | None) -> Codec:
    return e.encode(x) if partner is None else e.encode(x, partner)


def _read(e: Codec, partner: Array | None) -> Array:
    return e.decode() if partner is None else e.decode(partner)


def _form(x: Tree) -> Tree:
    return jax.tree.structure(x), [(y.shape, y.dtype) for y in jax.tree.leaves(x)]


def _keeps_its_form(subject: _Subject) -> None:
    x, partner = subject.values()
    first = subject.zeros(x)
    expect(all(isinstance(y, jax.Array) for y in jax.tree.leaves(first)), "a field is no array. Keep settings as scalar arrays.")
    expect(first.shape == x.shape, f"an entry for an array of shape {x.shape} says that its shape is {first.shape}.")
    read = _read(first, partner)
    expect((read.shape, read.dtype) == (x.shape, jnp.float32), f"`decode` gives {read.dtype}{read.shape} for float32{x.shape}.")
    expect(jnp.all(read == 0), "`zeros` is not 0 when it is read.")
    second = _written(first, x, partner)
    expect(_form(first) == _form(second), f"`encode` makes {_form(second)} of {_form(first)}.")


def _is_a_fixed_point(subject: _Subject) -> None:
    x, partner = subject.values()
    e = _written(subject.zeros(x), x, partner)
    once = _read(e, partner)
    again = _read(_written(e, once, partner), partner)
    off = np.asarray(jnp.abs(again - once) > 2.0**-20 * jnp.abs(once))
    expect(not off.any(), f"{np.asarray(once)[off][:3]}, read back, is written and read as {np.asarray(again)[off][:3]}.")


def _is_unbiased(subject: _Subject) -> None:
    if subject.biased:
        return
    for size in subject.likely:
        x = jnp.full(ROUNDINGS, size, jnp.float32)
        partner = 2 * x**2 if subject.relative else None
        read = np.asarray(jax.jit(lambda e, x, y: _read(_written(e, x, y), y))(subject.zeros(x), x, partner), np.float64)
        off, error = read.mean() - float(x[0]), read.std() / ROUNDINGS**0.5
        close = abs(off) <= ERRORS * error + 2.0**-23 * size
        expect(
            close, f"the mean of 10^6 roundings of {size} is {read.mean()}, off by {off / max(error, 1e-300):.1f} standard errors."
        )


def _keeps_what_is_positive(subject: _Subject) -> None:
    if not subject.nonnegative:
        return
    x = jnp.asarray(2.0 ** np.linspace(-125, 127, 4096), jnp.float32)
    read = _read(_written(subject.zeros(x), x, None), None)
    lost = np.asarray(read == 0)
    expect(not lost.any(), f"{np.asarray(x)[lost][:3]} becomes 0, and what is divided by its root infinite.")


def _gives_the_same_bits(subject: _Subject) -> None:
    x, partner = subject.values()

    def move(e: Codec, x: Array, partner: Array | None) -> Tree:
        e = _written(e, x, partner)
        return e, _read(e, partner)

    first = subject.zeros(x)
    plain = move(first, x, partner)
    batch = jax.tree.map(lambda y: jnp.stack([y, y]), (first, x, partner))
    ways: dict[str, Tree] = {
        "compiled": jax.jit(move)(first, x, partner),
        "in a batch": jax.tree.map(lambda y: y[1], jax.jit(jax.vmap(move))(*batch)),
        "laid out over the devices": jax.jit(move)(*_spread((first, x, partner), x.shape)),
    }
    for way, found in ways.items():
        same = all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True))
        expect(same, f"it gives other bits {way} than un-jitted. Write it in whole numbers, and without sums that may be fused.")


def _spread(tree: Tree, shape: tuple[int, ...]) -> Tree:
    """The arrays of a shape with their first axis over as many devices as divide it, the others everywhere."""
    devices = jax.devices()
    count = next(n for n in range(len(devices), 0, -1) if shape[0] % n == 0)
    mesh = Mesh(np.array(devices[:count]), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = lambda y: PartitionSpec("data") if y.shape[:1] == shape[:1] else PartitionSpec()
    return jax.tree.map(lambda y: jax.device_put(y, NamedSharding(mesh, spec(y))), tree)


def _takes_wide_numbers(subject: _Subject) -> None:
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]  jax declares no types of its settings
        return
    x, partner = subject.values()
    first = subject.zeros(x.astype(jnp.float64))
    e = _written(first, x.astype(jnp.float64), partner)
    expect(_form(e) == _form(first), f"`encode` of float64 makes {_form(e)} of {_form(first)}.")
    narrow = _read(_written(first, x, partner), partner)
    expect(jnp.all(narrow == _read(e, partner)), "float32 numbers in float64 are rounded otherwise than in float32.")
