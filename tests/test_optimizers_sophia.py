"""`sophia` and Hutchinson's estimate of the diagonal of the Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from steps import MATRIX, loss, run

import gradxform as gx


class TestSophia:
    def test_hutchinson_is_exact_for_a_separable_objective(self):
        params = {"w": jnp.asarray(MATRIX), "n": jnp.arange(3), "none": None}
        g = {"w": jnp.zeros_like(params["w"]), "n": np.zeros(3, jax.dtypes.float0), "none": None}
        obj_fn = lambda p: jnp.sum(p["w"] ** 4) * p["n"].size
        (u,), _ = run(gx.hutchinson_estimator_diag_hessian(), [g], params, obj_fn=obj_fn)
        np.testing.assert_allclose(u["w"], 36 * MATRIX**2, rtol=1e-5)
        assert u["n"].dtype == jax.dtypes.float0
        assert u["none"] is None

    def test_hutchinson_is_unbiased(self):
        a = jnp.array([[2.0, 1.0], [1.0, -3.0]])
        p = jnp.ones(2)
        tx = gx.hutchinson_estimator_diag_hessian(1)
        step = lambda state, _: tx.update(p, state, p, obj_fn=lambda x: x @ a @ x / 2)[::-1]
        _, u = jax.lax.scan(step, tx.init(p), length=64)
        values = {(float(x), float(y)) for x, y in u}
        assert values == {(3.0, -2.0), (1.0, -4.0)}, "each of the two estimates, whose mean is the diagonal"

    def test_complex_parameters_get_the_mean_of_both_second_derivatives(self):
        z = jnp.array([1.0 + 2.0j, 3.0 - 1.0j])
        obj_fn = lambda z: jnp.sum(z.real**2 + 2 * z.imag**2)
        (u,), _ = run(gx.hutchinson_estimator_diag_hessian(), [z], z, obj_fn=obj_fn)
        np.testing.assert_allclose(u, 3.0, rtol=1e-5)

    @pytest.mark.parametrize("seed", [None, 3, jax.random.PRNGKey(3), jax.random.key(3)], ids=repr)
    def test_a_given_key_is_copied(self, seed):
        tx = gx.hutchinson_estimator_diag_hessian(seed)
        key = tx.init(jnp.ones(2)).key
        assert key is not seed
        if seed is not None:
            np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(3)))

    def test_it_agrees_with_optax_over_an_interval(self):
        params = {"w": jnp.asarray(MATRIX), "b": jnp.ones(3)}
        gs = [jax.grad(loss)(params)] * 4
        make = lambda o: o.sophia(0.1, update_interval=3, clip_threshold=None, gamma=0.5)
        ours, theirs = (run(make(o), gs, params, obj_fn=loss) for o in (gx, optax.contrib))
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)

    def test_the_win_rate_is_printed(self, capsys):
        tx = gx.sophia(0.1, verbose=True, print_win_rate_every_n_steps=2, update_interval=1)
        run(tx, [jnp.ones(4)] * 2, jnp.ones(4), obj_fn=loss)
        jax.effects_barrier()
        assert capsys.readouterr().out.count("win rate") == 1

    def test_what_is_missing_is_named(self):
        tx, p = gx.sophia(0.1), jnp.ones(2)
        state = tx.init(p)
        with pytest.raises(gx.MissingArgumentError, match="obj_fn"):
            tx.update(p, state, p)
        with pytest.raises(gx.MissingArgumentError, match="params"):
            tx.update(p, state, obj_fn=loss)
