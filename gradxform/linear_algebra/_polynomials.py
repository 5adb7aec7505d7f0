"""The published coefficients of Newton-Schulz iterations: rows (a, b, c) of x <- a x + b x x* x + c (x x*)^2 x, one for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gradxform._errors import HyperparameterError

Row = tuple[float, float, float]
Polynomials = Literal["standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2"]

JORDAN = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: steepest at 0, so singular values end near 1, not at 1

YOU = (  # You Jiacheng 2025, as Dion's repository and others have it: one polynomial per step, each for what the last one left
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)

POLAR_EXPRESS = (  # Amsel et al. 2025, arXiv:2505.16932, for singular values from 1e-3 on
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
SAFETY = 1.01

CANS = (  # Grishina et al. 2025, arXiv:2506.10935
    (8.4703, -25.1081, 18.6293),
    (4.1828, -3.1087, 0.5806),
    (3.9619, -2.9541, 0.5630),
    (3.2866, -2.4647, 0.5074),
    (2.2737, -1.6447, 0.4162),
)

CUBIC = (  # arXiv:2606.00371: two products in each step in the place of three
    (3.3656576, -3.3420992, 0.0),
    (2.5744352, -1.4957376, 0.0),
    (2.5368962, -1.4312570, 0.0),
    (2.4418906, -1.2764040, 0.0),
    (2.2230472, -0.9630650, 0.0),
)

TURBO = (  # arXiv:2512.04632, for preconditioning "aol"
    (4.0098, -7.0585, 2.4635),
    (3.4585, -5.5479, 2.5959),
    (2.7573, -3.2939, 1.4254),
    (2.7215, -3.0494, 1.3169),
)

DION2 = (  # Dion's repository, of late
    (8.1566, -22.4833, 15.8788),
    (4.0429, -2.8089, 0.5000),
    (3.8917, -2.7725, 0.5061),
    (3.2858, -2.3681, 0.4645),
    (2.3465, -1.7098, 0.4232),
)


def shrunk(row: Row, by: float) -> Row:
    """The polynomial of x / by."""
    a, b, c = row
    return a / by, b / by**3, c / by**5


def polynomials(owner: str, name: str, steps: int) -> Sequence[Row] | Row:
    """The rows of a table; a single one where all steps have the same.

    "polar_express" has as many as there are steps; a table of its own length is used whole.
    """
    if name == "polar_express":
        safe = [shrunk(row, SAFETY) for row in POLAR_EXPRESS[:-1]]
        return [*safe, *[POLAR_EXPRESS[-1]] * (steps - len(safe))][:steps]
    tables = {
        "standard": JORDAN, "dion": YOU, "cans": CANS, "cubic": CUBIC, "turbo": TURBO,
        "deepseek_v4": [JORDAN] * 8 + [(2.0, -1.5, 0.5)] * 2,
        "dion2": [shrunk(DION2[0], 1.02), *DION2[1:]],
    }  # fmt: skip
    if name not in tables:
        raise HyperparameterError(
            f"{owner}: no coefficients are called {name!r}; there are {', '.join([*tables, 'polar_express'])}, or give rows of three."
        )
    return tables[name]
