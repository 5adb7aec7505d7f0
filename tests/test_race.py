"""The race: its protocol on problems where the answer is known, its files, its words, and what it says when something is wrong."""

import dataclasses
import importlib.util
import json
import math
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform
from gradxform import registry
from gradxform._errors import HyperparameterError, ProblemError, UnknownNameError
from gradxform.race import Problem, _board, _contestants, _problem, _protocol, _runner, _surfaces, _table, _ties, host_rng
from gradxform.race._cli import main
from gradxform.race._results import Result, ResumeError, Store
from gradxform.race._settings import DESCRIPTIONS, Settings, factors, schedule
from gradxform.race._trainer import Job, Trainer, Updater

EXTRA = ["rich", "matplotlib", "sklearn"]
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]
pytestmark = [pytest.mark.fast, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}; pip install -e '.[race]'")]

SMALL = ["--steps", "30", "--seeds", "3", "--rates", "3"]
SETTINGS = Settings("quadratic", steps=30, seeds=3, rates=3, schedule="cosine")


def results_in(folder):
    content = json.loads((folder / "results.json").read_text(), parse_constant=pytest.fail)
    return content, {r["label"]: r for r in content["results"]}


def is_picture(path):
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and len(data) > 20_000


def words(text):
    return " ".join(text.split())


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


def recording(printed):
    """A console that writes into a string."""
    import io

    from rich.console import Console

    printed.append(Console(file=io.StringIO(), width=140, highlight=False))
    return printed[-1]


# Tie groups


def losses(rng, shifts, seeds=9, noise=0.3):
    """Log-normal losses with a part that all optimizers of a seed share."""
    shared = rng.normal(size=seeds)
    return {f"o{i}": np.exp(s + shared + noise * rng.normal(size=seeds)) for i, s in enumerate(shifts)}


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


def one_of(label):
    return _contestants.choose(label)[0]


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


def enter(monkeypatch, name, make, needs=None):
    """Register a stand-in for one test."""
    entry = dataclasses.replace(registry.entry("sgd"), name=name, make=make, needs=needs or {})
    monkeypatch.setitem(registry._ENTRIES, name, entry)


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
    assert head.startswith("gradxform race quadratic   3 optimizers  30 steps  6 runs each  cosine, 5% warm-up")
    assert "32 parameters" in head
    for column in ("tie", "optimizer", "steps to", "B/param", "learning", "within 25%", "us per"):
        assert column in text
    assert "accuracy" not in text  # the problem gives none
    assert "paired permutation test" in text
    assert f"results: {out / 'results.json'}" in text


def test_the_line_to_paste_makes_the_optimizer(finished):
    line = next(line for line in finished[1].splitlines() if line.strip().startswith("tx = "))
    tx = eval(line.split("=", 1)[1], {"gradxform": gradxform})
    assert isinstance(tx, gradxform.GradientTransformation)
    assert "peak_value" in line


def test_the_figure(finished):
    assert is_picture(finished[0] / "race.png")


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
    assert not (tmp_path / "race.png").exists()


def test_resume_with_other_settings_is_refused(finished, capsys):
    text = (finished[0] / "results.json").read_text()
    arguments = ["race", "quadratic", "--steps", "40", "--seeds", "3", "--rates", "3", "--out", str(finished[0]), "--resume"]
    assert main(arguments) == 2
    assert "steps was 30 and is now 40" in capsys.readouterr().err
    assert (finished[0] / "results.json").read_text() == text


def test_resume_of_something_else_is_refused(tmp_path):
    (tmp_path / "results.json").write_text("[1, 2")
    with pytest.raises(ResumeError, match="is not a file of race results"):
        Store(tmp_path, SETTINGS, resume=True)


def test_what_is_not_finite_survives_the_file(tmp_path):
    loss, other = math.inf, 1.0
    result = Result("x", 0.1, [loss, other], [[loss], [other]], [{"loss": math.nan}], [None, 3], state_bytes=4.0)
    result.trials, result.finals = [(0.1, loss)], [(0.1, [loss, other])]
    Store(tmp_path, SETTINGS).add(result)
    back = Store(tmp_path, SETTINGS, resume=True).results["x"]
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
    assert is_picture(tmp_path / "race.png")


