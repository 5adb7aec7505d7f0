"""The core: kernels lifted to trees, chains, labels, and the application of updates."""

from gradxform.core._apply import apply_updates as apply_updates
from gradxform.core._chain import chain as chain
from gradxform.core._chain import named_chain as named_chain
from gradxform.core._engine import engine as engine
from gradxform.core._holes import MaskedNode as MaskedNode
from gradxform.core._labels import by_leaf as by_leaf
from gradxform.core._labels import by_ndim as by_ndim
from gradxform.core._labels import by_path as by_path
from gradxform.core._lift import SharedLaw as SharedLaw
from gradxform.core._lift import elementwise as elementwise
from gradxform.core._lift import per_leaf as per_leaf
from gradxform.core._lift import per_tree as per_tree
from gradxform.core._masking import MaskedState as MaskedState
from gradxform.core._masking import PartitionState as PartitionState
from gradxform.core._masking import freeze as freeze
from gradxform.core._masking import masked as masked
from gradxform.core._masking import partition as partition
from gradxform.core._masking import set_to_zero as set_to_zero
from gradxform.core._state import CountedState as CountedState
from gradxform.core._state import EmptyState as EmptyState
from gradxform.core._state import ScaleByScheduleState as ScaleByScheduleState
from gradxform.core._transformation import GradientTransformation as GradientTransformation
from gradxform.core._transformation import GradientTransformationExtraArgs as GradientTransformationExtraArgs
