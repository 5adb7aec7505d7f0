"""The core: values, clocks, labels, chains, engines, and the text of every error."""

import copy
import functools
import pickle
import traceback
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform._types import Extra, Field

pytestmark = pytest.mark.fast

P = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(())}
G = jax.tree.map(lambda p: 0.5 * p, P)


@gx.elementwise(needs=("value",))
def times_value(g, s, p, c):
    return g * c.value, s


@gx.elementwise(needs=(Extra("diagonal", per_leaf=True),))
def divide_by_diagonal(g, s, p, c):
    return g / c.diagonal, s


class ProductState(NamedTuple):
    count: gx.Clock
    product: Annotated[gx.Shared, Field(first=lambda: 1.0, advance=lambda product, c, decay: product * decay)]
    total: Annotated[gx.Shared, gx.SharedLaw(start=lambda decay: decay)]


@gx.elementwise(ProductState)
def shared_product(g, s, p, c, decay: gx.Decay = 0.5):
    return g * c.product + s.product + s.total, s


class SumState(NamedTuple):
    largest: Annotated[gx.Shared, Field(first=lambda: 0.0)]
    mu: gx.Updates


@gx.per_tree(SumState)
def divide_by_the_largest(g, s, p, c, decay: gx.Decay = 0.9):
    largest = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(x)) for x in g], s.largest)
    mu = [decay * m + (1 - decay) * x for m, x in zip(s.mu, g, strict=True)]
    return [m / largest for m in mu], s._replace(largest=largest, mu=mu)


class TestValues:
    def test_repr(self):
        tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(1e-3))
        adam = "chain(scale_by_adam(b1=0.9, b2=0.999, eps=1e-08), scale_by_learning_rate(learning_rate=0.001))"
        assert repr(tx) == f"chain(clip_by_global_norm(1.0), {adam})"

    def test_equality_and_hash_go_by_value(self):
        assert gx.adam(1e-3) == gx.adam(1e-3) != gx.adam(2e-3)
        assert hash(gx.adamw(1e-3, mask={"a": True})) == hash(gx.adamw(1e-3, mask={"a": True}))
        assert gx.scale(jnp.float32(2)) == gx.scale(jnp.float32(2)) != gx.scale(jnp.float32(3))
        assert gx.add_noise(0.1, 0.5, jax.random.key(1)) != gx.add_noise(0.1, 0.5, jax.random.key(2))

    @pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda tx: pickle.loads(pickle.dumps(tx))])
    def test_copies_are_equal(self, through):
        tx = gx.chain(gx.masked(gx.adamw(gx.cosine_decay_schedule(0.1, 9)), gx.by_ndim(2)), gx.trace(0.9))
        assert through(tx) == tx

    def test_it_unpacks(self):
        init, update = gx.adam(1e-3)
        assert update(G, init(P), P)[1][0].count == 1

    def test_an_equal_instance_does_not_retrace(self):
        traces = []

        def step(tx, g, s):
            traces.append(1)
            return tx.update(g, s)

        step = jax.jit(step, static_argnums=0)
        for _ in range(2):
            step(gx.adam(1e-3), G, gx.adam(1e-3).init(P))
        assert len(traces) == 1

    def test_update_compiles_nothing_the_second_time(self, compiled):
        tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.linear_schedule(0.1, 0.0, 5)))
        _, state = tx.update(G, tx.init(P), P)
        with compiled() as names:
            tx.update(G, state, P)
        assert not names


class TestClock:
    def test_a_schedule_starts_at_zero(self):
        seen = gx.piecewise_interpolate_schedule("linear", 1.0, {10: 11.0})
        tx = gx.scale(seen)
        state, values = tx.init(P), []
        for _ in range(3):
            u, state = tx.update(G, state)
            values.append(float(u["scale"]) / 0.5)
        assert values == pytest.approx([1.0, 2.0, 3.0])

    def test_states_of_scheduled_stages(self):
        schedule = gx.constant_schedule(0.1)
        assert gx.scale(schedule).init(P)._fields == ("count",)
        assert type(gx.add_decayed_weights(schedule).init(P)).__name__ == "WeightDecaySchedule"
        assert type(gx.trace(schedule).init(P)).__name__ == "CountedState"
        assert type(gx.scale_by_rms(schedule).init(P)).__name__ == "ScaleByRmsWithCountState"

    def test_count_saturates(self):
        state = gx.scale_by_adam().init(P)._replace(count=jnp.int32(2**31 - 1))
        updates, after = gx.scale_by_adam().update(G, state)
        assert after.count == 2**31 - 1
        assert np.isfinite(updates["scale"])

    def test_shared_fields_advance_once_per_update(self):
        tx = shared_product(0.5)
        state = tx.init(P)
        for k in range(3):
            u, state = tx.update(G, state)
            assert float(u["scale"]) == pytest.approx(0.5 * 0.5 ** (k + 1) + 0.5**k + 0.5)
        assert state.product == 0.125

    def test_a_whole_tree_kernel_sees_lists_and_sets_shared_fields(self):
        tx = divide_by_the_largest(0.9)
        updates, state = jax.jit(tx.update)({**G, "hole": None}, tx.init({**P, "hole": None}))
        assert state.largest == 0.5
        assert updates["hole"] is None
        np.testing.assert_allclose(updates["scale"], 0.1, rtol=1e-6)


