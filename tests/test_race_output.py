"""What a race says and shows: the table at every width, the words, the code, the figures, the files."""

import csv
import dataclasses
import html
import io
import math
import pathlib
import re
import sys
import types

import numpy as np
import pytest
from racing import MARKS, SETTINGS, is_picture, losses, one_of, words

import gradxform
from gradxform._errors import UnknownNameError
from gradxform.race import Results, _board, _figure, _profile, _protocol, _surfaces_figure, _table, _verdict
from gradxform.race import profile as profile_of
from gradxform.race._code import laid_out
from gradxform.race._extras import MissingExtraError
from gradxform.race._fit import Heading, Row, broken, fitted
from gradxform.race._problem import load
from gradxform.race._results import Result
from gradxform.race._settings import schedule

pytestmark = MARKS

LONG = "chain(clip_by_global_norm(1.0),adamw(weight_decay=0.1,b1=0.95))"
LABELS = ["sgd", "sgd(momentum=0.9,nesterov=True)", "adadelta", "adam", "torch.adamw", "nadam", LONG, "muon", "lion", "lamb"]
KEPT = pathlib.Path(__file__).parent.parent / "benchmarks" / "results"
WIDTHS = [60, 80, 100, 120]
FAILED = Result("gone", failed="RuntimeError: out of order")


def result(label, of, **fields):
    """A result with these losses."""
    rate = 0.1
    made = {
        "code": one_of(label).code(schedule("cosine", rate, 30)),
        "modules": ["gradxform"],
        "rate": rate,
        "losses": list(of),
        "curves": [[2 * x, x] for x in of],
        "accuracies": [[0.5, 0.9] for _ in of],
        "final": [{"loss": x, "acc": 0.9, "test_loss": 1.01 * x, "test_acc": 0.89} for x in of],
        "reached": [20] * len(of),
        "trials": [(rate / 10, 2 * of[0]), (rate, of[0])],
        "finals": [(rate, list(of))],
        "runs": 36,
        "good_decades": 0.5,
        "state_bytes": 8.0,
    }
    return Result(label, **{**made, **fields})


def race_of(*results, seeds=9, complete=True, **settings):
    made = Results(dataclasses.replace(SETTINGS, seeds=seeds, steps=2, **settings), [{"date": "today"}], complete)
    for r in results:
        made.add(r)
    return made


@pytest.fixture(scope="module")
def many():
    """A race of ten, with small and large numbers."""
    rng, made = np.random.default_rng(0), []
    for i, label in enumerate(LABELS):
        of = 0.0123 * np.exp(0.9 * i + 0.1 * rng.normal(size=9))
        time = {"step_us": 258.0 * 1.9**i, "step_range": (250.0 * 1.9**i, 300.0 * 1.9**i)}
        made.append(result(label, of, edge=["", "high", "low"][i % 3], rate=0.0316 / 10 ** (i % 4), **time))
    return race_of(*made, FAILED)


def printed(results, width):
    return _verdict.text(results, width)


def cells(r):
    return {c.heading.text.replace("\n", " "): c.cell(r) for c in _table.COLUMNS}


# The table


@pytest.mark.parametrize("width", [*WIDTHS, 200])
def test_no_name_and_no_number_is_cut(many, width):
    text = printed(many, width)
    table, _, rest = text.partition("gone failed\n")
    assert max(map(len, table.splitlines())) <= width
    columns = [name for name in cells(many["sgd"]) if name not in left_out(rest)]
    for r in many.values():
        if r.failed:
            continue
        label = r.label if r.label in table else broken(r.label, 32)
        first, *others = label.split("\n")
        row, *below = table[table.index(f" {first} ") :].splitlines()[:3]
        assert row.split()[len(first.split()) :] == [x for name in columns for x in cells(r)[name].split()], r.label
        assert [line.strip() for line in below[: len(others)]] == [part.strip() for part in others]


def left_out(text):
    told = re.search(r"No room here for: (.*?)\.\n(?=\S)", text, re.DOTALL)
    return words(told[1]).split(", ") if told else []


def test_columns_leave_in_the_order_of_their_importance(many):
    by_width = {width: left_out(printed(many, width)) for width in [*WIDTHS, 200]}
    assert by_width[200] == []
    for narrow, wide in zip(WIDTHS, [*WIDTHS[1:], 200], strict=True):
        assert set(by_width[wide]) <= set(by_width[narrow])
    assert "decades within 25%" in by_width[120]
    assert "learning rate" not in by_width[60]
    classics = race_of(*(dataclasses.replace(many[n], label=new) for n, new in [("sgd", "sgd"), ("adam", "sgd(momentum=0.9)")]))
    assert set(left_out(printed(classics, 80))) <= {"decades within 25%", "runs", "held-out loss", "held-out accuracy"}


