"""Taking the value and the gradient that a line search has left in its state."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError
from gradxform._numerics import round_to
from gradxform._types import Array, ArrayLike, OptState, Params, Tree, Updates
from gradxform.core._holes import flatten, is_gap


def value_and_grad_from_state(value_fn: Callable[..., ArrayLike]) -> Callable[..., tuple[Array, Updates]]:
    """`jax.value_and_grad(value_fn)`, which need not evaluate where a line search has just done so.

        value, grad = value_and_grad_from_state(value_fn)(params, *args, state=state, **kwargs)

    They come from the state if its value is finite, else (as at first) from `value_fn`. A gradient of a part of the parameters, which a
    search inside `masked` or `partition` keeps, is not taken: the other parameters have moved since.

    Args:
      value_fn: a function of the parameters that returns the value.

    >>> f = lambda p: jnp.sum(p["w"] ** 2)
    >>> tx = gx.lbfgs()
    >>> value, grad = gx.value_and_grad_from_state(f)(params, state=tx.init(params))

    Source   Optax.
    Differs  parameters may be called `value` and `grad` too; without jit, `value_fn` is not traced where it is not evaluated.
    Raises   MissingArgumentError: the state has no value and gradient. KeyError: it has several.
    """

    def value_and_grad(params: Params, *fn_args: Tree, state: OptState, **fn_kwargs: Tree) -> tuple[Array, Updates]:
        value, grad = _kept(state)
        whole = flatten(grad)[1] == flatten(params)[1]
        if not whole or any(is_gap(g) and not is_gap(p) for g, p in zip(flatten(grad)[0], flatten(params)[0], strict=True)):
            return jax.value_and_grad(value_fn)(params, *fn_args, **fn_kwargs)

        def evaluate() -> tuple[Array, Updates]:
            found = jax.value_and_grad(value_fn)(params, *fn_args, **fn_kwargs)
            return jax.tree.map(lambda new, old: round_to(jnp.asarray(new), old.dtype).astype(old.dtype), found, (value, grad))

        finite = jnp.isfinite(value)
        if isinstance(finite, jax.core.Tracer):
            return jax.lax.cond(finite, lambda: (value, grad), evaluate)
        return (value, grad) if finite else evaluate()

    return value_and_grad


def _kept(state: OptState) -> tuple[Array, Updates]:
    """The value and the gradient of the one record that has both."""
    has_both = lambda x: hasattr(x, "value") and hasattr(x, "grad")
    records = [x for x in jax.tree.leaves(state, is_leaf=has_both) if has_both(x)]
    if len(records) > 1:
        names = ", ".join(type(r).__name__ for r in records)
        raise KeyError(
            f"value_and_grad_from_state: {len(records)} parts of the state keep a value and a gradient: {names}. Pass one."
        )
    value, grad = (records[0].value, records[0].grad) if records else (None, None)
    if value is None or grad is None:
        missing = "value" if value is None else "gradient"
        raise MissingArgumentError(
            f"value_and_grad_from_state: there is no {missing} in the state {state!r:.200}. Use a line search, with `store_grad=True` "
            "where there is the choice, or `jax.value_and_grad`."
        )
    return value, grad
