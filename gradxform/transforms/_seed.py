"""What randomness begins with."""

from __future__ import annotations

import warnings

from gradxform._errors import HyperparameterError
from gradxform._types import Array


def seed_or_key(owner: str, key: Array | int | None, seed: int | None) -> Array | int:
    """What randomness begins with, from `key` and its deprecated name `seed`."""
    if seed is not None:
        warnings.warn(f"{owner}: `seed` is deprecated, use `key`.", DeprecationWarning, stacklevel=3)
        if key is not None:
            raise HyperparameterError(f"{owner}: give `key` or `seed`, not both, but got key={key!r} and seed={seed!r}.")
        return seed
    if key is None:
        warnings.warn(f"{owner}: without a `key` it is 0, and the noise is the same every time.", UserWarning, stacklevel=3)
        return 0
    return key
