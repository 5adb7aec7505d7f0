"""What Optax accepts is accepted, and gives the same numbers: signs, ends of ranges, infinite bounds, lengths from arithmetic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from trees import assert_close

import gradxform as gx
from gradxform._errors import HyperparameterError
from gradxform.dialects import keras, mxnet, neon, torch

PARAMS = {"w": jnp.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]]), "b": jnp.array([1.0, -2.0, 0.1])}
CENTRE = {"w": jnp.array([[0.1, 0.4, -0.3], [0.9, -0.8, 0.2]]), "b": jnp.array([-0.5, 0.6, 0.7])}
CURVATURE = {"w": jnp.array([[1.0, 0.5, 0.2], [2.0, 0.1, 0.7]]), "b": jnp.array([0.3, 1.1, 0.9])}


def objective(params, *_, **__):
    return sum(jnp.sum(CURVATURE[n] / 2 * (params[n] - CENTRE[n]) ** 2) for n in params)


def evaluated(text, library):
    return eval(text, {"o": library, "jnp": jnp, "np": np, "inf": jnp.inf, "nan": jnp.nan, "CENTRE": CENTRE})


def promoting(library):
    """Optax needs JAX's standard promotion, which the suite forbids to gradxform."""
    return jax.numpy_dtype_promotion("standard" if library is optax else "strict")


def trajectory(tx, extra, n=3):
    tx, params, seen = optax.with_extra_args_support(tx), PARAMS, []
    state = tx.init(params)
    for _ in range(n):
        value, grads = jax.value_and_grad(objective)(params)
        known = {"value": value, "grad": grads, "value_fn": objective, "obj_fn": objective}
        updates, state = tx.update(grads, state, params, **{name: known[name] for name in extra})
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


