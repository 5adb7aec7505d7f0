"""Large batches in small pieces, one after another: the memory of one piece, and the result of the whole batch.

microbatch(fun, argnums=1, microbatch_size=32)(params, batch)
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.microbatching._accumulators import AccumulationType as AccumulationType
    from gradxform.microbatching._accumulators import Accumulator as Accumulator
    from gradxform.microbatching._grad import micro_grad as micro_grad
    from gradxform.microbatching._microbatch import micro_vmap as micro_vmap
    from gradxform.microbatching._microbatch import microbatch as microbatch
    from gradxform.microbatching._microbatch import reshape_batch_axis as reshape_batch_axis
else:
    TABLE = {
        "._accumulators": "AccumulationType Accumulator",
        "._grad": "micro_grad",
        "._microbatch": "micro_vmap microbatch reshape_batch_axis",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
