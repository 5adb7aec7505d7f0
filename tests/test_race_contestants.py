"""Who can be raced: names, calls, chains, dialects, the user's own; from the command line and from a program."""

import os
import sys
import textwrap

import children
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from racing import MARKS, SETTINGS, SMALL, one_of, results_in, words

import gradxform as gx
from gradxform import race, registry
from gradxform._errors import HyperparameterError, ProblemError, UnknownNameError
from gradxform.race import _contestants, _problem, _runner
from gradxform.race._cli import main
from gradxform.race._idle import idle
from gradxform.race._results import ResultsError
from gradxform.race._trainer import Job, Trainer, Updater

pytestmark = MARKS

OPTIMIZERS = """
    import gradxform as gx

    def my_opt(rate, beta=0.9): return gx.sgd(rate, momentum=beta)
    def no_rate(): return gx.sgd(0.1)
    def three(): return 3
    def broken(learning_rate): raise RuntimeError("out of order")
    ready = gx.adam(0.1)

    @gx.register
    def my_sign(learning_rate): return gx.chain(gx.scale_by_sign(), gx.scale_by_learning_rate(learning_rate))

    def problem():
        from gradxform.race.problems import quadratic
        return quadratic.problem()
"""
SMALL_RUN = {"steps": 20, "seeds": 2, "rates": 3, "quiet": True}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The current directory, with a module `mine_to_race` of the user's."""
    (tmp_path / "mine_to_race.py").write_text(textwrap.dedent(OPTIMIZERS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry.names("*.*")  # all of the library's are there before it is copied
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    yield tmp_path
    sys.modules.pop("mine_to_race", None)


def test_choosing_by_name_pattern_and_call():
    assert [c.label for c in _contestants.choose("adam*, sgd")] == [*registry.names("adam*"), "sgd"]
    assert [c.label for c in _contestants.choose("sgd(momentum=0.9, nesterov=True),SGD")] == [
        "sgd(momentum=0.9, nesterov=True)",
        "sgd",
    ]
    assert [c.label for c in _contestants.choose(["adam", "lion"])] == ["adam", "lion"]
    assert 10 <= len(_contestants.choose(None)) <= 15


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sgd(momentum=0.9)", "gradxform.sgd(momentum=0.9, learning_rate=0.1)"),
        ("polyak_sgd", "gradxform.polyak_sgd(max_learning_rate=0.1)"),
        ("torch.adamw", "gradxform.dialects.torch.adamw(lr=0.1)"),
        ("keras.sgd(momentum=0.5)", "gradxform.dialects.keras.sgd(momentum=0.5, learning_rate=0.1)"),
        (
            "neon.gradient_descent_momentum",
            "gradxform.dialects.neon.gradient_descent_momentum(momentum_coef=0.9, learning_rate=0.1)",
        ),
        ("chain(clip(1.0),adamw(b1=0.8))", "gradxform.chain(gradxform.clip(1.0), gradxform.adamw(b1=0.8, learning_rate=0.1))"),
        (
            "chain(scale_by_adam, scale_by_learning_rate)",
            "gradxform.chain(gradxform.scale_by_adam(), gradxform.scale_by_learning_rate(learning_rate=0.1))",
        ),
        ("lookahead(adam, 5, 0.5)", "gradxform.lookahead(gradxform.adam(learning_rate=0.1), 5, 0.5)"),
        (
            "partition({'w': adam, 'b': sgd(-1e-3)}, {'*b': 'b', 'default': 'w'})",
            "gradxform.partition({'w': gradxform.adam(learning_rate=0.1), 'b': gradxform.sgd(-0.001)}, {'*b': 'b', 'default': 'w'})",
        ),
        ("gx.adam", "gradxform.adam(learning_rate=0.1)"),
        ("adam(0.3)", "gradxform.adam(0.3)"),
        ("adam(learning_rate=0.3)", "gradxform.adam(learning_rate=0.3)"),
        (
            "sgd(cosine_decay_schedule(0.3, 20))",
            "gradxform.sgd(gradxform.cosine_decay_schedule(0.3, 20))",
        ),
    ],
)
def test_what_is_written_is_what_is_made_and_what_is_printed(text, code):
    contestant = one_of(text)
    assert contestant.label in (text, text.removeprefix("gx."))
    assert contestant.code(0.1) == code
    assert contestant.make(0.1) == eval(code, {"gradxform": gx})
    assert contestant.tuned == ("=0.1" in code)


@pytest.mark.filterwarnings("ignore:.*without a `key`")
def test_every_optimizer_is_made_from_its_name():
    for name in [*registry.names(), *registry.names("*.*")]:
        if name != "neon.multi_optimizer":  # a mapping has no default
            contestant = one_of(name)
            assert contestant.tuned == any("learning_rate" in p or p == "lr" for p in registry.entry(name).parameters)
            assert contestant.make(0.1) == eval(contestant.code(0.1), {"gradxform": gx}), name


