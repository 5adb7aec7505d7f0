"""The race: its protocol on problems where the answer is known, a whole race, and its files."""

import dataclasses
import json
import math
import time

import jax
import numpy as np
import pytest
from racing import MARKS, SETTINGS, SMALL, enter, is_picture, losses, one_of, recording, results_in, words

import gradxform
from gradxform.race import _board, _environment, _problem, _protocol, _runner, _surfaces, _table, _ties, load
from gradxform.race._cli import main
from gradxform.race._race import settings_for
from gradxform.race._results import Result, ResultsError
from gradxform.race._settings import DESCRIPTIONS, factors, schedule
from gradxform.race._store import Store
from gradxform.race._trainer import Job, Trainer, Updater

pytestmark = MARKS


@pytest.fixture(scope="module")
def trainer():
    return Trainer(_problem.load("quadratic"), SETTINGS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small race that has been run: its folder and what it printed."""
    out = tmp_path_factory.mktemp("race")
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr(_board, "console", lambda: recording(printed))
        assert main(["race", "quadratic", "--optimizers", "adam,sgd(momentum=0.9),sgd", *SMALL, "--out", str(out)]) == 0
    return out, printed[0].file.getvalue()


# Tie groups


def test_real_differences_make_groups_although_seeds_differ_more():
    rng, right = np.random.default_rng(0), 0
    for _ in range(100):
        groups = _ties.tie_groups(losses(rng, [0, 2, 0, 2, 4]))
        right += [set(g) for g in groups] == [{"o0", "o2"}, {"o1", "o3"}, {"o4"}]
    assert right >= 84  # at 5 % per group of two, 90 are expected


@pytest.mark.parametrize("count", [2, 8])
def test_equal_optimizers_are_rarely_split(count):
    rng = np.random.default_rng(count)
    split = sum(len(_ties.tie_groups(losses(rng, [0] * count))) > 1 for _ in range(200))
    assert split / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


def test_the_test_of_two_is_the_sign_flip_test():
    difference = np.random.default_rng(3).normal(0.3, 0.5, size=8)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    exact = np.mean(abs(difference @ signs) >= abs(difference.sum()) - 1e-12)
    assert _ties.p_alike(np.stack([difference, np.zeros(8)])) == pytest.approx(exact, abs=0.02)


def test_a_few_that_diverge_do_not_hide_a_difference_of_the_others():
    of = losses(np.random.default_rng(1), [0, 2])
    of["o1"][3] = math.nan
    assert _ties.tie_groups(of) == [["o0"], ["o1"]]
    of["o1"][:] = math.nan
    assert _ties.tie_groups({k: x[:2] for k, x in of.items()}) == [["o0"], ["o1"]]  # needs no test


def test_a_difference_that_does_not_matter_is_a_tie():
    """However surely it is there: on all seeds alike."""
    of = np.exp(np.random.default_rng(2).normal(size=9))
    assert len(_ties.tie_groups({"a": of, "b": of * (1 + 1e-7)})) == 1
    assert len(_ties.tie_groups({"a": of, "b": of * 1.009})) == 1
    assert len(_ties.tie_groups({"a": of, "b": of * 1.02})) == 2
    assert len(_ties.tie_groups({"a": of, "b": of * 1.009, "c": of * 1.018})) == 2  # they add up
    negative = -10 + 0.01 * np.arange(9.0)
    assert len(_ties.tie_groups({"a": negative, "b": negative + 0.09})) == 1
    assert len(_ties.tie_groups({"a": negative, "b": negative + 0.2})) == 2
    assert len(_ties.tie_groups({"a": np.zeros(9), "b": np.zeros(9)})) == 1


def test_few_seeds_tell_nothing_apart():
    assert len(_ties.tie_groups(losses(np.random.default_rng(0), [0, 1], seeds=3))) == 1
    assert len(_ties.tie_groups({"a": [1.0], "b": [9.0]})) == 1


def test_a_loss_that_is_not_finite_is_infinitely_bad():
    good = losses(np.random.default_rng(1), [0, 0])
    groups = _ties.tie_groups({"diverged": [math.nan] * 9, **good, "blew up": [math.inf] * 9})
    assert [set(g) for g in groups] == [{"o0", "o1"}, {"diverged", "blew up"}]
    assert _ties.tie_groups({"a": [math.nan] * 9, "b": [math.inf] * 9}) == [["a", "b"]]


def test_losses_may_be_zero_or_negative():
    rng = np.random.default_rng(0)
    assert _ties.tie_groups({"zero": [0.0] * 9, "one": np.ones(9)}) == [["zero"], ["one"]]
    assert _ties.tie_groups({"low": rng.normal(-9, 1, 9), "high": rng.normal(5, 1, 9)}) == [["low"], ["high"]]
    assert _ties.tie_groups({}) == []


# Tuning


def grid_for(best_exponent, count=9):
    tried = []

    def try_rates(rates):
        tried.append(list(rates))
        return [(math.log10(rate) * 2 - best_exponent) ** 2 for rate in rates]

    return _protocol.tune(try_rates, 1.0, count), tried


def test_a_grid_with_its_best_inside_stays():
    grid, tried = grid_for(2)
    assert (grid.slides, grid.edge, len(tried[0])) == (0, "", 9)
    assert grid.rate(grid.best) == 10.0
    assert grid.top(3) == [3.16, 10.0, 31.6]


@pytest.mark.parametrize(("best", "slides", "edge"), [(4, 1, ""), (-6, 1, ""), (10, 2, ""), (40, 2, "high"), (-40, 2, "low")])
def test_a_grid_slides_at_most_twice_and_then_is_marked(best, slides, edge):
    grid, tried = grid_for(best)
    assert (grid.slides, grid.edge) == (slides, edge)
    assert [len(t) for t in tried] == [9] + [4] * slides


def test_a_grid_on_which_all_diverge_slides_down():
    grid = _protocol.tune(lambda rates: [math.inf if rate > 1e-3 else rate for rate in rates], 1.0, 5)
    assert min(rate for rate, _ in grid.trials) < 1e-1
    assert grid.edge == "low"


def test_one_rate_has_no_edge():
    assert (grid_for(5, count=1)[0].slides, grid_for(5, count=1)[0].edge) == (0, "")


def test_width_of_the_good_region():
    at = {-2: 9.0, -1: 1.2, 0: 1.0, 1: 1.25, 2: 1.3, 3: 1.1}
    assert _protocol.Grid(1.0, at, 0).good_decades == 1.5
    assert _protocol.Grid(1.0, {0: math.inf, 1: math.inf}, 0).good_decades == 0.0


# Training


def test_a_run_among_others_is_the_run_that_a_user_would_write(trainer):
    run = trainer.train(Updater(one_of("adamw"), trainer.problem.loss), [Job(0.1, 2), Job(0.03, 1), Job(0.1, 0), Job(1.0, 1)])[1]
    tx = gradxform.adamw(schedule("cosine", 0.03, 30))
    params = trainer.start(1)
    state = tx.init(params)
    for step in range(30):
        batch = trainer.problem.batch(_problem.batch_rng(1, step), step)
        updates, state = tx.update(jax.grad(trainer.problem.loss)(params, batch), state, params)
        params = gradxform.apply_updates(params, updates)
    assert run.job == Job(0.03, 1)
    assert run.losses[-1] == pytest.approx(trainer.problem.evaluate(params)["loss"], rel=1e-4)


def test_lanes_and_neighbours_do_not_matter(trainer):
    jobs = [Job(0.1, 0), Job(0.2, 1), Job(0.3, 2)]
    updater = Updater(one_of("adam"), trainer.problem.loss)
    few = Trainer(trainer.problem, SETTINGS, lanes=2)
    alone, together = (np.asarray([r.losses for r in t.train(updater, jobs)]) for t in (few, trainer))
    np.testing.assert_allclose(alone, together, rtol=1e-4)


def test_all_rates_and_seeds_share_one_compilation(trainer):
    updater = Updater(one_of("lion"), trainer.problem.loss)
    for jobs in ([Job(0.1, 0), Job(0.2, 0)], [Job(0.5, 3)], [Job(0.1, s) for s in range(5)]):
        trainer.train(updater, jobs)
    assert updater.lanes._cache_size() == 1


def test_evaluation_is_spread_and_ends_with_the_last_step(trainer):
    assert SETTINGS.evaluated_at[-1] == 30
    assert len(dataclasses.replace(SETTINGS, steps=500).evaluated_at) == 20
    run = trainer.train(Updater(one_of("sgd"), trainer.problem.loss), [Job(0.1, 0)], only_final=True)[0]
    assert len(run.scores) == 1


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_schedules_start_above_zero_and_peak_at_one(name):
    found = factors(dataclasses.replace(SETTINGS, schedule=name, steps=200))
    assert found.shape == (200,)
    assert found[0] > 0
    assert found.max() == pytest.approx(1.0)
    assert (found[-1] == 1.0) == (name == "constant")


def test_an_optimizer_that_needs_the_loss_gets_it(trainer, monkeypatch):
    seen = []

    def update(grads, state, params=None, *, value, **extra):
        seen.append(value.shape)
        return jax.tree.map(lambda g: -0.1 * g, grads), state

    tx = gradxform.GradientTransformationExtraArgs(lambda params: (), update)
    enter(monkeypatch, "needy", make=lambda learning_rate: tx, needs={"value": lambda params, grads: 0.0})
    assert np.isfinite(trainer.train(Updater(one_of("needy"), trainer.problem.loss), [Job(0.1, 0)])[0].losses[-1])
    assert set(seen) == {()}


# A whole race


def test_what_is_saved(finished):
    content, by_label = results_in(finished[0])
    assert content["settings"] == dataclasses.asdict(SETTINGS)
    assert set(by_label) == {"adam", "sgd", "sgd(momentum=0.9)"}
    for r in by_label.values():
        assert len(r["losses"]) == len(r["curves"]) == len(r["final"]) == len(r["reached"]) == 3
        assert len(r["curves"][0]) == len(content["evaluated_at"])
        assert r["runs"] == len(r["trials"]) + 3
        assert r["step_us"] > 0
        assert r["rate"] in [rate for rate, _ in r["trials"]]
        assert r["step_range"][0] <= r["step_us"] <= r["step_range"][1]
        assert "warmup_cosine_decay_schedule" in r["code"]
    assert content["complete"]
    assert content["seeds"] == {"tuning": 0, "fresh": [1, 2, 3]}
    (session,) = content["sessions"]
    assert {"date", "gradxform", "jax", "jaxlib", "numpy", "python", "system", "processor", "device"} <= session.keys()
    assert session["jax"] == jax.__version__
    assert by_label["sgd"]["state_bytes"] == 0
    assert by_label["sgd(momentum=0.9)"]["state_bytes"] == 4
    assert by_label["adam"]["state_bytes"] == pytest.approx(8, abs=0.2)  # and a counter


def test_seeds_are_paired(finished):
    """Optimizers of equal final loss order aside, each saw the same starts: the losses correlate over seeds."""
    store = Store(finished[0], SETTINGS, resume=True)
    first = {label: [curve[0] for curve in r.curves] for label, r in store.results.items()}
    assert np.corrcoef(first["adam"], first["sgd"])[0, 1] > 0.5


def test_what_is_printed(finished):
    out, text = finished
    head = text.splitlines()[0]
    assert head.startswith("3 optimizers  30 steps  6 runs each  cosine, 5% warm-up")
    assert "32 parameters" in head
    for column in ("tie", "optimizer", "steps to", "B/param", "learning", "within 25%", "us per"):
        assert column in text
    assert "accuracy" not in text  # the problem gives none
    assert "paired permutation test" in text
    assert f"results: {out / 'results.json'}" in text


def test_the_code_to_paste_makes_the_optimizer_that_was_raced(finished):
    code = finished[1].partition("\n\n")[2].partition("\n\n")[0]
    names = {"gradxform": gradxform}
    exec(code, names)
    results = load(finished[0])
    best = min(results.values(), key=lambda r: r.median)
    assert names["tx"] == one_of(best.label).make(schedule("cosine", best.rate, 30)) == eval(best.code)


def test_the_pictures_and_the_tables(finished):
    assert is_picture(finished[0] / "results.png")
    assert (finished[0] / "results.html").read_text().count("data:image/png;base64,") == 1
    assert len((finished[0] / "results.csv").read_text().splitlines()) == 4


def test_the_data_are_told_apart():
    problem = _problem.load("quadratic")
    other = dataclasses.replace(problem, batch=lambda rng, step: (problem.batch(rng, step)[0], 2 * problem.batch(rng, step)[1]))
    named = dataclasses.replace(problem, data="Python 3.11")
    assert _environment.data_of(problem) == SETTINGS.data == _environment.data_of(_problem.load("quadratic"))
    assert len({_environment.data_of(p) for p in (problem, other, named)}) == 3
    assert _environment.data_of(named).startswith("Python 3.11, sha256 of batches ")


def test_step_times_are_of_alternating_rounds_for_as_long_as_there_are_seconds(monkeypatch):
    order, seen = [], []
    monkeypatch.setattr(_runner, "TIMING_SECONDS", 0.5)

    class Seen(_protocol.Watch):
        expect = staticmethod(seen.append)
        timed = staticmethod(lambda: seen.append("round"))

    fast = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = _runner.step_times(fast, Seen())
    assert {name: len(found) for name, found in times.items()} == {"a": _runner.MOST_ROUNDS, "b": _runner.MOST_ROUNDS}
    assert order[:4] == ["a", "b", "a", "b"]
    assert seen.count("round") == _runner.LEAST_ROUNDS + seen[0] == _runner.MOST_ROUNDS
    slow = _runner.step_times({"a": lambda: time.sleep(0.05)}, _protocol.Watch())["a"]
    assert _runner.LEAST_ROUNDS <= len(slow) <= _runner.TIMING_SECONDS / 0.05
    assert min(slow) >= 0.05 / _runner.TIMING_STEPS
    assert _runner.step_times({}, _protocol.Watch()) == {}


def test_resume_runs_only_what_is_missing(finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "results.json").write_text((finished[0] / "results.json").read_text())
    before = results_in(tmp_path)[1]
    ran, compete = [], _runner.compete
    monkeypatch.setattr(_runner, "compete", lambda contestant, *rest: ran.append(contestant.label) or compete(contestant, *rest))
    arguments = ["race", "quadratic", "--optimizers", "sgd,lion,adam", *SMALL, "--out", str(tmp_path), "--resume", "--no-figure"]
    assert main(arguments) == 0
    assert ran == ["lion"]
    after = results_in(tmp_path)[1]
    assert set(after) == {*before, "lion"}
    assert all(after[label] == r for label, r in before.items())
    assert "finished before" in capsys.readouterr().out
    assert not (tmp_path / "results.png").exists()
    assert len(results_in(tmp_path)[0]["sessions"]) == 2


def test_resume_with_other_settings_is_refused(finished, capsys):
    text = (finished[0] / "results.json").read_text()
    arguments = ["race", "quadratic", "--steps", "40", "--seeds", "3", "--rates", "3", "--out", str(finished[0]), "--resume"]
    assert main(arguments) == 2
    assert "steps was 30 and is now 40" in capsys.readouterr().err
    assert (finished[0] / "results.json").read_text() == text


def test_resume_of_something_else_is_refused(tmp_path):
    (tmp_path / "results.json").write_text("[1, 2")
    with pytest.raises(ResultsError, match="is not a file of race results"):
        Store(tmp_path, SETTINGS, resume=True)


def test_another_race_gets_another_file(finished, tmp_path):
    """Whatever its settings; and each can be resumed."""
    race = lambda *more: main(["race", "quadratic", "--optimizers", "sgd", "--no-figure", "--out", str(tmp_path), *more])
    assert race(*SMALL) == 0
    first = (tmp_path / "results.json").read_bytes()
    assert race("--steps", "40", *SMALL[2:]) == 0
    assert race(*SMALL) == 0
    assert (tmp_path / "results.json").read_bytes() == first
    steps = [load(tmp_path / name).settings.steps for name in ("results.json", "results-2.json", "results-3.json")]
    assert steps == [30, 40, 30]
    assert race("--steps", "40", *SMALL[2:], "--resume", "--optimizers", "adam") == 0
    assert set(load(tmp_path / "results-2.json")) == {"sgd", "adam"}
    assert sorted(p.name for p in tmp_path.glob("*.csv")) == ["results-2.csv", "results-3.csv", "results.csv"]


def test_an_empty_list_touches_nothing(finished, capsys):
    before = (finished[0] / "results.json").read_bytes()
    for nobody in ("", " , "):
        assert main(["race", "quadratic", "--optimizers", nobody, "--out", str(finished[0])]) == 2
        assert "No optimizer was given" in capsys.readouterr().err
    assert (finished[0] / "results.json").read_bytes() == before


@pytest.mark.parametrize("problem", ["quadratic", "surfaces"])
def test_the_folder_is_checked_before_the_work(problem, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Updater, "__init__", lambda *args: pytest.fail("it has begun"))
    assert main(["race", problem, "--out", str(tmp_path / "file")]) == 2
    assert "File exists" in capsys.readouterr().err


def test_what_is_not_finite_survives_the_file(tmp_path):
    loss, other = math.inf, 1.0
    result = Result("x", rate=0.1, losses=[loss, other], curves=[[loss], [other]], final=[{"loss": math.nan}], reached=[None, 3])
    result.state_bytes = 4.0
    result.trials, result.finals = [(0.1, loss)], [(0.1, [loss, other])]
    result.accuracies, result.step_range = [[0.5]], (1.0, 2.0)
    Store(tmp_path, SETTINGS).add(result)
    back = load(tmp_path)["x"]
    assert math.isnan(back.final[0].pop("loss"))
    result.final[0].pop("loss")
    assert back == result


def test_one_that_raises_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    def broken(learning_rate):
        raise RuntimeError("out of order\nmore")

    enter(monkeypatch, "broken", broken)
    arguments = ["race", "quadratic", "--optimizers", "broken,sgd", *SMALL, "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "broken failed: RuntimeError: out of order" in capsys.readouterr().out
    by_label = results_in(tmp_path)[1]
    assert by_label["broken"]["failed"] == "RuntimeError: out of order"
    assert by_label["sgd"]["failed"] == ""
    assert is_picture(tmp_path / "results.png")


def test_where_nobody_finishes_the_exit_status_says_so(tmp_path, monkeypatch, capsys):
    def broken(learning_rate):
        raise RuntimeError("out of order")

    enter(monkeypatch, "broken", broken)
    arguments = ["race", "quadratic", "--optimizers", "broken", *SMALL, "--out", str(tmp_path)]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert out.count("out of order") == 1
    assert "held-out" not in out
    assert results_in(tmp_path)[1]["broken"]["failed"]


def test_one_that_diverges_is_last(tmp_path, monkeypatch, capsys):
    def wild(learning_rate):
        return gradxform.chain(gradxform.scale(1e38), gradxform.scale(1e38))

    enter(monkeypatch, "wild", wild)
    assert main(["race", "quadratic", "--optimizers", "wild,sgd", *SMALL, "--out", str(tmp_path)]) == 0
    out = words(capsys.readouterr().out)
    assert "wild diverged" in out
    assert "<=, >=: the best rate was still at the edge" in out
    assert results_in(tmp_path)[1]["wild"]["losses"] == [None] * 3
    assert _table.groups_of(load(tmp_path).values())[-1][-1].label == "wild"
    assert is_picture(tmp_path / "results.png")


def test_interrupting_keeps_what_has_finished(tmp_path, monkeypatch, capsys):
    def interrupt(self, result):
        raise KeyboardInterrupt

    monkeypatch.setattr(_board.Board, "finish", interrupt)
    monkeypatch.setattr(_runner, "workers", lambda: 1)
    assert main(["race", "quadratic", "--optimizers", "sgd,adam,lion", *SMALL, "--out", str(tmp_path)]) == 130
    out = words(capsys.readouterr().out)
    assert "Go on with --resume" in out
    assert "So far, " in out
    kept = results_in(tmp_path)[1]
    assert "sgd" in kept
    assert "lion" not in kept


def test_digits(tmp_path, capsys):
    assert main(["race", "digits", "--optimizers", "adam", *SMALL, "--out", str(tmp_path), "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert "8,970 parameters" in out
    assert "accuracy" in out
    assert set(results_in(tmp_path)[1]["adam"]["final"][0]) == {"loss", "acc", "test_loss", "test_acc"}


def test_quick_is_smaller():
    problem = _problem.load("quadratic")
    full, quick = (settings_for(problem, None, None, None, "cosine", flag) for flag in (False, True))
    assert (full.steps, full.seeds, full.rates, full.runs) == (300, 9, 9, 36)
    assert quick.steps * quick.runs < full.steps * full.runs / 5


# Surfaces


def test_surfaces(tmp_path, capsys):
    arguments = ["race", "surfaces", "--optimizers", "sgd,adam", "--steps", "40", "--out", str(tmp_path)]
    assert main([*arguments, "--quick", "--seeds", "3"]) == 0
    paths = json.loads((tmp_path / "surfaces.json").read_text())["paths"]
    surfaces = _problem.load("surfaces")
    assert len(paths) == 2 * len(surfaces) == 8
    for path in paths:
        (surface,) = [s for s in surfaces if s.name == path["surface"]]
        assert _surfaces.admissible(np.asarray(path["points"]), surface.frame)
        assert path["points"][0] == pytest.approx(surface.start)
    assert is_picture(tmp_path / "surfaces.png")
    out = capsys.readouterr().out
    assert "Rosenbrock" in out
    assert "surfaces is a picture, which has no use for --seeds, --quick" in out


def test_a_path_must_stay_and_not_leap():
    frame = (0.0, 3.0, 0.0, 4.0)  # a diagonal of 5, steps up to 0.35
    steps = np.cumsum(np.full((8, 2), 0.2), axis=0)
    assert _surfaces.admissible(steps, frame)
    assert not _surfaces.admissible(steps[::2], frame)
    assert not _surfaces.admissible(steps + 3, frame)
    assert not _surfaces.admissible(steps * np.nan, frame)


def test_minima_of_the_surfaces_are_minima():
    for surface in _problem.load("surfaces"):
        for minimum in surface.minima:
            around = np.asarray(minimum)[:, None] + 0.01 * np.asarray([[1, -1, 0, 0], [0, 0, 1, -1]])
            assert (surface.height(around) > surface.height(minimum)).all()
