"""Transcriptions of `add_decayed_weights`."""

from itertools import count

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def add_decayed_weights(weight_decay=0.0, policy="scaled", learning_rate=None, peak=None, of="old"):
    """u = g + λ w (S0:46), of w as it is or as w − η g.

    "independent": λ / η_max; "corrected": λ η / η_max (Defazio 2025); "cautious": where g w ≥ 0 (Chen et al. 2025).
    """
    u = None
    for k in count():
        g, w = yield u
        q = w - at(learning_rate, k) * g if of == "new" else w
        factor = g * q >= 0 if policy == "cautious" else at(learning_rate, k) if policy == "corrected" else 1.0
        u = g + at(weight_decay, k) * factor / (peak or 1.0) * q
