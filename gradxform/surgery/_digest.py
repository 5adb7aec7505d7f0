"""`digest`: a fingerprint of a tree's bits that does not depend on where they lie."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._messages import brief
from gradxform._types import Array, Tree
from gradxform.core._holes import dtype_of, is_key, with_path
from gradxform.core._trees import numbers_may_go
from gradxform.precision._counter import hashed

LANES = ((0x9E3779B9, 0x85EBCA6B), (0xC2B2AE35, 0x27D4EB2F))
"""Two odd numbers for each half of a fingerprint, from which an element's place is made."""


def _words(x: Array) -> Array:
    """The bits of each element as a uint32, or as several along a last axis."""
    if is_key(x):
        return jax.random.key_data(x).astype(jnp.uint32)
    if x.dtype == bool:
        return x.astype(jnp.uint32)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jnp.stack([_words(x.real), _words(x.imag)], -1)
    bits = (jnp.iinfo if jnp.issubdtype(x.dtype, jnp.integer) else jnp.finfo)(x.dtype).bits
    if bits == 64:
        return jax.lax.bitcast_convert_type(x, jnp.uint32)
    return jax.lax.bitcast_convert_type(x, f"uint{bits}").astype(jnp.uint32)


def _terms(words: Array, lane: tuple[int, int]) -> Array:
    """A number for each word: a bijection of its bits, another one at every place of the whole array."""
    place = jnp.full([], lane[0], jnp.uint32)
    for axis, length in enumerate(words.shape):
        along = [length if a == axis else 1 for a in range(words.ndim)]
        step = (lane[0] + 2 * axis * lane[1]) % 2**32  # odd, another for each axis
        place = place + jax.lax.broadcasted_iota(jnp.uint32, along, axis) * jnp.uint32(step)
    return hashed(words ^ hashed(place))


@jax.jit
def _sums(x: Array) -> Array:
    """The sums of both lanes modulo 2^32, in one pass: whole numbers, so that it is all one who adds them, and in which order."""
    words = _words(x)
    terms, zero = [_terms(words, lane) for lane in LANES], jnp.uint32(0)
    add = lambda a, b: (a[0] + b[0], a[1] + b[1])
    return jnp.stack(jax.lax.reduce(tuple(terms), (zero, zero), add, tuple(range(words.ndim))))


def fingerprint(path: str, x: Tree) -> str:
    """Dtype, shape and sixteen hexadecimal digits of one leaf."""
    abstract = isinstance(x, jax.ShapeDtypeStruct)
    if abstract or isinstance(x, jax.core.Tracer) or not (hasattr(x, "dtype") or isinstance(x, (bool, int, float, complex))):
        how = "a tracer, which has no bits yet" if isinstance(x, jax.core.Tracer) else f"{brief(x)}, no array"
        raise StructureError(f"digest: `{path}` is {how}. Call it on arrays, outside of compiled functions.")
    dtype = dtype_of(x)
    sums = [0, 0] if dtype == jax.dtypes.float0 else _computed(x if hasattr(x, "dtype") else np.asarray(x, dtype))
    name = "float0" if dtype == jax.dtypes.float0 else dtype.name
    return f"{name}[{','.join(map(str, np.shape(x)))}] {sums[0]:08x}{sums[1]:08x}"


def _computed(x: Tree) -> list[int]:
    """The sums of one leaf, computed where it lies; what lies in another memory goes to its device first, one leaf at a time."""
    if isinstance(x, jax.Array):
        kind = next(iter(x.sharding.device_set)).default_memory().kind
        if x.sharding.memory_kind not in (None, kind):
            x = jax.device_put(x, x.sharding.with_memory_kind(kind))
    with numbers_may_go(), jax.enable_x64(True):
        return np.asarray(_sums(x).addressable_data(0)).tolist()


def named_leaves(tree: Tree) -> dict[str, Tree]:
    """The leaves by paths, of which no two are the same."""
    found: dict[str, Tree] = {}
    for path, x in with_path(tree):
        name = path = path or "(root)"
        i = 1
        while name in found:
            i += 1
            name = f"{path} ({i})"
        found[name] = x
    return found


def digest(tree: Tree) -> dict[str, str]:
    """A fingerprint of every array in a tree: the same on any mesh, on any number of devices and processes, and after any restart.

        sum over elements i of h(bits_i ^ h(place_i))       modulo 2^32, for two h; place_i is that in the whole array

    A store of checkpoints may hand back wrong numbers without a word: most of its bytes carry no checksum. So the digest is saved beside
    the state, and compared when that is restored, by `check_restored`. With Orbax it is JSON metadata:

        manager.save(step, args=ocp.args.Composite(
            state=ocp.args.StandardSave((params, state)), digest=ocp.args.JsonSave(gx.digest((params, state)))))
        ...
        found = manager.restore(step, args=ocp.args.Composite(
            state=ocp.args.StandardRestore(like), digest=ocp.args.JsonRestore()))
        params, state = found.state
        gx.check_restored(tx, params, state, found.digest)

    One changed bit always changes it, two elements that change places do but for one case in 2^64. The bits count, not the values: -0.0
    is not 0.0, and NaNs differ by their payloads; of a random key its data count. Dtypes and shapes are part of it, classes are not: what
    is restored as dictionaries has the digest of the NamedTuples that were saved. It finds errors, not forgeries.

    Each leaf is reduced where it lies, in one pass and without room for a copy; from device to device go two whole numbers of each leaf.
    In several processes all must call it.

    Args:
      tree: of arrays: a state, parameters, or both in a tuple. Numbers of Python's count as arrays.

    >>> gx.digest({"w": jnp.arange(4.0)})
    {'w': 'float32[4] 6d797a99d54a59da'}
    >>> saved = gx.digest(params)
    >>> saved == gx.digest(params), saved == gx.digest(grads)
    (True, False)

    Returns:
      A dictionary of strings, to be written as JSON: by the path of each leaf its dtype, its shape and 64 bits.

    Shapes   any, and any dtype: narrow floats and integers, complex numbers, flags, keys.
    Source   gradxform; the hash is that of `counter_bits`.
    Differs  Optax has none.
    Raises   StructureError: a leaf is no array, or is traced.
    """
    return {path: fingerprint(path, x) for path, x in named_leaves(tree).items()}
