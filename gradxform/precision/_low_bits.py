"""A float32 in two parts: the bfloat16 next to it, and the bits below. The first is the parameter, so that a copy costs the second only.

Both are cut from the magnitude, read as a whole number, which grows with it; what is below bfloat16 is the difference, with a sign, since
the bfloat16 is the nearest, and not the next towards zero.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._types import Array, Field, Inner, Key, OptState, Params, Tree, Updates
from gradxform.core import GradientTransformation, MaskedNode, wrapper
from gradxform.core._holes import dtype_of, is_gap
from gradxform.precision._narrow import narrow
from gradxform.precision._randomness import at, begun, halves, noise_like
from gradxform.precision._wide_copy import copy_of, evaluated, first_inside, is_narrow, step, updated_inside

SIGN, INFINITY = 0x8000, 0x7F800000
DTYPES = {16: jnp.int16, 8: jnp.int8}


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def split(m: Array, bits: int, noise: Array | None = None) -> tuple[Array, Array]:
    """A float32 as the nearest bfloat16, ties away from zero, and that many bits below it.

    16 bits are all that it has; 8 are the nearest, or by random bits one of the two nearest. The derivative of the first is that of m.
    """
    pattern = jax.lax.bitcast_convert_type(m, jnp.int32)
    magnitude = pattern & 0x7FFFFFFF
    if bits == 8:
        magnitude = magnitude + (0x80 if noise is None else (noise & jnp.uint32(0xFF)).astype(jnp.int32))
    high = (magnitude + 0x8000) >> 16
    low = (magnitude - (high << 16)) >> (16 - bits)
    signed = (high | pattern >> 16 & SIGN).astype(jnp.uint16)
    p = jnp.where(jnp.isnan(m), jnp.nan, jax.lax.bitcast_convert_type(signed, jnp.bfloat16)).astype(jnp.bfloat16)
    return p, jnp.where(jnp.isnan(m), 0, low).astype(DTYPES[bits])


@split.defjvp
def _split_jvp(bits, primals, tangents):
    p, low = split(primals[0], bits, primals[1])
    return (p, low), (tangents[0].astype(p.dtype), np.zeros(low.shape, jax.dtypes.float0))


@jax.custom_jvp
def join(p: Array, low: Array) -> Array:
    """The float32 of which these are the parts. The derivative is that of p.

    Beside another p than it was split into, the result is as far from that as before, in units of its last place, and never beyond zero or
    infinity.
    """
    pattern = jax.lax.bitcast_convert_type(p, jnp.int16).astype(jnp.int32)
    below = low.astype(jnp.int32) << (0 if low.dtype == jnp.int16 else 8)
    magnitude = jnp.clip(((pattern & 0x7FFF) << 16) + below, 0, INFINITY)
    m = jax.lax.bitcast_convert_type(magnitude | (pattern & SIGN) << 16, jnp.float32)
    return jnp.where(jnp.isnan(p), jnp.nan, m).astype(jnp.float32)


@join.defjvp
def _join_jvp(primals, tangents):
    m = join(*primals)
    return m, tangents[0].astype(m.dtype)


_joined = jax.jit(join)


@functools.partial(jax.jit, static_argnums=(3, 5))
def _step(p: Array, m: Array, u: Array, bits: int, key: Array | None, axis_name: Hashable | None) -> tuple[Array, Array]:
    """The update that takes p to the high part of the new master copy, and the low part."""
    m = (m + u).astype(m.dtype)
    target, low = split(m, bits, None if key is None else noise_like(m, jnp.uint32, key, axis_name))
    old = p.astype(m.dtype)
    w = target.astype(m.dtype) - old
    pattern = lambda x: jax.lax.bitcast_convert_type(x, jnp.uint16)
    return w, jnp.where(pattern(narrow(old + w, p.dtype)) == pattern(target), low, 0)


def _is_split(leaf: Tree) -> bool:
    return is_narrow(leaf, jnp.float32) and dtype_of(leaf) == jnp.bfloat16


def _low(leaf, bits):
    """No bits yet, beside a bfloat16 leaf."""
    return jnp.zeros_like(leaf, dtype=DTYPES[bits]) if _is_split(leaf) else MaskedNode()


def _master(leaf):
    return MaskedNode() if _is_split(leaf) else copy_of(leaf, jnp.float32)


class LowBitsState(NamedTuple):
    """The bits below the parameter's; whole copies of the narrow leaves that have none, with a `MaskedNode` in either for all others; the
    inner state; the key or seed, if any."""

    low: Annotated[Updates, Field(first=_low)]
    master: Annotated[Updates, Field(first=_master)]
    inner_state: Annotated[Inner, Field(first=lambda inner, params: first_inside(inner, params, jnp.float32))]
    rng_key: Annotated[Key, Field(first=begun, when=lambda key: key is not None)] = None


def _evaluated(params: Params, s: OptState, inside: Callable[[Params], Params]) -> Params:
    ps, lows, masters = params, s.low, s.master
    return evaluated(params, jax.tree.map(_copy, ps, lows, masters, is_leaf=is_gap), inside)


def _copy(p: Tree, low: Tree, master: Tree) -> Tree:
    """The wide copy of a parameter; a gap where there is none."""
    return master if is_gap(low) else _joined(p, low)


@wrapper(LowBitsState, scope="elementwise", needs=("params",), evaluate=_evaluated, widens=True)
def master_weights(
    g,
    s,
    p,
    c,
    inner: GradientTransformation,
    *,
    bits: Literal[16, 8],
    key: Array | int | None = None,
    axis_name: Hashable | None = None,
):
    """The copy is the parameter and the bits below it; `gradxform.precision.master_weights` is the whole."""
    trees = c.trees
    ps, lows, masters = trees.like("`params`", p), *(trees.take(f"the state's `{f}`", getattr(s, f)) for f in ("low", "master"))
    for i in trees.present:
        if not is_gap(lows[i]) and dtype_of(ps[i]) != jnp.bfloat16:
            raise StructureError(
                f"master_weights: at {trees.paths[i]!r} the state keeps the bits below a bfloat16 parameter, but the parameter is "
                f"{dtype_of(ps[i]).name}. Begin again with `init`, or carry the state over with `transfer_state`."
            )
    copies = [_copy(*row) for row in zip(ps, lows, masters, strict=True)]
    us, inner_state = updated_inside(c, inner, s.inner_state, ps, copies, jnp.float32)
    carried, sample = (None, None) if s.rng_key is None else halves(s.rng_key)
    for i in trees.present:
        k = None if sample is None else at(sample, i)
        if not is_gap(lows[i]):
            us[i], lows[i] = _step(ps[i], copies[i], us[i], bits, k, axis_name)
        elif not is_gap(masters[i]):
            us[i], masters[i] = step(ps[i], masters[i], us[i], k, axis_name)
    new = {"low": trees.together(lows), "master": trees.together(masters)}
    return trees.together(us), s._replace(**new, inner_state=inner_state, rng_key=carried)
