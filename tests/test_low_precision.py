"""Numbers in narrow dtypes: regressions of what hurts Optax's users, each with its thread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_day import by_name

import gradxform as gx

pytestmark = pytest.mark.fast


def steps(tx, grads, n, params=None):
    state, update = tx.init(params if params is not None else grads), jax.jit(tx.update)
    updates = None
    for _ in range(n):
        updates, state = update(grads, state, params)
    return updates, state


def test_bfloat16_second_moment_decays():
    """optax #1552: in bfloat16 0.999 rounds to 1 and nu stays at its first value."""
    _, state = steps(gx.scale_by_adam(), jnp.ones(4, jnp.bfloat16), 2000)
    np.testing.assert_allclose(state.nu, 1 - 0.999**2000, rtol=1e-4)
    assert round(float(state.nu[0]), 3) == 0.865


def test_bfloat16_ema_decays():
    """optax #1552, for `ema(0.9999)`."""
    _, state = steps(gx.ema(0.9999), jnp.ones(4, jnp.bfloat16), 1000)
    np.testing.assert_allclose(state.ema, 1 - 0.9999**1000, rtol=1e-4)


@by_name(gx.names(kind="*"))
def test_float16_zero_gradients_give_zero(name):
    """optax #1754 #1784 #1789: eps underflows in float16 and 0 / 0 is NaN."""
    entry = gx.entry(name)
    tx = entry(**{k: entry.parameters[k].default for k in ("eps", "epsilon") if k in entry.example})
    params = {"w": jnp.ones((4, 4), jnp.float16)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    extra = {needed: make(params, zeros) for needed, make in entry.needs.items()}
    updates, _ = tx.update(zeros, tx.init(params), params, **extra)
    assert jnp.isfinite(updates["w"]).all()


def test_float16_norms_do_not_overflow():
    """The squares of 300 exceed float16: Optax's norm is inf and its update silently zero."""
    g = jnp.full(1000, 300.0, jnp.float16)
    updates, _ = gx.clip_by_global_norm(1.0).update(g, gx.EmptyState())
    np.testing.assert_allclose(updates.astype(jnp.float32), 1 / np.sqrt(1000), rtol=1e-3)
    updates, _ = gx.clip_by_norm(1.0).update(g, gx.EmptyState())
    np.testing.assert_allclose(updates.astype(jnp.float32), 1 / np.sqrt(1000), rtol=1e-3)


def test_learning_rate_is_not_rounded():
    """optax #1405 and `scale_by_schedule`: 1e-3 is 0.00099945 in bfloat16, and the product is rounded twice."""
    g = jnp.asarray([1.5, 2.5, 3.1], jnp.bfloat16)
    for rate in (1e-3, gx.constant_schedule(1e-3)):
        tx = gx.scale_by_learning_rate(rate)
        updates, _ = tx.update(g, tx.init(g))
        assert updates.dtype == jnp.bfloat16
        assert (updates == (-(g.astype(jnp.float32)) * np.float32(1e-3)).astype(jnp.bfloat16)).all()


def test_mixed_dtypes_do_not_drift():
    """optax #1098 #1207: with bfloat16 parameters and float32 gradients mu changed its dtype, and recompiled."""
    params, grads = jnp.ones(3, jnp.bfloat16), jnp.ones(3)
    for tx in (gx.adamw(0.1), gx.adamw(0.1, mu_dtype=jnp.bfloat16), gx.lion(0.1), gx.sgd(0.1, 0.9)):
        state = tx.init(params)
        updates, after = jax.eval_shape(tx.update, grads, state, params)
        assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
        assert updates.dtype == jnp.float32


def test_mu_dtype_is_kept():
    _, state = steps(gx.scale_by_adam(mu_dtype=jnp.bfloat16), jnp.ones(3), 2)
    assert state.mu.dtype == jnp.bfloat16
    assert state.nu.dtype == jnp.float32


def test_centered_rms_stays_finite_on_constant_gradients():
    """E[g^2] - E[g]^2 goes negative in float32: Optax is NaN by step 135."""
    g = jnp.asarray([0.1, 1 / 3, 1.1, 3.7, 1e3])
    tx = gx.rmsprop(0.1, centered=True)
    state, update = tx.init(g), jax.jit(tx.update)
    for _ in range(400):
        updates, state = update(g, state)
        assert jnp.isfinite(updates).all()


def test_adadelta_descends_by_default():
    """Optax's `adadelta()` has no minus sign and climbs."""
    tx, w = gx.adadelta(), jnp.ones(3)
    state = tx.init(w)
    for _ in range(200):
        updates, state = tx.update(2 * w, state, w)
        w = gx.apply_updates(w, updates)
    assert float(jnp.sum(w**2)) < 2.9


def test_adafactor_offset_on_a_fresh_state():
    """optax PR #1791: a decay offset gave NaN."""
    tx, p = gx.adafactor(0.1, decay_offset=5), jnp.ones((4, 4))
    updates, _ = steps(tx, jnp.ones((4, 4)), 8, p)
    assert jnp.isfinite(updates).all()


def test_complement_of_a_decay_is_exact():
    """1 - 0.999 in float32 is 0.00100005: off by 5e-5. The complement is rounded once, from float64."""
    _, state = steps(gx.scale_by_adam(), jnp.ones(1), 1)
    assert state.nu[0] == np.float32(1 - 0.999)


def test_complex_second_moments_are_real():
    """optax #196 #287: |g|^2, not g^2."""
    g = jnp.asarray([1 + 2j, 3j], jnp.complex64)
    updates, state = steps(gx.scale_by_adam(), g, 1)
    assert state.nu.dtype == jnp.float32
    np.testing.assert_allclose(updates, np.asarray(g) / np.abs(g), rtol=1e-5)
