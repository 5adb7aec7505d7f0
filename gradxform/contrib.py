"""The names of `optax.contrib`. Here they are not set apart: each is also `gradxform.<name>`."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach
from gradxform._optax_names import CONTRIB as TABLE

if TYPE_CHECKING:
    from gradxform.optimizers import *
    from gradxform.transforms import *
    from gradxform.wrappers import *
else:
    __getattr__, __dir__ = attach(__name__, TABLE)
