"""The registry as a user's: names of their own, whatever the case, and no silent override."""

import dataclasses
import inspect
import pickle

import jax.numpy as jnp
import pytest

import gradxform as gx
from gradxform import dialects, registry
from gradxform.testing import case_for

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    """What a test registers is forgotten after it; what the library registers is loaded before."""
    gx.names("*.*")
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


def my_opt(learning_rate, decay=0.9):
    """Momentum, under a name of its own."""
    return gx.chain(gx.trace(decay), gx.scale(-learning_rate))


def test_register_by_name_whatever_the_case():
    assert gx.register("MyOpt", my_opt) is my_opt
    tx = gx.create("myopt", learning_rate=0.1)
    assert tx == gx.create("MyOpt", learning_rate=0.1) == gx.create("MYOPT", learning_rate=0.1) == my_opt(0.1)
    assert "MyOpt" in gx.names()
    assert gx.names("My*") == ["MyOpt"]
    assert gx.entry("myOPT").summary == "Momentum, under a name of its own."
    u, _ = tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
    assert jnp.allclose(u, -0.1)
    assert pickle.loads(pickle.dumps(tx)) == tx


def test_the_dialects_are_in_the_same_table():
    adam = gx.entry("Torch.Adam")
    assert adam.make is dialects.torch.adam
    assert (adam.full_name, adam.core) == ("torch.adam", "adam")
    assert gx.create("torch.adam", lr=0.1) == dialects.torch.adam(0.1)
    assert gx.entry("mxnet.sgd").parameters["wd"].range.text == "[0, inf)"
    assert gx.names("torch.adam*") == ["torch.adam", "torch.adamax", "torch.adamw"]
    assert [e.full_name for e in dialects.entries("torch")] == gx.names("torch.*")
    assert not any("." in name for name in gx.names(kind="*"))


def test_every_function_says_in_one_attribute_what_it_declares():
    for entry in [gx.entry(name) for name in [*gx.names(kind="*"), *gx.names("*.*", kind="*")]]:
        declaration = entry.make.declaration
        assert declaration.owner == entry.full_name
        assert list(declaration.parameters) == list(inspect.signature(entry.make).parameters)
    assert gx.cosine_decay_schedule.declaration.parameters["decay_steps"].range.text == "(0, inf]"


@pytest.mark.parametrize("name", [*gx.names(kind="*"), *(e.full_name for e in dialects.entries())])
def test_every_entry_says_how_far_information_flows(name):
    assert case_for(name).scope in ("elementwise", "per_leaf", "per_tree")


def test_near_names_are_of_all_systems():
    with pytest.raises(gx.UnknownNameError, match=r"Did you mean lion or keras\.lion"):
        gx.entry("torch.lion")
    with pytest.raises(gx.UnknownNameError, match=r"Did you mean torch\.asgd or sgd"):
        gx.entry("asgd")
    with pytest.raises(gx.UnknownNameError, match=r"Did you mean torch\.adam"):
        gx.entry("torch.adamm")


def test_register_is_a_decorator():
    @gx.register
    def plain_opt(learning_rate):
        return gx.sgd(learning_rate)

    @gx.register("Other", kind="transform", source="arXiv:0000.00000")
    def whatever(factor=2.0):
        return gx.scale(factor)

    assert gx.create("plain_opt", learning_rate=0.1) == plain_opt(0.1)
    assert gx.create("other") == gx.scale(2.0)
    assert gx.entry("other").source == "arXiv:0000.00000"
    assert "Other" in gx.names(kind="transform")
    assert "Other" not in gx.names()


def test_an_override_warns_and_names_both():
    with pytest.warns(UserWarning, match=r"'ADAM' made by gradxform\.optimizers\._adam\.adam is replaced by .*my_opt"):
        gx.register("ADAM", my_opt)
    assert gx.create("adam", learning_rate=0.1) == my_opt(0.1)
    assert "adam" not in gx.names()
    assert "ADAM" in gx.names()


def test_the_decorators_warn_too():
    with pytest.warns(UserWarning, match="lion"):

        @gx.optimizer(source="this test")
        def lion(learning_rate):
            return gx.sgd(learning_rate)


def test_the_same_function_again_is_no_override():
    gx.register("MyOpt", my_opt)
    gx.register("MyOpt", my_opt)


def test_refusals():
    with pytest.raises(TypeError, match="expected a function"):
        gx.register("x", gx.sgd(0.1))
    with pytest.raises(ValueError, match="`kind`"):
        gx.register("x", my_opt, kind="wrapper")
    gx.register("MyOpt", my_opt)
    with pytest.raises(gx.UnknownNameError, match="Did you mean MyOpt"):
        gx.create("MyOptt")
    with pytest.raises(TypeError):
        gx.create("adam", nonsense=1)


DOCSTRING = """Descend.

        u = -g

    State    none.
             Memory: none.
    Source   this test.
    """


@pytest.mark.parametrize(
    "text", [DOCSTRING, inspect.cleandoc(DOCSTRING)], ids=["as before Python 3.13", "stripped by the compiler"]
)
def test_docstrings_are_read_with_and_without_their_indentation(text):
    def descend():
        return gx.sgd(1.0)

    descend.__doc__ = text
    entry = dataclasses.replace(registry.entry("sgd"), make=descend)
    assert entry.summary == "Descend."
    assert entry.equation() == "u = -g"
    assert [entry.section(heading) for heading in ("State", "Source", "Differs")] == ["none. Memory: none.", "this test.", ""]
