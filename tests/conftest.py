"""Eight fake CPU devices, no silent rank promotion, and 64-bit numbers only where a test asks for them.

Compiling is most of the suite's time, and optimised machine code is not what it asks about: it is compiled quickly. `XLA_FLAGS` has the
last word; tests/test_optimised.py runs the part on rounding again, optimised.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import collections
import contextlib
import functools
import gc
import re

import children
import groups
import jax
import jax._src.interpreters.mlir as lowering
import pytest
import xla_flags

OPTIMISED = "GRADXFORM_TESTS_OPTIMISED" in os.environ
xla_flags.set_flags(quick=not OPTIMISED)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_enable_x64", False)

# JAX makes an MLIR context for each program that it lowers, with all dialects in it: a tenth of the suite's time, and half of its memory.
lowering.make_ir_context = functools.cache(lowering.make_ir_context)
HELD = collections.Counter()  # what JAX has told of itself since it was made to forget
COMPILED = "/jax/core/compile/backend_compile_duration"
APART = {"nightly": ".ci/nightly", "processes": "pytest -m processes"}  # run where their marker is named, of two the first


def pytest_configure(config):
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: HELD.update([event]))
    config.pluginmanager.register(children)
    config.pluginmanager.register(groups)


def pytest_collection_modifyitems(config, items):
    """The laws come last, as many small groups end together."""
    items.sort(key=lambda item: item.path.name == "test_laws.py")
    for item in items:
        if item.get_closest_marker("optimised") and not OPTIMISED:
            item.add_marker(pytest.mark.skip(reason="run by test_optimised.py"))
        apart = next(filter(item.get_closest_marker, APART), None)
        if apart and apart not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason=f"run by {APART[apart]}"))


def pytest_collection_finish():
    """Look for garbage rarely, and not among modules and tests: what is compiled is kept for other tests, and all of it would be seen."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_runtest_teardown():
    """Forget what was compiled, now and then: each program keeps three memory maps or more, of which a process may have 65,530."""
    if HELD[COMPILED] > 5000:
        jax.clear_caches()
        lowering.make_ir_context.cache_clear()
        gc.collect()
        HELD.clear()


@pytest.fixture
def x64():
    """The test computes with 64-bit numbers."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def all_in_use():
    """For files that often look for garbage: nothing that is there before their tests is any."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def compiled(caplog):
    """What is compiled in a block: `with compiled() as names`, a list that is complete at the end of it.

    While JAX looks for leaked tracers it keeps nothing that it has compiled, so that the test has nothing to ask, and is skipped.
    """
    if jax.config.jax_check_tracer_leaks:
        pytest.skip("JAX keeps nothing compiled under jax_check_tracer_leaks")

    @contextlib.contextmanager
    def block():
        names, before = [], len(caplog.records)
        with jax.log_compiles():
            yield names
        for record in caplog.records[before:]:
            names.extend(re.findall(r"Finished XLA compilation of (\S+)", record.getMessage()))

    return block
