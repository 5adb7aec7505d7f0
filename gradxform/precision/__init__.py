"""Training in narrow dtypes: stochastic rounding, and wide master copies of narrow parameters."""

from gradxform.precision._master_weights import MasterWeightsState as MasterWeightsState
from gradxform.precision._master_weights import master_weights as master_weights
from gradxform.precision._rounding import apply_updates_stochastically as apply_updates_stochastically
from gradxform.precision._rounding import stochastic_round as stochastic_round
