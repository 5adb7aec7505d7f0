"""gradxform: composable gradient transformations for JAX, each written as its equation.

The calls, the names and the state layout are Optax's: `import gradxform as optax`. The public names are those that the subpackages list
in their `__init__.py`; a name is loaded when it is first asked for. Who writes an optimizer finds the words for it in
`gradxform.kernels`.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform import assignment as assignment
    from gradxform import contrib as contrib
    from gradxform import core as core
    from gradxform import dialects as dialects
    from gradxform import distributed as distributed
    from gradxform import kernels as kernels
    from gradxform import linear_algebra as linear_algebra
    from gradxform import linesearch as linesearch
    from gradxform import losses as losses
    from gradxform import microbatching as microbatching
    from gradxform import numerics as numerics
    from gradxform import optimizers as optimizers
    from gradxform import planning as planning
    from gradxform import precision as precision
    from gradxform import projections as projections
    from gradxform import race as race
    from gradxform import registry as registry
    from gradxform import schedules as schedules
    from gradxform import surgery as surgery
    from gradxform import testing as testing
    from gradxform import transforms as transforms
    from gradxform import tree as tree
    from gradxform import tree_utils as tree_utils
    from gradxform import wrappers as wrappers
    from gradxform._errors import GradxformError as GradxformError
    from gradxform._errors import HyperparameterError as HyperparameterError
    from gradxform._errors import LabelError as LabelError
    from gradxform._errors import MissingArgumentError as MissingArgumentError
    from gradxform._errors import ProblemError as ProblemError
    from gradxform._errors import StructureError as StructureError
    from gradxform._errors import UnknownNameError as UnknownNameError
    from gradxform._types import ArrayTree as ArrayTree
    from gradxform._types import ConditionFn as ConditionFn
    from gradxform._types import MaskOrFn as MaskOrFn
    from gradxform._types import OptState as OptState
    from gradxform._types import Params as Params
    from gradxform._types import ScalarOrSchedule as ScalarOrSchedule
    from gradxform._types import Schedule as Schedule
    from gradxform._types import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
    from gradxform._types import TransformInitFn as TransformInitFn
    from gradxform._types import TransformUpdateExtraArgsFn as TransformUpdateExtraArgsFn
    from gradxform._types import TransformUpdateFn as TransformUpdateFn
    from gradxform._types import Updates as Updates
    from gradxform.core import *
    from gradxform.dialects.torch import load_torch_state as load_torch_state
    from gradxform.distributed import *
    from gradxform.kernels import Clock as Clock
    from gradxform.kernels import Count as Count
    from gradxform.kernels import Decay as Decay
    from gradxform.kernels import Key as Key
    from gradxform.kernels import NonNegative as NonNegative
    from gradxform.kernels import ParamsCopy as ParamsCopy
    from gradxform.kernels import Positive as Positive
    from gradxform.kernels import Real as Real
    from gradxform.kernels import RealUpdates as RealUpdates
    from gradxform.kernels import Shared as Shared
    from gradxform.kernels import SharedLaw as SharedLaw
    from gradxform.kernels import Unit as Unit
    from gradxform.kernels import elementwise as elementwise
    from gradxform.kernels import engine as engine
    from gradxform.kernels import entry as entry
    from gradxform.kernels import layout as layout
    from gradxform.kernels import optimizer as optimizer
    from gradxform.kernels import per_leaf as per_leaf
    from gradxform.kernels import per_tree as per_tree
    from gradxform.kernels import register as register
    from gradxform.kernels import schedule as schedule
    from gradxform.kernels import transform as transform
    from gradxform.kernels import wrapper as wrapper
    from gradxform.linear_algebra import *
    from gradxform.linesearch import *
    from gradxform.losses import *
    from gradxform.microbatching import microbatch as microbatch
    from gradxform.numerics import *
    from gradxform.optimizers import *
    from gradxform.planning import Plan as Plan
    from gradxform.planning import plan as plan
    from gradxform.precision import *
    from gradxform.registry import create as create
    from gradxform.registry import names as names
    from gradxform.schedules import *
    from gradxform.surgery import *
    from gradxform.transforms import *
    from gradxform.tree import bias_correction as bias_correction
    from gradxform.tree import update_infinity_moment as update_infinity_moment
    from gradxform.tree import update_moment as update_moment
    from gradxform.tree import update_moment_per_elem_norm as update_moment_per_elem_norm
    from gradxform.tree_utils import tree_map_params as tree_map_params
    from gradxform.wrappers import *
else:
    TABLE = {
        ".": (
            "assignment contrib dialects distributed kernels losses microbatching numerics planning precision projections race "
            "schedules testing transforms tree tree_utils"
        ),
        "._errors": (
            "GradxformError HyperparameterError LabelError MissingArgumentError ProblemError StructureError UnknownNameError"
        ),
        "._types": (
            "ArrayTree ConditionFn MaskOrFn OptState Params ScalarOrSchedule Schedule ShouldSkipUpdateFunction "
            "TransformInitFn TransformUpdateExtraArgsFn TransformUpdateFn Updates"
        ),
        ".dialects.torch": "load_torch_state",
        ".microbatching": "microbatch",
        ".planning": "Plan plan",
        ".registry": "create names",
        ".tree": "bias_correction update_infinity_moment update_moment update_moment_per_elem_norm",
        ".tree_utils": "tree_map_params",
    }
    ROOMS = (
        ".core .distributed .linear_algebra .linesearch .losses .numerics .optimizers .precision .schedules .surgery .transforms "
        ".wrappers"
    )
    UNLISTED = {
        ".": "core linear_algebra linesearch optimizers registry surgery wrappers",
        ".kernels": (
            "Clock Count Decay Key NonNegative ParamsCopy Positive Real RealUpdates Shared SharedLaw Unit elementwise "
            "engine entry layout optimizer per_leaf per_tree register schedule transform wrapper"
        ),
    }
    __getattr__, __dir__ = attach(__name__, TABLE, ROOMS, UNLISTED)

__version__ = "0.2.0"
