"""Master weights: narrow parameters with a wide copy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, DType, Field, Inner, Key, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain, wrapper
from gradxform.core._holes import is_gap
from gradxform.precision import _low_bits
from gradxform.precision._randomness import at, begun, halves
from gradxform.precision._wide_copy import copy_of, evaluated, first_inside, step, updated_inside
from gradxform.registry import transform


class MasterWeightsState(NamedTuple):
    """The wide copy, with a `MaskedNode` for each leaf that is wide itself; the inner state; the key, if rounding is stochastic."""

    master: Annotated[Updates, Field(first=lambda leaf, dtype: copy_of(leaf, dtype), stored="dtype")]
    inner_state: Annotated[Inner, Field(first=lambda inner, params, dtype: first_inside(inner, params, dtype))]
    rng_key: Annotated[Key, Field(first=begun, when=lambda key: key is not None)] = None


def _evaluated(params, s, inside):
    return evaluated(params, s.master, inside)


@wrapper(MasterWeightsState, scope="elementwise", needs=("params",), evaluate=_evaluated, widens=True)
def _master_weights(
    g, s, p, c, inner: GradientTransformation, dtype: DType = jnp.float32, key: Array | int | None = None,
    axis_name: Hashable | None = None,
):  # fmt: skip
    """The copy is an array of its own; `master_weights` is the whole."""
    trees = c.trees
    ps, masters = trees.like("`params`", p), trees.take("the state's `master`", s.master)
    us, inner_state = updated_inside(c, inner, s.inner_state, ps, masters, dtype)
    carried, sample = (None, None) if s.rng_key is None else halves(s.rng_key)
    for i in trees.present:
        if not is_gap(masters[i]):
            k = None if sample is None else at(sample, i)
            us[i], masters[i] = step(jnp.asarray(ps[i]), masters[i], us[i], k, axis_name)
    return trees.together(us), s._replace(master=trees.together(masters), inner_state=inner_state, rng_key=carried)


@transform(
    source="Micikevicius et al. 2018, arXiv:1710.03740",
    example={"inner": chain()},
    homogeneity=1,
    identities=[("master_weights(adam(0.1))", "adam(0.1)"), ("master_weights(adam(0.1), bits=16)", "adam(0.1)")],
)
def master_weights(
    inner: GradientTransformation,
    dtype: DType = jnp.float32,
    key: Array | int | None = None,
    bits: Literal[32, 16, 8] = 32,
    axis_name: Hashable | None = None,
) -> GradientTransformationExtraArgs:
    """Update a wide copy of narrow parameters, and make the parameters that copy, rounded.

        v, s   = inner(g, s, master)
        master = master + v
        u      = round(master) - p              apply_updates(p, u) = round(master)

    So no update is too small for the parameters to feel. It must be the last of a chain. Leaves that are `dtype` or wider have no copy;
    inner updates them as if it stood alone.

    The updates of narrow leaves have the copy's dtype: a difference of two bfloat16 or float16 numbers does not fit in their own.
    `apply_updates` adds in float32 and rounds once, and so does Optax's, and that gives round(master), unless a parameter all but
    vanishes beside its old value in this one step, or was changed from elsewhere: then it may be that no float32 update leads there.
    In that case the copy gives way, and becomes what p + u does reach, nearer than 2^-23 |p|: as far as the inner update itself is
    rounded. So `apply_updates(p, u)` equals round(master) after every step. (Not so for numbers below 1e-38 on
    a device that flushes them to zero, nor for a parameter that has overflowed: from infinity no update leads back.)

    A bfloat16 is the first half of a float32. With `bits=16` the state therefore keeps only the second half, `low`, beside bfloat16
    parameters, and with `bits=8` the half of that:

        bits(|master|) = 2^16 bits(|p|) + 2^(16 - bits) low          p = round(master), ties away from zero

    16 bits are all that float32 has. With 8 the copy is rounded to its nearest 2^-16 |master| after every step, which loses updates of
    half of that and less, unless a key rounds them at random. Leaves of other narrow dtypes, whose exponents are not those of float32,
    have copies of their own.

    Rounding passes derivatives through: the derivative of u, by a rate for example, is that of master - p.

    Args:
      inner: the complete optimizer. It sees gradients and parameters in the copy's dtype.
      dtype: of the copy.
      key: a random key or an integer seed; with it, parameters are rounded stochastically (the copy is not). The rounding does not
        depend on how leaves are sharded. A seed, whose bits are a hash of the element's index, costs next to nothing. With `bits=8` it is
        the copy that is rounded so, and its mean is exact.
      bits: that the state keeps for each number: 32 (or what `dtype` has) for a copy of its own, 16 or 8 for the bits below the parameter.
      axis_name: with a key, inside `shard_map` or `pmap`: the axis, or a tuple of axes, over which every leaf is split, so that parts are
        rounded by bits of their own.

    >>> tx = gx.precision.master_weights(gx.adamw(1e-3))  # for bfloat16 parameters
    >>> tx = gx.precision.master_weights(gx.adamw(1e-3), bits=16)  # the same numbers, 2 bytes less for each
    >>> tx = gx.precision.master_weights(gx.adamw(1e-3), bits=8, key=0)  # 3 bytes less

    State    MasterWeightsState(master, inner_state, rng_key). master: like p, in `dtype`. Memory: 1 x narrow params (2 x their bytes in
             float32), and that of inner. The copy decides: a change to the parameters from elsewhere is undone by the next update.
             With fewer bits LowBitsState(low, master, inner_state, rng_key). low: of bfloat16 leaves, int16 or int8, 1 or 1/2 x their
             bytes; master: of leaves of other narrow dtypes.
    Units    those of inner.
    Shapes   any, scalars and complex included.
    Source   Micikevicius et al. 2018, arXiv:1710.03740, section 3.1; MXNet's `multi_precision`.
    Differs  Optax has none. The updates of narrow leaves are wide: add them with `apply_updates`, which adds in float32 and rounds once.
             With fewer bits the parameter is part of the copy: a change to it from elsewhere moves the copy by that change, up to the bits
             below, instead of being undone, and `update` must get the parameters bit for bit as `apply_updates` left them. With other
             bits than before, `transfer_state` begins the copy at the parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: dtype is not float32 or wider; fewer bits with another dtype than
             float32, or 16 with a key. StructureError: inner is not a transformation; a state of bits below bfloat16 parameters beside
             other ones.
    """
    owner = "master_weights"
    if not (jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32):
        raise HyperparameterError(f"{owner}: `dtype` must be float32 or wider, but got {dtype!r}.")
    if bits == 32:
        return _master_weights(inner, dtype, key, axis_name)
    if jnp.dtype(dtype) != jnp.float32:
        raise HyperparameterError(
            f"{owner}: with bits={bits} the copy is a float32, of which the parameter is the first half, but `dtype` is {dtype!r}. Use "
            "bits=32."
        )
    if bits == 16 and key is not None:
        raise HyperparameterError(
            f"{owner}: with bits=16 nothing is left to round at random: the copy keeps all its bits, and the parameter, its first half, is "
            "the nearest. Leave `key` out, or use bits=32 for parameters that are rounded at random, or bits=8 for a copy that is."
        )
    return _low_bits.master_weights(inner, bits=bits, key=key, axis_name=axis_name)
