"""gradxform: composable gradient transformations for JAX, each written as its equation."""

from gradxform.core import *  # placeholder
from gradxform.transforms import *
from gradxform.optimizers import *
from gradxform.registry import create, entry, names
