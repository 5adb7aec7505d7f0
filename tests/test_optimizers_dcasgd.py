"""`dcasgd` and `compensate_delay`: delayed parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES
from steps import draw, follow

import gradxform as gx

pytestmark = pytest.mark.fast


class TestDelay:
    def test_delayed_parameters_agree_with_the_transcription(self, x64):
        arguments = {"learning_rate": 0.1, "momentum": 0.5, "lamda": 0.5}
        late = lambda i, params: {"delayed_params": jax.tree.map(lambda p: p + 0.01 * (i + 1), params)} if i % 3 else {}
        follow(gx.dcasgd(**arguments), ORACLES["dcasgd"](**arguments), extras=late)

    def test_without_a_delay_it_is_sgd(self):
        tx, params, g = gx.dcasgd(0.1), draw(0), draw(1)
        updates, _ = tx.update(g, tx.init(params), params, delayed_params=params)
        expected, _ = gx.sgd(0.1).update(g, gx.sgd(0.1).init(params))
        jax.tree.map(np.testing.assert_array_equal, updates, expected)

    def test_large_compensations_are_bounded(self):
        for limit, expected in [(10.0, 100.0 * 11), (None, 100.0 * (1 + 0.04 * 100 * 50))]:
            tx = gx.compensate_delay(limit=limit)
            u, _ = tx.update(jnp.array(100.0), tx.init(jnp.array(0.0)), jnp.array(50.0), delayed_params=jnp.array(0.0))
            assert u == pytest.approx(expected)

    def test_it_passes_through_chains_and_masks(self):
        params, g = draw(0), draw(1)
        delayed = jax.tree.map(lambda p: p - 1, params)
        plain = gx.dcasgd(0.1)
        expected, _ = plain.update(g, plain.init(params), params, delayed_params=delayed)
        for tx in (gx.chain(gx.clip(100.0), plain), gx.masked(plain, {"*": True})):
            updates, _ = tx.update(g, tx.init(params), params, delayed_params=delayed)
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), updates, expected)

    def test_a_wrong_tree_is_named(self):
        tx, params = gx.dcasgd(0.1), draw(0)
        wrong = {**params, "w": jnp.zeros((6, 4))}
        with pytest.raises(gx.StructureError, match=r"compensate_delay.*at 'w'.*shape \(4, 6\), but `delayed_params`.*\(6, 4\)"):
            tx.update(draw(1), tx.init(params), params, delayed_params=wrong)