def test_one_that_diverges_is_last(tmp_path, monkeypatch, capsys):
    def wild(learning_rate):
        return gradxform.chain(gradxform.scale(1e38), gradxform.scale(1e38))

    enter(monkeypatch, "wild", wild)
    assert main(["race", "quadratic", "--optimizers", "wild,sgd", *SMALL, "--out", str(tmp_path)]) == 0
    out = words(capsys.readouterr().out)
    assert "wild diverged" in out
    assert "<=, >=: the best rate was still at the edge" in out
    assert results_in(tmp_path)[1]["wild"]["losses"] == [None] * 3
    assert _table.groups_of(list(Store(tmp_path, SETTINGS, resume=True).results.values()))[-1][-1].label == "wild"
    assert is_picture(tmp_path / "race.png")


def test_interrupting_keeps_what_has_finished(tmp_path, monkeypatch, capsys):
    def interrupt(self, result):
        raise KeyboardInterrupt

    monkeypatch.setattr(_board.Board, "finish", interrupt)
    monkeypatch.setattr(_runner, "workers", lambda: 1)
    assert main(["race", "quadratic", "--optimizers", "sgd,adam,lion", *SMALL, "--out", str(tmp_path)]) == 130
    assert "continue with --resume" in words(capsys.readouterr().out)
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
    from gradxform.race._cli import _parser, _settings_of

    problem = _problem.load("quadratic")
    full, quick = (_settings_of(problem, _parser().parse_args(["race", "quadratic", *flag])) for flag in ([], ["--quick"]))
    assert (full.steps, full.seeds, full.rates, full.runs) == (300, 9, 9, 36)
    assert quick.steps * quick.runs < full.steps * full.runs / 5


# Words


def result(label, losses, **fields):
    run = {"loss": 1.0}
    return Result(label, 0.1, losses, [losses], [run], [None] * len(losses), [(0.1, 1.0)], [(0.1, losses)], 36, **fields)


def test_the_verdict_names_the_tie_the_cheapest_and_the_fastest():
    settings, rng = dataclasses.replace(SETTINGS, seeds=9), np.random.default_rng(1)
    alike = [list(x) for x in losses(rng, [0, 0, 3]).values()]
    results = [
        result("adam", alike[0], state_bytes=8.0, step_us=90.0),
        result("sgd", alike[1], state_bytes=0.0, step_us=100.0),
        result("lion", alike[2], state_bytes=4.0, step_us=10.0),
    ]
    text = "\n".join(_table.verdict(results, settings))
    assert "Tied for best: " in text
    assert "lion" not in text
    assert "Cheapest of them in memory: sgd, 0.00 bytes" in text
    assert "Fastest of them: adam, 90 us" in text
    assert "tx = gradxform.sgd(learning_rate=gradxform.warmup_cosine_decay_schedule(" in text


def test_with_few_seeds_the_verdict_goes_by_the_median():
    few = [result("adam", [1.0, 1.1, 1.2], state_bytes=8.0), result("sgd", [1.3, 1.4, 1.1], state_bytes=0.0)]
    text = "\n".join(_table.verdict(few, SETTINGS))
    assert "So few seeds cannot tell two optimizers apart" in text
    assert "tx = gradxform.adam(" in text


def test_the_verdict_without_a_winner():
    assert _table.verdict([result("sgd", [math.inf] * 3)], SETTINGS) == ["No optimizer reached a finite loss."]
    single = _table.verdict([result("sgd", [1.0] * 3, state_bytes=0.0)], SETTINGS)
    assert single[0].startswith("Best: sgd (")


def test_a_target_missed_by_most_seeds_is_a_miss():
    assert Result("x", reached=[10, 20, None]).steps_to_target == 20
    assert Result("x", reached=[10, None, None]).steps_to_target is None
    assert _protocol._steps_to(0.5, [], []) == []


def test_letters():
    assert [_table.letter(i) for i in (0, 25, 26)] == ["A", "Z", "27"]


# Who runs


def test_choosing_by_name_pattern_and_call():
    assert [c.label for c in _contestants.choose("adam*, sgd")] == [*registry.names("adam*"), "sgd"]
    assert [c.label for c in _contestants.choose("sgd(momentum=0.9, nesterov=True),SGD")] == [
        "sgd(momentum=0.9, nesterov=True)",
        "sgd",
    ]
    assert one_of("sgd(momentum=0.9)").code(0.1) == "gradxform.sgd(learning_rate=0.1, momentum=0.9)"
    assert 10 <= len(_contestants.choose(None)) <= 15


