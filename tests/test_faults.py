"""Faults in training: NaN and infinities at random steps and leaves, under every wrapper that says what becomes of them.

What a wrapper promises is written down here in plain Python, with the float64 transcriptions of `oracles` inside it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from oracles import ORACLES

import gradxform as gx

pytestmark = pytest.mark.usefixtures("x64")
SHAPES = {"a": (3,), "b": (2, 3), "c": ()}
STEPS = 24
KINDS = (np.nan, np.inf, -np.inf)
PARAMS = {name: np.full(shape, 0.5) for name, shape in SHAPES.items()}
NOT_B = {"a": True, "b": False, "c": True}
LABELS = {"a": "x", "b": "y", "c": "x"}
seeds = pytest.mark.parametrize("seed", range(2))


def faulty(seed, kinds=KINDS, often=0.35):
    """Gradients, some of which have a bad element in a random leaf; two bad ones often follow one another."""
    rng, found, was_bad = np.random.default_rng(seed), [], False
    for _ in range(STEPS):
        g = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
        was_bad = rng.random() < (0.7 if was_bad else often)
        if was_bad:
            name = rng.choice(list(SHAPES))
            flat = g[name].reshape(-1)
            flat[rng.integers(flat.size)] = rng.choice(kinds)
            g[name] = flat.reshape(SHAPES[name])
        found.append(g)
    return found


def is_finite(g):
    return all(np.isfinite(x).all() for x in g.values())


def zeros():
    return {name: np.zeros(shape) for name, shape in SHAPES.items()}


def has(state, **fields):
    """The fields of the first part of the state that has them."""
    [found] = [
        s for s in jax.tree.leaves(state, is_leaf=lambda s: hasattr(s, next(iter(fields)))) if hasattr(s, next(iter(fields)))
    ]
    for name, value in fields.items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def follow(tx, model, grads, tolerance=1e-9, check=None, **extras):
    """The updates are the model's at every step; `check(state, told)` looks at what the model tells beside them."""
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for i, g in enumerate(grads):
        extra = {name: values[i] for name, values in extras.items()}
        u, state = update(g, state, PARAMS, **extra)
        expected, told = model(g, **extra)
        for name in SHAPES:
            size = np.max(np.abs(expected[name]), initial=1, where=np.isfinite(expected[name]))
            np.testing.assert_allclose(u[name], expected[name], rtol=tolerance, atol=tolerance * size, err_msg=f"step {i}, {name}")
        if check:
            check(state, told)
        elif told:
            has(state, **told)
    return state


# What is inside, and its transcription: (g) -> u, with a state of its own


def whole(oracle):
    return lambda g: dict(zip(SHAPES, oracle(list(g.values()), list(PARAMS.values())), strict=True))


def masked(oracle):
    """b goes past it."""
    kept = [name for name in SHAPES if NOT_B[name]]
    return lambda g: g | dict(zip(kept, oracle([g[n] for n in kept], [PARAMS[n] for n in kept]), strict=True))


def partitioned(one, other):
    def step(g):
        found = {}
        for label, oracle in (("x", one), ("y", other)):
            names = [n for n in SHAPES if LABELS[n] == label]
            found |= dict(zip(names, oracle([g[n] for n in names], [PARAMS[n] for n in names]), strict=True))
        return {name: found[name] for name in SHAPES}

    return step


INNERS = {
    "sgd": (lambda: gx.sgd(0.1, 0.9), lambda: whole(ORACLES["sgd"](0.1, 0.9)), 1e-9),
    "adamw": (lambda: gx.adamw(0.1, weight_decay=0.01), lambda: whole(ORACLES["adamw"](0.1, weight_decay=0.01)), 1e-9),
    "masked": (lambda: gx.masked(gx.adam(0.1), NOT_B), lambda: masked(ORACLES["adam"](0.1)), 1e-9),
    "partitioned": (
        lambda: gx.partition({"x": gx.adam(0.1), "y": gx.sgd(0.1, 0.9)}, LABELS),
        lambda: partitioned(ORACLES["adam"](0.1), ORACLES["sgd"](0.1, 0.9)),
        1e-9,
    ),
    "stored": (lambda: gx.store(gx.sgd(0.1, 0.9), "bfloat16"), lambda: whole(ORACLES["sgd"](0.1, 0.9)), 0.05),
    "stored, 8 bits": (lambda: gx.store(gx.adam(0.01), "8bit"), lambda: whole(ORACLES["adam"](0.01)), 0.02),
    "Optax's": (lambda: optax.adam(0.1), lambda: whole(ORACLES["adam"](0.1)), 1e-9),
}
inners = pytest.mark.parametrize("inner", INNERS)


# Those that leave a bad gradient out