def test_the_middle_of_the_grid_is_declared_by_the_optimizer_in_it():
    assert one_of("adam").centre("digits") == 0.01
    assert one_of("chain(clip(1.0), sgd)").centre("nowhere") == registry.entry("sgd").rates["default"]
    assert one_of("torch.adadelta").centre("digits") == registry.entry("adadelta").rates["digits"]
    assert _contestants.choose({"mine": gx.sgd})[0].centre("digits") == _contestants.DEFAULT_CENTRE


def test_a_users_function(mine):
    texts = [
        "mine_to_race:my_opt",
        "mine_to_race:my_opt(beta=0.5)",
        "./mine_to_race.py:my_opt",
        "mine_to_race:no_rate",
        "mine_to_race:ready",
    ]
    tuned = [True, True, True, False, False]
    for text, is_tuned in zip(texts, tuned, strict=True):
        contestant = one_of(text)
        assert contestant.label == text
        assert contestant.tuned == is_tuned
        made = {}
        exec(f"import {contestant.expression.modules[0]}\ntx = {contestant.code(0.1)}", made)
        assert contestant.make(0.1) == made["tx"]
    assert one_of("mine_to_race:my_opt(beta=0.5)").make(0.1) == gx.sgd(0.1, momentum=0.5)


def test_what_has_been_imported_can_be_a_part(mine):
    with pytest.raises(UnknownNameError, match=r"'mine_to_race[.]my_opt'"):
        one_of("chain(clip(1.0), mine_to_race.my_opt)")
    one_of("mine_to_race:my_opt")  # imports it
    contestant = one_of("chain(clip(1.0), mine_to_race.my_opt(beta=0.5))")
    assert contestant.code(0.1) == "gradxform.chain(gradxform.clip(1.0), mine_to_race.my_opt(beta=0.5, rate=0.1))"
    assert contestant.make(0.1) == gx.chain(gx.clip(1.0), gx.sgd(0.1, momentum=0.5))
    assert one_of("optax.sgd").code(0.1) == "optax.sgd(learning_rate=0.1)"
    assert np.isfinite(race.run("quadratic", "optax.sgd(momentum=0.9)", **SMALL_RUN)["optax.sgd(momentum=0.9)"].median)