def test_dialects_race_too():
    assert [c.label for c in _contestants.choose("torch.adam*")] == registry.names("torch.adam*")
    contestant = one_of("torch.adam(weight_decay=0.1)")
    assert contestant.make(0.2) == registry.entry("torch.adam").make(0.2, weight_decay=0.1)
    assert contestant.code(0.2) == "gradxform.dialects.torch.adam(lr=0.2, weight_decay=0.1)"
    assert one_of("keras.sgd").rate_name == "learning_rate"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("admaw", UnknownNameError, "Did you mean .*adamw"),
        ("zzz*", UnknownNameError, "No optimizer matches 'zzz\\*'"),
        ("scale_by_adam", UnknownNameError, "only optimizers race"),
        ("sgd(momentun=0.9)", HyperparameterError, "no argument `momentun`; it has .*momentum"),
        ("sgd(0.9)", HyperparameterError, "write it like"),
        ("sgd(momentum=x)", HyperparameterError, "write it like"),
    ],
)
def test_mistakes_in_the_list(text, error, said, capsys):
    with pytest.raises(error, match=said):
        _contestants.choose(text)
    assert main(["race", "quadratic", "--optimizers", text]) == 2
    assert capsys.readouterr().err.startswith("error: ")


# Problems


def test_an_unknown_problem(capsys):
    assert main(["race", "digit"]) == 2
    assert "Did you mean digits? There are digits, lstm, quadratic, skipgram, surfaces, text" in capsys.readouterr().err