def apply_if_finite(inner, limit):
    count = total = 0

    def step(g):
        nonlocal count, total
        fine = is_finite(g)
        count, total = (0, total) if fine else (count + 1, total + 1)
        u = inner(g) if fine or count > limit else zeros()
        return u, {"notfinite_count": count, "last_finite": fine, "total_notfinite": total}

    return step


@seeds
@inners
def test_apply_if_finite(inner, seed):
    make, model, tolerance = INNERS[inner]
    follow(gx.apply_if_finite(make(), STEPS), apply_if_finite(model(), STEPS), faulty(seed), tolerance)


@seeds
def test_apply_if_finite_gives_up(seed):
    """With the third bad gradient in a row the wrapper lets all through, and the momentum is lost, as in the model."""
    follow(gx.apply_if_finite(gx.sgd(0.1, 0.9), 2), apply_if_finite(whole(ORACLES["sgd"](0.1, 0.9)), 2), faulty(seed, often=0.6))


def loss_scale(inner, initial, every, factor):
    scale, fine = initial, 0

    def step(g):
        nonlocal scale, fine
        if not is_finite(g):
            scale, fine = scale / factor, 0
            return zeros(), {"loss_scale": scale, "finite_count": fine}
        u = inner({name: x / scale for name, x in g.items()})
        fine += 1
        if fine == every:
            scale, fine = scale * factor, 0
        return u, {"loss_scale": scale, "finite_count": fine}

    return step


@seeds
@inners
def test_loss_scale(inner, seed):
    make, model, tolerance = INNERS[inner]
    follow(gx.loss_scale(make(), 8.0, every=3), loss_scale(model(), 8.0, 3, 2.0), faulty(seed), tolerance)


def accumulated(inner, k, leaves_out=lambda g: False, told=lambda g: {}):
    """The mean of k gradients, without those that are left out."""
    kept, done = [], 0

    def step(g):
        nonlocal kept, done
        if leaves_out(g):
            return zeros(), {"mini_step": len(kept), "gradient_step": done} | told(g)
        kept.append(g)
        u = zeros()
        if len(kept) == k:
            with np.errstate(invalid="ignore"):
                u = inner({name: np.mean([g[name] for g in kept], axis=0) for name in SHAPES})
            kept, done = [], done + 1
        return u, {"mini_step": len(kept), "gradient_step": done} | told(g)

    return step


def told_of(skip, names):
    def check(state, told):
        has(state, mini_step=told["mini_step"], gradient_step=told["gradient_step"])
        for name in names:
            np.testing.assert_allclose(state.skip_state[name], told[name])

    return check


@seeds
@inners
def test_multi_steps_that_skip_what_is_not_finite(inner, seed):
    make, model, tolerance = INNERS[inner]
    tx = gx.MultiSteps(make(), 2, should_skip_update_fn=gx.skip_not_finite, accumulator_dtype=None)
    bad = lambda g: int(sum(np.sum(~np.isfinite(x)) for x in g.values()))
    told = lambda g: {"should_skip": bad(g) > 0, "num_not_finite": bad(g)}
    check = told_of(tx, ("should_skip", "num_not_finite"))
    follow(tx, accumulated(model(), 2, lambda g: not is_finite(g), told), faulty(seed), tolerance, check)


@seeds
@inners
def test_multi_steps_that_skip_what_is_large(inner, seed):
    """Whose norm is infinite, undefined, or above the limit."""
    make, model, tolerance = INNERS[inner]
    large = functools.partial(gx.skip_large_updates, max_squared_norm=12.0)
    tx = gx.MultiSteps(make(), 2, should_skip_update_fn=large, accumulator_dtype=None)
    square = lambda g: sum(np.sum(x**2) for x in g.values())
    check = told_of(tx, ("should_skip",))
    told = lambda g: {"should_skip": not square(g) < 12}
    follow(tx, accumulated(model(), 2, lambda g: not square(g) < 12, told), faulty(seed), tolerance, check)


# Those that say how far a bad gradient reaches


@seeds
@pytest.mark.parametrize("branch_free", [False, True])
def test_accumulate_loses_one_round(seed, branch_free):
    """A mean with a bad element in it gives one bad update; the means before and after it are as they are."""
    model = accumulated(lambda g: {name: -0.1 * x for name, x in g.items()}, 3)
    follow(gx.accumulate(gx.sgd(0.1), 3, branch_free), lambda g: model({k: _poisoned(x) for k, x in g.items()}), _nan_only(seed))


def _poisoned(x):
    return np.where(np.isfinite(x), x, np.nan)


def _nan_only(seed):
    return faulty(seed, kinds=(np.nan,))


