"""Every registered transformation obeys every law of `gradxform.testing`, and agrees with its NumPy transcription."""

import dataclasses
import functools
import inspect

import pytest
from oracles import ORACLES
from oracles._matrices import pseudonormal

import gradxform
from gradxform.testing import LAWS, Skip, case_for, entailed

FAST = {1, 2, 4, 14, 15, 18, 19, 20}
"""Laws of the fast set: right numbers of every dtype, and what each declares; the others compare ways to compute the same."""


def number_and_name(law):
    return pytest.param(law, id=f"{law.number}-{law.examine.__name__}", marks=[pytest.mark.fast] * (law.number in FAST))


def given(case, **arguments):
    """The case with these arguments in the place of its example's."""
    return dataclasses.replace(case, make=functools.partial(case.make, **arguments), arguments={**case.arguments, **arguments})


@pytest.mark.parametrize("law", [number_and_name(law) for law in LAWS])
@pytest.mark.parametrize("name", gradxform.names(kind="*"))
def test_law(name, law):
    case = case_for(name, ORACLES.get(name))
    if law.number == 15 and "sampler" in case.parameters:
        case = given(case, sampler=pseudonormal)
    result = entailed(law, case) or law(case)
    if isinstance(result, Skip):
        pytest.skip(result.reason)


@pytest.mark.fast
def test_a_transcription_stands_in_the_file_of_the_same_name():
    """`oracles/_adan.py` has what `gradxform/optimizers/_adan.py` makes."""
    for name, transcription in ORACLES.items():
        if "." not in name:  # those of other systems are in one file per system
            file = inspect.unwrap(getattr(gradxform, name)).__module__.rpartition(".")[2]
            assert transcription.__module__ == f"oracles.{file}", f"move `{name}` to tests/oracles/{file}.py"
