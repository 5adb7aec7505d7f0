"""The transcription of `gpa`."""

from oracles._collect import array_oracle


@array_oracle
def gpa(base_optimizer=None, mu_x=0.9967, mu_y=0.7):
    """arXiv:2512.17131, three sequences: z' = z − γ g(y),  x' = μx x + (1 − μx) z',  y' = μy x' + (1 − μy) z'; γ = 0.1."""
    z = x = u = None
    while True:
        g, y = yield u
        if z is None:
            z, x = y, y
        z = z - 0.1 * g
        x = mu_x * x + (1 - mu_x) * z
        u = mu_y * x + (1 - mu_y) * z - y
