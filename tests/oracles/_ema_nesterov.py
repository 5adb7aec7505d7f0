"""The transcription of `ema_nesterov`."""

from oracles._collect import array_oracle


@array_oracle
def ema_nesterov(base_optimizer=None, decay=0.99, scale=0.3):
    """arXiv:2605.25395: θ' = A(θ + β m),  m' = γ m + (1 − γ)(θ' − θ), A a step of 0.1 against the gradient at θ + β m.

    The parameters are θ + β m, wherever they are; the update leads to θ' + β m'.
    """
    m, u = 0.0, None
    while True:
        g, ahead = yield u
        theta = ahead - scale * m
        new = ahead - 0.1 * g
        m = decay * m + (1 - decay) * (new - theta)
        u = new + scale * m - ahead
