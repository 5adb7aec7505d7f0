"""Optax's own test-suite, run against gradxform: `python -m tests.optax_suite [--part] [files or -k expressions of pytest]`.

The tests are read from the installed wheel; nothing of them stands here. `_alias` answers every import of `optax.*` that they make with
the public thing of that name in gradxform, `_scope` says what is out of scope, what is not expected to pass, and why, and `__main__`
runs pytest over them and counts.
"""
