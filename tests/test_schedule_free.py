"""Schedule-Free: the schedule's first value, the point to evaluate with, dtypes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from oracles import ORACLES

import gradxform as gx

P = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(-0.5)}


def gradients(n):
    rng = np.random.default_rng(0)
    return [jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), P) for _ in range(n)]


def run(tx, n, params=P):
    state, seen = tx.init(params), []
    update = jax.jit(tx.update)
    for g in gradients(n):
        u, state = update(g, state, params)
        params = gx.apply_updates(params, u)
        seen.append((params, state))
    return seen


def same(a, b, **close):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-5, "atol": 1e-6, **close})


class TestClock:
    def test_a_schedule_starts_at_zero(self):  # optax #1744
        schedule = gx.piecewise_interpolate_schedule("linear", 1.0, {10: 11.0})
        seen = run(gx.schedule_free(gx.sgd(schedule), schedule, weight_lr_power=1.0), 3)
        assert [float(s.max_lr) for _, s in seen] == [1.0, 2.0, 3.0]
        assert [float(s.weight_sum) for _, s in seen] == [1.0, 3.0, 6.0]

    def test_the_stored_count_is_optax_s(self):
        tx = gx.schedule_free_sgd(0.1)
        assert [tx.init(P).step_count, *(s.step_count for _, s in run(tx, 2))] == [1, 2, 3]
        full = tx.init(P)._replace(step_count=jnp.int32(2**31 - 1))
        assert tx.update(P, full, P)[1].step_count == 2**31 - 1

    def test_a_first_rate_of_zero_is_finite(self):
        params, state = run(gx.schedule_free_sgd(0.1, warmup_steps=2), 1)[-1]
        same(params, P)
        assert state.weight_sum == 0

    def test_a_constant_rate_of_zero(self):
        tx = gx.schedule_free(gx.sgd(0.0), 0.0)
        params, state = run(tx, 3)[-1]
        same(gx.eval_params(tx, state, params), P)


VARIANTS = {
    "sgd, warm-up, decay": ("schedule_free_sgd", {"learning_rate": 0.1, "warmup_steps": 3, "weight_decay": 0.1}),
    "adamw, warm-up, decay": ("schedule_free_adamw", {"learning_rate": 0.1, "warmup_steps": 3, "weight_decay": 0.1, "b1": 0.5}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_agree_with_the_paper(variant):
    name, arguments = VARIANTS[variant]
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        tx, step = getattr(gx, name)(**arguments), ORACLES[name](**arguments)
        ws = [rng.normal(size=(3,))]
        state, update = tx.init(ws[0]), jax.jit(tx.update)
        for _ in range(6):
            g = rng.normal(size=(3,))
            expected = step([g], ws)
            u, state = update(jnp.asarray(g), state, jnp.asarray(ws[0]))
            np.testing.assert_allclose(u, expected[0], rtol=1e-9, atol=1e-12)
            ws = [ws[0] + expected[0]]


class TestEvaluation:
    TX = gx.schedule_free(gx.sgd(0.1), 0.1, b1=0.8)

    def average(self, n):
        z, total = P, jax.tree.map(jnp.zeros_like, P)
        for g in gradients(n):
            z = jax.tree.map(lambda x, y: x - 0.1 * y, z, g)
            total = jax.tree.map(jnp.add, total, z)
        return jax.tree.map(lambda x: x / n, total)

    def test_x_is_the_average_of_z(self):
        params, state = run(self.TX, 4)[-1]
        same(gx.schedule_free_eval_params(state, params), self.average(4))
        same(gx.eval_params(self.TX, state, params), self.average(4))
        same(optax.contrib.schedule_free_eval_params(state, params), self.average(4))

    def test_it_is_found_in_chains_and_masks(self):
        tx = gx.masked(gx.chain(gx.identity(), self.TX), {"a": True, "b": False})
        params, state = run(tx, 4)[-1]
        found = gx.eval_params(tx, state, params)
        same(found["a"], self.average(4)["a"])
        same(found["b"], params["b"], rtol=0)

    def test_a_scheduled_interpolation_keeps_the_average(self):
        tx = gx.schedule_free(gx.sgd(0.1), 0.1, b1=lambda k: 0.5 + 0.1 * jnp.asarray(k, jnp.float32))
        params, state = run(tx, 4)[-1]
        assert float(state.b1) == pytest.approx(0.8)
        same(gx.eval_params(tx, state, params), self.average(4))

    def test_a_wrong_state_is_named(self):
        with pytest.raises(gx.StructureError, match=r"needs the ScheduleFreeState of `schedule_free`, but got \(EmptyState"):
            gx.schedule_free_eval_params((gx.EmptyState(),), P)

    def test_scalars_and_dtypes_stay(self):
        p = jnp.ones((), jnp.bfloat16)
        found = gx.schedule_free_eval_params(self.TX.init(p), p)
        assert (found.shape, found.dtype, found) == ((), jnp.bfloat16, 1)


def test_it_is_optax_s_at_a_constant_rate():
    ours = run(gx.schedule_free_adamw(0.1, weight_decay=0.1), 4)[-1]
    theirs = run(optax.contrib.schedule_free_adamw(0.1, weight_decay=0.1), 4)[-1]
    same(ours, theirs)


class TestDtypes:
    def test_scalars_of_narrow_parameters_are_float32(self):
        state = gx.schedule_free_sgd().init(jnp.ones(2, jnp.bfloat16))
        assert (state.b1.dtype, state.weight_sum.dtype, state.max_lr.dtype) == (jnp.float32,) * 3
        assert state.z.dtype == jnp.bfloat16

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_z_in_a_chosen_dtype(self, dtype):
        tx = gx.schedule_free_sgd(state_dtype=dtype)
        p = jnp.ones(2, jnp.bfloat16)
        u, state = tx.update(p, tx.init(p), p)
        assert (u.dtype, state.z.dtype) == (jnp.bfloat16, jnp.dtype(dtype))

    def test_bfloat16_weights_of_optax_go_on(self):
        """Optax stores b1 of bfloat16 parameters in bfloat16; the point and the average agree on the stored number."""
        tx = gx.schedule_free(gx.sgd(0.1), 0.1, b1=0.9)
        state = tx.init(P)._replace(b1=jnp.bfloat16(0.9))
        params = P
        for g in gradients(3):
            u, state = tx.update(g, state, params)
            params = gx.apply_updates(params, u)
        assert state.b1.dtype == jnp.bfloat16
        same(gx.schedule_free_eval_params(state, params), TestEvaluation().average(3), rtol=1e-5)


def test_parameters_and_state_can_be_donated():  # optax #1059
    tx, p = gx.schedule_free_sgd(), jnp.array([1.0, 2.0])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        u, state = tx.update(jnp.ones(2), state, params)
        return gx.apply_updates(params, u), state

    p = jnp.copy(p)
    step(p, tx.init(p))


@pytest.mark.parametrize("b1", [0.0, 1.5])
def test_b1_out_of_range(b1):
    with pytest.raises(gx.HyperparameterError, match=r"schedule_free: `b1` must be .* in \(0, 1\]"):
        gx.schedule_free(gx.sgd(0.1), 0.1, b1=b1)
