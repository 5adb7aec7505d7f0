"""Of what programs are composed, and what is left out, with the reason.

A part is the text of an expression, in which `o` is Optax or gradxform and `gx` is gradxform, so that Optax can run every program that
has no `gx` in it. `{rate}` stands for the learning rate. Beside each part stands its degree: gradients times k (a power of 2) give updates
times k^degree; None where nothing is known.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

import gradxform as gx


def odd(params):
    """Every second leaf, the first one included."""
    leaves, treedef = jax.tree.flatten(params)
    return treedef.unflatten([i % 2 == 0 for i in range(len(leaves))])


def matrices(params):
    return jax.tree.map(lambda p: p.ndim == 2, params)


def vectors(params):
    return jax.tree.map(lambda p: p.ndim != 2, params)


def halves(params):
    """The shapes of a model half as wide."""
    return jax.tree.map(lambda p: jax.ShapeDtypeStruct([max(n // 2, 1) for n in p.shape], p.dtype), params)


def groups(params):
    """Labels "a" and "b", in turn."""
    return jax.tree.map(lambda is_odd: "a" if is_odd else "b", odd(params))


def by_turns(step, **extra):
    return step % 3 != 1


def norm(tree):
    return gx.tree.norm(tree)


def penalty(params):
    return sum(jnp.sum(jnp.abs(p) ** 2).astype(jnp.float32) for p in jax.tree.leaves(params)) / 2


def objective(params, *_):
    return sum(jnp.sum(jnp.abs(p) ** 4).astype(jnp.float32) for p in jax.tree.leaves(params)) / 4


WORDS = {f.__name__: f for f in (odd, matrices, vectors, halves, groups, by_turns, norm, penalty)} | {"jnp": jnp, "jax": jax}

RATES = ("0.01", "0.1", "0.003")
SCHEDULES = (
    "o.constant_schedule(0.01)",
    "o.linear_schedule(0.02, 0.001, 40)",
    "o.polynomial_schedule(0.02, 0.001, 2, 30, 5)",
    "o.exponential_decay(0.02, 10, 0.9, staircase=True)",
    "o.cosine_decay_schedule(0.02, 50, alpha=0.1)",
    "o.piecewise_constant_schedule(0.02, {7: 0.5, 30: 0.1})",
    "o.warmup_cosine_decay_schedule(0.0, 0.02, 5, 60, 0.001)",
    "o.warmup_exponential_decay_schedule(0.0, 0.02, 5, 10, 0.9, end_value=0.001)",
    "o.join_schedules([o.linear_schedule(0.0, 0.02, 5), o.cosine_decay_schedule(0.02, 50)], [5])",
    "o.cosine_onecycle_schedule(60, 0.02)",
    "o.sgdr_schedule([dict(init_value=0.0, peak_value=0.02, decay_steps=9, warmup_steps=3, end_value=0.001)] * 4)",
)

TRANSFORMS = {
    "o.adaptive_grad_clip(0.5)": None,
    "o.add_decayed_weights(0.01)": None,
    "o.add_decayed_weights(0.01, matrices)": None,
    "o.apply_every(3)": 1,
    "o.centralize()": 1,
    "o.clip(0.5)": None,
    "o.clip_by_block_rms(0.7)": None,
    "o.clip_by_global_norm(1.0)": None,
    "o.contrib.normalize()": 0,
    "o.ema(0.9)": 1,
    "o.ema(0.9, debias=False)": 1,
    "o.identity()": 1,
    "o.normalize_by_update_norm(2.0, 1e-30)": 0,
    "o.scale(0.5)": 1,
    "o.scale_by_optimistic_gradient()": 1,
    "o.chain(o.scale_by_param_block_norm(), o.scale(1e-4))": 1,  # without a rate they grow in proportion to themselves
    "o.chain(o.scale_by_param_block_rms(), o.scale(1e-4))": 1,
    "o.scale_by_sign()": 0,
    "o.scale_by_trust_ratio()": 0,
    "o.snapshot('norm', norm)": 1,
    "o.monitor({'norm': o.measure_with_ema(norm, 0.9)})": 1,
    "o.trace(0.9)": 1,
    "o.trace(0.9, nesterov=True)": 1,
    "o.zero_nans()": 1,
    "gx.add_noise(0.01, 0.55, 0)": None,
    "gx.add_regularizer(penalty, 0.01)": None,
    "gx.clip_by_norm(1.0)": None,
    "gx.floor_by_param_norm(0.01)": None,
    "gx.grokfast(0.9, 2.0)": 1,
    "gx.compensate_delay(0.1)": None,
    "gx.compressed_mean(gx.distributed.scaled_sign())": 1,
    "gx.error_feedback(gx.distributed.scaled_sign())": 1,
    "gx.error_feedback(gx.distributed.two_bit(0.1))": None,
    "gx.mean_over(None)": 1,
    "gx.majority_vote(None)": 0,
    "gx.nesterov(0.9)": 1,
    "gx.per_device(gx.trace(0.9), None)": 1,
    "gx.scale_by_multiplier({'*': 0.5})": 1,
    "o.masked(gx.scale_by_shape(), matrices)": 1,
}
"""What may stand before an optimizer."""

DIRECTIONS = {
    "o.scale_by_adadelta()": None,
    "o.scale_by_adam(eps=1e-30)": 0,
    "o.scale_by_adam(0.8, 0.95, nesterov=True)": None,
    "o.scale_by_adamax(eps=1e-30)": 0,
    "o.scale_by_adan(eps=1e-30)": None,
    "o.scale_by_amsgrad(eps=1e-30)": 0,
    "o.scale_by_belief(eps=1e-30, eps_root=0.0)": None,
    "o.scale_by_factored_rms(min_dim_size_to_factor=2)": None,
    "o.scale_by_lion()": 0,
    "o.scale_by_novograd(eps=1e-30)": None,
    "o.scale_by_radam()": None,
    "o.scale_by_rms(eps=1e-30)": 0,
    "o.scale_by_rms(0.9, eps_in_sqrt=False, bias_correction=True)": None,
    "o.scale_by_rss()": None,
    "o.scale_by_sm3()": None,
    "o.scale_by_stddev(0.9)": None,
    "o.scale_by_yogi()": None,
    "o.contrib.scale_by_acprop()": None,
    "o.contrib.scale_by_ademamix()": None,
    "o.contrib.scale_by_adopt()": None,
    "o.contrib.scale_by_simplified_ademamix()": None,
    "o.scale_by_polyak(max_learning_rate=0.1)": None,
    "gx.scale_by_infinity_norm(eps=1e-30)": 0,
    "gx.scale_by_lans()": None,
    "gx.scale_by_nadam(eps=1e-30)": 0,
    "gx.scale_by_nadamax(eps=1e-30)": 0,
    "gx.scale_by_row_rss()": None,
    "gx.scale_by_lmo()": None,
    "o.masked(gx.scale_by_muon(), matrices)": None,
    "gx.store(gx.scale_by_adam(), '8bit')": None,
}
"""What a rate follows."""

OPTIMIZERS = {
    "o.adabelief({rate})": None,
    "o.adadelta({rate})": None,
    "o.adafactor({rate}, min_dim_size_to_factor=2)": None,
    "o.adagrad({rate})": None,
    "o.adam({rate})": None,
    "o.adam({rate}, eps=1e-30, nesterov=True)": 0,
    "o.adamax({rate}, eps=1e-30)": 0,
    "o.adamaxw({rate})": None,
    "o.adamw({rate}, weight_decay=0.01)": None,
    "o.adamw({rate}, mask=matrices)": None,
    "o.adan({rate})": None,
    "o.amsgrad({rate}, eps=1e-30)": 0,
    "o.fromage(0.01)": None,
    "o.lamb({rate})": None,
    "o.lars({rate})": None,
    "o.lion({rate})": None,
    "o.nadam({rate})": None,
    "o.nadamw({rate})": None,
    "o.novograd({rate})": None,
    "o.optimistic_adam_v2({rate})": None,
    "o.optimistic_gradient_descent({rate})": 1,
    "o.polyak_sgd(0.1)": None,
    "o.radam({rate})": None,
    "o.rmsprop({rate}, 0.9, eps=1e-30)": 0,
    "o.rmsprop({rate}, centered=True, momentum=0.9)": None,
    "o.rprop(0.01)": None,
    "o.sgd({rate})": 1,
    "o.sgd({rate}, 0.9)": 1,
    "o.sgd({rate}, 0.9, nesterov=True)": 1,
    "o.sign_sgd({rate})": 0,
    "o.signum({rate})": 0,
    "o.sm3(0.1)": None,
    "o.yogi({rate})": None,
    "o.contrib.acprop({rate})": None,
    "o.contrib.ademamix({rate})": None,
    "o.contrib.adopt({rate})": None,
    "o.contrib.cocob(0.1)": None,
    "o.contrib.dadapt_adamw()": None,
    "o.contrib.dog(0.1)": None,
    "o.contrib.dowg(0.1)": None,
    "o.contrib.madgrad({rate})": None,
    "o.contrib.mechanize(o.sgd(1.0))": None,
    "o.contrib.momo(0.01)": None,
    "o.contrib.momo_adam(0.01)": None,
    "o.contrib.muon({rate})": None,
    "o.contrib.prodigy(0.1)": None,
    "o.contrib.schedule_free(o.sgd(0.01), 0.01)": None,
    "o.contrib.schedule_free_adamw(0.01)": None,
    "o.contrib.schedule_free_sgd(0.01)": None,
    "o.contrib.simplified_ademamix({rate})": None,
    "o.contrib.sam(o.adam({rate}), o.chain(o.contrib.normalize(), o.sgd(0.01)))": None,
    "o.inject_hyperparams(o.adam)({rate})": None,
    "o.inject_hyperparams(o.sgd)({rate}, momentum=0.9)": 1,
    "gx.adahessian({rate})": None,
    "gx.adam_mini({rate})": None,
    "gx.adamp({rate})": None,
    "gx.adamuon({rate})": None,
    "gx.aggmo({rate})": 1,
    "gx.ano({rate})": None,
    "gx.apollo({rate}, rank=2, every=3)": None,
    "gx.apollo_mini({rate}, every=3)": None,
    "gx.asgo({rate}, every=3)": None,
    "gx.average_params(gx.adamw({rate}), 0.9, start=2, warmup=True)": None,
    "gx.ema_nesterov(gx.adam({rate}), 0.9, 0.3)": None,
    "gx.gpa(gx.adamw({rate}), 0.9, 0.7)": None,
    "gx.outer(gx.adam({rate}), 3)": None,
    "gx.came({rate})": None,
    "gx.cautious(gx.adamw({rate}))": None,
    "gx.cautious(gx.sgd({rate}, 0.9))": 1,
    "gx.contrib.galore(0.01, 2, 3)": None,
    "gx.dcasgd({rate}, momentum=0.9)": None,
    "gx.dion({rate}, rank_fraction=0.5)": None,
    "gx.dion2({rate})": None,
    "gx.ftml({rate})": None,
    "gx.ftrl({rate}, l1=0.01, l2=0.01)": None,
    "gx.graft(gx.sgd({rate}), gx.adam(1.0))": None,
    "gx.grams({rate})": None,
    "gx.group_adagrad({rate})": None,
    "gx.hyperball(gx.adam(1.0), {rate})": None,
    "gx.kl_shampoo({rate}, every=3)": None,
    "gx.kl_soap({rate}, every=3)": None,
    "gx.lans({rate})": None,
    "gx.laprop({rate})": None,
    "gx.mars({rate})": None,
    "gx.mars({rate}, kind='lion')": None,
    "gx.maxaprop({rate})": None,
    "gx.nadamax({rate})": None,
    "gx.normuon({rate})": None,
    "gx.noisy_sgd(0.01, key=0)": None,
    "gx.psgd_kron({rate}, every=3)": None,
    "gx.psgd_kron({rate}, form='triangular')": None,
    "gx.qhadam({rate})": None,
    "gx.qhm({rate})": 1,
    "gx.scale_by_width(gx.adam({rate}), halves)": None,
    "gx.scion({rate})": None,
    "gx.sgld(0.01, temperature=1e-4)": None,
    "gx.shampoo({rate}, every=3)": None,
    "gx.soap({rate}, every=3, tie_break=0.01)": None,
    "gx.splus({rate}, every=3)": None,
    "gx.stable_adamw({rate})": None,
    "gx.contrib.sophia({rate}, update_interval=2)": None,
    "gx.master_weights(gx.adamw({rate}))": None,
    "gx.store(gx.adamw({rate}), '8bit')": None,
    "gx.store(gx.sgd({rate}, 0.9), 'bfloat16')": None,
    "gx.store(gx.adam({rate}), {'mu': 'bfloat16', 'nu': 'float8'}, where=matrices)": None,
}
"""What may end a program."""

WRAPPERS = {
    "o.masked({x}, odd)": 1,
    "o.masked({x}, matrices)": 1,
    "o.apply_if_finite({x}, 3)": None,
    "o.MultiSteps({x}, 3)": None,
    "o.MultiSteps({x}, 2, use_grad_mean=False)": None,
    "o.MultiSteps({x}, lambda k: 1 + k % 3)": None,
    "o.MultiSteps({x}, 2, should_skip_update_fn=o.skip_not_finite)": None,
    "o.conditionally_transform({x}, by_turns)": 1,
    "o.conditionally_mask({x}, by_turns)": None,
    "o.flatten({x})": None,
    "o.named_chain(('first', {x}))": None,
    "o.partition({'a': {x}, 'b': {y}}, groups)": None,
    "o.chain({x}, o.freeze(odd))": None,
    "o.selective_transform({x}, freeze_mask=odd)": None,
    "o.chain({x}, o.contrib.reduce_on_plateau(0.7, patience=2, cooldown=1))": None,
    "o.contrib.split_real_and_imaginary({x})": None,
    "gx.accumulate({x}, 3)": None,
    "gx.accumulate({x}, 2, True)": None,
    "gx.loss_scale({x}, 1.0, every=7)": None,
    "gx.master_weights({x})": None,
}
"""Around one ({x}) or two parts; the number is the degree that the inside must have for the whole to have one, None for any."""

LEFT_OUT = {
    "clip_qk": "it needs the heads' largest logits: tests/test_transforms_clip_qk.py",
    "scale_by_ss_quasi_newton ssbfgs ssbroyden": "as lbfgs: tests/test_quasi_newton.py",
    "scale_by_adahessian scale_by_adam_mini scale_by_adamp scale_by_adamuon scale_by_aggmo scale_by_ano scale_by_apollo scale_by_asgo "
    "scale_by_came scale_by_dion scale_by_dion2 scale_by_grams scale_by_kl_shampoo scale_by_kl_soap scale_by_laprop scale_by_mars "
    "scale_by_normuon scale_by_psgd_kron scale_by_qhadam scale_by_qhm scale_by_shampoo scale_by_soap scale_by_splus "
    "scale_by_stable_adam": "they are drawn as the whole optimizer",
    "lbfgs scale_by_lbfgs scale_by_backtracking_linesearch scale_by_zoom_linesearch": "their gradients must be those of `value_fn`, and "
    "those of a program are drawn: tests/test_lbfgs.py, tests/test_linesearch.py",
    "scale_by_learning_rate": "it follows every direction",
    "hutchinson_estimator_diag_hessian scale_by_sophia": "it is drawn as a part of sophia",
    "scale_by_galore scale_by_madgrad scale_by_cocob scale_by_dog scale_by_dowg scale_by_rprop "
    "scale_by_distance_over_gradients": "their updates are of the parameters' size, so they are drawn as the whole optimizer",
    "keep_params_in_box keep_params_nonnegative": "they end a program at parameters that are inside: tests/test_transforms_box.py",
    "sam schedule_free mechanize": "parameters are not where they are evaluated: they are drawn as the whole optimizer",
}
"""Registered, and not a part."""


REFUSED = {
    "keeps no running mean": "there is nothing to store",
    "is stored already": "one part is stored already",
    "one vector of all parameters would give other updates": "what is per leaf cannot be flattened",
}
"""Words of an error, and why it is right."""

OTHERWISE_IN_OPTAX = {
    "monitor": "its state is empty at first, which no scan or condition carries",
    "adan": "it has 1 - b2 in the place of b2",
    "sm3": "it takes neither scalars nor leaves without elements",
    "selective_transform": "a function is no mask of it",
    "rprop": "it gives the last update in the place of this one",
}
"""Parts whose docstrings say what Optax does otherwise."""

NOT_OF_COMPLEX = (
    "adadelta",
    "ademamix",
    "adopt",
    "clip",
    "cocob",
    "dadapt",
    "inject_hyperparams",
    "lamb",
    "lars",
    "madgrad",
    "mechanize",
    "momo",
    "MultiSteps",
    "norm",
    "param_block",
    "prodigy",
    "sm3",
    "trust",
)
"""What in Optax refuses complex numbers, or takes them for real ones."""

VALUED = ("polyak", "momo", "plateau")
"""Parts that need the extra argument `value`."""

OF_CURVATURE = ("sophia", "adahessian")
"""Parts that need the extra argument `obj_fn`."""

NOT_COMPARED = {
    "a part is ours alone": lambda program: program.needs("gx."),
    "a part is otherwise in Optax": lambda program: program.needs(*OTHERWISE_IN_OPTAX),
    "Optax is not made for complex numbers there": lambda program: program.is_complex and program.needs(*NOT_OF_COMPLEX),
    "Optax's injected rates are as wide as the widest leaf, and widen the others' states": lambda program: (
        len(program.dtypes) > 1 and program.needs("inject_hyperparams")
    ),
    "Optax's MultiSteps gives conditions and what skips no loss": lambda program: (
        program.needs("MultiSteps") and program.needs("should_skip", "conditionally") and program.needs(*VALUED)
    ),
    "in narrow dtypes Optax keeps narrow averages, and ours are wide": lambda program: program.dtypes & {"bfloat16", "float16"},
}
"""Programs of which Optax is not asked, and the reason."""
