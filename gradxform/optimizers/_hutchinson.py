"""Hutchinson's estimate of the diagonal of the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError
from gradxform._numerics import round_to
from gradxform._types import Array, Params, Shared, Updates
from gradxform.core import GradientTransformationExtraArgs
from gradxform.core._holes import as_array, dtype_of, is_array, on_the_mesh_of
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, transformation
from gradxform.registry import transform


class HutchinsonState(NamedTuple):
    """The random key, as two words unless a typed key was given."""

    key: Shared


def quartic(params: Params) -> Array | int:
    """sum |p|^4 / 12, whose Hessian has the diagonal p^2: an objective to show and test with."""
    return sum(jnp.sum(jnp.abs(x) ** 4) / 12 for x in jax.tree.leaves(params) if is_array(x))


def objective(params: Params, grads: Updates) -> Callable[[Params], Array | int]:
    """`quartic` as an extra argument that can pass through `jax.jit`."""
    del params, grads
    return jax.tree_util.Partial(quartic)


def key_from(seed: Array | int | None) -> Array:
    """A fresh buffer with the key of a seed, or of a key, in that key's form."""
    if seed is None or isinstance(seed, int):
        return jax.random.PRNGKey(seed or 0)
    if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(jax.random.key_data(seed)), impl=jax.random.key_impl(seed))
    return jnp.array(seed)


def random_signs(key: Array, x: Array) -> Array:
    """1 or -1 for each element; of complex ones both parts, divided by sqrt(2)."""
    dtype = dtype_of(x)
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return jax.random.rademacher(key, x.shape, jnp.float32).astype(dtype)
    parts = jax.random.rademacher(key, (2, *x.shape), jnp.float32) / 2**0.5
    return jax.lax.complex(*parts).astype(dtype)


class Hutchinson(Spec):
    """The update of `hutchinson_estimator_diag_hessian`."""

    def __init__(self, random_seed: Any):
        self.random_seed = random_seed

    def name(self) -> str:
        return "hutchinson_estimator_diag_hessian"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return () if self.random_seed is None else (self.random_seed,), {}

    def init(self, params: Any) -> HutchinsonState:
        return on_the_mesh_of(params, HutchinsonState(key_from(self.random_seed)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        obj_fn = extra.get("obj_fn")
        if params is None or obj_fn is None:
            raise MissingArgumentError(
                f"{self.name()}: needs `{'params' if params is None else 'obj_fn'}`, which was not given. Call `update(updates, state, "
                "params, obj_fn=...)` with the function of the parameters whose gradient the updates are."
            )
        trees = Trees(self.name(), updates)
        parts = trees.like("`params`", params)
        key, sample = jax.random.split(state.key)
        ps = [as_array(parts[i]) for i in trees.present]
        keys = jax.random.split(sample, max(len(ps), 1))
        signs = [random_signs(k, p) for k, p in zip(keys, ps, strict=False)]
        gradient = jax.grad(lambda xs: obj_fn(trees.together(trees.put(parts, xs))))
        products = jax.jvp(gradient, (ps,), (signs,))[1] if ps else []
        for i, h, z in zip(trees.present, products, signs, strict=True):
            trees.leaves[i] = round_to((h * z).real.astype(h.dtype), dtype_of(trees.leaves[i]))
        return trees.together(trees.leaves), state._replace(key=key)


@transform(source="Hutchinson 1989; Bekas et al. 2007", needs={"obj_fn": objective})
def hutchinson_estimator_diag_hessian(random_seed: Any = None) -> GradientTransformationExtraArgs:
    """Replace updates by an estimate of the diagonal of the Hessian, unbiased for every objective, and exact for a separable one.

        z = 1 or -1, at random, for each element
        u = z (H z)                             H z is the derivative along z of the gradient of obj_fn at p

    `update` needs `obj_fn`, a function of the parameters alone that returns the loss: over the batch at hand, without noise of its
    own. The incoming updates say only where the leaves are. `random_seed` is a seed or a random key, by default 0.

    State    key, split once per update, and then once per leaf. Memory: none; about two more gradients while it runs.
    Units    those of obj_fn / p^2.
    Shapes   any, scalars and complex included: there the mean of the two second derivatives, along the real and the imaginary axis.
    Source   Hutchinson 1989; the diagonal: Bekas, Kokiopoulou & Saad 2007.
    Differs  an integer seed is allowed, and the key is a buffer of the state's own. Complex parameters.
    Raises   MissingArgumentError: no params, no obj_fn.
    """
    return transformation(Hutchinson(random_seed))
