"""What of Optax's suite is out of scope, and what is not expected to pass and why."""

from __future__ import annotations

import fnmatch

OUT_OF_SCOPE = {
    "perturbations": "perturbed optimizers are out of scope",
    "second_order": "deprecated in Optax",
    "experimental": "experimental in Optax",
    "optax_test.py": "tests Optax's own deprecations",
    "_src/utils_test.py::HelpersTest": "29 tests of private array helpers (`set_diags`, ...) that nothing public here is made of",
}

# Tests by file, class and name (shell patterns), and why they do not pass.
EXEMPT: dict[str, str] = {
    "_src/alias_test.py::LBFGSTest::test_against_plain_implementation[23]": "a pair of negative curvature is not stored",
    "_src/alias_test.py::AliasTest::test_explicit_dtype9": "moments of bfloat16 parameters are float32 unless asked otherwise",
    "_src/alias_test.py::AliasTest::test_explicit_dtype1[01]": "moments of bfloat16 parameters are float32 unless asked otherwise",
    "_src/transform_test.py::TransformTest::test_lion_invalid_mode_raises": "an unknown mode raises when the transformation is made",
    "schedules/_inject_test.py::InjectHyperparamsTest::test_hyperparam_default_dtype_bf16": "hyperparameters are float32 or wider (#1414)",
    "_src/linesearch_test.py::*raises_on_unused_extra_args": "extra arguments that nobody takes are accepted",
    "_src/linesearch_test.py::*::test_extract_fns_kwargs": "calls a private function of Optax",
    "_src/linesearch_test.py::ZoomLinesearchTest::test_failure_[dfnt]*": "reads the text of Optax's messages",
    "contrib/_galore_test.py::GaLoreTest::test_mu_dtype_controls_moment_dtype": "moments of bfloat16 parameters are float32",
    "transforms/_clipping_test.py::ClippingTest::test_clip_by_block_rms": "asks for float32 to less than one last digit",
    "_src/linear_algebra_test.py::LinearAlgebraTest::test_power_iteration_cond_fun": "calls a private function of Optax",
    "transforms/_masking_test.py::MaskedTest::test_mask_compatible_callable_pytree": "calls a private function of Optax",
    "schedules/_schedule_test.py::WarmupCosineDecayTest::test_zero_peak_value": "end_value is reached, also from a peak of 0",
}


def in_scope(test: str) -> bool:
    """Whether a file, or a test in it, is in scope."""
    return not any(test.startswith(prefix) for prefix in OUT_OF_SCOPE)


def pattern_for(test: str) -> str | None:
    """The pattern in `EXEMPT` that covers this test."""
    return next((pattern for pattern in EXEMPT if fnmatch.fnmatchcase(test, pattern)), None)