def test_a_table_narrower_than_its_names_goes_on_in_the_next_line():
    rows = [Row(["an_optimizer_with_a_name_of_forty_letters", "0.12345"]), Row(["sgd", "1"])]
    from rich.console import Console

    screen = Console(file=io.StringIO(), width=36)
    made, gone = fitted(
        [Heading("optimizer"), Heading("loss"), Heading("less\nneeded", 1)], [Row([*r.cells, "7"]) for r in rows], 36
    )
    screen.print(made)
    text = screen.file.getvalue()
    assert gone == ["less needed"]
    assert "0.12345" in text
    assert "an_optimizer_with_a_name_of_forty_letters" in "".join(line.split()[0] for line in text.splitlines()[2:4])


def test_names_break_after_commas_and_brackets():
    assert broken("sgd", 10) == "sgd"
    assert broken(LONG, 32).replace("\n  ", "") == LONG
    assert all(len(line) <= 32 for line in broken(LONG, 32).splitlines())


def test_the_live_board_fits_too(many):
    from rich.console import Console

    for width in WIDTHS:
        screen = Console(file=io.StringIO(), width=width, force_terminal=False)
        board = _board.Board(screen, 360)
        for r in many.values():
            board.begin(r.label, "tuning, 9 rates")
        for r in list(many.values())[:-1]:
            board.finish(r)
        board.begin(LONG, "top 3 rates x 9 seeds")
        board.done("sgd", 36)
        screen.file.truncate(screen.file.seek(0))
        screen.print(board._render())
        text = screen.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert "36/360 runs" in text
        for label in LABELS[:5]:
            assert f" {label} " in text
        assert "..." not in text


def test_the_bar_covers_the_timing():
    from rich.console import Console

    board = _board.Board(Console(file=io.StringIO()), 10)
    board.done("sgd", 10)
    board.timing(17)
    for _ in range(5):
        board.timed()
    task = board.bar.tasks[0]
    assert (task.completed, task.total, task.fields["unit"]) == (5, 17, "rounds")


def test_a_column_that_nobody_fills_is_not_there():
    plain = race_of(result("sgd", [1.0] * 9, final=[{"loss": 1.0}] * 9, accuracies=[], reached=[]))
    text = printed(plain, 200)
    for absent in ("held-out", "accuracy", "target", "us per", "No room"):
        assert absent not in text
    lines = printed(race_of(FAILED), 80).splitlines()
    assert [words(line) for line in lines[:1] + lines[2:]] == [
        "optimizer", "gone failed", "gone failed: RuntimeError: out of order", "No optimizer reached a finite loss.",
    ]  # fmt: skip


def test_step_times_have_their_spread():
    assert _table.step_time(result("sgd", [1.0], step_us=258.4, step_range=(240.0, 300.0))) == "258 ±30"
    assert _table.step_time(result("sgd", [1.0])) == "-"


# The words


def test_the_verdict_names_the_tie_the_cheapest_and_the_fastest():
    rng = np.random.default_rng(1)
    alike = [list(x) for x in losses(rng, [0, 0, 3]).values()]
    results = race_of(
        result("adam", alike[0], state_bytes=8.0, step_us=90.0, step_range=(89.0, 91.0)),
        result("sgd", alike[1], state_bytes=0.0, step_us=100.0, step_range=(99.0, 101.0)),
        result("lion", alike[2], state_bytes=4.0, step_us=10.0, step_range=(9.0, 11.0)),
    )
    text = "\n".join(_verdict.verdict(results))
    assert "Tied for best: " in text
    assert "lion" not in text
    assert "Cheapest of them in memory: sgd, 0.00 bytes" in text
    assert text.endswith("Fastest of them: adam, 90 us per step.")
    assert "\n".join(_verdict.code(results, 100)).startswith("\ntx = gradxform.sgd(\n")


def test_times_that_overlap_are_not_told_apart():
    same = [1.0] * 9
    results = race_of(
        result("adam", same, step_us=90.0, step_range=(80.0, 101.0)),
        result("lion", same, step_us=100.0, step_range=(99.0, 110.0)),
        result("sgd", same, step_us=200.0, step_range=(150.0, 250.0)),
    )
    assert _verdict.verdict(results)[-1] == "Fastest of them: adam, 90 us per step, no faster for certain than lion."


def test_with_few_seeds_the_verdict_goes_by_the_median():
    few = race_of(result("adam", [1.0, 1.1, 1.2]), result("sgd", [1.3, 1.4, 1.1], state_bytes=0.0), seeds=3)
    assert "So few seeds cannot tell two optimizers apart" in "\n".join(_verdict.verdict(few))
    assert "tx = gradxform.adam(" in "\n".join(_verdict.code(few, 200))


