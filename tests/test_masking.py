"""Masks and partitions: prefixes, nesting, containers, functions of the parameters, one group's fresh start, messages."""

import dataclasses
import fnmatch
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import optax

import gradxform as gx
from gradxform._types import Extra

PARAMS = {"encoder": {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}, "head": {"w": jnp.full((3,), 2.0), "b": jnp.ones(())}}
ONES = jax.tree.map(jnp.ones_like, PARAMS)
by_ndim = lambda p: jax.tree.map(lambda x: x.ndim > 0, p)


def update(tx, grads=ONES, params=PARAMS, **extra):
    return tx.update(grads, tx.init(params), params, **extra)[0]


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), a, b)


def test_a_prefix_masks_whole_subtrees_as_in_optax():  # optax #271: the layout of a masked state
    mask = {"encoder": {"w": True, "b": False}, "head": False}
    ours, theirs = gx.masked(gx.trace(0.9), mask).init(PARAMS), optax.masked(optax.trace(0.9), mask).init(PARAMS)
    assert ours.inner_state.trace["head"] == gx.MaskedNode()
    assert str(jax.tree.structure(ours)) == str(jax.tree.structure(theirs))
    specs = jax.tree.map(lambda p: f"{p.ndim} axes", PARAMS)
    named = gx.tree_map_params(gx.masked(gx.trace(0.9), mask), lambda _, spec: spec, ours, specs)
    assert named.inner_state.trace["encoder"] == {"w": "2 axes", "b": gx.MaskedNode()}


@pytest.mark.parametrize("outer", [{"encoder": True, "head": False}, by_ndim], ids=["prefix", "function"])
@pytest.mark.parametrize("inner", [{"encoder": {"w": True, "b": False}, "head": True}, gx.by_ndim(2)], ids=["tree", "rule"])
def test_masks_may_be_nested(outer, inner):  # optax #271
    nested = gx.masked(gx.masked(gx.scale(5.0), inner), outer)
    expected = jax.tree.map(jnp.ones_like, PARAMS)
    expected["encoder"]["w"] *= 5
    if callable(outer) and isinstance(inner, dict):
        expected["head"]["w"] *= 5
    same(update(nested), expected)
    same(
        update(gx.masked(gx.chain(gx.masked(gx.adamw(0.1), inner)), outer)),
        update(gx.masked(gx.masked(gx.adamw(0.1), inner), outer)),
    )


@pytest.mark.parametrize("swap", [False, True])
def test_frozen_dicts(swap):  # optax #160
    freeze = pytest.importorskip("flax.core").freeze
    mask = {"encoder": True, "head": {"w": False, "b": True}}
    params = freeze(PARAMS)
    grads = jax.tree.map(jnp.ones_like, params)
    if swap:
        params, grads, mask = PARAMS, ONES, freeze(mask)
    for tx in (gx.masked(gx.scale(5.0), mask), gx.partition({True: gx.scale(5.0), False: gx.identity()}, mask)):
        u = update(tx, grads, params)
        assert jax.tree.structure(u) == jax.tree.structure(grads)
        np.testing.assert_array_equal(u["head"]["w"], 1.0)
        np.testing.assert_array_equal(u["encoder"]["w"], 5.0)


