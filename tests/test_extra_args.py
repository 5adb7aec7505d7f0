"""Extra arguments reach the innermost transformation through every wrapper, in a chain of either library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform._types import Extra

PARAMS = {"w": jnp.ones(3), "b": jnp.ones(())}
EVERYWHERE = dict.fromkeys(PARAMS, True)


@gx.elementwise(needs=("value", Extra("diagonal", per_leaf=True)))
def scale_by_both(g, s, p, c):
    return g * c.value * c.diagonal, s


@gx.elementwise(needs=("value",))
def scale_by_value(g, s, p, c):
    return g * c.value, s


WRAPPERS = {
    "accumulate": lambda tx: gx.accumulate(tx, 1),
    "MultiSteps": lambda tx: gx.MultiSteps(tx, 1).gradient_transformation(),
    "apply_if_finite": lambda tx: gx.apply_if_finite(tx, 3),
    "conditionally_mask": lambda tx: gx.conditionally_mask(tx, lambda step: True),
    "conditionally_transform": lambda tx: gx.conditionally_transform(tx, lambda step: step >= 0),
    "masked": lambda tx: gx.masked(tx, EVERYWHERE),
    "partition": lambda tx: gx.partition({True: tx}, EVERYWHERE),
    "selective_transform": lambda tx: gx.selective_transform(tx, freeze_mask=False),
    "flatten": gx.flatten,
    "with_extra_args_support": gx.with_extra_args_support,
    "named_chain": lambda tx: gx.named_chain(("identity", gx.identity()), ("tx", tx)),
    "all": lambda tx: gx.MultiSteps(gx.masked(gx.apply_if_finite(gx.flatten(gx.accumulate(tx, 1)), 3), EVERYWHERE), 1),
}


@pytest.mark.parametrize("library", [gx, optax], ids=["ours", "optax"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_they_arrive(name, library):
    inner = WRAPPERS[name](gx.chain(scale_by_both(), gx.scale(-1.0)))
    tx = library.chain(library.identity(), getattr(inner, "gradient_transformation", lambda: inner)())
    step = jax.jit(lambda g, s, v: tx.update(g, s, PARAMS, value=v, diagonal=PARAMS, unknown=object))
    u, _ = step(jax.tree.map(lambda p: 2 * p, PARAMS), tx.init(PARAMS), 3.0)
    jax.tree.map(lambda x, p: np.testing.assert_allclose(x, -6 * p), u, PARAMS)


@pytest.mark.parametrize("name", WRAPPERS)
def test_one_that_is_missing_is_named(name):
    tx = WRAPPERS[name](scale_by_value())
    with pytest.raises(gx.MissingArgumentError, match="scale_by_value: needs the extra argument `value`"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