USERS = """
    import jax.numpy as jnp, numpy as np
    from gradxform.race import Problem, host_rng

    def init(key): return {"x": jnp.asarray(host_rng(key).normal(size=4), jnp.float32)}
    def loss(params, batch): return jnp.sum((params["x"] - batch) ** 2)
    def batch(rng, step): return rng.normal(size=4).astype(np.float32) * 0.1
    def evaluate(params): return {"loss": jnp.sum(params["x"] ** 2)}

    def good(): return Problem(init, loss, batch, evaluate, description="mine")
    def mapping(): return dict(init=init, loss=loss, batch=batch, evaluate=evaluate, steps=20)
    def parts(): return dict(init=init, loss=loss)
    def wrong(): return 3
    def raises(): raise KeyError("weights.npz")
    def vector(): return Problem(init, lambda p, b: p["x"] - b, batch, evaluate)
    def nan(): return Problem(init, lambda p, b: jnp.log(-loss(p, b)), batch, evaluate)
    def integers(): return Problem(lambda key: np.arange(3), loss, batch, evaluate)
    def empty(): return Problem(lambda key: {}, loss, batch, evaluate)
    def no_loss(): return Problem(init, loss, batch, lambda p: {"accuracy": 1.0})
    def no_dict(): return Problem(init, loss, batch, lambda p: 1.0)
    def text(): return Problem(init, loss, batch, lambda p: {"loss": "low"})
    def late_nan(): return Problem(init, loss, batch, lambda p: {"loss": float("nan")})

    def bad_batch(rng, step):
        if step > 3:
            raise IndexError("no more data")
        return batch(rng, step)

    def runs_out(): return Problem(init, loss, bad_batch, evaluate)
    def bad_loss(): return Problem(init, lambda p, b: p["y"], batch, evaluate)
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A directory with a module of the user's, which is the current one."""
    (tmp_path / "users_race.py").write_text(textwrap.dedent(USERS))
    (tmp_path / "users_broken.py").write_text("import no_such_package_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("users_race", None)


@pytest.mark.parametrize("name", ["users_race:good", "users_race:mapping", "users_race.py:good"])
def test_a_users_own_problem(users, name, capsys):
    arguments = ["race", name, "--optimizers", "sgd", "--steps", "20", "--seeds", "2", "--rates", "3", "--no-figure"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"gradxform race {name}" in out
    (folder,) = [p for p in users.iterdir() if p.name.startswith("race-")]
    assert results_in(folder)[1]["sgd"]["losses"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("users_race:parts", "has no function `batch`, `evaluate`. Return a gradxform.race.Problem"),
        ("users_race:wrong", "the int that it returned has no function `init`, `loss`, `batch`, `evaluate`"),
        ("users_race:raises", "raised KeyError: 'weights.npz' (users_race.py, line"),
        ("users_race:vector", "`loss` must return one real number, but returned float32[4]. Take the mean"),
        ("users_race:nan", "`loss` is nan at the parameters that `init` returned"),
        ("users_race:integers", "`init` must return a tree of float arrays, but returned int64[3]"),
        ("users_race:empty", "`init` must return a tree of float arrays, but returned nothing"),
        ("users_race:no_loss", "`evaluate` must return a dict with `loss`, but returned keys accuracy"),
        ("users_race:no_dict", "`evaluate` must return a dict with `loss`, but returned a float"),
        ("users_race:text", "`evaluate` must return numbers"),
        ("users_race:late_nan", "`evaluate` gives a loss of nan"),
        ("users_race:runs_out", "`batch` raised IndexError: no more data (users_race.py, line"),
        ("users_race:bad_loss", "`loss` raised KeyError: 'y' (users_race.py, line"),
        ("users_race:nothing", "has no function `nothing`. It has the functions"),
        ("users_rice:good", "there is no module `users_rice`, neither installed nor in the current directory"),
        ("users_broken:good", "importing `users_broken` raised ModuleNotFoundError: No module named 'no_such_package_at_all'"),
    ],
)
def test_what_is_wrong_with_a_users_problem_is_said(users, name, said, capsys):
    arguments = ["race", name, "--optimizers", "sgd", "--steps", "10", "--seeds", "1", "--rates", "1"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert name in error


def test_host_rng_takes_both_kinds_of_key():
    new, old = jax.random.key(3), jax.random.PRNGKey(3)
    assert host_rng(new).normal() == host_rng(old).normal()
    assert host_rng(new).normal() != host_rng(jax.random.key(4)).normal()


def test_a_problem_is_a_plain_record():
    problem = _problem.load("quadratic")
    assert isinstance(problem, Problem)
    with pytest.raises(ProblemError, match="`loss` is inf"):
        Trainer(dataclasses.replace(problem, loss=lambda p, b: jnp.inf * jnp.sum(p["x"] ** 2)), SETTINGS)


# Surfaces


def test_surfaces(tmp_path, capsys):
    arguments = ["race", "surfaces", "--optimizers", "sgd,adam", "--steps", "40", "--out", str(tmp_path)]
    assert main(arguments) == 0
    paths = json.loads((tmp_path / "surfaces.json").read_text())["paths"]
    surfaces = _problem.load("surfaces")
    assert len(paths) == 2 * len(surfaces) == 8
    for path in paths:
        (surface,) = [s for s in surfaces if s.name == path["surface"]]
        assert _surfaces.admissible(np.asarray(path["points"]), surface.frame)
        assert path["points"][0] == pytest.approx(surface.start)
    assert is_picture(tmp_path / "surfaces.png")
    assert "Rosenbrock" in capsys.readouterr().out


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


# The catalogue


def test_names(capsys):
    assert main(["names", "adam*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == registry.names("adam*")
    assert "Adam" in lines[0]
    assert main(["names", "scale_by_a*", "--kind", "transform"]) == 0
    assert "scale_by_adam" in capsys.readouterr().out


def test_names_that_match_nothing(capsys):
    assert main(["names", "admaw"]) == 2
    assert "No optimizer matches 'admaw'. Did you mean adam" in capsys.readouterr().err


def test_show(capsys):
    assert main(["show", "adamw"]) == 0
    out = capsys.readouterr().out
    for part in ("mu = b1 mu + (1 - b1) g", "weight_decay", "in [0, 1)", "8.00 bytes per parameter", "scale_by_adam(", "arXiv"):
        assert part in out
    assert main(["show", "torch.adam"]) == 0
    out = capsys.readouterr().out
    for part in ("(b1, b2) = betas", "in ([0, 1), [0, 1))", "scale_by_torch_adam(", "8.00 bytes per parameter", "PyTorch"):
        assert part in out
    assert main(["show", "admaw"]) == 2
    assert "Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*registry.names(kind="*"), *registry.names("*.*")])
def test_everything_can_be_shown(name, capsys):
    assert main(["show", name]) == 0
    assert "source" in capsys.readouterr().out


def test_without_the_extra(monkeypatch, capsys):
    for name in [m for m in sys.modules if m.split(".")[0] in ("rich", "sklearn")] + ["rich", "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["names"]) == 0
    assert main(["show", "sgd"]) == 0
    assert capsys.readouterr().out
    for problem in ("quadratic", "digits"):
        assert main(["race", problem]) == 2
        assert "pip install 'gradxform[race]'" in capsys.readouterr().err


def test_mistakes_in_the_arguments(tmp_path, capsys):
    for wrong in (["race", "--steps", "3"], ["race", "--schedule", "zigzag"], [], ["rice"]):
        with pytest.raises(SystemExit) as e:
            main(wrong)
        assert e.value.code == 2
    (tmp_path / "file").write_text("")
    capsys.readouterr()
    assert main(["race", "quadratic", "--out", str(tmp_path / "file")]) == 2
    assert "File exists" in capsys.readouterr().err
