"""Functions of the core beside the lift: `stateless`, `with_extra_args_support`, slow copies, the empty chain, `apply_updates`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx

P = {"w": jnp.asarray([1.0, 2.0]), "none": None}
G = {"w": jnp.asarray([0.5, -1.0]), "none": None}


def double(g, p):
    return jax.tree.map(lambda x: 2 * x, g)


def add_tenth(g, p):
    return g if p is None else g + 0.1 * p


def test_stateless():
    tx = gx.stateless(double)
    assert tx == gx.stateless(double)
    assert repr(tx) == "stateless(double)"
    u, state = tx.update(G, tx.init(P), P, unknown=0)
    np.testing.assert_array_equal(u["w"], [1.0, -2.0])
    assert state == gx.EmptyState() == gx.init_empty_state(P)


def test_stateless_with_tree_map_steps_over_what_is_absent():
    tx = gx.chain(gx.stateless_with_tree_map(add_tenth))
    params = {**P, "n": jnp.arange(2), "m": gx.MaskedNode()}
    grads = {**G, "n": np.zeros(2, jax.dtypes.float0), "m": gx.MaskedNode()}
    u, _ = jax.jit(tx.update)(grads, tx.init(params), params)
    np.testing.assert_allclose(u["w"], [0.6, -0.8])
    assert u["n"].dtype == jax.dtypes.float0
    np.testing.assert_allclose(tx.update(G, tx.init(P))[0]["w"], G["w"])


def test_with_extra_args_support():
    foreign = gx.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, s))
    tx = gx.with_extra_args_support(foreign)
    assert isinstance(tx, gx.GradientTransformationExtraArgs)
    tx.update(G, (), P, unknown=0)
    assert gx.with_extra_args_support(tx) is tx
    named = gx.GradientTransformation(lambda p: (), lambda g, s, p=None, *, value: (value, s))
    assert gx.with_extra_args_support(named).update(G, (), P, value=3, other=4)[0] == 3
    with pytest.raises(gx.StructureError, match="with_extra_args_support: expected a GradientTransformation"):
        gx.with_extra_args_support(gx.adam)


def test_the_empty_chain_is_the_identity():
    tx = gx.chain()
    assert tx.update(G, tx.init(P), P) == (G, ())


def test_apply_updates_does_not_broadcast():
    """Optax makes (3, 3) of a (3,) parameter and a (3, 1) update."""
    with pytest.raises(
        gx.StructureError, match=r"apply_updates: at 'w' the parameter has shape \(3,\), but the update has shape \(3, 1\)"
    ):
        gx.apply_updates({"w": jnp.ones(3)}, {"w": jnp.ones((3, 1))})


def test_incremental_update():
    new, old = {"w": jnp.asarray([3.0, 4.0]), "none": None}, P
    ours, theirs = gx.incremental_update(new, old, 0.25), optax.incremental_update(new, old, 0.25)
    np.testing.assert_allclose(ours["w"], theirs["w"])
    assert ours["none"] is None
    narrow = gx.incremental_update(jnp.full(1, 2.0, jnp.bfloat16), jnp.ones(1, jnp.bfloat16), 0.5)
    assert (narrow.dtype, float(narrow[0])) == (jnp.bfloat16, 1.5)
    mixed = gx.incremental_update(
        {"w": jnp.ones(2), "n": jnp.asarray(3)}, {"w": jnp.ones(2, jnp.bfloat16), "n": jnp.asarray(1)}, 0.1
    )
    assert (mixed["w"].dtype, mixed["n"].dtype, int(mixed["n"])) == (jnp.bfloat16, jnp.int32, 3)


def test_incremental_update_keeps_small_steps():
    """In bfloat16 1 - 0.001 rounds to 1, and Optax's average grows without end; carried in float32 it is exact."""
    old = jnp.ones(1)
    step = lambda old, _: (gx.incremental_update(jnp.ones(1, jnp.bfloat16), old, 1e-3), None)
    average, _ = jax.lax.scan(step, old, None, length=50)
    np.testing.assert_allclose(average, 1.0, rtol=1e-6)


@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
def test_periodic_update(jit):
    new, old = {"w": jnp.ones(2), "none": None}, {"w": jnp.zeros(2), "none": None}
    update = jax.jit(gx.periodic_update) if jit else gx.periodic_update
    taken = [float(update(new, old, step, 3)["w"][0]) for step in range(5)]
    assert taken == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_names_of_types():
    for name in ("ScalarOrSchedule", "MaskOrFn", "TransformInitFn", "TransformUpdateFn", "TransformUpdateExtraArgsFn"):
        assert hasattr(gx, name)
    assert gx.tree_map_params is gx.tree.map_params
    assert gx.ShouldSkipUpdateFunction
