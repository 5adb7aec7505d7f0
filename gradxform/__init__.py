"""gradxform: composable gradient transformations for JAX, each written as its equation.

The calls, the names and the state layout are Optax's: `import gradxform as optax`. The public names are those that the subpackages list
in their `__init__.py`.
"""

from gradxform import assignment as assignment
from gradxform import contrib as contrib
from gradxform import distributed as distributed
from gradxform import losses as losses
from gradxform import microbatching as microbatching
from gradxform import numerics as numerics
from gradxform import precision as precision
from gradxform import projections as projections
from gradxform import schedules as schedules
from gradxform import transforms as transforms
from gradxform import tree as tree
from gradxform import tree_utils as tree_utils
from gradxform._errors import GradxformError as GradxformError
from gradxform._errors import HyperparameterError as HyperparameterError
from gradxform._errors import LabelError as LabelError
from gradxform._errors import MissingArgumentError as MissingArgumentError
from gradxform._errors import ProblemError as ProblemError
from gradxform._errors import StructureError as StructureError
from gradxform._errors import UnknownNameError as UnknownNameError
from gradxform._types import ArrayTree as ArrayTree
from gradxform._types import Clock as Clock
from gradxform._types import ConditionFn as ConditionFn
from gradxform._types import Count as Count
from gradxform._types import Decay as Decay
from gradxform._types import Key as Key
from gradxform._types import MaskOrFn as MaskOrFn
from gradxform._types import NonNegative as NonNegative
from gradxform._types import OptState as OptState
from gradxform._types import Params as Params
from gradxform._types import ParamsCopy as ParamsCopy
from gradxform._types import Positive as Positive
from gradxform._types import Real as Real
from gradxform._types import RealUpdates as RealUpdates
from gradxform._types import ScalarOrSchedule as ScalarOrSchedule
from gradxform._types import Schedule as Schedule
from gradxform._types import Shared as Shared
from gradxform._types import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from gradxform._types import TransformInitFn as TransformInitFn
from gradxform._types import TransformUpdateExtraArgsFn as TransformUpdateExtraArgsFn
from gradxform._types import TransformUpdateFn as TransformUpdateFn
from gradxform._types import Unit as Unit
from gradxform._types import Updates as Updates
from gradxform.core import *
from gradxform.distributed import *
from gradxform.linear_algebra import *
from gradxform.linesearch import *
from gradxform.losses import *
from gradxform.microbatching import microbatch as microbatch
from gradxform.numerics import *
from gradxform.optimizers import *
from gradxform.precision import *
from gradxform.registry import create as create
from gradxform.registry import entry as entry
from gradxform.registry import names as names
from gradxform.registry import optimizer as optimizer
from gradxform.registry import register as register
from gradxform.registry import transform as transform
from gradxform.schedules import *
from gradxform.transforms import *
from gradxform.tree import bias_correction as bias_correction
from gradxform.tree import update_infinity_moment as update_infinity_moment
from gradxform.tree import update_moment as update_moment
from gradxform.tree import update_moment_per_elem_norm as update_moment_per_elem_norm
from gradxform.tree_utils import tree_map_params as tree_map_params
from gradxform.wrappers import *

__version__ = "0.1.0"
