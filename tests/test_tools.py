"""What tools ask of a function, transformations and schedules answer too: profilers, named calls, counters of traces."""

import functools
import inspect

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx
from gradxform import registry
from gradxform.testing._case import case_for

pytestmark = pytest.mark.fast

ASK = {
    "getsource": inspect.getsource,
    "wraps": lambda f: functools.wraps(f)(lambda *args, **kwargs: f(*args, **kwargs)),
    "named_call": jax.named_call,
    "annotate_function": jax.profiler.annotate_function,
    "checkpoint": jax.checkpoint,
    "max_traces": lambda f: pytest.importorskip("chex").assert_max_traces(f, n=1),
}


def test_every_transformation_has_the_names_of_its_functions():
    for entry in map(registry.entry, [*registry.names(kind="*"), *registry.names("*.*")]):
        tx = case_for(entry).tx
        for role, f in zip(tx._fields, tx, strict=True):
            owner, _, name = f.__qualname__.rpartition(".")
            assert (f.__name__, name) == (role, role), entry.full_name
            assert repr(tx).startswith(owner), entry.full_name
            assert next(iter(inspect.signature(f).parameters)) == {"init": "params", "update": "updates"}[role]
        assert {"updates", "state", "params"} <= set(inspect.signature(tx.update).parameters), entry.full_name


NAMED = {
    "update": (gx.adam(0.1).update, "update", "chain.update"),
    "init": (gx.adam(0.1).init, "init", "chain.init"),
    "stage": (gx.scale_by_adam().update, "update", "scale_by_adam.update"),
    "wrapper": (gx.lookahead(gx.sgd(0.1), 5, 0.5).init, "init", "lookahead.init"),
    "partition": (gx.partition({"a": gx.sgd(0.1)}, lambda params: "a").update, "update", "partition.update"),
    "by hand": (gx.stateless(lambda g, p: g).update, "update", "stateless.update"),
    "MultiSteps": (gx.MultiSteps(gx.sgd(0.1), 2).update, "update", "MultiSteps.update"),
    "schedule": (gx.cosine_decay_schedule(1.0, 10), "cosine_decay_schedule", "cosine_decay_schedule"),
    "joined": (gx.join_schedules([lambda k: k, lambda k: k], [3]), "join_schedules", "join_schedules"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_the_names_of(kind):
    f, name, qualified = NAMED[kind]
    assert (f.__name__, f.__qualname__) == (name, qualified)
    for wrapped in (functools.wraps(f)(lambda: None), jax.named_call(f)):
        assert (wrapped.__name__, wrapped.__qualname__) == (name, qualified)


@pytest.mark.parametrize("tool", ASK)
@pytest.mark.parametrize("kind", NAMED)
def test_tools_take(kind, tool):
    assert ASK[tool](NAMED[kind][0])


def test_a_profile_shows_the_name():
    params = {"w": jnp.ones(3)}
    tx = gx.sgd(0.1)
    text = jax.jit(jax.named_call(tx.update)).lower(params, tx.init(params)).as_text(debug_info=True)
    assert "update/" in text


def test_an_attribute_that_is_absent_or_fails_says_so():
    update = gx.adam(0.1).update
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        update.absent  # noqa: B018
    assert not hasattr(update, "__code__")