UPDATES = """
# ascent
o.sgd(-0.1)
o.sgd(-0.1, momentum=0.9)
o.sgd(-0.1, momentum=0.9, nesterov=True)
o.sgd(np.float32(-0.1))
o.sgd(jnp.float32(-0.1))
o.sgd(np.array(-0.1))
o.sgd(-1)
o.sgd(0.0)
o.sgd(0)
o.sgd(o.constant_schedule(-0.1))
o.sgd(lambda k: -0.1)
o.sgd(lambda k: -0.01 * jnp.asarray(k, float))
o.sgd(lambda k: k < 2)
o.rmsprop(-1e-3)
o.rmsprop(-1e-3, momentum=0.9, centered=True)
o.adam(-1e-2)
o.adamw(-1e-2)
o.adamax(-1e-2)
o.adamaxw(-1e-2)
o.nadam(-1e-2)
o.nadamw(-1e-2)
o.amsgrad(-1e-2)
o.adabelief(-1e-2)
o.adadelta(-1.0)
o.adagrad(-1e-2)
o.adan(-1e-2)
o.adafactor(-1e-2, min_dim_size_to_factor=2)
o.lion(-1e-2)
o.lamb(-1e-2)
o.lars(-1e-2)
o.fromage(-1e-2)
o.novograd(-1e-2)
o.optimistic_gradient_descent(-1e-2)
o.optimistic_adam_v2(-1e-2)
o.radam(-1e-2)
o.sign_sgd(-1e-2)
o.signum(-1e-2)
o.sm3(-1e-2)
o.yogi(-1e-2)
o.lbfgs(-1e-1, linesearch=None)
o.contrib.acprop(-1e-2)
o.contrib.ademamix(-1e-2)
o.contrib.simplified_ademamix(-1e-2)
o.contrib.muon(-1e-2)
o.contrib.cocob(-1.0)
o.contrib.dog(-1.0)
o.contrib.dowg(-1.0)
o.contrib.momo(-1e-2) : value
o.contrib.momo_adam(-1e-2) : value
o.contrib.schedule_free_sgd(0.0)
o.scale_by_learning_rate(-0.1)
o.scale_by_learning_rate(-0.1, flip_sign=False)
o.scale(-1)
o.scale(0)
o.scale_by_schedule(lambda k: -1.0)
o.inject_hyperparams(o.sgd)(-0.1)
o.inject_hyperparams(o.adam)(learning_rate=-1e-2)
o.inject_hyperparams(o.adamw)(learning_rate=lambda k: -1e-2, weight_decay=-0.1)
o.chain(o.adam(1e-2), o.scale(-1.0))
o.polyak_sgd(scaling=-1.0) : value
# growth in the place of decay
o.adamw(1e-2, weight_decay=-0.1)
o.adamw(1e-2, weight_decay=0)
o.adamaxw(1e-2, weight_decay=-0.1)
o.nadamw(1e-2, weight_decay=-0.1)
o.adan(1e-2, weight_decay=-0.1)
o.lion(1e-2, weight_decay=-0.1)
o.lamb(1e-2, weight_decay=-0.1)
o.lars(1e-2, weight_decay=-0.1)
o.adadelta(1.0, weight_decay=-0.1)
o.adafactor(1e-2, weight_decay_rate=-0.1)
o.novograd(1e-2, weight_decay=-0.1)
o.add_decayed_weights(-0.1)
o.contrib.ademamix(1e-2, weight_decay=-0.1)
o.contrib.cocob(weight_decay=-0.1)
o.contrib.dog(weight_decay=-0.1)
o.contrib.dowg(weight_decay=-0.1)
o.contrib.muon(1e-2, weight_decay=-0.1)
o.contrib.madgrad(1e-2, weight_decay=-0.1)
o.contrib.prodigy(weight_decay=-0.1)
# momentum
o.sgd(0.1, momentum=-0.5)
o.sgd(0.1, momentum=-0.5, nesterov=True)
o.sgd(0.1, momentum=1.0)
o.sgd(0.1, momentum=0)
o.trace(-0.5)
o.trace(1)
o.rmsprop(1e-2, momentum=-0.5)
o.rmsprop(1e-2, momentum=1.0)
o.lars(0.1, momentum=-0.5)
o.lars(0.1, momentum=0.0)
o.lars(0.1, trust_coefficient=-0.01)
o.lars(0.1, trust_coefficient=1)
o.ema(-0.5)
o.ema(-0.5, debias=False)
o.adam(1e-2, b1=-0.5)
o.adam(1e-2, b1=-0.5, nesterov=True)
o.adamw(1e-2, b1=jnp.float32(-0.2))
o.adamax(1e-2, b1=-0.5)
o.amsgrad(1e-2, b1=-0.5)
o.adabelief(1e-2, b1=-0.5)
o.radam(1e-2, b1=-0.5)
o.lamb(1e-2, b1=-0.5)
o.lion(1e-2, b1=-0.5, b2=-0.5)
o.novograd(1e-2, b1=-0.5)
o.sm3(1e-1, momentum=-0.5)
o.signum(1e-2, beta=-0.5)
o.adafactor(1e-1, min_dim_size_to_factor=2, momentum=-0.5)
o.contrib.adopt(1e-2, b1=-0.5)
o.contrib.acprop(1e-2, b1=-0.5)
o.contrib.ademamix(1e-2, b1=-0.5)
o.contrib.simplified_ademamix(1e-2, b1=-0.5)
o.contrib.muon(1e-2, beta=-0.5)
o.contrib.momo(beta=-0.5) : value
o.contrib.momo_adam(b1=-0.5) : value
# decays at both ends
o.ema(0.0)
o.ema(0)
o.ema(0.0, debias=False)
o.ema(1.0, debias=False)
o.ema(1, debias=False)
o.adam(1e-2, b1=0.0)
o.adam(1e-2, b1=0, b2=0)
o.adam(1e-2, b2=0.0)
o.adam(1e-2, eps=0.0)
o.adamax(1e-2, b1=0.0, b2=1.0)
o.adamax(1e-2, b2=0.0)
o.adamaxw(1e-2, b2=1)
o.rmsprop(1e-2, decay=0.0)
o.rmsprop(1e-2, decay=1.0, initial_scale=2.0)
o.rmsprop(1e-2, decay=1.0)
o.scale_by_rms(decay=1.0, initial_scale=1.0)
o.scale_by_stddev(decay=1.0, initial_scale=1.0)
o.lion(1e-2, b1=0.0, b2=1.0)
o.lion(1e-2, b1=1.0, b2=0.0)
o.signum(1e-2, beta=0.0)
o.signum(1e-2, beta=1.0)
o.adadelta(1.0, rho=0.0)
o.adadelta(1.0, rho=1.0)
o.novograd(1e-2, b1=0.0, b2=0.0)
o.novograd(1e-2, b1=1.0, b2=1.0)
o.sm3(1e-1, momentum=0.0)
o.sm3(1e-1, momentum=1.0)
o.yogi(1e-2, b1=0.0)
o.contrib.adopt(1e-2, b1=0.0, b2=0.0)
o.contrib.adopt(1e-2, b1=1.0, b2=1.0)
o.contrib.ademamix(1e-2, b3=1.0)
o.contrib.ademamix(1e-2, alpha=0.0)
o.contrib.ademamix(1e-2, alpha=-1.0)
o.contrib.simplified_ademamix(1e-2, b1=1.0)
o.contrib.madgrad(1e-2, momentum=0.0)
o.contrib.momo(beta=0.0) : value
o.contrib.momo(beta=1.0) : value
o.contrib.sophia(-1e-2, b2=1.0, update_interval=1) : obj_fn
o.adafactor(1e-1, min_dim_size_to_factor=2, momentum=0.0)
o.adafactor(1e-1, min_dim_size_to_factor=2, momentum=1.0)
o.adafactor(1e-1, min_dim_size_to_factor=2, decay_rate=0.0)
o.contrib.muon(1e-2, beta=0.0)
# bounds that do not bind
o.clip(inf)
o.clip(np.inf)
o.clip(float('inf'))
o.clip_by_global_norm(inf)
o.clip_by_global_norm(float('inf'))
o.clip_by_block_rms(inf)
o.adaptive_grad_clip(inf)
o.chain(o.clip_by_global_norm(inf), o.adam(1e-2))
o.inject_hyperparams(o.clip_by_global_norm)(max_norm=inf)
o.radam(1e-2, threshold=inf)
o.polyak_sgd(max_learning_rate=inf) : value
o.polyak_sgd(max_learning_rate=0.0) : value
o.polyak_sgd(f_min=-inf) : value
o.contrib.momo(lower_bound=-inf) : value
o.apply_if_finite(o.sgd(0.1), inf)
o.polyak_sgd(max_learning_rate=0.1, f_min=-1.0) : value
o.adafactor(1e-1, min_dim_size_to_factor=2, clipping_threshold=inf)
o.contrib.sophia(1e-2, clip_threshold=inf, update_interval=1) : obj_fn
o.chain(o.sgd(0.1), o.contrib.reduce_on_plateau(patience=inf)) : value
o.chain(o.sgd(0.1), o.contrib.reduce_on_plateau(patience=1, cooldown=inf, atol=100.0)) : value
o.chain(o.sgd(0.1), o.contrib.reduce_on_plateau(accumulation_size=inf)) : value
o.chain(o.sgd(1.0), o.scale_by_backtracking_linesearch(10, max_learning_rate=inf)) : value grad value_fn
o.chain(o.sgd(1.0), o.scale_by_zoom_linesearch(10.0, max_learning_rate=inf)) : value grad value_fn
# bounds of 0
o.clip(0.0)
o.clip(0)
o.clip_by_global_norm(0.0)
o.clip_by_block_rms(0.0)
o.adaptive_grad_clip(0.0)
o.adafactor(1e-1, min_dim_size_to_factor=2, clipping_threshold=0.0)
o.scale_by_param_block_rms(0.0)
o.scale_by_param_block_norm(0)
o.scale_by_trust_ratio(min_norm=0.0, eps=0.0)
o.scale_by_trust_ratio(trust_coefficient=-1.0)
o.fromage(0.1, min_norm=0.0)
o.contrib.cocob(alpha=0.0)
o.contrib.reduce_on_plateau(patience=1, cooldown=0, min_scale=0) : value
o.adagrad(1e-1, initial_accumulator_value=0.0)
o.normalize_by_update_norm(scale_factor=-1.0, eps=0.0)
# sizes and periods, also from arithmetic
o.apply_every(1)
o.apply_every(2.0)
o.apply_every(np.int64(2))
o.apply_every(jnp.int32(2))
o.apply_every(0.1 * 20)
o.MultiSteps(o.sgd(0.1), 1).gradient_transformation()
o.MultiSteps(o.sgd(0.1), lambda k: jnp.where(k < 1, 1, 2)).gradient_transformation()
o.scale_by_lbfgs(memory_size=1)
o.adafactor(1e-1, min_dim_size_to_factor=0)
o.adafactor(1e-1, min_dim_size_to_factor=2.0)
o.contrib.muon(1e-2, ns_steps=1)
o.contrib.sophia(1e-2, update_interval=1.0) : obj_fn
o.contrib.mechanize(o.sgd(0.1), weight_decay=-0.1, num_betas=1)
o.contrib.sam(o.sgd(-0.1), o.sgd(0.05), sync_period=2.0)
o.chain(o.sgd(1.0), o.scale_by_backtracking_linesearch(10.0)) : value grad value_fn
o.chain(o.sgd(1.0), o.scale_by_backtracking_linesearch(0)) : value grad value_fn
o.chain(o.sgd(1.0), o.scale_by_zoom_linesearch(1)) : value grad value_fn
o.sgd(o.linear_schedule(0.1, 0.0, 0.1 * 25))
o.adam(o.warmup_cosine_decay_schedule(0.0, 0.1, 0, 0.25 * 12))
o.adam(o.join_schedules([o.linear_schedule(0.0, 0.1, 0), o.cosine_decay_schedule(0.1, 3)], [0]))
o.conditionally_transform(o.sgd(0.1), lambda k: k < 2)
o.apply_if_finite(o.sgd(0.1), 0)
o.noisy_sgd(0.1, eta=0.0, gamma=-0.5, key=0)
o.contrib.adopt(0.1, eps=0.0)
"""
SCHEDULES = """
o.linear_schedule(1.0, 0.05, 0.1 * 2441)
o.linear_schedule(1.0, 0.05, 7.000000000000001)
o.linear_schedule(1.0, 0.05, 100.0)
o.linear_schedule(1.0, 0.05, np.float32(100))
o.linear_schedule(1.0, 0.05, np.int64(100))
o.linear_schedule(1.0, 0.05, np.array(100))
o.linear_schedule(1.0, 0.05, jnp.int32(100))
o.linear_schedule(1.0, 0.05, jnp.array(99.5))
o.linear_schedule(1.0, 0.05, 0.5)
o.linear_schedule(1.0, 0.05, 1)
o.linear_schedule(1.0, 0.05, 0)
o.linear_schedule(1.0, 0.05, 0.0)
o.linear_schedule(1.0, 0.05, -5)
o.linear_schedule(1.0, 0.05, inf)
o.linear_schedule(1.0, 0.05, 10, -5)
o.linear_schedule(1.0, 0.05, 10, 2.5)
o.linear_schedule(1.0, 0.05, 10, inf)
o.linear_schedule(-1.0, 0.05, 10)
o.linear_schedule(0, 1, 10)
o.linear_schedule(np.float32(1), jnp.float32(0), 10)
o.polynomial_schedule(1.0, 0.1, 2, 0.1 * 77)
o.polynomial_schedule(1.0, 0.1, 2.5, 8.0)
o.polynomial_schedule(1.0, 0.1, 0, 8)
o.polynomial_schedule(1.0, 0.1, 0.0, 8)
o.polynomial_schedule(1.0, 0.1, -1, 2000)
o.polynomial_schedule(1.0, 0.1, 3, 0)
o.polynomial_schedule(1.0, 0.1, 3, -1, -1)
o.polynomial_schedule(1.0, 0.1, jnp.float32(3), np.float64(9.5), np.float64(1.5))
o.exponential_decay(1.0, 10, 0.5)
o.exponential_decay(1.0, 0.1 * 77, 0.5)
o.exponential_decay(1.0, 7.5, 0.5, staircase=True)
o.exponential_decay(1.0, 10.0, 0.5, staircase=True)
o.exponential_decay(1.0, 10, 0.5, 2.5)
o.exponential_decay(1.0, 10, 0.5, -3)
o.exponential_decay(1.0, 0, 0.5)
o.exponential_decay(1.0, -1, 0.5)
o.exponential_decay(1.0, inf, 0.5)
o.exponential_decay(1.0, 10, 0)
o.exponential_decay(1.0, 10, 0.0, end_value=2.0)
o.exponential_decay(1.0, 10, 1.0)
o.exponential_decay(1.0, 500, 1.5, end_value=2.0)
o.exponential_decay(1.0, 10, 0.5, end_value=0)
o.exponential_decay(-1.0, 10, 0.5)
o.exponential_decay(1.0, 10, 0.5, end_value=-inf)
o.cosine_decay_schedule(1.0, 0.1 * 77)
o.cosine_decay_schedule(1.0, 100.0)
o.cosine_decay_schedule(1.0, 0.5)
o.cosine_decay_schedule(1.0, 1)
o.cosine_decay_schedule(1.0, inf)
o.cosine_decay_schedule(1.0, np.float32(12.5), 0.1)
o.cosine_decay_schedule(-1.0, 10)
o.cosine_decay_schedule(1.0, 10, alpha=-0.5)
o.cosine_decay_schedule(1.0, 10, alpha=2)
o.cosine_decay_schedule(1.0, 10, exponent=0)
o.cosine_decay_schedule(1.0, 2000, exponent=-0.5)
o.constant_schedule(-1)
o.piecewise_constant_schedule(1.0, {7.5: 0.1, 50.0: 0.5})
o.piecewise_constant_schedule(1.0, {0: 0.1})
o.piecewise_constant_schedule(1.0, {-5: 0.1, 10: 0.5})
o.piecewise_constant_schedule(1.0, {0.1 * 70: 0, 1e9: 2})
o.piecewise_constant_schedule(1.0, {inf: 0.5})
o.piecewise_constant_schedule(1.0, {np.int64(7): np.float32(0.5)})
o.piecewise_constant_schedule(1.0, {})
o.piecewise_constant_schedule(1.0)
o.piecewise_constant_schedule(-1, {50: 0.5, 7: 3})
o.piecewise_interpolate_schedule('linear', 1.0, {7.5: 0.1, 50.0: 0.5})
o.piecewise_interpolate_schedule('cosine', 1.0, {0.1 * 77: 0.1, 50: 3})
o.piecewise_interpolate_schedule('cosine', 1.0, {10: 0.0})
o.piecewise_interpolate_schedule('linear', -1.0, {0: 0.5, 10: 0.5})
o.linear_onecycle_schedule(0.1 * 1001, 1.0)
o.linear_onecycle_schedule(100.0, 1.0)
o.linear_onecycle_schedule(np.int64(100), -1.0)
o.cosine_onecycle_schedule(0.1 * 1001, 1.0)
o.cosine_onecycle_schedule(100.0, 1.0, 0.5)
o.cosine_onecycle_schedule(100, 1.0, final_div_factor=inf)
o.warmup_constant_schedule(0.0, 1.0, 0.1 * 77)
o.warmup_constant_schedule(0.0, 1.0, 10.0)
o.warmup_constant_schedule(1.0, -1.0, 10)
o.warmup_cosine_decay_schedule(0.0, 1.0, 0, 100)
o.warmup_cosine_decay_schedule(0.0, 1.0, 0.0, 100.0)
o.warmup_cosine_decay_schedule(0.0, 1.0, 0.05 * 244, 244)
o.warmup_cosine_decay_schedule(0.0, 1.0, 0.1 * 70, 0.1 * 2441, 0.1)
o.warmup_cosine_decay_schedule(0.0, 1.0, 10, inf)
o.warmup_cosine_decay_schedule(0.0, -1.0, 10, 100)
o.warmup_cosine_decay_schedule(0.0, 1.0, 10, 1e6, exponent=-1.0)
o.warmup_exponential_decay_schedule(0.0, 1.0, 0.1 * 77, 12.5, 0.5)
o.warmup_exponential_decay_schedule(0.0, 1.0, 0, 10, 0.5)
o.warmup_exponential_decay_schedule(0.0, 1.0, 10, 0, 0.5)
o.warmup_exponential_decay_schedule(0.0, 1.0, 10, 20, 0.0, -3)
o.sgdr_schedule([dict(init_value=0.0, peak_value=1.0, warmup_steps=0.1 * 77, decay_steps=50.0)] * 2)
o.sgdr_schedule([dict(init_value=0.0, peak_value=1.0, warmup_steps=0, decay_steps=0.3 * 77)] * 2)
o.join_schedules([o.linear_schedule(0.0, 1.0, 0), o.cosine_decay_schedule(1.0, 100)], [0])
o.join_schedules([o.linear_schedule(0.0, 1.0, 7), o.cosine_decay_schedule(1.0, 100)], [7.0])
o.join_schedules([o.linear_schedule(0.0, 1.0, 0.1 * 77), o.cosine_decay_schedule(1.0, 100)], [0.1 * 77])
o.join_schedules([o.constant_schedule(1.0), o.constant_schedule(2.0), o.constant_schedule(3.0)], [7, 7])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9), o.linear_schedule(2, 3, 9)], [50, 7])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9)], [inf])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9), o.linear_schedule(2, 3, 9)], [inf, inf])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9)], [-5])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9)], [np.int64(5)])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9)], [jnp.int32(5)])
o.join_schedules([o.linear_schedule(0, 1, 9), o.linear_schedule(1, 2, 9)], jnp.array([5]))
o.join_schedules([lambda k: 0.1, lambda k: 0.01 * jnp.asarray(k, float)], [7])
o.join_schedules([o.constant_schedule(1.0)], [])
"""
STEPS = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 15, 20, 49, 50, 51, 77, 99, 100, 101, 243, 244, 245, 1000]