def test_the_code_names_the_module_within_a_package(mine):
    (mine / "package_to_race" / "inner").mkdir(parents=True)
    (mine / "package_to_race" / "inner" / "mod.py").write_text("import gradxform\ndef opt(lr): return gradxform.sgd(lr)\n")
    contestant = one_of("package_to_race.inner.mod:opt")
    assert contestant.expression.modules == ("package_to_race.inner.mod",)
    assert contestant.code(0.1) == "package_to_race.inner.mod.opt(lr=0.1)"
    code = f"import gradxform, package_to_race.inner.mod\nassert {contestant.code(0.1)} == gradxform.sgd(0.1)"
    children.run(sys.executable, "-c", code, cwd=mine, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_what_a_script_registers_is_called_as_it_is_there(monkeypatch):
    registry.names("*.*")  # all of the library's are there before it is copied
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

    def in_a_script(learning_rate):
        return gx.sgd(learning_rate)

    in_a_script.__module__, in_a_script.__qualname__ = "__main__", "in_a_script"
    monkeypatch.setattr(sys.modules["__main__"], "in_a_script", in_a_script, raising=False)
    registry.register(in_a_script)
    assert one_of("in_a_script").code(0.1) == "in_a_script(learning_rate=0.1)"
    assert one_of("in_a_script").make(0.1) == gx.sgd(0.1)
    registry.register("no_name", lambda learning_rate: gx.sgd(learning_rate))
    assert one_of("no_name").code(0.1) == "gradxform.registry.entry('no_name').make(learning_rate=0.1)"
    assert one_of("no_name").make(0.1) == gx.sgd(0.1)


def test_what_a_module_registers_can_be_raced(mine, capsys):
    """Whether it is the problem's, or is imported for it."""
    small = [*SMALL, "--no-figure"]
    assert main(["race", "mine_to_race.py", "--optimizers", "my_*,sgd", *small, "--out", "a"]) == 0
    assert set(results_in(mine / "a")[1]) == {"my_sign", "sgd"}
    assert "tx = " in capsys.readouterr().out
    registry._ENTRIES.pop("my_sign")
    sys.modules.pop("mine_to_race")
    assert main(["race", "quadratic", "--optimizers", "my_sign", *small]) == 2
    assert "No transformation is called 'my_sign'" in capsys.readouterr().err
    assert main(["race", "quadratic", "--import", "mine_to_race", "--optimizers", "my_sign", *small, "--out", "b"]) == 0
    out = capsys.readouterr().out
    assert "import gradxform\nimport mine_to_race\ntx = mine_to_race.my_sign(\n" in out or "tx = mine_to_race.my_sign(" in out


def test_a_chain_a_dialect_and_a_module_from_the_command_line(mine, capsys):
    optimizers = "chain(clip(1.0), adamw), torch.adam, mine_to_race:my_opt, adam(0.1)"
    assert main(["race", "quadratic", "--optimizers", optimizers, *SMALL, "--out", "a", "--no-figure"]) == 0
    found = results_in(mine / "a")[1]
    assert list(map(bool, (r["failed"] for r in found.values()))) == [False] * 4
    assert set(found) == {"chain(clip(1.0), adamw)", "torch.adam", "mine_to_race:my_opt", "adam(0.1)"}
    assert found["adam(0.1)"]["trials"] == []
    assert found["adam(0.1)"]["runs"] == 3
    assert found["adam(0.1)"]["rate"] is None
    assert "Not tuned, since no learning rate was left free: adam(0.1)." in words(capsys.readouterr().out)


def test_a_fixed_rate_is_raced_as_it_is_written():
    """Constant, though the others have a schedule."""
    trainer = Trainer(_problem.load("quadratic"), SETTINGS)
    run = trainer.train(Updater(one_of("sgd(0.3)"), trainer.problem.loss), [Job(1.0, 1)])[0]
    tx, params = gx.sgd(0.3), trainer.start(1)
    state = tx.init(params)
    for step in range(SETTINGS.steps):
        batch = trainer.problem.batch(_problem.batch_rng(1, step), step)
        updates, state = tx.update(jax.grad(trainer.problem.loss)(params, batch), state, params)
        params = gx.apply_updates(params, updates)
    assert run.losses[-1] == pytest.approx(trainer.problem.evaluate(params)["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("admaw", UnknownNameError, "Did you mean .*adamw"),
        ("zzz*", UnknownNameError, "No optimizer matches 'zzz\\*'"),
        ("scale_by_adam", UnknownNameError, "only optimizers race.*'chain\\(scale_by_adam, scale_by_learning_rate\\)'"),
        ("chain(clp(1.0), adam)", UnknownNameError, "'clp'. Did you mean .*clip"),
        ("sgd(momentun=0.9)", HyperparameterError, "sgd has no argument 'momentun'. Did you mean 'momentum'"),
        ("adam(b1=2.0)", HyperparameterError, "`b1` must be .* in \\(-1, 1\\), but got 2.0"),
        ("sgd(momentum=x)", UnknownNameError, "'x'"),
        ("adam(**{})", HyperparameterError, "Cannot read .*write it like"),
        ("adam if 1 else sgd", HyperparameterError, "Cannot read .*write it like"),
        ("adam(", HyperparameterError, "Cannot read .*write it like"),
        ("cosine_decay_schedule(1.0, 5)", HyperparameterError, "makes a Record, not a gradient transformation"),
        ("minimize", HyperparameterError, "minimize"),
        ("mine_to_race:three", HyperparameterError, "makes a int, not a gradient transformation"),
        ("mine_to_race:nothing", UnknownNameError, "has no function `nothing`. It has the functions my_opt, no_rate"),
        ("mine_to_race:my_opt(1, 2, 3)", HyperparameterError, "takes from 1 to 2 positional arguments"),
        ("no_module_of_this_name:f", UnknownNameError, "there is no module"),
        ("./nothing.py:f", UnknownNameError, "there is no file nothing.py"),
        ("", HyperparameterError, "No optimizer was given"),
        ({}, HyperparameterError, "No optimizer was given"),
        ({"x": 3}, HyperparameterError, "'x' is a int; give a function of the learning rate"),
    ],
)
def test_mistakes_in_the_list(mine, text, error, said, capsys):
    with pytest.raises(error, match=said):
        _contestants.choose(text)
    if isinstance(text, str):
        assert main(["race", "quadratic", "--optimizers", text]) == 2
        assert capsys.readouterr().err.startswith("error: ")
        assert not list(mine.glob("race-*"))


def test_a_list_is_split_at_its_own_commas():
    parts = ["chain(clip(1.0),adamw(b1=0.9, b2=0.99))", "sgd", "partition({'a': [adam, 1]}, 'a')"]
    assert _contestants.parts(",".join(parts)) == parts
    assert _contestants.parts(" , ,") == []


# From a program


def test_run_takes_functions_texts_and_transformations():
    results = race.run(
        "quadratic",
        {
            "clipped": lambda rate: gx.chain(gx.clip(1.0), gx.sgd(rate)),
            "text": "chain(clip(1.0), sgd)",
            "as it is": gx.sgd(0.5),
            "optax": lambda rate: optax.chain(optax.clip(1.0), optax.sgd(rate)),
            "class": gx.adam,
        },
        **{**SMALL_RUN, "rates": 9},  # so that the grids of those that declare a centre and of those that do not meet
    )
    assert set(results) == {"clipped", "text", "as it is", "optax", "class"}
    assert not [r.failed for r in results.values() if r.failed]
    assert results["clipped"].rate == results["text"].rate == results["optax"].rate
    np.testing.assert_allclose(results["clipped"].losses, results["text"].losses, rtol=1e-4)
    np.testing.assert_allclose(results["clipped"].losses, results["optax"].losses, rtol=1e-4)
    assert results["as it is"].trials == []
    assert results["clipped"].code.startswith("optimizers['clipped'](gradxform.warmup_cosine_decay_schedule(")
    assert results["as it is"].code == "optimizers['as it is']"


def test_a_function_is_given_all_that_is_known_of_the_loss():
    seen = []

    def update(grads, state, params=None, *, value, value_fn, **extra):
        seen.append((jnp.shape(value), sorted(extra)))
        return jax.tree.map(lambda g: -0.1 * g, grads), state

    tx = gx.GradientTransformationExtraArgs(lambda params: (), update)
    assert np.isfinite(race.run("quadratic", {"needy": lambda rate: tx}, **SMALL_RUN)["needy"].median)
    assert set(map(repr, seen)) == {repr(((), ["grad", "obj_fn"]))}


def test_run_takes_a_problem_and_saves_what_it_is_told_to(tmp_path):
    problem = _problem.load("quadratic")
    results = race.run(problem, "sgd", out=tmp_path, **SMALL_RUN)
    assert results.complete
    again = race.load(tmp_path)
    assert again["sgd"] == results["sgd"]
    assert again.settings == results.settings
    assert again.sessions == results.sessions
    more = race.run(problem, "sgd,adam", out=tmp_path, resume=True, **SMALL_RUN)
    assert more["sgd"] == results["sgd"]
    assert len(more) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_run_says_what_is_wrong(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean quadratic"):
        race.run("quadratc")
    with pytest.raises(ProblemError, match="has no function `loss`"):
        race.run({"init": len, "batch": len, "evaluate": len})
    with pytest.raises(ProblemError, match="is a picture"):
        race.run("surfaces")
    with pytest.raises(ValueError, match="`schedule` must be one of cosine, linear, constant"):
        race.run("quadratic", schedule="zigzag")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ResultsError, match="is not a file of race results"):
        race.load(tmp_path)


def test_what_had_finished_before_an_interruption_is_not_lost(monkeypatch):
    compete = _runner.compete

    def interrupted(contestant, *rest):
        if contestant.label == "lion":
            raise KeyboardInterrupt
        return compete(contestant, *rest)

    monkeypatch.setattr(_runner, "compete", interrupted)
    monkeypatch.setattr(_runner, "workers", lambda: 1)
    with pytest.raises(race.Interrupted, match="1 optimizer had finished") as e:
        race.run("quadratic", "sgd,lion,adam", **SMALL_RUN)
    assert set(e.value.results) == {"sgd"}
    assert not e.value.results.complete


def test_one_that_raises_is_a_failure_and_no_more():
    def broken(rate):
        raise RuntimeError("out of order")

    results = race.run("quadratic", {"broken": broken, "sgd": "sgd"}, **SMALL_RUN)
    assert results["broken"].failed == "RuntimeError: out of order"
    assert not results["sgd"].failed
    assert "broken failed: RuntimeError: out of order" in str(results)


def test_stages_that_find_nothing_to_act_on():
    vector, both = jnp.ones(3), {"w": jnp.ones((3, 3)), "b": jnp.ones(3)}
    of = lambda tx, params: idle(tx, tx.init(params))
    assert of(gx.muon(0.1), vector) == ["muon.muon"]
    assert of(gx.muon(0.1), both) == []
    assert of(gx.muon(0.1), {"w": both["w"]}) == ["adam.adam"]
    assert (
        of(
            gx.partition({"a": gx.adam(0.1), "b": gx.sgd(0.1, momentum=0.9)}, {"*w": "a", "default": "b"}),
            {"b": vector, "w": vector},
        )
        == []
    )
    for name in registry.names():
        if name != "muon":
            assert of(registry.entry(name)(), both) == [], name


def test_an_optimizer_for_matrices_says_that_there_are_none():
    results = race.run("quadratic", "muon,sgd", **SMALL_RUN)
    assert results["muon"].idle == ["muon.muon"]
    assert "muon: its `muon.muon` found nothing to act on in these parameters." in words(str(results))
