"""What of Optax's suite is out of scope, what is not expected to pass and why, and the part that CI runs."""

from __future__ import annotations

import fnmatch

OUT_OF_SCOPE = {
    "perturbations": "perturbed optimizers are out of scope",
    "second_order": "deprecated in Optax",
    "experimental": "experimental in Optax",
    "optax_test.py": "tests Optax's own deprecations",
}

# A test by its file, class and name (shell patterns), and why it does not pass.
EXEMPT: dict[str, str] = {}

PART = ["_src", "contrib"]


def in_scope(file: str) -> bool:
    return not any(file.startswith(prefix) for prefix in OUT_OF_SCOPE)


def test_id(nodeid: str) -> str:
    """`_src/alias_test.py::AliasTest::test_x` of a path in site-packages."""
    return nodeid.replace("\\", "/").rpartition("optax/")[2] if "optax/" in nodeid else nodeid


def reason_for(test: str) -> str | None:
    return next((reason for pattern, reason in EXEMPT.items() if fnmatch.fnmatchcase(test, pattern)), None)
