"""Every registered transformation obeys every law of `gradxform.testing`, and agrees with its NumPy transcription."""

import pytest
from oracles import ORACLES

import gradxform
from gradxform.testing import LAWS, Skip, case_for

NAMES = gradxform.names(kind="*")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.number}-{law.examine.__name__}")
@pytest.mark.parametrize("name", NAMES)
def test_law(name, law):
    result = law(case_for(name, ORACLES.get(name)))
    if isinstance(result, Skip):
        pytest.skip(result.reason)