def rows(text):
    found = [line.partition(" : ")[::2] for line in text.strip().splitlines() if not line.startswith("#")]
    return [pytest.param(call, extra.split(), id=call.replace("o.", "")[:70]) for call, extra in found]


@pytest.mark.parametrize(("text", "extra"), rows(UPDATES))
def test_updates(text, extra):
    with promoting(optax):
        theirs = trajectory(evaluated(text, optax), extra)
    with gx.engine("plain"):  # nothing is compiled twice
        ours = trajectory(evaluated(text, gx), extra)
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("text", "extra"), rows(SCHEDULES))
def test_schedules(text, extra):
    ours, theirs = (evaluated(text, library) for library in (gx, optax))
    compiled = jax.jit(lambda k: jnp.asarray(theirs(k), float))
    with promoting(optax):
        wanted = [compiled(k) for k in STEPS]
    np.testing.assert_allclose(jax.jit(ours)(jnp.array(STEPS)), wanted, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose([ours(k) for k in STEPS[7:9]], wanted[7:9], rtol=2e-5, atol=2e-6)


def test_lookahead_over_relaxes():
    found = []
    for o in (gx, optax):
        with promoting(o):
            tx, params = o.lookahead(o.sgd(-0.1), 2, 1.5), o.LookaheadParams(PARAMS, PARAMS)
            state = tx.init(params)
            for _ in range(4):
                updates, state = tx.update(jax.grad(objective)(params.fast), state, params)
                params = o.apply_updates(params, updates)
        found.append(params.slow)
    assert_close(*found, rtol=1e-5)


# ---- traced lengths

WHOLE = {
    "linear": lambda n: gx.linear_schedule(1.0, 0.1, n),
    "linear, begin": lambda n: gx.linear_schedule(1.0, 0.1, 10, n),
    "polynomial": lambda n: gx.polynomial_schedule(1.0, 0.1, 2.5, n, n),
    "one_minus_sqrt": lambda n: gx.one_minus_sqrt_schedule(1.0, 0.1, n),
    "rex": lambda n: gx.rex_schedule(1.0, 0.1, n),
    "cosine": lambda n: gx.cosine_decay_schedule(1.0, n, 0.1),
    "exponential": lambda n: gx.exponential_decay(1.0, n, 0.5, n),
    "staircase": lambda n: gx.exponential_decay(1.0, n, 0.5, staircase=True),
    "warmup_constant": lambda n: gx.warmup_constant_schedule(0.0, 1.0, n),
    "warmup_power": lambda n: gx.warmup_power_schedule(0.0, 1.0, n, 0.5),
    "warmup_cosine": lambda n: gx.warmup_cosine_decay_schedule(0.0, 1.0, n, 100),
    "warmup_cosine, both": lambda n: gx.warmup_cosine_decay_schedule(0.0, 1.0, n, 3 * n),
    "warmup_exponential": lambda n: gx.warmup_exponential_decay_schedule(0.0, 1.0, n, n, 0.5),
    "wsd": lambda n: gx.wsd_schedule(0.0, 1.0, n, n, n),
    "rsqrt": lambda n: gx.rsqrt_schedule(0.0, 1.0, n),
    "cyclic": lambda n: gx.cyclic_triangular_schedule(0.0, 1.0, n, 0.5),
    "linear_onecycle": lambda n: gx.linear_onecycle_schedule(n, 1.0),
    "cosine_onecycle": lambda n: gx.cosine_onecycle_schedule(n, 1.0),
    "sgdr": lambda n: gx.sgdr_schedule([{"init_value": 0.0, "peak_value": 1.0, "warmup_steps": n, "decay_steps": 3 * n}] * 2),
    "join": lambda n: gx.join_schedules([gx.linear_schedule(0, 1, n), gx.cosine_decay_schedule(1, 50)], [n]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_traced_length_is_as_good_as_a_known_one(name):
    steps, lengths = jnp.array(STEPS), [7, 12, 12.5]
    wanted = [WHOLE[name](n)(steps) for n in lengths]
    traced = jax.jit(lambda n: WHOLE[name](n)(steps))
    np.testing.assert_allclose([traced(n) for n in lengths], wanted, rtol=1e-5, atol=1e-6)
    population = jax.vmap(lambda n: WHOLE[name](n)(steps))(jnp.array(lengths[:2]))
    np.testing.assert_allclose(population, wanted[:2], rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda n: jnp.sum(WHOLE[name](n)(steps[1:])))(12.25))


def test_a_traced_boundary_gives_what_optax_gives():
    def train(o, warmup):
        with promoting(o):
            schedule = o.join_schedules([lambda k: jnp.asarray(k, float) / 90, o.constant_schedule(0.3)], [warmup])
            return trajectory(o.sgd(schedule), [])[-1]

    for n in (0, 2, 9):
        assert_close(jax.jit(lambda n: train(gx, n))(n), jax.jit(lambda n: train(optax, n))(n), rtol=1e-5)


PERIODS = {
    "apply_every": lambda o, k: o.apply_every(k),
    "MultiSteps": lambda o, k: o.MultiSteps(o.sgd(0.1), k if o is gx else lambda _: k),
    "learning_rate": lambda o, k: o.chain(o.scale_by_adam(b1=k / 10), o.scale_by_learning_rate(-k)),
}


@pytest.mark.parametrize("name", PERIODS)
def test_a_traced_number_gives_what_optax_gives(name):
    def train(o, k):
        with promoting(o):
            return trajectory(PERIODS[name](o, k), [])

    ours, theirs = (jax.jit(train, static_argnums=0)(o, 2) for o in (gx, optax))
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_whole_numbers_of_steps_are_counted_exactly():
    """float32 does not hold 2^24 + 1."""
    end = 2**24 + 1
    join = lambda n: gx.join_schedules([gx.constant_schedule(1.0), gx.constant_schedule(2.0)], [n])(jnp.array([end - 1, end]))
    for made in (join(end), join(float(end)), jax.jit(join)(end), join(jnp.int32(end)), join(np.int64(end))):
        np.testing.assert_array_equal(made, [1, 2])
    np.testing.assert_array_equal(gx.piecewise_constant_schedule(1.0, {end: 2})(jnp.array([end - 1, end])), [1, 2])


def test_a_schedule_of_no_length_has_no_gradient_that_is_not_finite():
    def value(w):
        parts = [gx.polynomial_schedule(0.0, 1.0, 0.5, w), gx.polynomial_schedule(1.0, 0.0, 0.5, 10)]
        return jnp.sum(gx.join_schedules(parts, [w])(jnp.arange(8)))

    assert np.isfinite(jax.grad(value)(0.0))


# ---- what only this library has

OURS = {
    "clip_by_norm": lambda: (gx.clip_by_norm(math.inf), gx.identity()),
    "box": lambda: (gx.keep_params_in_box(-math.inf, math.inf), gx.identity()),
    "box, half": lambda: (gx.keep_params_in_box(0.0, math.inf), gx.keep_params_in_box(0.0)),
    "dcasgd": lambda: (gx.dcasgd(-0.1, limit=math.inf), gx.dcasgd(-0.1)),
    "nesterov": lambda: (gx.nesterov(-0.5), gx.trace(-0.5, nesterov=True)),
    "ema": lambda: (gx.ema(1.0), gx.ema(1.0, debias=False)),
    "rms": lambda: (gx.scale_by_rms(1.0, bias_correction=True), gx.scale_by_rms(1.0)),
    "infinity": lambda: (gx.scale_by_infinity_norm(1.0, eps=0.0), gx.scale_by_infinity_norm(jnp.float32(1.0), eps=0.0)),
    "lans": lambda: (gx.lans(-1e-2, upper_bound=math.inf), gx.lans(-1e-2)),
    "lamb": lambda: (gx.lamb(-1e-2, lower_bound=0.0, upper_bound=math.inf), gx.lamb(-1e-2)),
    "rprop": lambda: (gx.rprop(1e-2, max_step_size=math.inf), gx.rprop(1e-2, max_step_size=1e30)),
    "rprop, still": lambda: (gx.rprop(1e-2, eta_minus=1.0, eta_plus=1.0), gx.chain(gx.scale_by_sign(), gx.scale(-1e-2))),
    "muon": lambda: (gx.muon(-1e-2, ns_steps=0), gx.chain(gx.muon(1e-2, ns_steps=0), gx.scale(-1.0))),
    "ascent": lambda: (gx.adamax(-1e-2), gx.chain(gx.adamax(1e-2), gx.scale(-1.0))),
    "ftml": lambda: (gx.ftml(-1e-3), gx.ftml(gx.constant_schedule(-1e-3))),
    "every 2.0": lambda: (gx.MultiSteps(gx.sgd(0.1), 2.0), gx.accumulate(gx.sgd(0.1), 2)),
    "every 0.1 * 20": lambda: (gx.accumulate(gx.sgd(0.1), 0.1 * 20), gx.accumulate(gx.sgd(0.1), np.int32(2))),
    "period": lambda: (gx.apply_every(3 * 0.1 * 10), gx.apply_every(3)),
    "keras": lambda: (keras.sgd(-0.1), gx.sgd(-0.1)),
    "mxnet": lambda: (mxnet.sgd(-0.1), gx.sgd(-0.1)),
    "neon": lambda: (neon.gradient_descent_momentum(-0.1, 0.0), gx.sgd(-0.1)),
    "schedule-free": lambda: (gx.schedule_free_sgd(-0.1, 0), gx.schedule_free(gx.sgd(-0.1), 0.1)),
}


@pytest.mark.parametrize("name", OURS)
def test_ours(name):
    a, b = (trajectory(tx, []) for tx in OURS[name]())
    assert_close(a[-1], b[-1], rtol=1e-4, atol=1e-5)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(a))


def test_a_negative_rate_climbs():
    for name in ("sgd", "adam", "rmsprop", "lion", "schedule_free_sgd", "ftml", "adafactor", "muon", "momo"):
        first, *_, last = map(objective, trajectory(getattr(gx, name)(-1e-2), ["value"] if name == "momo" else []))
        assert last > first, name


REFUSED = {
    "rate": [lambda v: gx.sgd(v), (math.nan, math.inf, -math.inf, 1j, "0.1", None, True, [0.1])],
    "decay": [lambda v: gx.adam(0.1, b2=v), (2.0, 1.0, -0.1, math.nan)],
    "ema": [lambda v: gx.ema(v), (2.0, 1.1, -1.0, math.nan)],
    "mean": [lambda v: gx.adam(0.1, v), (2.0, 1.0, -1.0, math.nan)],
    "momentum": [lambda v: gx.sgd(0.1, v), (2.0, -1.1, math.nan)],
    "threshold": [lambda v: gx.clip_by_global_norm(v), (-1.0, -math.inf, math.nan)],
    "eps": [lambda v: gx.adam(0.1, eps=v), (-1e-8, math.inf, math.nan)],
    "weight_decay": [lambda v: gx.adamw(0.1, weight_decay=v), (math.inf, math.nan)],
    "period": [lambda v: gx.apply_every(v), (0, -1, 2.5, math.inf, math.nan, "2", True)],
    "size": [lambda v: gx.scale_by_lbfgs(v), (0, 1.5)],
    "size of a step": [lambda v: gx.rprop(v), (-0.1,)],
    "dual average": [lambda v: gx.madgrad(v), (-0.1,)],
    "PyTorch": [lambda v: torch.sgd(v), (-0.1,)],
    "steps": [lambda v: gx.linear_schedule(0.0, 1.0, v), (math.nan, 1j, "5", None, True)],
    "length": [lambda v: gx.cosine_decay_schedule(1.0, v), (0, -1, math.nan)],
    "boundary": [lambda v: gx.join_schedules([gx.constant_schedule(1.0)] * 2, [v]), (math.nan, "5", None)],
    "boundary of a factor": [lambda v: gx.piecewise_constant_schedule(1.0, {v: 0.5}), (math.nan, "5", None)],
    "factor": [lambda v: gx.piecewise_constant_schedule(1.0, {5: v}), (-0.5, math.nan)],
    "warm-up": [lambda v: gx.warmup_cosine_decay_schedule(0.0, 1.0, v, 10), (-1, 10, 11, math.nan)],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_mean_anything_is_refused(name):
    make, values = REFUSED[name]
    for value in values:
        with pytest.raises(HyperparameterError):
            make(value)


# ---- what a schedule returns

UNTRACEABLE = {
    "if": lambda k: 0.1 if k < 100 else 0.01,
    "math": lambda k: math.cos(k),
    "numpy": lambda k: np.cos(k),
    "float": lambda k: 0.1 * float(k),
    "list": lambda k: [0.1, 0.2][int(k)],
}
USES = {
    "sgd": lambda f: gx.sgd(f),
    "b1": lambda f: gx.adam(0.1, f),
    "chain": lambda f: gx.chain(gx.clip(1.0), gx.scale_by_schedule(f)),
    "joined": lambda f: gx.sgd(gx.join_schedules([f, gx.constant_schedule(0.1)], [5])),
    "injected": lambda f: gx.inject_hyperparams(gx.sgd)(f),
    "injected by another": lambda f: gx.inject_hyperparams(optax.sgd)(f),
    "accumulate": lambda f: gx.accumulate(gx.sgd(0.1), f),
    "MultiSteps": lambda f: gx.MultiSteps(gx.sgd(0.1), f),
    "conditionally": lambda f: gx.conditionally_transform(gx.sgd(0.1), f),
    "adopt": lambda f: gx.adopt(0.1, clip_value_fn=f),
    "schedule_free": lambda f: gx.schedule_free(gx.sgd(0.1), f),
}


def compiled(tx):
    return jax.jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)[0]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", UNTRACEABLE)
def test_a_schedule_that_cannot_be_traced_is_told_what_to_write(name, use):
    with pytest.raises(HyperparameterError, match=r"`jnp\.where\(k < n, a, b\)`.*`join_schedules`.*`jnp\.cos\(k\)`"):
        compiled(USES[use](UNTRACEABLE[name]))


UNREAL = {
    "complex": lambda k: 0.1j,
    "complex array": lambda k: 0.1j * jnp.asarray(k, complex),
    "text": lambda k: "0.1",
    "nothing": lambda k: None,
    "list": lambda k: [0.1],
    "NaN": lambda k: math.nan,
    "NumPy's NaN": lambda k: np.float32(math.nan),
    "key": lambda k: jax.random.key(0),
}


@pytest.mark.parametrize("use", ["sgd", "b1", "chain", "injected", "accumulate", "MultiSteps"])
@pytest.mark.parametrize("name", UNREAL)
def test_a_schedule_returns_a_real_number(name, use):
    with pytest.raises(HyperparameterError, match="must return a real number or an array of them, but returned"):
        compiled(USES[use](UNREAL[name]))


REAL = {
    "Python's": lambda k: 0.1,
    "NumPy's": lambda k: np.float64(0.1),
    "whole": lambda k: k,
    "a flag": lambda k: k < 3,
    "infinite": lambda k: jnp.inf,
}


@pytest.mark.parametrize("name", REAL)
def test_what_a_schedule_may_return(name):
    wanted = jax.tree.map(lambda g: -g * float(REAL[name](0)), PARAMS)
    assert_close(compiled(gx.sgd(REAL[name])), wanted)


def test_a_nan_that_is_computed_goes_through():
    assert all(np.all(np.isnan(u)) for u in jax.tree.leaves(compiled(gx.sgd(lambda k: jnp.log(-1.0 - jnp.float32(k))))))
