"""`trace`: dampening, and the first update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import draw

import gradxform as gx

pytestmark = pytest.mark.fast


class TestMomentum:
    def test_without_dampening_the_state_is_the_trace_alone(self):
        params = draw(0)
        assert isinstance(gx.trace(0.9).init(params), gx.TraceState)
        assert jax.tree.structure(gx.sgd(0.1, 0.9, dampening=0.0).init(draw(0))) == jax.tree.structure(
            gx.sgd(0.1, 0.9).init(draw(0))
        )

    def test_with_dampening_the_state_knows_the_first_update(self):
        state = gx.trace(0.9, dampening=0.5).init(draw(0))
        assert isinstance(state, gx.CountedState)
        assert isinstance(state.inner_state, gx.TraceState)

    def test_the_first_update_is_whole(self):
        tx = gx.trace(0.9, dampening=1.0)
        u, state = tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))
        assert u == 2.0
        assert tx.update(jnp.array(2.0), state)[0] == pytest.approx(1.8)

    @pytest.mark.parametrize("dampening", [lambda k: 0.3, jnp.float32(0.3)])
    def test_dampening_may_be_scheduled_and_traced(self, dampening):
        tx, params = gx.sgd(0.1, 0.9, dampening=dampening), draw(0)
        expected = gx.sgd(0.1, 0.9, dampening=0.3)
        s, t = tx.init(params), expected.init(params)
        for i in range(3):
            (u, s), (v, t) = tx.update(draw(i), s), expected.update(draw(i), t)
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), u, v)
