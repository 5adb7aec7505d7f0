"""The core: kernels lifted to trees, chains, labels, and the application of updates."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.core._apply import apply_updates as apply_updates
    from gradxform.core._chain import chain as chain
    from gradxform.core._chain import named_chain as named_chain
    from gradxform.core._engine import engine as engine
    from gradxform.core._labels import by_leaf as by_leaf
    from gradxform.core._labels import by_ndim as by_ndim
    from gradxform.core._labels import by_path as by_path
    from gradxform.core._lift import elementwise as elementwise
    from gradxform.core._lift import per_leaf as per_leaf
    from gradxform.core._lift import per_tree as per_tree
    from gradxform.core._lift import wrapper as wrapper
    from gradxform.core._masking import MaskedState as MaskedState
    from gradxform.core._masking import MultiTransformState as MultiTransformState
    from gradxform.core._masking import PartitionState as PartitionState
    from gradxform.core._masking import freeze as freeze
    from gradxform.core._masking import masked as masked
    from gradxform.core._masking import multi_transform as multi_transform
    from gradxform.core._masking import partition as partition
    from gradxform.core._masking import selective_transform as selective_transform
    from gradxform.core._masking import set_to_zero as set_to_zero
    from gradxform.core._roles import WeightDimensionNumbers as WeightDimensionNumbers
    from gradxform.core._state import CountedState as CountedState
    from gradxform.core._state import EmptyState as EmptyState
    from gradxform.core._state import ScaleByScheduleState as ScaleByScheduleState
    from gradxform.core._state import layout as layout
    from gradxform.core._stateless import init_empty_state as init_empty_state
    from gradxform.core._stateless import stateless as stateless
    from gradxform.core._stateless import stateless_with_tree_map as stateless_with_tree_map
    from gradxform.core._stateless import with_extra_args_support as with_extra_args_support
    from gradxform.core._transformation import GradientTransformation as GradientTransformation
    from gradxform.core._transformation import GradientTransformationExtraArgs as GradientTransformationExtraArgs
    from gradxform.tree._leafwise import MaskedNode as MaskedNode
    from gradxform.tree._slow_copies import incremental_update as incremental_update
    from gradxform.tree._slow_copies import periodic_update as periodic_update
else:
    TABLE = {
        "._apply": "apply_updates",
        "._chain": "chain named_chain",
        "._engine": "engine",
        "._labels": "by_leaf by_ndim by_path",
        "._lift": "elementwise per_leaf per_tree wrapper",
        "._masking": (
            "MaskedState MultiTransformState PartitionState freeze masked multi_transform partition selective_transform set_to_zero"
        ),
        "gradxform.tree._leafwise": "MaskedNode",
        "gradxform.tree._slow_copies": "incremental_update periodic_update",
        "._roles": "WeightDimensionNumbers",
        "._state": "CountedState EmptyState ScaleByScheduleState layout",
        "._stateless": "init_empty_state stateless stateless_with_tree_map with_extra_args_support",
        "._transformation": "GradientTransformation GradientTransformationExtraArgs",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