def test_modules_that_can_be_called():  # optax #913, equinox #193
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Module:
        w: jax.Array

        def __call__(self, x):
            return self.w @ x

    module = Module(jnp.arange(3.0))
    same(update(gx.masked(gx.scale(5.0), Module(False)), module, module), module)
    same(update(gx.partition({"a": gx.scale(5.0)}, Module("a")), module, module), Module(5 * module.w))
    # As a model of labels for its parameters in other containers, told by their names.
    same(update(gx.masked(gx.scale(5.0), Module(True)), {"w": module.w}, {"w": module.w}), {"w": 5 * module.w})

    @gx.elementwise(needs=(Extra("diagonal", per_leaf=True),))
    def scale_by_diagonal(g, s, p, c):
        return g * c.diagonal, s

    pair = (module, Module(jnp.ones(2)))
    same(update(gx.masked(scale_by_diagonal(), (False, True)), pair, pair, diagonal=pair), pair)
    one = Module(module.w)
    same(update(gx.masked(scale_by_diagonal(), True), one, one, diagonal=one), Module(module.w**2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Rule:
    """A function of the parameters with a number in it, which is a tree."""

    ndim: int

    def __call__(self, params):
        return jax.tree.map(lambda x: x.ndim >= self.ndim, params)

    def at(self, path, leaf):
        return leaf.ndim >= self.ndim


class Nameless:
    def __call__(self, params):
        return at_least(1, params)


jax.tree_util.register_pytree_node(Nameless, lambda rule: ((), None), lambda *_: Nameless())


def at_least(ndim, params):
    return jax.tree.map(lambda x: x.ndim >= ndim, params)


def with_equinox(kind):
    equinox = pytest.importorskip("equinox")

    class Module(equinox.Module):
        ndim: int
        more: jax.Array

        def __call__(self, params):
            return at_least(self.ndim, params)

        def of(self, params):
            return at_least(self.ndim, params)

    module = Module(1, jnp.ones(2))
    jitted = equinox.filter_jit(lambda params: at_least(1, params))
    return {"module": module, "method": module.of, "Partial": equinox.Partial(at_least, 1), "filter_jit": jitted}[kind]


FUNCTIONS = {
    "functools.partial": lambda: functools.partial(at_least, 1),
    "Partial": lambda: jax.tree_util.Partial(at_least, 1),
    "Partial of (path, leaf)": lambda: jax.tree_util.Partial(lambda n, path, leaf: leaf.ndim >= n, 1),
    "Partial without arguments": lambda: jax.tree_util.Partial(lambda params: at_least(1, params)),
    "Partial of a keyword": lambda: jax.tree_util.Partial(lambda params, ndim: at_least(ndim, params), ndim=1),
    "object": lambda: Rule(1),
    "method": lambda: Rule(1).at,
    "object without leaves": Nameless,
    **{f"equinox {kind}": functools.partial(with_equinox, kind) for kind in ("module", "method", "Partial", "filter_jit")},
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_that_are_trees(kind):
    """What is called is not a tree of labels, whatever leaves it has: masks, partitions, decay masks and multipliers."""
    function = FUNCTIONS[kind]()
    lists = lambda tree: [[tree["head"]["w"], tree["head"]["b"]]]
    for params, grads in ((PARAMS, ONES), (lists(PARAMS), lists(ONES))):
        expected = jax.tree.map(lambda g: g * (5 if g.ndim else 1), grads)
        same(update(gx.masked(gx.scale(5.0), function), grads, params), expected)
        same(update(gx.partition({True: gx.scale(5.0), False: gx.identity()}, function), grads, params), expected)
        frozen = gx.selective_transform(gx.scale(5.0), freeze_mask=function)
        same(update(frozen, grads, params), jax.tree.map(lambda g: g * (0 if g.ndim else 5), grads))
        decayed = update(gx.add_decayed_weights(1.0, mask=function), grads, params)
        same(decayed, jax.tree.map(lambda g, p: g + p * float(g.ndim > 0), grads, params))
        doubled = update(gx.scale_by_multiplier(jax.tree_util.Partial(numbers, 2.0)), grads, params)
        same(doubled, jax.tree.map(lambda g: 2 * g, grads))


def numbers(x, params):
    return jax.tree.map(lambda _: x, params)


def test_dimension_numbers_from_a_function_that_is_a_tree():
    params = {"w": jnp.ones((2, 3, 4))}
    dims = gx.MuonDimensionNumbers(0, 2)
    plain = gx.muon(0.1, muon_weight_dimension_numbers={"w": dims})
    of_a_tree = gx.muon(0.1, muon_weight_dimension_numbers=jax.tree_util.Partial(numbers, dims))
    same(update(of_a_tree, params, params), update(plain, params, params))
    equinox = pytest.importorskip("equinox")

    class Model(equinox.Module):
        w: jax.Array | gx.MuonDimensionNumbers

        def __call__(self, x):
            raise AssertionError("a tree of labels, which nobody calls")

    u = update(gx.muon(0.1, muon_weight_dimension_numbers=Model(dims)), Model(params["w"]), Model(params["w"]))
    same(u.w, update(plain, params, params)["w"])


def test_functions_of_the_parameters_take_masked_ones():  # optax #1649: a line search inside a partition
    def update_fn(g, s, p=None, *, value_fn, grad, **extra):
        value, slope = jax.value_and_grad(value_fn)(p)
        assert jax.tree.structure(slope) == jax.tree.structure(g) == jax.tree.structure(grad)
        return jax.tree.map(lambda x, d: x * value + d, g, slope), s

    search = gx.GradientTransformationExtraArgs(lambda p: (), update_fn)
    loss = lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))
    labels = {"encoder": "search", "head": {"w": "plain", "b": "search"}}
    u = jax.jit(lambda: update(gx.partition({"search": search, "plain": gx.identity()}, labels), value_fn=loss, grad=ONES))()
    value = loss(PARAMS)
    np.testing.assert_allclose(u["encoder"]["w"], value + 2 * PARAMS["encoder"]["w"])
    np.testing.assert_allclose(u["head"]["b"], value + 2 * PARAMS["head"]["b"])
    np.testing.assert_allclose(u["head"]["w"], 1.0)


@pytest.mark.parametrize("mask", [True, False, np.array(True), {"encoder": True, "head": False}, gx.by_ndim(2)], ids=str)
def test_selective_transform(mask):
    tx = gx.selective_transform(gx.sgd(1.0, 0.9), freeze_mask=mask)
    frozen = update(gx.freeze(mask))
    same(update(tx), jax.tree.map(jnp.negative, frozen))
    assert tx == gx.selective_transform(gx.sgd(1.0, 0.9), freeze_mask=mask)


def test_older_names():
    assert gx.multi_transform is gx.partition
    assert gx.MultiTransformState is gx.PartitionState


LABELS = {"encoder": "slow", "head": "fast"}
PARTITION = gx.partition({"slow": gx.adam(0.1), "fast": gx.chain(gx.trace(0.9), gx.scale(-1.0))}, LABELS)


@pytest.mark.parametrize(
    "tx",
    [
        PARTITION,
        gx.chain(gx.clip(1.0), PARTITION, gx.scale(1.0)),
        gx.accumulate(gx.apply_if_finite(PARTITION, 3), 1),
        gx.partition({"all": PARTITION}, lambda p: jax.tree.map(lambda _: "all", p)),
        optax.partition({"slow": optax.adam(0.1), "fast": optax.trace(0.9)}, LABELS),
    ],
    ids=["alone", "chain", "wrappers", "nested", "optax"],
)
def test_one_group_begins_again(tx):  # optax #1371
    state = tx.init(PARAMS)
    for _ in range(2):
        _, state = tx.update(ONES, state, PARAMS)
    new = jax.jit(lambda s: gx.reset_group(tx, s, PARAMS, "fast"))(state)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert gx.tree.get(new, "count", filtering=lambda path, x: True) == 2
    assert not np.any(gx.tree.get(new, "trace")["head"]["w"])
    assert np.any(gx.tree.get(state, "trace")["head"]["w"])


def test_one_group_of_a_state_that_optax_made():
    theirs = optax.partition({"slow": optax.adam(0.1), "fast": optax.chain(optax.trace(0.9), optax.scale(-1.0))}, LABELS)
    _, state = theirs.update(ONES, theirs.init(PARAMS), PARAMS)
    new = gx.reset_group(PARTITION, state, PARAMS, "slow")
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert new.inner_states["slow"].inner_state[0].count == 0


def test_messages_name_path_label_and_the_nearest():
    with pytest.raises(gx.LabelError, match=r"the label 'fats', .* only for \['slow', 'fast'\]\. Did you mean 'fast'\?"):
        gx.partition({"slow": gx.adam(0.1), "fast": gx.adam(0.2)}, {"encoder": "slow", "head": "fats"}).init(PARAMS)
    with pytest.raises(gx.LabelError, match="partition: the leaf 'head/w' has the label 3"):
        gx.partition({1: gx.adam(0.1)}, lambda path, x: 3 if path == "head/w" else 1).init(PARAMS)
    with pytest.raises(gx.LabelError, match=r"the pattern 'encoder/v' matches no leaf\. Did you mean 'encoder/"):
        gx.masked(gx.adam(0.1), {"encoder/v": True, "default": False}).init(PARAMS)
    with pytest.raises(gx.LabelError, match=r"masked: the labels should have the structure .*No label for 'head/b'\. Labels"):
        gx.masked(gx.adam(0.1), {"encoder": True, "head": {"w": True}}).init(PARAMS)
    with pytest.raises(gx.LabelError, match=r"No leaf for the label at 'head/bb'\. Did you mean 'head/b'\?"):
        gx.masked(gx.adam(0.1), {"encoder": True, "head": {"w": True, "bb": True}}).init(PARAMS)
    with pytest.raises(gx.LabelError, match="masked: the mask must be True or False at every leaf, but at 'head/b' it is 'no'"):
        gx.masked(gx.adam(0.1), {"encoder": True, "head": {"w": True, "b": "no"}}).init(PARAMS)
    with pytest.raises(gx.LabelError, match=r"no partition .* has the label 'fest'; the labels are .* Did you mean 'fast'\?"):
        gx.reset_group(PARTITION, PARTITION.init(PARAMS), PARAMS, "fest")
    with pytest.raises(gx.LabelError, match="there is no partition in this state"):
        gx.reset_group(gx.adam(0.1), gx.adam(0.1).init(PARAMS), PARAMS, "fast")


@pytest.mark.fast
def test_a_leaf_without_a_label_is_named():
    params = {"encoder": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
    tx = gx.partition({"plain": gx.sgd(0.1)}, {"*/bias": "plain"})
    with pytest.raises(gx.LabelError, match=r"partition: no pattern of .* matches 'encoder/kernel'. Add a pattern, or a 'default'"):
        tx.init(params)


PIECES = st.sampled_from(["a", "b", "bb", "a/b", "*", "?", "[ab]", "[!a]", "[a", "]", "/", "*/", "/*"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(PIECES, min_size=1, max_size=4).map("".join), min_size=1, max_size=5),
    st.lists(st.sampled_from(["a", "b", "bb", "ab"]), min_size=1, max_size=3).map("/".join),
)
def test_the_first_pattern_that_matches_wins(patterns, path):
    matches = lambda x: fnmatch.fnmatchcase(path, x) or fnmatch.fnmatchcase("/" + path, x)
    wins = next((i for i, x in enumerate(patterns) if matches(x)), "default")
    labels = {x: i for i, x in reversed(list(enumerate(patterns)))}
    rule = gx.by_path({**{x: labels[x] for x in patterns}, "default": "default"})
    assert rule(path, None) == wins


@pytest.mark.parametrize(
    "form", ["layer_{}/kernel", "*/layer_{}/kernel", "layer_{}/*", "*_{}/kernel", "*layer_{}?kernel", "*/layer_{}/*"]
)
def test_a_pattern_for_each_leaf_is_not_tried_at_every_other(form, monkeypatch):
    tried, n = [], 300
    monkeypatch.setattr(fnmatch, "fnmatchcase", lambda *args, match=fnmatch.fnmatchcase: tried.append(args) or match(*args))
    params = {f"layer_{i}": {"kernel": jnp.ones(1)} for i in range(n)}
    state = gx.partition({True: gx.trace(0.9), False: gx.sgd(0.1)}, {form.format(i): i % 2 == 0 for i in range(n)}).init(params)
    kept = jax.tree.leaves(state.inner_states[True])
    assert len(kept) == n // 2
    assert len(tried) <= 40 * n  # n^2 is 90,000


MEANT = {
    "*/bais": "*/bias",
    "encodr/*": "encoder/*",
    "*/kernle": "*/kernel",
    "encoder/bais": "encoder/bias",
    "*/ecnoder/*": "*/encoder/*",
}


@pytest.mark.parametrize("pattern", MEANT)
def test_the_pattern_that_was_meant(pattern):
    params = {"encoder": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
    meant = re.escape(repr(MEANT[pattern]))
    with pytest.raises(gx.LabelError, match=rf"the pattern {re.escape(repr(pattern))} .*Did you mean {meant}\?"):
        gx.masked(gx.sgd(0.1), {pattern: True, "default": False}).init(params)


WITH_A_MASK = {
    "masked": lambda f: gx.masked(gx.sgd(0.1), f),
    "adamw": lambda f: gx.adamw(0.1, mask=f),
    "partition": lambda f: gx.partition({True: gx.sgd(0.1)}, f),
}


@pytest.mark.parametrize("name", WITH_A_MASK)
def test_a_mask_function_of_one_leaf(name):
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    use = lambda tx: tx.update(params, tx.init(params), params)
    text = r"a function of one argument gets the whole tree, of which it asked `\.ndim`.*`by_ndim\(2\)`"
    with pytest.raises(gx.LabelError, match=text):
        use(WITH_A_MASK[name](lambda p: p.ndim > 1))
    with pytest.raises(AttributeError, match="has no attribute 'slip'"):  # a slip within the function is told as it is
        use(WITH_A_MASK[name](lambda p: p["w"].slip))
