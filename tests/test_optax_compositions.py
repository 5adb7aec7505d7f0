"""Ours inside Optax's wrappers and chains, theirs inside ours: four ways to make one optimizer, and one result.

A composition is written with two modules: `w` has the wrappers and the stages around, `o` what is wrapped. Optax alone says what is right.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform

NOT_B = {"b": False, "w": True}
LABELS = {"b": "b", "w": "w"}


def draw(seed):
    r = np.random.default_rng(seed)
    return {"b": jnp.asarray(r.standard_normal(4), jnp.float32), "w": jnp.asarray(r.standard_normal((6, 4)), jnp.float32)}


PARAMS, CURVATURE = draw(1), jax.tree.map(lambda x: 0.5 + x**2, draw(2))
STEPS = 5


def loss(params):
    return sum(jnp.vdot(h * p, p) / 2 for h, p in zip(jax.tree.leaves(CURVATURE), jax.tree.leaves(params), strict=True))


class Composition(NamedTuple):
    """`make(w, o)`; `start` prepares the parameters, `at` is where their gradient is taken, `error` bounds relative differences.

    `extra`: whether the steps give `value` and all else that a stage may ask for. (Optax's `sam` refuses what it does not know.)
    """

    make: Callable[[Any, Any], Any]
    start: Callable[[Any, Any], Any] = lambda w, params: params
    at: Callable[[Any], Any] = lambda params: params
    error: float = 2e-6
    extra: bool = True


def train(tx, params, at=lambda params: params, extra=True):
    """Descend, in Optax's own words."""
    state = tx.init(params)
    update = optax.with_extra_args_support(tx).update if isinstance(tx, optax.GradientTransformation) else tx.update

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(at(params))
        given = {"value": value, "grad": grads, "value_fn": loss} if extra else {}
        updates, state = update(grads, state, params, **given)
        return optax.apply_updates(params, updates), state

    for _ in range(STEPS):
        params, state = step(params, state)
    return params, state


def is_matrix(params):
    return jax.tree.map(lambda p: p.ndim == 2, params)


def at_even_steps(step, **extra):
    return step % 2 == 0


def while_it_is_costly(step, *, value, **extra):
    return value > 1.0


def transformation(steps):
    """Of `MultiSteps`: ours has a method, Optax's was made one by `oracle`."""
    return getattr(steps, "gradient_transformation", lambda: steps)()


def scheduled(o):
    return o.linear_schedule(0.1, 0.0, STEPS)


C = Composition
COMPOSITIONS = {
    "chain": C(lambda w, o: w.chain(o.clip_by_global_norm(1.0), w.scale_by_adam(), o.add_decayed_weights(0.1), w.scale(-0.1))),
    "chain of chains": C(lambda w, o: w.chain(o.chain(o.clip(0.5), w.trace(0.9)), w.chain(o.scale(-0.1)))),
    "chain, schedule": C(lambda w, o: w.chain(o.scale_by_rms(), w.scale_by_schedule(scheduled(o)), o.scale(-1.0))),
    "named_chain": C(lambda w, o: w.named_chain(("clip", o.clip(0.5)), ("adamw", o.adamw(0.1)))),
    "masked": C(lambda w, o: w.masked(o.adamw(0.1), NOT_B)),
    "masked by a function": C(lambda w, o: w.masked(o.adafactor(0.1, min_dim_size_to_factor=4), is_matrix)),
    "masked twice": C(lambda w, o: w.masked(o.masked(w.adam(0.1), NOT_B), is_matrix)),
    "partition": C(lambda w, o: w.partition({"w": o.lion(0.1), "b": w.adagrad(0.1)}, LABELS)),
    "partition, momenta": C(lambda w, o: w.partition({"w": w.chain(o.trace(0.9), o.scale(-0.1)), "b": o.set_to_zero()}, LABELS)),
    "multi_transform": C(lambda w, o: w.multi_transform({"w": o.adam(0.1), "b": o.sgd(0.1, 0.9)}, LABELS)),
    "freeze": C(lambda w, o: w.chain(o.adam(0.1), w.freeze(NOT_B))),
    "selective_transform": C(lambda w, o: w.selective_transform(o.adam(0.1), freeze_mask=NOT_B)),
    "MultiSteps": C(lambda w, o: w.MultiSteps(o.adamw(scheduled(o)), every_k_schedule=2)),
    "MultiSteps, skip": C(lambda w, o: w.MultiSteps(o.sgd(0.1), 2, should_skip_update_fn=o.skip_not_finite)),
    "MultiSteps in a chain": C(lambda w, o: w.chain(o.clip(1.0), transformation(w.MultiSteps(o.adam(0.1), 2)))),
    "inject_hyperparams": C(lambda w, o: w.inject_hyperparams(o.adam)(learning_rate=0.1, b1=0.8)),
    "inject_hyperparams, schedule": C(lambda w, o: w.inject_hyperparams(o.rmsprop)(scheduled(o), decay=0.8)),
    "inject_hyperparams of a chain": C(
        lambda w, o: w.inject_hyperparams(lambda rate, clip: o.chain(o.clip(clip), w.adam(rate)))(rate=scheduled(w), clip=0.5)
    ),
    "lookahead": C(
        lambda w, o: w.lookahead(o.sgd(0.1, 0.9), sync_period=2, slow_step_size=0.5),
        start=lambda w, params: w.LookaheadParams.init_synced(params),
        at=lambda params: params.fast,
    ),
    "apply_if_finite": C(lambda w, o: w.apply_if_finite(o.adam(0.1), 2)),
    "conditionally_transform": C(lambda w, o: w.conditionally_transform(o.adam(0.1), at_even_steps)),
    "conditionally_mask, value": C(lambda w, o: w.conditionally_mask(o.sgd(0.1), while_it_is_costly, forward_extra_args=True)),
    "flatten": C(lambda w, o: w.flatten(o.chain(o.clip(1.0), w.adam(0.1)))),
    "ema": C(lambda w, o: w.chain(o.sgd(0.1), w.ema(0.9), o.scale(0.5))),
    "polyak": C(lambda w, o: w.chain(o.trace(0.5), w.scale_by_polyak(max_learning_rate=0.2), o.scale(-1.0))),
    "polyak, masked": C(lambda w, o: w.masked(o.polyak_sgd(0.2), NOT_B)),
    "polyak in a partition": C(lambda w, o: w.partition({"w": o.polyak_sgd(0.2), "b": o.sgd(0.1)}, LABELS)),
    "polyak in apply_if_finite": C(lambda w, o: w.apply_if_finite(w.chain(o.clip(5.0), o.polyak_sgd(0.2)), 2)),
    "polyak in inject_hyperparams": C(lambda w, o: w.inject_hyperparams(o.polyak_sgd)(max_learning_rate=0.2)),
    "reduce_on_plateau": C(lambda w, o: w.chain(o.adam(0.1), w.contrib.reduce_on_plateau(0.5, patience=1, rtol=0.9))),
    "linesearch": C(lambda w, o: w.chain(o.sgd(1.0), w.scale_by_backtracking_linesearch(10))),
    "lbfgs": C(lambda w, o: w.chain(o.scale_by_lbfgs(2), w.scale(-1.0), o.scale_by_zoom_linesearch(10)), error=1e-4),
    "schedule_free": C(lambda w, o: w.contrib.schedule_free(o.rmsprop(0.1), 0.1)),
    "mechanize": C(lambda w, o: w.contrib.mechanize(o.adam(0.1))),
    "sam": C(lambda w, o: w.contrib.sam(o.adam(0.1), w.chain(o.contrib.normalize(), w.sgd(0.05))), extra=False),
    "split_real_and_imaginary": C(lambda w, o: w.contrib.split_real_and_imaginary(o.adam(0.1))),
}


def assert_close(actual, expected, error=2e-6):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        e = np.asarray(e)
        np.testing.assert_allclose(a, e, rtol=0, atol=error * max(1.0, np.max(np.abs(e), initial=0)))


@pytest.mark.parametrize("composition", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_one_result(composition):
    def run(w, o):
        params = composition.start(w, PARAMS)
        return train(composition.make(w, o), params, composition.at, composition.extra)

    expected = run(optax, optax)
    for w, o in [(gradxform, gradxform), (optax, gradxform), (gradxform, optax)]:
        assert_close(run(w, o), expected, composition.error)


OURS_ALONE = {
    "accumulate": (lambda o: gradxform.accumulate(o.adamw(0.1), 2), lambda: optax.MultiSteps(optax.adamw(0.1), 2)),
    "accumulate, value": (
        lambda o: gradxform.chain(o.polyak_sgd(0.2), gradxform.accumulate(o.sgd(1.0), 1)),
        lambda: optax.chain(optax.polyak_sgd(0.2), optax.sgd(1.0)),
    ),
    "master_weights": (lambda o: gradxform.master_weights(o.adamw(0.1)), lambda: optax.adamw(0.1)),
    "partition by pattern": (
        lambda o: gradxform.partition({"decay": o.adamw(0.1), "plain": o.adam(0.1)}, {"w": "decay", "default": "plain"}),
        lambda: optax.adamw(0.1, mask=NOT_B),
    ),
}


@pytest.mark.parametrize(("make", "reference"), OURS_ALONE.values(), ids=OURS_ALONE)
@pytest.mark.parametrize("library", [gradxform, optax], ids=["ours inside", "theirs inside"])
def test_what_optax_lacks(make, reference, library):
    assert_close(train(make(library), PARAMS)[0], train(reference(), PARAMS)[0])


# Extra arguments


@gradxform.elementwise(needs=("value",))
def scale_by_value(g, s, p, c):
    """u = value g"""
    return c.value * g, s


CHAINS = {
    "theirs": optax.chain,
    "ours": gradxform.chain,
    "ours in theirs": lambda *stages: optax.chain(optax.scale(1.0), gradxform.chain(*stages)),
    "theirs in ours": lambda *stages: gradxform.chain(gradxform.scale(1.0), optax.chain(*stages)),
    "masked ours in theirs": lambda *stages: optax.chain(gradxform.masked(gradxform.chain(*stages), True)),
    "masked theirs in ours": lambda *stages: gradxform.chain(optax.masked(optax.chain(*stages), True)),
    "named": lambda *stages: gradxform.named_chain(*((str(i), tx) for i, tx in enumerate(stages))),
    "named theirs": lambda *stages: optax.named_chain(*((str(i), tx) for i, tx in enumerate(stages))),
    "partition ours": lambda *stages: gradxform.partition({"a": optax.chain(*stages)}, lambda p: jax.tree.map(lambda x: "a", p)),
    "partition theirs": lambda *stages: optax.partition({"a": gradxform.chain(*stages)}, lambda p: jax.tree.map(lambda x: "a", p)),
    "accumulate": lambda *stages: gradxform.accumulate(optax.chain(*stages), 1),
}
by_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)


@by_chain
def test_value_reaches_ours_and_theirs(chain):
    """Polyak's rate is value / ||g||^2; the plateau halves the second and the third update."""
    plateau = optax.contrib.reduce_on_plateau(0.5, patience=1)
    tx = chain(optax.scale_by_polyak(), gradxform.clip(10.0), scale_by_value(), plateau)
    g = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    state, update = tx.init(g), jax.jit(tx.update)
    for factor in (1, 0.5, 0.25):
        u, state = update(g, state, g, value=2.0)
        assert_close(u, jax.tree.map(lambda x, f=factor: f * 2.0**2 / 25 * x, g))


@by_chain
def test_unknown_extra_arguments_are_ignored(chain):
    tx = chain(optax.scale_by_polyak(), gradxform.clip(10.0), scale_by_value(), optax.trace(0.9), gradxform.trace(0.9))
    tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=2.0, unknown=object())


