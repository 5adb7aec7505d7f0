"""Aggregating the gradients of single examples so that none of them can be told from the sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import round_to, widen
from gradxform._types import Array, ArrayLike, Key, NonNegative, check_arguments, parameters_of
from gradxform.core import GradientTransformationExtraArgs
from gradxform.core._holes import as_array, dtype_of, on_the_mesh_of
from gradxform.core._lift import as_key
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, transformation
from gradxform.transforms._per_example import _check_batch, per_example_global_norm_clip
from gradxform.transforms._seed import seed_or_key


class DifferentiallyPrivateAggregateState(NamedTuple):
    """The random key."""

    rng_key: Key


class DifferentiallyPrivateAggregate(Spec):
    """The update of `differentially_private_aggregate`."""

    def __init__(self, l2_norm_clip: Any, noise_multiplier: Any, key: Any):
        self.l2_norm_clip, self.noise_multiplier, self.key_or_seed = l2_norm_clip, noise_multiplier, key

    def name(self) -> str:
        return "differentially_private_aggregate"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.l2_norm_clip, self.noise_multiplier, self.key_or_seed), {}

    def init(self, params: Any) -> DifferentiallyPrivateAggregateState:
        return on_the_mesh_of(params, DifferentiallyPrivateAggregateState(as_key(self.key_or_seed)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        trees = Trees(self.name(), updates)
        _check_batch(self.name(), updates)
        gs = [as_array(trees.leaves[i]) for i in trees.present]
        sums, _ = per_example_global_norm_clip([g.astype(widen(dtype_of(g))) for g in gs], self.l2_norm_clip)
        key, *keys = jax.random.split(state.rng_key, len(gs) + 1)
        for i, g, total, k in zip(trees.present, gs, sums, keys, strict=True):
            noise = jax.random.normal(k, total.shape, total.dtype) * (2**0.5 if jnp.iscomplexobj(g) else 1)
            noisy = total + self.l2_norm_clip * self.noise_multiplier * noise
            trees.leaves[i] = round_to(noisy / g.shape[0], g.dtype)
        return trees.together(trees.leaves), state._replace(rng_key=key)


def differentially_private_aggregate(
    l2_norm_clip: NonNegative[ArrayLike],
    noise_multiplier: NonNegative[ArrayLike],
    key: Array | int | None = None,
    *,
    seed: int | None = None,
) -> GradientTransformationExtraArgs:
    """Clip the gradient of each example, sum, add Gaussian noise, and divide by the number of examples.

        u = (sum over examples i of g_i min(1, C / ||g_i||) + noise_multiplier C n) / B         C = l2_norm_clip, n standard normal

    The updates are gradients of single examples (`jax.vmap(jax.grad(loss), (None, 0))`): every leaf has a first axis of length B, and u
    has none. So it comes first in a chain, and what averages gradients, such as `MultiSteps` or `apply_every`, must not come before it.

    Args:
      l2_norm_clip: the largest norm of an example, over all leaves.
      noise_multiplier: the noise's standard deviation, in units of l2_norm_clip; both parts of complex elements have it.
      key: a random key or a seed. Keep it secret: who knows it can take the noise away. Without one it is 0, and a warning says so.
      seed: the deprecated name of `key`.

    State    rng_key, split once per update, and then once per leaf. Memory: none; the updates themselves are B x params.
    Units    those of g.
    Shapes   any after the first axis, complex included.
    Source   Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.
    Differs  sums and noise of narrow updates are in float32. Complex noise has the standard deviation in each part, Optax's 1 / sqrt(2) of
             it. Absent leaves are allowed.
    Raises   StructureError: a leaf has no first axis, or one of another length. HyperparameterError: an argument < 0, or a schedule; both
             key and seed.
    """
    owner, given = "differentially_private_aggregate", {"l2_norm_clip": l2_norm_clip, "noise_multiplier": noise_multiplier}
    check_arguments(owner, parameters_of(differentially_private_aggregate), given)
    for name, value in given.items():
        if callable(value) and not isinstance(value, jax.Array):
            raise HyperparameterError(f"{owner}: `{name}` cannot be a schedule, but got {value!r}. Give a number.")
    return transformation(DifferentiallyPrivateAggregate(l2_norm_clip, noise_multiplier, seed_or_key(owner, key, seed)))
