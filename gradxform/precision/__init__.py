"""Training in narrow dtypes: stochastic rounding and its random bits, and wide master copies of narrow parameters."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.precision._counter import counter_bits as counter_bits
    from gradxform.precision._master_weights import MasterWeightsState as MasterWeightsState
    from gradxform.precision._master_weights import master_weights as master_weights
    from gradxform.precision._rounding import apply_updates_stochastically as apply_updates_stochastically
    from gradxform.precision._rounding import stochastic_round as stochastic_round
else:
    TABLE = {
        "._counter": "counter_bits",
        "._master_weights": "MasterWeightsState master_weights",
        "._rounding": "apply_updates_stochastically stochastic_round",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
