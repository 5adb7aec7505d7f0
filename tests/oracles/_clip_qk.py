"""Transcriptions of `clip_qk`."""

import numpy as np

from oracles._collect import oracle


@oracle(extra="max_logits")
def clip_qk(head_axes, threshold=100.0, power=0.5):
    """Kimi Team 2025, arXiv:2507.20534, Algorithm 1 (QK-clip), behind the step: w + u becomes γ_h^p (w + u), γ_h = min(1, τ / S_h),
    which is 1 where S_h is below τ, negative ones included.

    S_h, `max_logits`: the largest attention logit of head h; without it, of heads on one axis, evenly from -50 to 400. `head_axes`: for
    each leaf None (it is left alone), or the axis or axes that count the heads, as the axes of its `max_logits` do; or one axis for all.
    `power`: one number, or one per leaf.
    """
    u = None
    while True:
        g, w, logits = yield u
        u = []
        each = [head_axes] * len(g) if isinstance(head_axes, int) else head_axes
        for i, (gi, wi, S, axes) in enumerate(zip(g, w, logits, each, strict=True)):
            if axes is None:
                u.append(gi)
                continue
            axes = [a % gi.ndim for a in ([axes] if isinstance(axes, int) else axes)]
            S = np.linspace(-50.0, 400.0, gi.shape[axes[0]]) if S is None else S
            moved = np.moveaxis(wi + gi, axes, range(len(axes))).copy()
            for h in np.ndindex(*np.shape(S)):
                moved[h] *= (threshold / max(S[h], threshold)) ** (power[i] if isinstance(power, list) else power)
            u.append(np.moveaxis(moved, range(len(axes)), axes) - wi)
