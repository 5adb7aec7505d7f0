"""The benchmarks' own parts: what they count in a compiled step, that a donated buffer is never read, before beside after."""

import json
import pathlib

import cases
import hlo
import jax
import measure
import narrow_state
import pages
import plans
import pytest
import table

import gradxform as gx

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def adamw():
    return measure.Contender(gx, cases.OPTIMIZERS["adamw"], cases.equal_leaves("one", 1, (4096,)))


def test_a_step_works_in_place_and_carries_on(adamw):
    assert adamw.step(2) > 0
    params, state = adamw.carried
    assert adamw.step(3) > 0
    assert all(x.is_deleted() for x in jax.tree.leaves((params, state)))  # donated
    assert int(adamw.carried[1][0].count) == 5
    assert adamw.update(1) > 0  # of parameters and a state that no step has taken
    assert not any(x.is_deleted() for x in jax.tree.leaves((adamw.tree.params, adamw.tree.grads, adamw.state)))


def test_loops_tell_what_each_reads_and_writes(adamw):
    loops, count = adamw.loops(), adamw.tree.elements
    assert sorted(name for loop in loops for name in loop["writes"]) == ["mu", "nu", "params"]
    assert {name for loop in loops for name in loop["reads"]} == {"grads", "mu", "nu", "params"}
    assert all(loop["bytes"] == 4 * count * (len(loop["reads"]) + len(loop["writes"])) for loop in loops)
    assert (
        sum(loop["bytes"] for loop in loops)
        == hlo.traffic(adamw.compiled())
        == pytest.approx(hlo.xla_bytes(adamw.compiled()), rel=0.01)
    )
    assert adamw.crossed_traffic() > hlo.traffic(adamw.compiled())  # donated buffers paired with the wrong results


def test_two_runs_side_by_side():
    results = json.loads((BENCHMARKS / "results" / "cpu.json").read_text())
    slower = json.loads(json.dumps(results))
    slower["import"]["seconds"]["gradxform"] = 2 * results["import"]["seconds"]["gradxform"]
    rows = [line for line in table.comparison(slower, results).splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(table.figures(results))
    changes = [row.split(" | ")[4] for row in rows[2:]]
    assert changes.count("2.00") == 1
    assert changes.count("1.00") == len(changes) - 1


def test_losses_are_compared_in_pairs():
    wide = [{"loss": 2.0}, {"loss": 3.0}, {"loss": 4.0}]
    found = narrow_state.compared([{"loss": 2.01}, {"loss": 3.03}, {"loss": 4.02}], wide)
    assert found["difference"] == pytest.approx(0.02)
    assert found["standard_error"] == pytest.approx(0.01 / 3**0.5)
    assert found["percent"] == pytest.approx(100 * 0.02 / 3)
    assert (found["at_most_two_standard_errors"], found["at_most_half_a_percent"]) == (False, False)
    better = narrow_state.compared([{"loss": 1.9}, {"loss": 2.9}, {"loss": 4.0}], wide)
    assert (better["at_most_two_standard_errors"], better["at_most_half_a_percent"]) == (True, True)


def test_runs_of_a_seed_differ_in_their_storage_alone(monkeypatch):
    stored = []
    monkeypatch.setattr(narrow_state.gx, "store", lambda tx, storage, seed: stored.append((storage, seed)) or tx)
    problem = narrow_state.text.problem()
    one, other = (narrow_state.train(problem, storage, 3, steps=5) for storage in ("float32", "8bit"))
    assert stored == [("8bit", 3)]
    assert one["loss"] == other["loss"] < 4.6
    assert one["state_bytes_per_parameter"] == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize("model", plans.MODEL_NAMES)
def test_rows_of_plans_are_fresh(model):
    """Those of the fewest devices; by night tests/test_readme.py makes the whole page."""
    page = pages.parts("plans")[1].partition(f"### {model}")[2].partition("\n### ")[0]
    for name, tx in plans.optimizers().items():
        cells = plans.row(plans.DEVICES[0], name, plans.planned(model, plans.DEVICES[0], name, tx))
        assert f"| {' | '.join(cells)} |" in page, "make it again: python -m tests.pages"