@seeds
def test_apply_every_loses_one_round(seed):
    kept = []

    def model(g):
        kept.append(g)
        if len(kept) % 3:
            return zeros(), {}
        return {name: sum(g[name] for g in kept[-3:]) for name in SHAPES}, {}

    follow(gx.apply_every(3), model, _nan_only(seed))


@seeds
@inners
@pytest.mark.parametrize("name", ["conditionally_transform", "conditionally_mask"])
def test_what_a_condition_keeps_out_does_not_come_in(name, inner, seed):
    """Where the loss is not finite the inner transformation sees nothing."""
    make, model, tolerance = INNERS[inner]
    inside, grads = model(), faulty(seed)
    losses = [0.0 if is_finite(g) else np.nan for g in grads]
    tx = getattr(gx, name)(make(), lambda step, *, value: jnp.isfinite(value), forward_extra_args=True)

    def step(g, value):
        other = g if name == "conditionally_transform" else zeros()
        return (inside(g) if np.isfinite(value) else other), {}

    follow(tx, step, grads, tolerance, value=losses)


@seeds
def test_zero_nans(seed):
    """Infinities stay."""
    flags = lambda state, told: jax.tree.map(np.testing.assert_array_equal, state.found_nan, told)
    model = lambda g: ({n: np.where(np.isnan(x), 0, x) for n, x in g.items()}, {n: np.isnan(x).any() for n, x in g.items()})
    follow(gx.zero_nans(), model, faulty(seed), check=flags)


@seeds
def test_frozen_leaves_do_not_move(seed):
    model = lambda g: ({name: x if NOT_B[name] else np.zeros(SHAPES[name]) for name, x in g.items()}, {})
    frozen = {name: not kept for name, kept in NOT_B.items()}
    for tx in (gx.freeze(frozen), gx.selective_transform(gx.identity(), freeze_mask=frozen)):
        follow(tx, model, faulty(seed))


def clipped_by(norms):
    """g min(1, 1 / norm), as NumPy has it."""

    def model(g):
        with np.errstate(invalid="ignore"):
            return {name: x * np.minimum(1.0, 1.0 / norm) for (name, x), norm in zip(g.items(), norms(g), strict=True)}, {}

    return model


def _by_rms(g):
    with np.errstate(invalid="ignore"):
        return {name: x / np.maximum(1, np.sqrt(np.mean(x**2))) for name, x in g.items()}, {}


def _by_unit(g):
    """Vectors are one unit; of a matrix each column is one."""
    found = {}
    for name, x in g.items():
        axis = 0 if x.ndim == 2 else None
        norm = lambda x, axis=axis: np.sqrt(np.sum(x**2, axis, keepdims=axis is not None))
        with np.errstate(invalid="ignore"):
            most = np.broadcast_to(np.maximum(norm(PARAMS[name]), 1e-3), x.shape)
            found[name] = np.where(norm(x) < most, x, x * (most / np.maximum(norm(x), 1e-6)))
    return found, {}


CLIPS = {
    "clip": (gx.clip(1.0), lambda g: ({name: np.clip(x, -1, 1) for name, x in g.items()}, {})),
    "clip_by_norm": (gx.clip_by_norm(1.0), clipped_by(lambda g: [np.sqrt(np.sum(x**2)) for x in g.values()])),
    "clip_by_global_norm": (
        gx.clip_by_global_norm(1.0), clipped_by(lambda g: [np.sqrt(sum(np.sum(x**2) for x in g.values()))] * len(SHAPES)),
    ),
    "clip_by_block_rms": (gx.clip_by_block_rms(1.0), _by_rms),
    "adaptive_grad_clip": (gx.adaptive_grad_clip(1.0), _by_unit),
}  # fmt: skip


@seeds
@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_lets_nothing_through_unclipped(name, seed):
    """Where the norm is no number, nor is what it is divided by; an element that is clipped by itself is finite, if it is a number."""
    tx, model = CLIPS[name]
    follow(tx, model, faulty(seed))


@seeds
@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_does_as_optax(name, seed):
    if name == "clip_by_norm":
        pytest.skip("Optax has none")
    theirs = optax.adaptive_grad_clip(1.0) if name == "adaptive_grad_clip" else getattr(optax, name)(1.0)
    follow(CLIPS[name][0], lambda g: (theirs.update(g, theirs.init(PARAMS), PARAMS)[0], {}), faulty(seed))


def test_an_example_that_is_no_number_is_not_summed_unclipped():
    """A leaf of it that is finite must not pass the bound: that is what privacy rests on. Optax sums it unclipped."""
    grads = {"a": jnp.asarray([[np.nan], [0.3]]), "b": jnp.asarray([[1e6], [0.4]])}
    ours, clipped = gx.per_example_global_norm_clip(grads, 1.0)
    assert all(np.isnan(x).all() for x in jax.tree.leaves(ours))
    assert int(clipped) == 0


