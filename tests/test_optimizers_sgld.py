"""`sgld`: the posterior that it draws from, its noise and its keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import draw, plain

import gradxform as gx
from gradxform.testing import check


class TestSgld:
    """f(x) = (x - 2)^2 / (2 0.5^2); the elements of one leaf are independent chains."""

    MEAN, SD, CHAINS, RATE = 2.0, 0.5, 4096, 0.005

    def samples(self, tx, steps=1000):
        def step(carry, _):
            x, state = carry
            u, state = tx.update((x - self.MEAN) / self.SD**2, state, x)
            return (gx.apply_updates(x, u), state), None

        x = jnp.zeros(self.CHAINS)
        return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, length=steps)[0][0])(x)

    @pytest.mark.parametrize("temperature", [1.0, 0.1])
    @pytest.mark.parametrize("seed", range(4))
    def test_mean_and_variance_of_the_posterior(self, seed, temperature):
        x = np.asarray(self.samples(gx.sgld(self.RATE, temperature, key=seed)), np.float64)
        variance = temperature * self.SD**2 / (1 - self.RATE / self.SD**2 / 4)  # the last factor: the step is not infinitesimal
        z_mean = (x.mean() - self.MEAN) / np.sqrt(variance / self.CHAINS)
        z_variance = (x.var(ddof=1) / variance - 1) / np.sqrt(2 / (self.CHAINS - 1))
        assert abs(z_mean) < 3
        assert abs(z_variance) < 3

    @pytest.mark.fast
    def test_the_preconditioner_shapes_the_noise_like_the_step(self):
        arguments = {"learning_rate": 0.01, "preconditioner_decay": 0.9, "eps": 1e-3}
        p, g = {"x": jnp.zeros(100_000)}, draw(1, {"x": (100_000,)})
        noisy, still = gx.sgld(**arguments, key=3), gx.sgld(**arguments, temperature=0.0)
        u, v = (tx.update(g, tx.init(p), p)[0]["x"] for tx in (noisy, still))
        G = 1 / (jnp.sqrt(0.1 * g["x"] ** 2) + 1e-3)
        n = np.asarray((u - v) / jnp.sqrt(0.01 * G), np.float64)
        assert abs(n.mean()) < 3 / np.sqrt(n.size)
        assert abs(n.var() - 1) < 3 * np.sqrt(2 / n.size)

    @pytest.mark.fast
    def test_the_same_key_draws_the_same_noise(self):
        params = draw(0)
        first, again, other = (
            tx.update(draw(1), tx.init(params), params)[0] for tx in (gx.sgld(0.1, key=k) for k in (7, jax.random.key(7), 8))
        )
        for name in params:
            np.testing.assert_array_equal(first[name], again[name])
            assert not np.any(np.asarray(first[name]) == np.asarray(other[name]))

    @pytest.mark.fast
    def test_equal_leaves_draw_different_noise_and_so_do_steps(self):
        tx, params = gx.sgld(0.1), {"a": jnp.zeros(100), "b": jnp.zeros(100)}
        u, state = tx.update(params, tx.init(params), params)
        later, _ = tx.update(params, state, params)
        correlation = np.corrcoef([u["a"], u["b"], later["a"]])
        assert np.all(np.abs(correlation[np.triu_indices(3, 1)]) < 0.35)

    @pytest.mark.fast
    def test_the_noise_does_not_depend_on_the_sharding(self):
        mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:8]), ("x",))
        tx, p = gx.sgld(0.1, preconditioner_decay=0.9, key=1), jnp.ones((16, 4))
        sharded = jax.device_put(p, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x")))
        one, eight = (jax.jit(tx.update)(x, tx.init(x), x)[0] for x in (p, sharded))
        np.testing.assert_array_equal(one, eight)

    @pytest.mark.fast
    def test_without_a_preconditioner_no_moment_is_stored(self):
        params = draw(0)
        assert jax.tree.leaves(gx.sgld(0.1).init(params).nu) == []
        assert len(jax.tree.leaves(gx.sgld(0.1, preconditioner_decay=0.9).init(params).nu)) == len(params)

    @pytest.mark.parametrize("arguments", [{}, {"preconditioner_decay": 0.9}], ids=plain)
    def test_it_obeys_the_laws_with_noise(self, arguments):
        check(gx.sgld(0.1, key=1, **arguments), laws=[2, 3, 5, 12, 16])
