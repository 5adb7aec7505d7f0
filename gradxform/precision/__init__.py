"""Training in narrow dtypes: stored state, stochastic rounding and its random bits, and wide master copies of narrow parameters."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.precision import formats as formats
    from gradxform.precision._codec import Codec as Codec
    from gradxform.precision._codec import Rule as Rule
    from gradxform.precision._codec import Storage as Storage
    from gradxform.precision._codec import codec as codec
    from gradxform.precision._codec import named_storage as named_storage
    from gradxform.precision._counter import counter_bits as counter_bits
    from gradxform.precision._elementwise import Bfloat16 as Bfloat16
    from gradxform.precision._elementwise import Float8 as Float8
    from gradxform.precision._elementwise import Int8 as Int8
    from gradxform.precision._elementwise import bound as bound
    from gradxform.precision._elementwise import float8 as float8
    from gradxform.precision._elementwise import int8 as int8
    from gradxform.precision._low_bits import LowBitsState as LowBitsState
    from gradxform.precision._master_weights import MasterWeightsState as MasterWeightsState
    from gradxform.precision._master_weights import master_weights as master_weights
    from gradxform.precision._plain import decode_state as decode_state
    from gradxform.precision._plain import encode_state as encode_state
    from gradxform.precision._rounding import apply_updates_stochastically as apply_updates_stochastically
    from gradxform.precision._rounding import stochastic_round as stochastic_round
    from gradxform.precision._storage import Facts as Facts
    from gradxform.precision._store import store as store
else:
    TABLE = {
        "._counter": "counter_bits",
        "._low_bits": "LowBitsState",
        "._master_weights": "MasterWeightsState master_weights",
        "._plain": "decode_state encode_state",
        "._rounding": "apply_updates_stochastically stochastic_round",
        "._store": "store",
    }
    UNLISTED = {
        ".": "formats",
        "._codec": "Codec Rule Storage codec named_storage",
        "._elementwise": "Bfloat16 Float8 Int8 bound float8 int8",
        "._storage": "Facts",
    }
    __getattr__, __dir__ = attach(__name__, TABLE, unlisted=UNLISTED)