class TestChain:
    def test_nested_chains_run_as_one(self):
        flat = gx.chain(gx.clip(0.1), gx.trace(0.9), gx.scale(-1.0))
        nested = gx.chain(gx.chain(gx.clip(0.1)), gx.named_chain(("t", gx.trace(0.9)), ("s", gx.scale(-1.0))))
        assert [len(run) for run, _ in nested.update.plan] == [3]
        u1, s1 = flat.update(G, flat.init(P))
        u2, s2 = nested.update(G, nested.init(P))
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), (u1, s1[1].trace), (u2, s2[1]["t"].trace)))

    def test_fused_rounds_after_each_stage(self):
        p = jnp.ones(3, jnp.bfloat16)
        stages = [gx.scale(1.001), gx.scale(1.001), gx.scale(1.001)]
        fused, _ = jax.jit(gx.chain(*stages).update)(p, gx.chain(*stages).init(p))
        one_by_one = p
        for tx in stages:
            one_by_one, _ = tx.update(one_by_one, tx.init(p))
        assert (fused == one_by_one).all()

    def test_empty_chain_is_the_identity(self):
        assert gx.chain().update(G, gx.chain().init(P)) == (G, ())

    def test_foreign_members_get_the_extra_arguments_they_take(self):
        foreign = gx.GradientTransformation(lambda p: (), lambda g, s, p=None, *, value: (gx.tree.scale(value, g), s))
        plain = gx.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, s))
        tx = gx.chain(foreign, plain, times_value())
        u, _ = tx.update(G, tx.init(P), P, value=2.0, unknown=None)
        assert float(u["scale"]) == 2.0

    def test_per_leaf_extra_arguments(self):
        u, _ = divide_by_diagonal().update(G, gx.EmptyState(), P, diagonal=jax.tree.map(lambda p: 2 * p, P))
        assert float(u["scale"]) == 0.25

    def test_at_most_four_frames_between_the_call_and_a_kernel(self):
        @gx.elementwise()
        def raises(g, s, p, c):
            raise RuntimeError("here")

        with pytest.raises(RuntimeError, match="here") as raised:
            gx.chain(gx.chain(raises())).update(G, ((gx.EmptyState(),),))
        frames = [
            f
            for f in traceback.extract_tb(raised.tb)
            if "/gradxform/" in f.filename.replace("\\", "/") and "tests" not in f.filename
        ]
        assert len(frames) <= 4, frames
        assert raised.value.__notes__[-1] == "gradxform: in raises, at leaf 'dense/bias'"


