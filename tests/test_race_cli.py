"""The command line: problems by name, the catalogue, and what it says when something is wrong."""

import dataclasses
import importlib
import pathlib
import subprocess
import sys
import textwrap
import tomllib

import children
import jax
import jax.numpy as jnp
import pytest
from racing import MARKS, SETTINGS, results_in

import gradxform
from gradxform import registry
from gradxform._errors import ProblemError
from gradxform.race import Problem, _problem, host_rng
from gradxform.race._cli import BROKEN_PIPE, SCHEDULES, _parser, main
from gradxform.race._settings import DESCRIPTIONS
from gradxform.race._trainer import Trainer

pytestmark = MARKS
ROOT = pathlib.Path(gradxform.__file__).parent.parent


# Problems


def test_an_unknown_problem(capsys):
    assert main(["race", "digit"]) == 2
    assert "Did you mean digits? There are digits, " in capsys.readouterr().err


USERS = """
    from typing import NamedTuple
    import jax.numpy as jnp, numpy as np
    from gradxform.race import Problem, host_rng

    def init(key): return {"x": jnp.asarray(host_rng(key).normal(size=4), jnp.float32)}
    def loss(params, batch): return jnp.sum((params["x"] - batch) ** 2)
    def batch(rng, step): return rng.normal(size=4).astype(np.float32) * 0.1
    def evaluate(params): return {"loss": jnp.sum(params["x"] ** 2)}

    class Pair(NamedTuple):
        x: int

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
    def bad_init(): return Problem(lambda: {}, loss, batch, evaluate)
    problem = good
    number = 3
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


@pytest.mark.parametrize("name", ["users_race:good", "users_race:mapping", "users_race.py:good", "./users_race.py"])
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
        ("users_race:wrong", "the int that stands for it has no function `init`, `loss`, `batch`, `evaluate`"),
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
        ("users_race:nothing", "has no function `nothing`. It has the functions init, loss, batch, evaluate, good, mapping, parts"),
        ("users_race:number", "is a int, not a function that returns a problem"),
        ("users_race:bad_init", "takes 0 positional arguments but 1 was given (users_race.py, line 34)"),
        ("./users_rice.py", "there is no file users_rice.py"),
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


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("chain", ["chain(*args)", "Apply transformations one after another"]),
        ("cosine_decay_schedule", ["cosine_decay_schedule(init_value, decay_steps, alpha=0.0, exponent=1.0)", "arXiv:1608.03983"]),
        ("partition", ["partition("]),
        ("l2_loss", ["l2_loss(predictions, targets=None)"]),
    ],
)
def test_whatever_is_public_can_be_shown(name, parts, capsys):
    assert main(["show", name]) == 0
    out = capsys.readouterr().out
    for part in parts:
        assert part in out


@pytest.mark.parametrize("name", ["adm", "chain.x", "torch.adm", "__version__", "core._engine"])
def test_what_is_not_cannot_be_shown(name, capsys):
    assert main(["show", name]) == 2
    assert f"No transformation is called {name!r}" in capsys.readouterr().err


def test_columns_of_arguments_do_not_touch(capsys):
    assert main(["show", "muon"]) == 0
    assert "muon_weight_dimension_numbers None" in capsys.readouterr().out


def test_without_the_extra(monkeypatch, capsys):
    for name in [m for m in sys.modules if m.split(".")[0] in ("rich", "sklearn")] + ["rich", "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["names"]) == 0
    assert main(["show", "sgd"]) == 0
    assert capsys.readouterr().out
    for problem in ("quadratic", "digits"):
        assert main(["race", problem]) == 2
        assert "pip install 'gradxform[race]'" in capsys.readouterr().err


def test_mistakes_in_the_arguments(capsys):
    for wrong in (["race", "--steps", "3"], ["race", "--schedule", "zigzag"], [], ["rice"]):
        with pytest.raises(SystemExit) as e:
            main(wrong)
        assert e.value.code == 2
        assert "--help` explains" in capsys.readouterr().err


def test_an_option_that_is_not_known_is_told_by_its_command(capsys):
    with pytest.raises(SystemExit):
        main(["race", "--sede", "3"])
    error = capsys.readouterr().err
    assert "usage: python -m gradxform race [-h]" in error
    assert "unrecognized arguments: --sede; did you mean --seeds?" in error


@pytest.mark.parametrize("command", ["race", "names", "show"])
def test_every_argument_is_explained(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    options = _parser()._subparsers._group_actions[0].choices[command]._actions
    assert len(options) > 1
    assert all(a.help for a in options)
    assert "(race-PROBLEM)" not in capsys.readouterr().out


def test_the_version(capsys):
    with pytest.raises(SystemExit) as e:
        main(["--version"])
    assert (e.value.code, capsys.readouterr().out) == (0, f"gradxform {gradxform.__version__}\n")


def test_the_console_script_is_the_command_line():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["gradxform"].partition(":")
    assert getattr(importlib.import_module(module), function) is main


def test_the_choice_of_schedules_is_what_there_is():
    assert set(SCHEDULES) == set(DESCRIPTIONS)  # said twice: the command line imports nothing that is heavy


def test_the_header_comes_before_the_heavy_imports():
    code = """
import builtins, sys
from gradxform.race import _cli
heavy = {"jax", "numpy", "rich", "matplotlib", "sklearn"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
shown, real = [], builtins.print
builtins.print = lambda *args, **kwargs: shown.append((args, kwargs, heavy & sys.modules.keys())) or real(*args, **kwargs)
_cli.main(["race", "no_such_problem"])
assert shown[0] == (("gradxform race no_such_problem",), {"flush": True}, set()), shown[0]
"""
    assert children.run(sys.executable, "-c", code, cwd=ROOT) == "gradxform race no_such_problem\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "gradxform", "names", "*", "--kind", "*"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout.readline().split()
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode in (0, BROKEN_PIPE)


def test_several_problems_have_a_folder_each_and_a_profile(tmp_path, users, capsys):
    arguments = [
        "race",
        "quadratic",
        "./users_race.py",
        "--optimizers",
        "sgd,adam",
        "--steps",
        "30",
        "--seeds",
        "2",
        "--rates",
        "3",
    ]
    assert main([*arguments, "--out", "all"]) == 0
    out = capsys.readouterr().out
    assert sorted(p.name for p in (users / "all").iterdir()) == ["race-profile", "race-quadratic", "race-users_race-py"]
    assert set(results_in(users / "all" / "race-quadratic")[1]) == {"sgd", "adam"}
    assert "Left out, since there is no target or nobody reached it: ./users_race.py" in " ".join(out.split())
    assert (users / "all" / "race-profile" / "profile.csv").read_text().startswith("optimizer,score,quadratic")
