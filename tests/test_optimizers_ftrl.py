"""`ftrl`: exact zeros, and where it begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES
from steps import SHAPES, draw, follow

import gradxform as gx


class TestFtrl:
    @pytest.mark.fast
    def test_zeros_are_exact_and_where_the_transcription_has_them(self, x64):
        arguments = {"learning_rate": 0.1, "l1": 3.0, "l2": 0.1}
        params, ws = follow(gx.ftrl(**arguments), ORACLES["ftrl"](**arguments), steps=100)
        zeros = [np.asarray(p) == 0 for p in params.values()]
        assert 0 < sum(z.sum() for z in zeros) < sum(z.size for z in zeros)
        for z, w in zip(zeros, ws, strict=True):
            np.testing.assert_array_equal(z, w == 0)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
    def test_zeros_are_exact_in_narrow_dtypes(self, dtype):
        tx, params, data = gx.ftrl(1.0, l1=8.0), draw(0, dtype=dtype), np.random.default_rng(1)
        state, signal = tx.init(params), {k: data.integers(0, 2, size=shape).astype(dtype) for k, shape in SHAPES.items()}
        for i in range(50):
            g = jax.tree.map(lambda n, s, p: 0.1 * n + s * (p - 1), draw(i, dtype=dtype), signal, params)
            updates, state = tx.update(g, state, params)
            params = gx.apply_updates(params, updates)
        for name, p in params.items():
            np.testing.assert_array_equal(np.asarray(p, np.float32) != 0, signal[name] == 1)

    @pytest.mark.fast
    def test_without_keep_initial_random_weights_are_forgotten(self):
        tx, params = gx.ftrl(0.1), draw(0)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        assert all((p == 0).all() for p in gx.apply_updates(params, updates).values())

    @pytest.mark.fast
    def test_keep_initial_goes_on_from_the_given_weights(self):
        tx, params = gx.ftrl(0.1, l1=0.5, l2=0.1, beta=0.5, keep_initial=True), draw(0)
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        moved = gx.apply_updates(params, updates)
        for name in params:
            np.testing.assert_allclose(moved[name], params[name], rtol=1e-5, atol=1e-7)
        assert isinstance(state, gx.CountedState)

    @pytest.mark.fast
    def test_keep_initial_without_penalties_is_adagrad(self, x64):
        """With beta for eps, outside the root (catalogue A.6)."""
        adagrad = ORACLES["adagrad"](0.1, initial_accumulator_value=0.0, eps=1.0, eps_in_sqrt=False)
        follow(gx.ftrl(0.1, beta=1.0, keep_initial=True), adagrad)

    @pytest.mark.fast
    def test_a_schedule_does_not_shrink_the_weights(self, x64):
        """As AdaGrad's: with sigma of the new rate alone, as elsewhere, the weights would fall with the rate."""
        rate = lambda k: 0.1 * 0.97 ** jnp.asarray(k, float)
        adagrad = ORACLES["adagrad"](rate, initial_accumulator_value=0.0, eps=1.0, eps_in_sqrt=False)
        follow(gx.ftrl(rate, beta=1.0, keep_initial=True), adagrad)

    @pytest.mark.fast
    def test_a_rate_of_zero_moves_nothing(self):
        tx, params = gx.ftrl(lambda k: jnp.where(k < 2, 0.1, 0.0), keep_initial=True), draw(0)
        state = tx.init(params)
        for i in range(4):
            updates, state = tx.update(draw(i), state, params)
            params = gx.apply_updates(params, updates)
        assert all(float(jnp.abs(u).max()) < 1e-5 for u in updates.values())