def test_the_verdict_without_a_winner():
    diverged = race_of(result("sgd", [math.inf] * 3), seeds=3)
    assert _verdict.verdict(diverged) == ["No optimizer reached a finite loss."]
    assert _verdict.code(diverged, 80) == []
    assert _verdict.verdict(race_of(result("sgd", [1.0] * 3), seeds=3))[0].startswith("Best: sgd (")


def test_what_has_not_ended_says_so_far():
    partly = race_of(result("sgd", [1.0] * 9), result("adam", [1.0] * 9), complete=False)
    assert _verdict.verdict(partly)[0].startswith("So far, tied for best: sgd and adam (")
    assert ", so far:" in _figure.figure(partly).get_suptitle()


def test_a_target_missed_by_most_seeds_is_a_miss():
    assert Result("x", reached=[10, 20, None]).steps_to_target == 20
    assert Result("x", reached=[10, None, None]).steps_to_target is None
    assert _protocol._steps_to(0.5, [], []) == []


def test_letters():
    assert [_table.letter(i) for i in (0, 25, 26)] == ["A", "Z", "27"]


# The code


@pytest.mark.parametrize("width", WIDTHS)
def test_the_code_fits_and_is_the_code(many, width):
    for r in many.values():
        lines = laid_out(r.code, width, before="tx = ") if r.code else []
        assert all(len(line) <= width or line.endswith("(") for line in lines)  # a name is whole
        if lines:
            names = {"gradxform": gradxform}
            exec("\n".join(lines), names)
            assert names["tx"] == eval(r.code)
    assert laid_out("gradxform.sgd(0.1)", 80) == ["gradxform.sgd(0.1)"]


def test_the_words_wrap_between_words(many):
    prose = {width: printed(many, width).partition("gone failed: ")[2].partition("\n\n")[0] for width in (60, 100, 5000)}
    assert words(prose[60]) == words(prose[100]) == words(prose[5000])
    assert max(map(len, prose[60].splitlines())) <= 60
    assert len(prose[5000].splitlines()) == len(_verdict.remarks(many.values())) + len(_verdict.verdict(many))


# Figures


def test_the_figure_has_four_panels(many, tmp_path):
    figure = many.plot(tmp_path / "race.png")
    assert is_picture(tmp_path / "race.png")
    loss, accuracy, dots, heat, *_ = figure.axes
    assert loss.get_ylabel() == "validation loss"
    assert accuracy.get_ylabel() == "validation accuracy"
    assert "seconds" in accuracy.get_xlabel()
    assert len(loss.collections) == 1  # the band of the best alone
    assert len(loss.lines) == len(LABELS)
    names = [t.get_text() for t in dots.get_yticklabels()]
    assert [n.replace("\n  ", "").split()[0] for n in names] == [
        r.label for group in _table.groups_of(many.values()) for r in group
    ]
    assert "not tried" in heat.get_title()


def test_a_figure_without_accuracy_times_or_rates():
    bare = race_of(
        result("sgd", [1.0] * 9, accuracies=[], step_us=10.0),
        result("adam", [-1.0] * 9, accuracies=[], trials=[], idle=["muon.muon"]),
    )
    loss, time, dots, heat, *_ = bare.plot().axes
    assert time.get_ylabel() == "validation loss"
    assert len(time.lines) == 1
    assert loss.get_yscale() == "linear"
    assert "not tuned" in [t.get_text() for t in heat.texts]
    assert any("nothing for muon.muon" in t.get_text() for t in dots.get_yticklabels())
    untimed = race_of(result("sgd", [1.0] * 9)).plot().axes[1]
    assert "no step times yet" in [t.get_text() for t in untimed.texts]
    assert race_of().plot().axes == []


def test_surfaces_show_every_optimizer_in_panels_of_its_own(tmp_path):
    surfaces = load("surfaces")
    points = np.stack([np.linspace(s, m, 20) for s, m in zip(surfaces[0].start, surfaces[0].minima[0], strict=True)], axis=1)
    paths = [_surfaces_figure.Path2D(f"o{i}", s.name, None if i == 2 else 0.1, points, 0.1) for i in range(9) for s in surfaces]
    drawn = []
    real = _surfaces_figure.new_figure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_surfaces_figure, "new_figure", lambda *size: drawn.append(real(*size)) or drawn[-1])
        assert is_picture(_surfaces_figure.draw(surfaces, paths, 20, {"o3": ["muon.muon"]}, tmp_path / "s.png"))
    shown = [axes for axes in drawn[0].axes if axes.axison]
    assert len(shown) == 9 * len(surfaces)
    titles = [axes.get_title() for axes in shown if axes.get_title()]
    assert titles == [f"o{i}" + ("\n(nothing for muon.muon)" if i == 3 else "") for i in range(9)]
    assert sum("no rate stays" in [t.get_text() for t in axes.texts] for axes in shown) == len(surfaces)


# Results elsewhere


