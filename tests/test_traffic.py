"""The bytes that each optimizer's step moves on accelerators, pinned for the versions of the extra `aot`; the page that lists them."""

import hlo
import jax
import jax.numpy as jnp
import machine
import numpy as np
import pytest
import traffic

import gradxform as gx
from gradxform._numerics import in_place

RESULTS = traffic.load()
ROWS, VERSIONS = RESULTS["optimizers"], RESULTS["versions"]
SLOW = {(name, "v5e") for name in ("adamuon", "dion2", "muon", "normuon", "scion")}
PROBES = [
    pytest.param(name, target, marks=[pytest.mark.nightly] if (name, target) in SLOW else [])
    for name in traffic.CASES
    for target in traffic.probed(name)
]


@pytest.fixture(scope="module")
def compilers():
    """Those of the accelerators; other versions than the pinned ones, if so, in words."""
    pytest.importorskip("libtpu")
    pytest.importorskip("jax_cuda12_plugin")
    used = {name: machine.version(name) for name in traffic.PACKAGES}
    return ", ".join(f"{name} {version}" for name, version in used.items() if version != VERSIONS[name])


@pytest.mark.aot
@pytest.mark.parametrize(("name", "target"), PROBES)
def test_bytes_moved(name, target, compilers):
    """The pinned figure, which is the ideal where the page gives no reason; parameters and state change in place."""
    case, where = traffic.CASES[name], traffic.TARGETS[target]
    step = traffic.compiled(case, gx, where)
    moved, pinned = traffic.per_parameter(step, where), ROWS[name][target]["gradxform"]
    if compilers and abs(moved - pinned) > traffic.EXACT:
        pytest.skip(f"{name} moves {moved} bytes a parameter on the {target}, not {pinned}, with {compilers}")
    assert moved == pytest.approx(pinned, abs=traffic.EXACT)
    memory = hlo.memory(step)
    assert memory["alias"] == memory["argument"] - 4 * where.side**2  # all but the gradient


@pytest.mark.aot
def test_every_optimizer_has_its_row(compilers):
    assert list(ROWS) == list(traffic.CASES), "python benchmarks/traffic.py NAME adds a row"


@pytest.mark.fast
def test_what_is_above_the_ideal_has_a_reason():
    explained = [name for names in traffic.REASONS for name in names.split(", ")]
    assert sorted(explained) == traffic.excess(RESULTS)


@pytest.mark.fast
def test_the_ideal_counts_the_state_that_is_there():
    for name in ("sgd", "adamw", "ademamix", "adan"):
        leaf = jnp.zeros((64, 64))
        arrays = [x for x in jax.tree.leaves(traffic.CASES[name].make(gx).init(leaf)) if x.shape == leaf.shape]
        assert traffic.ideal(ROWS[name]) == 12 + 2 * 4 * len(arrays)


@pytest.mark.fast
@pytest.mark.parametrize("flag", [True, False])
def test_in_place_is_the_new_value(flag):
    """Whatever lies there: infinite or not a number, of either kind."""
    values = np.array([0.0, -0.0, 1.5, np.inf, -np.inf, np.nan, 1e-45], np.float32)
    new, old = (x.ravel() for x in np.meshgrid(values, values))
    found = np.asarray(in_place(jnp.asarray(new), jnp.asarray(old), jnp.asarray(flag)))
    assert found.tobytes() == new.tobytes()
