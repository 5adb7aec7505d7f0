"""`differentially_private_aggregate` and `dpsgd`: clipping, noise, keys and messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from steps import MATRIX, run

import gradxform as gx

PER_EXAMPLE = {"a": MATRIX, "b": np.arange(4, dtype=np.float32)}


class TestPrivacy:
    def test_it_agrees_with_optax(self):
        ours = gx.differentially_private_aggregate(0.5, 1.1, 3)
        theirs = optax.contrib.differentially_private_aggregate(0.5, 1.1, 3)
        (u, s), (v, t) = run(ours, [PER_EXAMPLE] * 2, None), run(theirs, [PER_EXAMPLE] * 2, None)
        for x, y in zip(jax.tree.leaves(u), jax.tree.leaves(v), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(jax.random.key_data(s.rng_key), jax.random.key_data(t.rng_key))

    def test_without_noise_and_bound_it_is_the_mean(self):
        (u,), _ = run(gx.dpsgd(1.0, jnp.finfo(jnp.float32).max, 0.0, 0), [PER_EXAMPLE], None)
        np.testing.assert_allclose(u["a"], -MATRIX.mean(0), rtol=1e-5, atol=1e-6)

    def test_momentum_follows(self):
        plain, heavy = (gx.dpsgd(0.1, 1.0, 0.0, 0, momentum) for momentum in (None, 0.9))
        params = jax.tree.map(lambda g: jnp.zeros(g.shape[1:]), PER_EXAMPLE)
        (u, _), (_, v) = run(plain, [PER_EXAMPLE] * 2, params)[0], run(heavy, [PER_EXAMPLE] * 2, params)[0]
        np.testing.assert_allclose(v["a"], 1.9 * u["a"], rtol=1e-5)

    def test_complex_noise_has_the_full_deviation_in_each_part(self):
        g = jnp.zeros((1, 4000), jnp.complex64)
        (u,), _ = run(gx.differentially_private_aggregate(2.0, 3.0, 0), [g], None)
        for part in (u.real, u.imag):
            np.testing.assert_allclose(jnp.std(part), 6.0, rtol=0.05)

    def test_absent_leaves_and_narrow_ones(self):
        g = {"a": jnp.full((5, 2), 2.0**-9, jnp.bfloat16), "b": None}
        (u,), _ = run(gx.differentially_private_aggregate(1.0, 0.0, 0), [g], None)
        assert u["b"] is None
        assert u["a"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(u["a"].astype(jnp.float32), 2.0**-9)

    def test_what_is_wrong_is_said(self):
        tx = gx.differentially_private_aggregate(1.0, 1.0, 0)
        with pytest.raises(gx.StructureError, match=r"differentially_private_aggregate.*b: \(\)"):
            tx.update({"a": jnp.ones((3, 2)), "b": jnp.ones(())}, tx.init(None))
        with pytest.raises(gx.HyperparameterError, match="l2_norm_clip"):
            gx.dpsgd(0.1, -1.0, 1.0, 0)
        with pytest.raises(gx.HyperparameterError, match="schedule"):
            gx.differentially_private_aggregate(1.0, lambda k: 1.0, 0)
        with pytest.warns(DeprecationWarning, match="seed"):
            gx.dpsgd(0.1, 1.0, 1.0, seed=1)
        with pytest.warns(UserWarning, match="without a `key`"):
            gx.differentially_private_aggregate(1.0, 1.0)
        with pytest.warns(DeprecationWarning, match="seed"), pytest.raises(gx.HyperparameterError, match="not both"):
            gx.differentially_private_aggregate(1.0, 1.0, 0, seed=1)
