"""Which golden numbers ask for the code that XLA makes for users."""

import pytest

NARROW = {"muon"}
"""What PyTorch computes in bfloat16 on the way: rounding there decides digits that are compared."""


def as_compiled(arguments, name, label):
    """The parameters of a test that goes where another library goes; `optimised` if last digits of narrow numbers decide."""
    return pytest.param(*arguments, id=label, marks=[pytest.mark.optimised] * (name in NARROW))
