"""gradxform: composable gradient transformations for JAX, each written as its equation.

The calls, the names and the state layout are Optax's: `import gradxform as optax`. The public names are those that the subpackages list
in their `__init__.py`.
"""

from gradxform import precision as precision
from gradxform import schedules as schedules
from gradxform import transforms as transforms
from gradxform import tree as tree
from gradxform._errors import GradxformError as GradxformError
from gradxform._errors import HyperparameterError as HyperparameterError
from gradxform._errors import LabelError as LabelError
from gradxform._errors import MissingArgumentError as MissingArgumentError
from gradxform._errors import ProblemError as ProblemError
from gradxform._errors import StructureError as StructureError
from gradxform._errors import UnknownNameError as UnknownNameError
from gradxform._types import ArrayTree as ArrayTree
from gradxform._types import Count as Count
from gradxform._types import Decay as Decay
from gradxform._types import Key as Key
from gradxform._types import NonNegative as NonNegative
from gradxform._types import OptState as OptState
from gradxform._types import Params as Params
from gradxform._types import Positive as Positive
from gradxform._types import Real as Real
from gradxform._types import RealUpdates as RealUpdates
from gradxform._types import Schedule as Schedule
from gradxform._types import Shared as Shared
from gradxform._types import Unit as Unit
from gradxform._types import Updates as Updates
from gradxform.core import *
from gradxform.optimizers import *
from gradxform.precision import *
from gradxform.registry import create as create
from gradxform.registry import entry as entry
from gradxform.registry import names as names
from gradxform.registry import optimizer as optimizer
from gradxform.registry import transform as transform
from gradxform.schedules import *
from gradxform.transforms import *
from gradxform.wrappers import *

__version__ = "0.1.0"