def test_results_are_a_mapping_that_prints(many):
    assert list(many)[:2] == LABELS[:2]
    assert many["adam"].label == "adam"
    assert repr(many) == "<race of 11 optimizers on quadratic, ahead: sgd>"
    assert "tx = gradxform.sgd(" in str(many)
    assert '<div class="race">' in many._repr_html_()


def test_a_string_is_a_string_in_notebooks_too(many, monkeypatch):
    shown = str(many)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(many) == shown


@pytest.mark.parametrize("path", sorted(KEPT.glob("race-*.json")), ids=lambda path: path.stem)
def test_races_that_are_kept_can_be_read_again(path):
    kept = gradxform.race.load(path)
    assert len(kept) >= 6
    text = _verdict.text(kept, 100)
    for r in kept.values():
        assert f" {broken(r.label, 32).splitlines()[0]} " in text
        assert f" {_table.number(r.median)} " in text
    assert len(kept.plot().axes) == 5
    assert len(kept.records("runs")) == len(kept) * kept.settings.seeds


def test_records(many):
    summary = many.records()
    assert [r["optimizer"] for r in summary][-1] == "gone"
    assert summary[-1]["failed"] == "RuntimeError: out of order"
    assert summary[0]["loss"] == many["sgd"].median
    assert summary[0]["tie"] == "A"
    assert summary[0]["step_us_low"] == 250.0
    runs = many.records("runs")
    assert len(runs) == 9 * len(LABELS)
    assert [r["seed"] for r in runs[:9]] == list(range(1, 10))
    curves = many.records("curves")
    assert len(curves) == 9 * len(LABELS) * 2
    assert curves[0] == {
        "optimizer": "sgd", "seed": 1, "step": 1, "seconds": pytest.approx(258e-6), "loss": 2 * many["sgd"].losses[0], "acc": 0.5,
    }  # fmt: skip
    assert many.records("trials")[0] == {"optimizer": "sgd", "learning_rate": 0.01, "loss": 2 * many["sgd"].losses[0]}
    with pytest.raises(UnknownNameError, match="no records of 'all'; there are summary, runs, curves, trials"):
        many.records("all")


def test_what_is_not_finite_is_absent_elsewhere():
    (row,) = race_of(result("sgd", [math.inf] * 9)).records()
    assert row["loss"] is None


def test_csv(many, tmp_path):
    for what in ("summary", "runs", "curves", "trials"):
        with many.to_csv(tmp_path / "x.csv", what).open(newline="") as file:
            rows = list(csv.DictReader(file))
        expected = [{k: "" if v is None else str(v) for k, v in row.items()} for row in many.records(what)]
        assert rows == expected


def test_pandas_is_the_users(many, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        many.to_pandas()
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert many.to_pandas("runs") == ("frame", many.records("runs"))


def test_html_is_one_file_with_everything_in_it(many, tmp_path):
    text = many.to_html(tmp_path / "race.html").read_text()
    assert text.startswith("<!doctype html>")
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "data:image/png;base64," in text
    shown = html.unescape(text)
    for r in many.values():
        assert f">{r.label}" in shown
        if not r.failed:
            assert f">{_table.number(r.median)}<" in shown
    assert "tx = gradxform.sgd(" in shown
    assert "RuntimeError: out of order" in shown
    assert SETTINGS.data in shown
    assert "today" in shown


# Several problems


def test_the_profile_is_that_of_the_times_to_the_target():
    def on(problem, steps):
        return race_of(*(result(n, [1.0] * 9, reached=[s] * 9, step_us=1e6) for n, s in steps.items()), problem=problem)

    races = [
        on("a", {"sgd": 10, "adam": 20, "lion": None, "muon": 1}),
        on("b", {"sgd": 25, "adam": 10, "lion": 10}),
        on("hard", {"sgd": None, "adam": None, "lion": None}),
    ]
    made = profile_of(races)
    assert made.left_out == ["hard"]
    assert made.problems == ["a", "b"]
    assert made.ratios == {"sgd": {"a": 1.0, "b": 2.5}, "adam": {"a": 2.0, "b": 1.0}, "lion": {"a": math.inf, "b": 1.0}}
    taus = np.linspace(1, 4, 300_001)
    for name, ratios in made.ratios.items():
        share = np.mean([[x <= tau for x in ratios.values()] for tau in taus[::100]], axis=1)
        assert made.scores[name] == pytest.approx(share.mean(), abs=1e-3)
    assert list(made.scores) == ["adam", "sgd", "lion"]
    assert "hard" in str(made)
    assert made.records()[2] == {"optimizer": "lion", "score": 0.5, "a": None, "b": 10.0}
    for width in WIDTHS:
        assert _profile.Profile(made.seconds).table(width)[1] == []
    lines = made.plot().axes[0].lines
    assert len(lines) == 3
