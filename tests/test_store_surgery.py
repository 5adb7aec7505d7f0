"""Stored state between updates: hyperparameters, clocks, transfer, evaluation, trees; and what fields declare."""

import jax
import numpy as np
import pytest
from test_store import P, equal, forms, run

import gradxform as gx
from gradxform import registry
from gradxform.core._stage import Stage
from gradxform.precision import Bfloat16, Int8
from gradxform.precision._storage import facts_of


def test_hyperparameters_and_clocks():
    tx = gx.store(gx.inject_hyperparams(gx.adamw)(learning_rate=0.01))
    state = tx.init(P)
    assert float(gx.get_hyperparams(tx, state)["learning_rate"]) == pytest.approx(0.01)
    tx2, state2 = gx.set_hyperparams(tx, state, learning_rate=0.5)
    assert tx2 == tx
    assert float(state2.hyperparams["learning_rate"]) == 0.5
    tx = gx.store(gx.adamw(0.01))
    changed, state = gx.set_hyperparams(tx, tx.init(P), learning_rate=0.2)
    assert repr(changed).startswith("store(chain(scale_by_adam")
    assert gx.get_hyperparams(changed, state)["learning_rate"] == 0.2
    resumed = gx.resume_at(tx, tx.init(P), 7)
    assert int(resumed[0].count) == 7
    assert forms(resumed) == forms(tx.init(P))


@pytest.mark.parametrize("tx", [gx.scale_by_adam(), gx.adamw(0.01)], ids=["a stage", "a chain"])
def test_transfer_between_storages(tx):
    wide, narrow = run(tx)[1], run(gx.store(tx))[1]
    down = gx.transfer_state(tx, wide, gx.store(tx), P)
    assert forms(down.state) == forms(gx.store(tx).init(P))
    assert not down.fresh
    up = gx.transfer_state(gx.store(tx), narrow, tx, P)
    assert forms(up.state) == forms(tx.init(P))
    assert equal(up.state, gx.decode_state(narrow))
    same = gx.transfer_state(gx.store(tx), narrow, gx.store(tx), P)
    assert equal(gx.decode_state(same.state), gx.decode_state(narrow))


def test_a_group_begins_afresh():
    tx = gx.store(gx.partition({"a": gx.adam(0.1), "b": gx.adam(0.1)}, {"b": "b", "default": "a"}))
    state = run(tx)[1]
    new = gx.reset_group(tx, state, P, "a")
    assert forms(new) == forms(state)
    assert not np.any(new.inner_states["a"].inner_state[0].nu["w"].codes)
    assert equal(new.inner_states["b"], state.inner_states["b"])


def test_parameters_to_evaluate_with():
    tx = gx.sgd(0.1, 0.9, nesterov=True)
    stored = gx.store(tx, Bfloat16)
    state = run(stored)[1]
    found = gx.eval_params(stored, state, P)
    expected = gx.eval_params(tx, gx.decode_state(state), P)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    free = gx.store(gx.schedule_free_sgd(0.1), {"z": "bfloat16"})
    state = run(free)[1]
    assert equal(gx.eval_params(free, state, P), gx.eval_params(free, gx.decode_state(state), P))


def test_trees_of_states():
    """An entry is one leaf, beside which specifications of the parameters stand; its seed is a scalar among the others."""
    tx = gx.store(gx.adamw(0.01))
    state = tx.init(P)
    specs = {"w": "W", "b": "B", "s": "S", "hole": None}
    found = gx.tree_map_params(tx, lambda _, spec: spec, state, specs, transform_non_params=lambda _: "other")
    assert found[0].mu["w"] == Int8("W", "other", "other")
    assert found[0].nu["s"] == "S"
    assert found[0].count == "other"
    assert gx.tree.get(state, "nu")["w"] is state[0].nu["w"]
    assert gx.tree.get(state, "codes") is None


# ---- declarations


def stages(tx):
    yield from [tx.update] if isinstance(tx.update, Stage) else []
    for one in getattr(tx.update, "members", ()):
        yield from stages(one)


@pytest.mark.parametrize("pattern", ["*", "*.*"])
def test_what_fields_declare(pattern):
    """A decay names a hyperparameter of the kernel; a partner is a mean of squares that began at 0, and so did what it bounds."""
    for name in registry.names(pattern, kind="*"):
        for stage in stages(registry.entry(name)()):
            for field in stage.layout.leaf:
                facts = facts_of(stage, field)
                assert not facts.field.mean or facts.decay is not None, (name, field)
                if facts.partner is not None:
                    assert facts.partner.nonnegative, (name, field)
                    assert facts.partner.decay is not None, (name, field)
                    assert facts.field.first is None is facts.partner.field.first, (name, field)


@pytest.mark.parametrize("storage", ["bfloat16", "8bit"])
def test_states_of_several_devices_are_converted_one_by_one(storage):
    """What `per_device` holds is a stack of states, whose entries have a seed for each device."""
    inner = gx.adam(0.1)
    tx, stored = gx.per_device(inner, None), gx.per_device(gx.store(inner, storage), None)
    wide = [run(inner, steps=i + 1)[1] for i in range(3)]
    stack = lambda states: stored.init(P)._replace(inner_state=jax.tree.map(lambda *xs: np.stack(xs), *states))
    narrow = gx.encode_state(stack(wide), like=stack([gx.store(inner, storage).init(P)] * 3))
    one_by_one = [gx.encode_state(s, like=gx.store(inner, storage).init(P)) for s in wide]
    assert equal(narrow, stack(one_by_one))
    assert equal(gx.decode_state(narrow), stack([gx.decode_state(s) for s in one_by_one]))
    alone = jax.tree.map(lambda x: x[:1], narrow)
    moved = gx.transfer_state(stored, alone, tx, P)
    assert equal(moved.state, gx.decode_state(alone))
