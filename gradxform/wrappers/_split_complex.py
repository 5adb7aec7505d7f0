"""Complex parameters as pairs of real ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import real_part
from gradxform._types import OptState
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import flatten, is_array
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.optimizers import adam
from gradxform.registry import transform
from gradxform.tree._leafwise import is_gap


class SplitRealAndImaginaryArrays(NamedTuple):
    """The two parts of a complex array."""

    real: Any
    imaginary: Any


class SplitRealAndImaginaryState(NamedTuple):
    """The state of the inner transformation, which sees pairs."""

    inner_state: OptState


def _split_leaf(x: Any) -> Any:
    dtype = getattr(x, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.complexfloating):
        return x
    if isinstance(x, jax.ShapeDtypeStruct):
        return SplitRealAndImaginaryArrays(*[jax.ShapeDtypeStruct(x.shape, real_part(dtype), sharding=x.sharding)] * 2)
    return SplitRealAndImaginaryArrays(jnp.real(x), jnp.imag(x))


def _is_pair(x: Any) -> bool:
    return isinstance(x, SplitRealAndImaginaryArrays)


def split(tree: Any) -> Any:
    """Every complex leaf as a pair."""
    return jax.tree.map(_split_leaf, tree, is_leaf=is_gap)


def merge(tree: Any) -> Any:
    """Every pair as a complex leaf; one without a part as that gap."""
    join = lambda x: next((part for part in x if is_gap(part)), None) if any(map(is_gap, x)) else jax.lax.complex(*x)
    return jax.tree.map(lambda x: join(x) if _is_pair(x) else x, tree, is_leaf=lambda x: _is_pair(x) or is_gap(x))


def _on_pairs(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the parameters as one of their pairs."""

    @functools.wraps(f, updated=())
    def g(*args: Any, **kwargs: Any) -> Any:
        return split(f(*map(merge, args[:1]), *args[1:], **kwargs))

    return g


class SplitRealAndImaginary(Spec):
    """The update of `split_real_and_imaginary`."""

    def __init__(self, inner: Any):
        self.inner = inner
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "split_real_and_imaginary"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner,), {}

    def init(self, params: Any) -> SplitRealAndImaginaryState:
        return SplitRealAndImaginaryState(self.inner.init(split(params)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        update = self.inner.update
        given = {n: self._extra(x, updates) for n, x in extra_args_for(update, extra).items()}
        u, inner_state = update(split(updates), state.inner_state, split(params), **given)
        return merge(u), state._replace(inner_state=inner_state)

    def _extra(self, value: Any, updates: Any) -> Any:
        """An extra argument as the inner transformation sees it: trees like the updates split, functions on pairs."""
        if callable(value) and not is_array(value):
            return _on_pairs(value)
        (xs, one), (gs, other) = flatten(value), flatten(updates)
        alike = one == other and all(jnp.shape(x) == jnp.shape(g) for x, g in zip(xs, gs, strict=True) if not is_gap(x))
        return split(value) if alike else value

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        pairs = split(params)
        found = evaluated(self.inner, state.inner_state, pairs, lambda u: split(after(merge(u))))
        return params if found is pairs else merge(found)


@transform(source="Optax", example={"inner": adam(1e-3)})
def split_real_and_imaginary(inner: GradientTransformation) -> GradientTransformationExtraArgs:
    """Let a transformation see each complex array as two real ones.

        Re u, Im u = inner(Re g, Im g)

    Without it an array of gradients is conjugated and complex: |g|^2 mixes both parts, and a mean of it is shared by them.
    `jax.grad` returns the conjugate of the direction of ascent: conjugate gradients before any update.

    State    SplitRealAndImaginaryState(inner_state), in which pairs `SplitRealAndImaginaryArrays(real, imaginary)` stand for complex
             leaves. Memory: that of inner.
    Units    those of inner.
    Shapes   any; real leaves pass as they are.
    Source   Optax.
    Differs  extra arguments reach inner: trees like the updates are split, and functions of the parameters take pairs.
    Raises   StructureError: inner is not a transformation.
    """
    check_transformation(inner, "split_real_and_imaginary")
    return transformation(SplitRealAndImaginary(inner))