@by_chain
def test_a_missing_value_is_named(chain):
    tx = chain(gradxform.clip(10.0), scale_by_value())
    with pytest.raises(gradxform.MissingArgumentError, match=r"scale_by_value.*`value`"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_injected_learning_rate_can_be_set():
    """The decays stay static: injected as float32 arguments, 1 - b2 would lose digits, in Optax as here."""
    for w in (gradxform, optax):
        for o in (gradxform, optax):
            tx = w.inject_hyperparams(o.adam, static_args=("b1", "b2"))(learning_rate=0.1)
            state = tx.init(PARAMS)
            _, state = tx.update(PARAMS, state, PARAMS)
            state.hyperparams["learning_rate"] = jnp.asarray(0.3, jnp.float32)
            u, _ = tx.update(PARAMS, state, PARAMS)
            assert_close(u, jax.tree.map(lambda p: -0.3 * jnp.sign(p), PARAMS), 1e-5)


# Classes


@pytest.mark.parametrize("make", [lambda: gradxform.adam(1e-3), lambda: gradxform.chain(gradxform.scale(1.0)), scale_by_value])
def test_ours_is_an_instance_of_both_libraries_classes(make):
    for module in (optax, gradxform):
        assert isinstance(make(), module.GradientTransformation)
        assert isinstance(make(), module.GradientTransformationExtraArgs)


@pytest.mark.parametrize("module", [optax, gradxform], ids=["optax", "gradxform"])
def test_with_extra_args_support(module):
    """Ours passes through; a pair without extra arguments, made from either class, learns to ignore them."""
    ours = gradxform.adam(0.1)
    assert module.with_extra_args_support(ours) is ours
    for library in (optax, gradxform):
        plain = library.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates, state))
        updates, _ = module.with_extra_args_support(plain).update(PARAMS, (), PARAMS, value=1.0)
        assert_close(updates, PARAMS)
