"""What of Optax's suite is out of scope, and what is not expected to pass and why."""

from __future__ import annotations

import fnmatch

OUT_OF_SCOPE = {
    "perturbations": "perturbed optimizers are out of scope",
    "second_order": "deprecated in Optax",
    "experimental": "experimental in Optax",
    "optax_test.py": "tests Optax's own deprecations",
}

# Tests by file, class and name (shell patterns), and why they do not pass.
EXEMPT: dict[str, str] = {
    "schedules/_schedule_test.py::PolynomialTest::test_zero_steps_schedule": "transition_steps < 1 raises; Optax is constant",
    "schedules/_schedule_test.py::ExponentialTest::test_nonvalid_transition_steps*": "transition_steps < 1 raises; Optax is constant",
    "schedules/_schedule_test.py::ExponentialTest::test_nonvalid_decay_rate*": "decay_rate = 0 raises; Optax is constant",
    "_src/transform_test.py::TransformTest::test_lion_invalid_mode_raises": "an unknown mode raises when the transformation is made",
    "transforms/_adding_test.py::AddingTest::test_none_argument": "a state that no `init` returned, here 0, is refused",
    "schedules/_schedule_test.py::WarmupCosineDecayTest::test_zero_peak_value": "end_value is reached, also from a peak of 0",
}


def in_scope(file: str) -> bool:
    return not any(file.startswith(prefix) for prefix in OUT_OF_SCOPE)


def pattern_for(test: str) -> str | None:
    """The pattern in `EXEMPT` that covers this test."""
    return next((pattern for pattern in EXEMPT if fnmatch.fnmatchcase(test, pattern)), None)
