"""What a kernel returns, checked; and what stands for the parameter where it did not ask for it."""

from __future__ import annotations

from typing import NoReturn

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError, StructureError
from gradxform._types import OptState, Tree, Updates
from gradxform.core._kernel import Kernel


class Undeclared:
    """Stands for the parameter in a kernel that did not ask for it."""

    def __init__(self, owner: str):
        self._owner = owner

    def refuse(self, *_: Tree) -> NoReturn:
        raise MissingArgumentError(
            f'{self._owner}: the kernel reads `p`, which its decorator does not declare; add it: `needs=("params",)`.'
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = refuse
    __matmul__ = __rmatmul__ = __neg__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = refuse

    def __getattr__(self, name: str) -> NoReturn:
        self.refuse()


def returned(kernel: Kernel, out: Tree) -> tuple[Updates, OptState]:
    """What a kernel returned, checked to be an update and a state."""
    fields = kernel.layout.cls._fields if kernel.layout.cls else ()
    if isinstance(out, tuple) and len(out) == 2 and all(hasattr(out[1], name) for name in fields):
        return out
    came = f"a {type(out).__name__}" if not isinstance(out, tuple) else f"{len(out)} values"
    came = came if not isinstance(out, tuple) or len(out) != 2 else f"a {type(out[1]).__name__} for the state"
    raise StructureError(
        f"{kernel.name}: a kernel returns the update and the state, `return u, s` or `return u, s._replace(...)`, but this returned {came}."
    )


def shaped(kernel: Kernel, what: str, new: Tree, old: Tree) -> Tree:
    """What a kernel made, checked to have the structure and the shapes of what was there."""
    (xs, made), (ys, had) = jax.tree.flatten(new), jax.tree.flatten(old)
    if made == had and list(map(jnp.shape, xs)) == list(map(jnp.shape, ys)):
        return new
    came, wanted = (jax.tree.map(jnp.shape, tree) for tree in (new, old))
    raise StructureError(f"{kernel.name}: {what} must keep the shape {wanted}, but the kernel returns it with {came}.")