class TestLabels:
    @pytest.mark.parametrize(
        "mask",
        [
            {"dense": {"kernel": True, "bias": False}, "scale": False},
            {"*/kernel": True, "default": False},
            gx.by_path({"dense/k*": True, "*": False}),
            gx.by_ndim(2),
            gx.by_leaf(lambda path, leaf: leaf.ndim > 1),
            lambda path, leaf: path.endswith("kernel"),
            lambda params: jax.tree.map(lambda p: p.ndim == 2, params),
        ],
    )
    def test_every_kind_of_label_means_the_same(self, mask):
        tx = gx.masked(gx.scale(3.0), mask)
        updates, _ = jax.jit(tx.update)(G, tx.init(P))
        assert [float(x.ravel()[0]) for x in jax.tree.leaves(updates)] == [0.5, 1.5, 0.5]

    def test_prefix_and_freeze(self):
        updates, _ = gx.freeze({"dense": True, "scale": False}).update(G, gx.MaskedState(gx.EmptyState()))
        assert [float(x.ravel()[0]) for x in jax.tree.leaves(updates)] == [0.0, 0.0, 0.5]

    def test_first_match_wins(self):
        tx = gx.partition(
            {"a": gx.scale(1.0), "b": gx.scale(2.0), "c": gx.scale(3.0)}, {"dense/*": "a", "*/bias": "b", "default": "c"}
        )
        with pytest.raises(gx.LabelError, match=r"pattern '\*/nothing' matches no leaf"):
            gx.masked(gx.scale(1.0), {"*/nothing": True, "default": False}).init(P)
        updates, _ = tx.update(G, tx.init(P))
        assert [float(x.ravel()[0]) for x in jax.tree.leaves(updates)] == [0.5, 0.5, 1.5]

    def test_masks_nest(self):
        tx = gx.masked(
            gx.masked(gx.trace(0.9), {"dense": {"kernel": True, "bias": False}, "scale": True}), {"dense": True, "scale": False}
        )
        state = tx.init(P)
        assert len(jax.tree.leaves(state)) == 1
        updates, _ = tx.update(G, state)
        np.testing.assert_allclose(updates["dense"]["kernel"], 0.5)

    def test_params_like_extra_arguments_are_masked(self):
        tx = gx.masked(divide_by_diagonal(), gx.by_ndim(2))
        u, _ = tx.update(G, tx.init(P), P, diagonal=jax.tree.map(lambda p: 2 * p, P))
        assert [float(x.ravel()[0]) for x in jax.tree.leaves(u)] == [0.5, 0.25, 0.5]


class TestApplyUpdates:
    def test_it_adds_in_float32_and_rounds_once(self):
        p = jnp.asarray(256.0, jnp.bfloat16)
        assert gx.apply_updates(p, jnp.asarray(1.5)) == 258

    def test_holes_leave_the_parameter(self):
        p = {"a": jnp.ones(2), "b": jnp.ones(2), "c": jnp.arange(2)}
        u = {"a": None, "b": jnp.ones(2), "c": np.zeros(2, jax.dtypes.float0)}
        after = gx.apply_updates(p, u)
        assert after["a"] is p["a"]
        assert after["c"] is p["c"]
        assert (after["b"] == 2).all()


def error(kind, *words):
    return pytest.raises(kind, match="(?s)" + ".*".join(words))


