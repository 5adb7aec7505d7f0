"""`keep_params_in_box`: parameters that stay in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import draw

import gradxform as gx

pytestmark = pytest.mark.fast


class TestBox:
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
    def test_parameters_stay_in_the_box(self, dtype):
        tx = gx.chain(gx.sgd(1.0), gx.keep_params_in_box(-0.5, 0.75))
        params = draw(0, dtype=dtype)
        state = tx.init(params)
        for i in range(5):
            updates, state = tx.update(draw(i, dtype=dtype), state, params)
            params = gx.apply_updates(params, updates)
        room = 1 + float(jnp.finfo(dtype).eps)
        for p in params.values():
            assert -0.5 * room <= float(p.min())
            assert float(p.max()) <= 0.75 * room

    def test_inside_the_box_the_update_is_untouched(self):
        tx, g = gx.keep_params_in_box(-10.0, 10.0), draw(1)
        updates, _ = tx.update(g, tx.init(g), draw(0))
        jax.tree.map(np.testing.assert_array_equal, updates, g)

    def test_one_side_may_be_open(self):
        tx = gx.keep_params_in_box(low=0.0)
        u, _ = tx.update(jnp.array([-3.0, 5.0]), tx.init(jnp.ones(2)), jnp.ones(2))
        np.testing.assert_array_equal(u, [-1.0, 5.0])