# Those whose memory a bad gradient would spoil for ever


@seeds
def test_error_feedback_behind_what_takes_the_bad_out(seed):
    """Nothing is lost: what was sent and what is left are what came, without NaN and with infinities at the bound."""
    tx = gx.chain(gx.zero_nans(), gx.clip(5.0), gx.error_feedback(gx.two_bit(0.5)))
    residual = zeros()

    def model(g):
        u = {}
        for name, x in g.items():
            total = np.clip(np.where(np.isnan(x), 0, x), -5, 5) + residual[name]
            u[name] = 0.5 * ((total >= 0.5).astype(float) - (total <= -0.5))
            residual[name] = total - u[name]
        return u, dict(residual)

    close = lambda state, told: jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), state[2].residual, told)
    follow(tx, model, faulty(seed), check=close)


@seeds
def test_measurements_pass_the_update_on(seed):
    """And tell of this update only."""
    tx = gx.chain(gx.snapshot("norm", gx.global_norm), gx.monitor({"most": lambda u: gx.tree.norm(u, ord="inf")}))

    def check(state, told):
        np.testing.assert_allclose([gx.tree.get(state, "norm"), gx.tree.get(state, "most")], told)

    def model(g):
        flat = np.concatenate([x.reshape(-1) for x in g.values()])
        with np.errstate(invalid="ignore"):
            return g, [np.sqrt(np.sum(flat**2)), np.max(np.abs(flat))]

    follow(tx, model, faulty(seed), check=check)


@seeds
@pytest.mark.parametrize("size", [1, 2])
def test_reduce_on_plateau(seed, size):
    """A mean that is no number is one without improvement, and the best stays."""
    rng = np.random.default_rng(seed)
    losses = [float(x) for x in np.where(rng.random(STEPS) < 0.4, rng.choice([np.nan, np.inf], STEPS), rng.normal(size=STEPS) + 3)]
    tx = gx.contrib.reduce_on_plateau(0.5, patience=2, cooldown=1, accumulation_size=size)
    scale, best, misses, cooldown, values = 1.0, np.inf, 0, 0, []

    def model(g, value):
        nonlocal scale, best, misses, cooldown, values
        values.append(value)
        if len(values) == size:
            mean, values = float(np.mean(values)), []
            better = mean < best - (1e-4 * abs(best) if np.isfinite(best) else 0)
            best, misses = (mean, 0) if better else (best, misses + 1)
            if cooldown:
                cooldown, misses = cooldown - 1, 0
            elif misses >= 2:
                scale, misses, cooldown = scale / 2, 0, 1
        return {name: scale * x for name, x in g.items()}, {"scale": scale, "best_value": best, "plateau_count": misses}

    check = lambda state, told: [np.testing.assert_allclose(getattr(state, name), x, err_msg=name) for name, x in told.items()]
    follow(tx, model, faulty(0, often=0.0), check=check, value=losses)


def test_sam_executes_one_of_the_two():
    """A bad gradient at the bottom goes uphill and is forgotten; the descent with the next, good one is as without it."""
    tx = gx.contrib.sam(gx.sgd(0.1, 0.9), gx.sgd(0.01, 0.9), reset_state=True)
    good = {name: np.ones(shape) for name, shape in SHAPES.items()}
    bad = good | {"b": np.full((2, 3), np.nan)}
    found = []
    for first in (good, bad):
        _, state = jax.jit(tx.update)(first, tx.init(PARAMS), PARAMS)
        u, state = jax.jit(tx.update)(good, state, PARAMS)
        found.append((u, state))
    jax.tree.map(np.testing.assert_array_equal, *found)


# Nothing of a bad gradient is left behind: bits


@inners
@pytest.mark.parametrize("wrap", ["apply_if_finite", "loss_scale", "MultiSteps"])
def test_a_gradient_that_is_left_out_changes_no_bit_inside(inner, wrap):
    """Of the stored ones the rounding's seed too."""
    around = {
        "apply_if_finite": lambda tx: gx.apply_if_finite(tx, STEPS),
        "loss_scale": lambda tx: gx.loss_scale(tx, 1.0, every=STEPS),
        "MultiSteps": lambda tx: gx.MultiSteps(tx, 1, should_skip_update_fn=gx.skip_not_finite),
    }
    make = INNERS[inner][0]
    tx = around[wrap](make())
    inside = lambda s: s.inner_opt_state if wrap == "MultiSteps" else s.inner_state
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for g in faulty(7):
        before = jax.tree.map(np.asarray, inside(state))
        u, state = update(g, state, PARAMS)
        if not is_finite(g):
            jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.asarray, inside(state)))
            assert all(not np.any(x) for x in jax.tree.leaves(u))