class TestErrors:
    """Which transformation, which leaf path, what came, what to do."""

    def test_wrong_structure(self):
        tx = gx.adam(1e-3)
        with error(gx.StructureError, "scale_by_adam", "state's `mu`", "part at dense/bias", "Pass gradients"):
            tx.update({"dense": {"kernel": jnp.ones((2, 3))}, "scale": jnp.ones(())}, tx.init(P))

    def test_wrong_shape(self):
        tx = gx.adam(1e-3)
        wrong = {**G, "scale": jnp.ones(2)}
        with error(gx.StructureError, "scale_by_adam", r"at 'scale' the update has shape \(2,\)", r"`mu` has shape \(\)"):
            tx.update(wrong, tx.init(P))

    def test_wrong_state(self):
        with error(gx.StructureError, "scale_by_adam", "should be a ScaleByAdamState of count, mu, nu", "is TraceState"):
            gx.scale_by_adam().update(G, gx.trace(0.9).init(P))
        with error(gx.StructureError, "adam: the state should be a tuple of 2 states"):
            gx.adam(1e-3).update(G, gx.trace(0.9).init(P))

    def test_missing_params(self):
        tx = gx.adamw(1e-3)
        with error(gx.MissingArgumentError, "add_decayed_weights", "`params` is None", r"update\(updates, state, params\)"):
            tx.update(G, tx.init(P))

    def test_missing_value(self):
        with error(gx.MissingArgumentError, "times_value", "`value`", r"value=\.\.\."):
            times_value().update(G, gx.EmptyState(), P)

    def test_undeclared_extra_argument(self):
        @gx.elementwise()
        def forgetful(g, s, p, c):
            return g * c.value, s

        with error(gx.MissingArgumentError, "forgetful", "c.value", "needs="):
            forgetful().update(G, gx.EmptyState(), P, value=1.0)

    def test_labels(self):
        groups = {"a": gx.scale(1.0)}
        with error(gx.LabelError, "partition", "no pattern", "'dense/bias'", "'default'"):
            gx.partition(groups, {"*/kernel": "a"}).init(P)
        with error(gx.LabelError, "partition", "'dense/bias' has the label 'b'", r"only for \['a'\]"):
            gx.partition(groups, {"*": "b"}).init(P)
        with error(gx.LabelError, "masked", "structure of the parameters", "dense/bias"):
            gx.masked(gx.scale(1.0), {"other": True}).init(P)
        with error(gx.LabelError, "masked", "True or False", "'yes'"):
            gx.masked(gx.scale(1.0), gx.by_path({"*": "yes"})).init(P)

    @pytest.mark.parametrize(
        "bad",
        [float("inf"), float("nan"), "fast", True, 1j, np.array([0.1, np.inf]), np.array([0.1, np.nan]), np.array(["fast"]), [0.1]],
    )
    def test_hyperparameters(self, bad):
        with error(gx.HyperparameterError, "adam: `learning_rate`", r"\(-inf, inf\)", "but got"):
            gx.adam(bad)

    def test_out_of_range(self):
        with error(gx.HyperparameterError, "sgd: `momentum`", r"\[-1, 1\]", "1.5", "out of range"):
            gx.sgd(0.1, momentum=1.5)
        with error(gx.HyperparameterError, "scale_by_adam: `b2`", r"\[0, 1\)", "1.0"):
            gx.scale_by_adam(b2=1.0)
        with error(gx.HyperparameterError, "scale_by_factored_rms: `min_dim_size_to_factor`", "whole number", "0.5"):
            gx.scale_by_factored_rms(min_dim_size_to_factor=0.5)

    def test_unknown_names(self):
        with error(gx.UnknownNameError, "'adamm'", "Did you mean adam", r"names\(\)"):
            gx.create("adamm", learning_rate=0.1)
        with error(gx.UnknownNameError, "'warp'", "leaf, stacked, tree, plain"), gx.engine("warp"):
            pass

    def test_a_jitted_update_is_traced_again_on_another_engine(self):
        """What `jit` keeps by the function is kept by the engine, too."""
        tx, params = gx.adam(0.1), {"w": jnp.ones((2, 3)), "v": jnp.ones((2, 3))}
        state, found = tx.init(params), []
        step = jax.jit(lambda g, s, p: (found.append(1), tx.update(g, s, p))[1])
        programs = []
        for name in ("leaf", "tree", "tree", "plain", "leaf"):
            with gx.kernels.engine(name):
                step(params, state, params)
                programs.append(str(jax.jit(tx.update).trace(params, state, params).jaxpr))
        assert len(found) == 3  # each engine once
        assert programs[0] == programs[4] != programs[1] == programs[2] != programs[3] != programs[0]

    def test_not_a_transformation(self):
        with error(gx.StructureError, "chain, member 1", "forget to call it"):
            gx.chain(gx.clip(1.0), gx.scale_by_adam)
        with error(gx.StructureError, "named_chain", "names must differ"):
            gx.named_chain(("a", gx.identity()), ("a", gx.identity()))

    def test_apply_updates_does_not_broadcast(self):
        with error(gx.StructureError, "apply_updates", r"'w' the parameter has shape \(3,\)", r"update has shape \(3, 1\)"):
            gx.apply_updates({"w": jnp.ones(3)}, {"w": jnp.ones((3, 1))})

    def test_muon_wants_matrices(self):
        with error(gx.StructureError, "muon", r"shape \(3,\)", "partition"):
            gx.scale_by_muon().update(jnp.ones(3), gx.scale_by_muon().init(jnp.ones(3)))

    def test_a_state_class_must_say_what_its_fields_are(self):
        class Bare(NamedTuple):
            mu: object

        with error(gx.StructureError, r"Bare\.mu", "Updates", "Shared"):

            @gx.elementwise(Bare)
            def bare(g, s, p, c):
                return g, s


def test_create_by_name():
    assert gx.create("Adam", learning_rate=0.1) == gx.adam(0.1)
    assert "adam" in gx.names("ada*")
    assert "scale_by_adam" in gx.names(kind="transform")


def test_equality_follows_what_can_be_written_to():
    """Keys of arguments that cannot change are kept; a tree of flags or a NumPy array can."""
    mask, rates, levels = {"w": True}, np.ones(2), np.ones(3)
    for changing, write in (
        (gx.masked(gx.scale(2.0), mask), lambda: mask.update(w=False)),
        (gx.scale(rates), lambda: rates.fill(3.0)),
        (gx.scale_by_schedule(gx.constant_schedule(levels)), lambda: levels.fill(3.0)),
    ):
        chained, before = gx.chain(changing, gx.trace(0.9)), hash(changing)
        same = gx.chain(changing, gx.trace(0.9))
        assert chained == same
        write()
        assert hash(changing) != before
        assert chained == gx.chain(changing, gx.trace(0.9))
    assert gx.adam(0.1) == gx.adam(0.1) != gx.adam(0.2)
    assert hash(gx.adam(0.1)) == hash(gx.adam(0.1))
