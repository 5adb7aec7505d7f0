"""The transcription of `sam`."""

from itertools import count

from oracles._collect import oracle


@oracle
def sam(optimizer=None, adv_optimizer=None, sync_period=2):
    """Foret et al. 2021, arXiv:2010.01412, Algorithm 1, w ← w − η g(w + ε̂), in two updates: ε̂ = 0.05 g, then back and down.

    The ascent is left without its norm and η = 0.1, as in the registry's example.
    """
    start, u = None, None
    for k in count():
        g, w = yield u
        if k % sync_period == 0:
            start = w
        last = k % sync_period == sync_period - 1
        u = [(a - 0.1 * y) - b if last else 0.05 * y for a, b, y in zip(start, w, g, strict=True)]
