"""Hutchinson's estimate of the diagonal of the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform import tree
from gradxform._numerics import round_to
from gradxform._types import Array, ArrayLike, Field, Params, Shared, Updates
from gradxform.core import wrapper
from gradxform.core._first import as_key
from gradxform.core._holes import as_array, dtype_of, is_array, is_key
from gradxform.registry import transform


def quartic(params: Params) -> Array | int:
    """sum |p|^4 / 12, whose Hessian has the diagonal p^2: an objective to show and test with."""
    return tree.sum([jnp.sum(jnp.abs(x) ** 4) / 12 for x in jax.tree.leaves(params) if is_array(x)])


def objective(params: Params, grads: Updates) -> Callable[[Params], Array | int]:
    """`quartic` as an extra argument that can pass through `jax.jit`."""
    del params, grads
    return jax.tree_util.Partial(quartic)


def key_from(seed: ArrayLike | None) -> Array:
    """A fresh buffer with the key of a seed, or of a key, in that key's form."""
    if is_key(seed):
        return as_key(seed)
    return jnp.array(seed) if jnp.ndim(0 if seed is None else seed) else jax.random.PRNGKey(0 if seed is None else seed)


def random_signs(key: Array, x: Array) -> Array:
    """1 or -1 for each element; of complex ones both parts, divided by sqrt(2)."""
    dtype = dtype_of(x)
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return jax.random.rademacher(key, x.shape, jnp.float32).astype(dtype)
    parts = jax.random.rademacher(key, (2, *x.shape), jnp.float32) / 2**0.5
    return jax.lax.complex(*parts).astype(dtype)


class HutchinsonState(NamedTuple):
    """The random key, as two words unless a typed key was given."""

    key: Annotated[Shared, Field(first=lambda random_seed: key_from(random_seed))]


@transform(source="Hutchinson 1989; Bekas et al. 2007", needs={"obj_fn": objective})
@wrapper(HutchinsonState, needs=("params", "obj_fn"))
def hutchinson_estimator_diag_hessian(g, s, p, c, random_seed: Array | int | None = None):
    """Replace updates by an estimate of the diagonal of the Hessian, unbiased for every objective, and exact for a separable one.

        z = 1 or -1, at random, for each element
        u = z (H z)                             H z is the derivative along z of the gradient of obj_fn at p

    `update` needs `obj_fn`, a function of the parameters alone that returns the loss: over the batch at hand, without noise of its
    own. The incoming updates say only where the leaves are. `random_seed` is a seed or a random key, by default 0.

    Args:
      random_seed: a whole number, or a random key; None: 0.

    >>> tx = gx.contrib.hutchinson_estimator_diag_hessian()
    >>> diagonal, state = tx.update(grads, tx.init(params), params, obj_fn=lambda p: 3 * jnp.sum(p["w"] ** 2))
    >>> diagonal["w"]
    Array([[6., 6.],
           [6., 6.]], dtype=float32)

    State    key, split once per update, and then once per leaf. Memory: none; about two more gradients while it runs.
    Units    those of obj_fn / p^2.
    Shapes   any, scalars and complex included: there the mean of the two second derivatives, along the real and the imaginary axis.
    Sharded  inside `shard_map` `obj_fn` is given the device's own parts, and where the key is the same on every device parts of one
             shape are probed along the same directions; under `jit` the whole is.
    Source   Hutchinson 1989; the diagonal: Bekas, Kokiopoulou & Saad 2007.
    Differs  an integer seed is allowed, and the key is a buffer of the state's own. Complex parameters.
    Raises   MissingArgumentError: no params, no obj_fn.
    """
    trees, parts = c.trees, c.trees.like("`params`", p)
    key, sample = jax.random.split(s.key)
    ps = [as_array(x) for x in trees.pick(parts)]
    signs = [random_signs(k, x) for k, x in zip(jax.random.split(sample, max(len(ps), 1)), ps, strict=False)]
    gradient = jax.grad(lambda xs: c.obj_fn(trees.together(trees.put(parts, xs))))
    products = jax.jvp(gradient, (ps,), (signs,))[1] if ps else []
    dtypes = map(dtype_of, trees.pick(trees.leaves))
    estimates = [round_to((h * z).real.astype(h.dtype), d) for h, z, d in zip(products, signs, dtypes, strict=True)]
    return trees.together(trees.put(trees.leaves, estimates)), s._replace(key=key)
