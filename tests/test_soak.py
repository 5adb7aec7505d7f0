"""Some dozens of randomly composed programs; `python -m tests.soak` runs as many as one wants, and repeats those of a seed."""

import jax
import pytest

import gradxform as gx
from tests.soak import generator, laws, model, parts

SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(4, 12))]


@pytest.mark.parametrize("seed", SEEDS)
def test_programs(seed):
    """A seed that fails: `python -m tests.soak --seed N` makes its program smaller."""
    simplest = generator.simplest()
    examine = lambda program: None if program == simplest else laws.examine(program, model.Account(), chunk=6)
    generator.examine(seed, examine, count=3)


def test_a_seed_draws_the_same_programs():
    found = []
    for _ in range(2):
        programs = []
        generator.examine(3, programs.append)
        found.append(programs)
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_nothing_stays_behind():
    """Arrays and compiled programs while a program goes on, with its state saved, restored and transferred in between."""
    text = "o.chain(o.clip_by_global_norm(1.0), o.masked(o.adamw(o.cosine_decay_schedule(0.02, 50), mask=matrices), odd))"
    leaves = (((2, 3), "float32"), ((3,), "bfloat16"), ((), "float32"))
    assert laws.marathon(generator.Program(text, None, leaves, (), 0, 0), chunk=20, updates=1000) >= 1000


def drift(tx):
    """Its state becomes wider with the first update."""
    return gx.GradientTransformation(tx.init, lambda g, s, p=None: (tx.update(g, s, p)[0], jax.tree.map(lambda x: x[None], s)))


WRONG = {
    "a state that drifts": "jax_drift(o.trace(0.9))",
    "an update that is no number": "o.chain(o.sgd(0.1), o.stateless(lambda g, p: jax.tree.map(lambda x: x * jnp.nan, g)))",
    "a wrong degree": "o.scale_by_sign()",
    "something kept outside the state": "forgetful()",
}


def forgetful():
    count = iter(range(1000))
    return gx.stateless(lambda g, p: jax.tree.map(lambda x: x * next(count), g))


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found(text, monkeypatch):
    monkeypatch.setitem(parts.WORDS, "jax_drift", drift)
    monkeypatch.setitem(parts.WORDS, "forgetful", forgetful)
    program = generator.Program(f"gx.chain({text})", 1, (((2,), "float32"),), (("pickle", "jit"), ("", "eager")), 0, 0)
    with pytest.raises((AssertionError, TypeError)):
        laws.examine(program, model.Account(), chunk=6)


def test_every_registered_name_is_a_part_or_left_out_with_a_reason():
    tables = (parts.TRANSFORMS, parts.DIRECTIONS, parts.OPTIMIZERS, parts.WRAPPERS)
    texts = " ".join(text for table in tables for text in table)
    left_out = {name for names in parts.LEFT_OUT for name in names.split()}
    missing = [name for name in gx.names(kind="*") if f"{name}(" not in texts and name not in left_out]
    assert not missing
    assert not [name for name in left_out if f".{name}(" in texts and name not in ("sam", "schedule_free", "mechanize")]
