"""What errors show of what came, and what they advise."""

from __future__ import annotations

import math

import jax
import jax.core

from gradxform._errors import StructureError

TRANSFER = (
    "If another optimizer made the state, or the parameters are others now, `gradxform.transfer_state(old_tx, state, new_tx, params)` "
    "carries it over."
)
GRADIENTS = "Pass gradients of the parameters that `init` saw."
OF_A_STATE = f"{GRADIENTS} {TRANSFER}"


class _Array:
    """An array, shown by its dtype and shape."""

    def __init__(self, x: jax.Array):
        self.text = f"{x.dtype}{list(x.shape)}"

    def __repr__(self) -> str:
        return self.text


def _is_traced(x: object) -> bool:
    return isinstance(x, jax.core.Tracer)


def brief(x: object, most: int = 200) -> str:
    """A value in a message: arrays of some size by dtype and shape, and no more than so many characters."""
    is_large = lambda y: (
        hasattr(y, "shape") and hasattr(y, "dtype") and (_is_traced(y) or math.prod(y.shape) > (4 if y is x else 1))
    )
    try:
        shown = repr(jax.tree.map(lambda y: _Array(y) if is_large(y) else y, x, is_leaf=lambda y: y is None))
    except Exception:  # a node of a class that does not take what is shown in the place of an array
        shown = repr(x)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def shape_of(x: object) -> str:
    """What stands where an array should: its shape, or the tree that it is."""
    if hasattr(x, "dtype") or isinstance(x, (bool, int, float, complex)):
        return f"shape {tuple(getattr(x, 'shape', ()))}"
    return f"no array but {brief(x)}"


def wrong_state(owner: str, wanted: str, state: object) -> StructureError:
    """The error of a state that is not one of this transformation."""
    if state is None:
        advice = "Begin with `state = tx.init(params)`."
    elif callable(state):
        advice = "Did you forget to call it? Write `state = tx.init(params)`."
    else:
        advice = f"Pass the state that this transformation's `init` or last `update` returned. {TRANSFER}"
    return StructureError(f"{owner}: the state should be {wanted}, but is {brief(state)}. {advice}")


def unpacked(pair: object, wanted: object) -> int | None:
    """The position at which a pair has what is laid out as wanted."""
    if type(pair) is not tuple or len(pair) != 2:
        return None
    structure = jax.tree.structure(wanted)
    return next((i for i in (1, 0) if jax.tree.structure(pair[i]) == structure), None)
