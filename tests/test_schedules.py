"""Schedules: the published formulas in float64, Optax 0.2.8, and what a record promises.

A case makes one schedule from a module `s` (ours or Optax) and its main value `v`; `formula(k, v)` transcribes the source.
"""

import copy
import inspect
import math
import pickle
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform.schedules
from gradxform._errors import HyperparameterError
from gradxform.dialects import mxnet

S = gradxform.schedules
LAST = 2**31 - 1


class Case(NamedTuple):
    name: str
    make: Callable[[Any, Any], Callable[[Any], Any]]
    formula: Callable[[int, float], float]
    differs: bool = False  # from Optax, on purpose


# The formulas -----------------------------------------------------------------------------------------------------------------


def straight(k, a, b, n):
    return a if k <= 0 else b if k >= n else a + (b - a) * k / n


def half_cosine(k, a, b, n):
    return b + (a - b) * (1 + math.cos(math.pi * min(k, n) / n)) / 2


def exponential(k, v, n, rate):
    return v * math.exp(math.log(rate) * k / n)


def warm_cosine(k, a, peak, warm, total, end, exponent=1):
    return straight(k, a, peak, warm) if k < warm else end + (peak - end) * half_cosine(k - warm, 1, 0, total - warm) ** exponent


def sgdr(k, v):
    return warm_cosine(k, 0, v, 5, 25, 0.01) if k < 25 else warm_cosine(k - 25, 0.02, v / 2, 0, 40, 0)


def linear_onecycle(k, v):
    if k < 30:
        return straight(k, v / 25, v, 30)
    return straight(k - 30, v, v / 25, 55) if k < 85 else straight(k - 85, v / 25, v / 25e4, 15)


def interpolated(k, v, move):
    if k < 20:
        return move(k, v, 0.5 * v, 20)
    return move(k - 20, 0.5 * v, v, 30) if k < 50 else move(k - 50, v, 0.1 * v, 40)


def wsd(k, v, fall):
    return straight(k, 0.01, v, 10) if k < 10 else v if k <= 40 else v / 10 + (v - v / 10) * fall(min((k - 40) / 50, 1))


def triangular(k, low, high, stepsize, rate=1.0):
    """Smith 2017, section 3.1."""
    cycle = math.floor(1 + k / (2 * stepsize))
    x = abs(k / stepsize - 2 * cycle + 1)
    return low + (high - low) * max(0, 1 - x) * rate ** (cycle - 1)


WARM = {"init_value": 0.01, "warmup_steps": 10}
SCALES = {50: 2.0, 20: 0.5, 90: 0.1}
CYCLES = [
    {"init_value": 0.0, "warmup_steps": 5, "decay_steps": 25, "end_value": 0.01},
    {"init_value": 0.02, "warmup_steps": 0, "decay_steps": 40},
]

CASES = [
    Case("constant_schedule", lambda s, v: s.constant_schedule(v), lambda k, v: v),
    Case("linear_schedule", lambda s, v: s.linear_schedule(v, 0.01, 70), lambda k, v: straight(k, v, 0.01, 70)),
    Case("linear_schedule", lambda s, v: s.linear_schedule(0, v, 70, 9), lambda k, v: straight(k - 9, 0, v, 70)),
    Case(
        "polynomial_schedule",
        lambda s, v: s.polynomial_schedule(v, end_value=0.01, power=1.7, transition_steps=80, transition_begin=9),
        lambda k, v: 0.01 + (v - 0.01) * (1 - straight(k - 9, 0, 1, 80)) ** 1.7,
    ),
    Case("exponential_decay", lambda s, v: s.exponential_decay(v, 10, 0.8), lambda k, v: exponential(k, v, 10, 0.8)),
    Case(
        "exponential_decay",
        lambda s, v: s.exponential_decay(v, 10, 0.5, transition_begin=7, staircase=True, end_value=0.011),
        lambda k, v: max(v * 0.5 ** min(max(k - 7, 0) // 10, 99), 0.011),
    ),
    Case(
        "exponential_decay",
        lambda s, v: s.exponential_decay(v, 10, 1.5, end_value=0.7),
        lambda k, v: min(exponential(min(k, 999), v, 10, 1.5), 0.7),
    ),
    Case("cosine_decay_schedule", lambda s, v: s.cosine_decay_schedule(v, 90), lambda k, v: half_cosine(k, v, 0, 90)),
    Case(
        "cosine_decay_schedule",
        lambda s, v: s.cosine_decay_schedule(v, 90, alpha=0.1, exponent=2),
        lambda k, v: v * (0.9 * half_cosine(k, 1, 0, 90) ** 2 + 0.1),
    ),
    Case("sgdr_schedule", lambda s, v: s.sgdr_schedule([CYCLES[0] | {"peak_value": v}, CYCLES[1] | {"peak_value": v / 2}]), sgdr),
    Case(
        "piecewise_constant_schedule",
        lambda s, v: s.piecewise_constant_schedule(v, SCALES),
        lambda k, v: v * math.prod(scale for b, scale in SCALES.items() if k >= b),
    ),
    Case("piecewise_constant_schedule", lambda s, v: s.piecewise_constant_schedule(v), lambda k, v: v),
    Case(
        "piecewise_interpolate_schedule",
        lambda s, v: s.piecewise_interpolate_schedule("linear", v, SCALES),
        lambda k, v: interpolated(k, v, straight),
    ),
    Case(
        "piecewise_interpolate_schedule",
        lambda s, v: s.piecewise_interpolate_schedule("cosine", v, SCALES),
        lambda k, v: interpolated(k, v, half_cosine),
    ),
    Case(
        "piecewise_interpolate_schedule",
        lambda s, v: s.piecewise_interpolate_schedule("linear", v, {0: 0.5, 40: 0.1}),
        lambda k, v: straight(k, v / 2, v / 20, 40),
    ),
    Case("linear_onecycle_schedule", lambda s, v: s.linear_onecycle_schedule(100, v), linear_onecycle),
    Case(
        "linear_onecycle_schedule",
        lambda s, v: s.linear_onecycle_schedule(2, v),
        lambda k, v: (v, v / 25, v / 25e4)[min(k, 2)],
        differs=True,  # both floor(0.3 * 2) and the start are step 0
    ),
    Case(
        "cosine_onecycle_schedule",
        lambda s, v: s.cosine_onecycle_schedule(100, v, pct_start=0.4, div_factor=10.0, final_div_factor=100.0),
        lambda k, v: half_cosine(k, v / 10, v, 40) if k < 40 else half_cosine(k - 40, v, v / 1000, 60),
    ),
    Case("warmup_constant_schedule", lambda s, v: s.warmup_constant_schedule(0.01, v, 10), lambda k, v: straight(k, 0.01, v, 10)),
    Case("warmup_constant_schedule", lambda s, v: s.warmup_constant_schedule(0.01, v, 0), lambda k, v: v, differs=True),
    Case(
        "warmup_cosine_decay_schedule",
        lambda s, v: s.warmup_cosine_decay_schedule(peak_value=v, decay_steps=90, end_value=0.02, exponent=1.3, **WARM),
        lambda k, v: warm_cosine(k, 0.01, v, 10, 90, 0.02, 1.3),
    ),
    Case(
        "warmup_exponential_decay_schedule",
        lambda s, v: s.warmup_exponential_decay_schedule(peak_value=v, transition_steps=20, decay_rate=0.7, **WARM),
        lambda k, v: straight(k, 0.01, v, 10) if k < 10 else exponential(k - 10, v, 20, 0.7),
    ),
    Case(
        "join_schedules",
        lambda s, v: s.join_schedules([s.constant_schedule(v), s.linear_schedule(v, 0, 30), s.constant_schedule(0.3)], [20, 60]),
        lambda k, v: v if k < 20 else straight(k - 20, v, 0, 30) if k < 60 else 0.3,
    ),
    Case(
        "psgd_gap",
        lambda s, v: s.psgd_gap(v, 10 * v, 40, 0.05),
        lambda k, v: min(max(math.exp(0.05 * (min(k, 999) + 1 - 40)), v), 10 * v),
    ),
    Case("inverse_time_schedule", lambda s, v: s.inverse_time_schedule(v, 0.1), lambda k, v: v / (1 + 0.1 * k)),
    Case(
        "rsqrt_schedule",
        lambda s, v: s.rsqrt_schedule(0, v, 40),  # d_model^-0.5 = v sqrt(40)
        lambda k, v: v * math.sqrt(40) * min(k * 40**-1.5, k**-0.5 if k else 0),
    ),
    *(
        Case(
            "wsd_schedule",
            lambda s, v, decay=decay: s.wsd_schedule(0.01, v, 10, 30, 50, end_value=v / 10, decay=decay),
            lambda k, v, fall=fall: wsd(k, v, fall),
        )
        for decay, fall in {
            "linear": lambda q: 1 - q,
            "cosine": lambda q: math.cos(math.pi * q / 2) ** 2,
            "one_minus_sqrt": lambda q: 1 - math.sqrt(q),
        }.items()
    ),
    Case("wsd_schedule", lambda s, v: s.wsd_schedule(0, v, 0, 0, 50), lambda k, v: straight(k, v, 0, 50)),
    Case(
        "one_minus_sqrt_schedule",
        lambda s, v: s.one_minus_sqrt_schedule(v, 0.01, 60, 20),
        lambda k, v: 0.01 + (v - 0.01) * (1 - math.sqrt(straight(k - 20, 0, 1, 60))),
    ),
    Case(
        "rex_schedule",
        lambda s, v: s.rex_schedule(v, 0, 80),
        lambda k, v: v * (1 - min(k / 80, 1)) / (0.5 + 0.5 * (1 - min(k / 80, 1))),
    ),
    *(
        Case(
            "warmup_power_schedule",
            lambda s, v, power=power: s.warmup_power_schedule(v / 8, v, 40, power),
            lambda k, v, power=power: (
                v if k >= 40 else v / 8 * (1 + 7 * (k / 40) ** power)
            ),  # LBSGD: lr (1 + (M - 1) (n / N)^power)
        )
        for power in (1, 2, 0.5)
    ),
    Case(
        "cyclic_triangular_schedule",
        lambda s, v: s.cyclic_triangular_schedule(0.01, v, 15),
        lambda k, v: triangular(k, 0.01, v, 15),
    ),
    Case(
        "cyclic_triangular_schedule",
        lambda s, v: s.cyclic_triangular_schedule(0.01, v, 15, decay_rate=0.5),
        lambda k, v: triangular(k, 0.01, v, 15, 0.5),
    ),
]
FACTORIES = [f for f in (getattr(S, name) for name in S.__all__) if hasattr(f, "declaration")]
each = pytest.mark.parametrize("case", CASES, ids=[f"{c.name}-{i}" for i, c in enumerate(CASES)])
K = np.arange(121)


def expected(case, ks=K, v=0.4):
    return np.array([case.formula(int(k), v) for k in ks])


def close(found, wanted, rtol=2e-6):
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-7)


# The numbers ------------------------------------------------------------------------------------------------------------------


@each
def test_every_way_to_ask_gives_the_published_value(case):
    schedule, wanted = case.make(S, 0.4), expected(case)
    with jax.numpy_rank_promotion("raise"):
        one = [schedule(int(k)) for k in K[::10]]
        array, compiled, batched = schedule(K), jax.jit(schedule)(jnp.asarray(K)), jax.vmap(schedule)(jnp.asarray(K))
        jitted = [jax.jit(schedule)(np.int32(k)) for k in K[::60]]
    close(one, wanted[::10])
    close(jitted, wanted[::60])
    for values in (array, compiled, batched):
        close(values, wanted)
        assert (values.dtype, values.weak_type) == (jnp.float32, False)
    assert {(x.shape, x.dtype, x.weak_type) for x in one + jitted} == {((), jnp.dtype("float32"), False)}


@each
def test_optax_agrees(case):
    if case.differs or not hasattr(optax, case.name):
        assert case.differs or case.name not in vars(optax.schedules)
        return
    close(jax.jit(case.make(S, 0.4))(K), jax.vmap(case.make(optax, 0.4))(K))


@each
def test_a_traced_value_can_be_swept_and_differentiated(case):
    values = jnp.array([0.3, 0.4, 0.5])
    swept = jax.jit(jax.vmap(lambda v: case.make(S, v)(jnp.asarray(K))))(values)
    for found, v in zip(swept, values, strict=True):
        close(found, expected(case, v=float(v)))
    h = 1e-4
    slope = (expected(case, v=0.4 + h) - expected(case, v=0.4 - h)) / (2 * h)
    close(jax.jit(jax.jacobian(lambda v: case.make(S, v)(K)))(0.4), slope, rtol=1e-4)
    assert case.make(S, jnp.bfloat16(0.5))(K).dtype == jnp.float32


@each
def test_the_last_count_neither_overflows_nor_restarts(case):
    schedule, wanted = case.make(S, 0.4), case.formula(LAST, 0.4)
    with np.errstate(all="raise"):
        for k in (jnp.int32(LAST), LAST, 10**12, np.int64(10**12), np.uint32(LAST)):
            close(jax.jit(schedule)(k) if isinstance(k, jax.Array) else schedule(k), wanted)


@pytest.mark.fast
@each
def test_x64_widens(case):
    with jax.enable_x64(True):
        values = jax.jit(case.make(S, 0.4))(np.int32(K))
        assert values.dtype == jnp.float64
        np.testing.assert_allclose(values, expected(case), rtol=1e-12, atol=1e-15)


# The record -------------------------------------------------------------------------------------------------------------------


@pytest.mark.fast
@each
def test_a_schedule_is_a_value(case):
    schedule, other = case.make(S, 0.4), case.make(S, 0.5)
    same = [case.make(S, 0.4), case.make(S, np.float64(0.4)), eval(repr(schedule), dict(vars(S)))]
    same += [copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]
    for twin in same:
        assert twin == schedule
        assert hash(twin) == hash(schedule)
    assert other != schedule
    assert repr(schedule).startswith(f"{case.name}(")
    assert case.make(S, jnp.float32(0.4)) == case.make(S, jnp.float32(0.4)) != case.make(S, jnp.float32(0.5))


def python_numbers(k):
    if k < 10:
        return k / 10
    return [0.5, 0.25][k % 2] + math.cos(min(k, 30))


@pytest.mark.fast
def test_a_table_of_a_python_function():
    table = S.tabulate(python_numbers, 40)
    wanted = [python_numbers(min(k, 39)) for k in range(50)]
    close(jax.jit(jax.vmap(table))(jnp.arange(50)), wanted)
    close([table(k) for k in (0, 12, 39, 2**31 - 1)], [python_numbers(min(k, 39)) for k in (0, 12, 39, 99)])
    with jax.enable_x64(True):
        np.testing.assert_array_equal(table(jnp.arange(50)), wanted)
    assert repr(table) == "tabulate(f=python_numbers, steps=40)"
    again = S.tabulate(python_numbers, 40)
    assert again == table == pickle.loads(pickle.dumps(table)) == copy.deepcopy(table)
    assert hash(again) == hash(table)
    assert S.tabulate(lambda k: 1.0, 40) != table != S.tabulate(python_numbers, 41)
    assert S.tabulate(lambda k: np.float32(k), 3)(1.0) == 1  # a count may be a float where a caller passes one


@pytest.mark.fast
def test_a_table_is_filled_once():
    calls = []
    table = S.tabulate(lambda k: calls.append(k) or 0.5, 3)
    for k in range(5):
        table(k)
    assert calls == [0, 1, 2]
    assert all(type(k) is int for k in calls)


@pytest.mark.fast
def test_repr_shows_what_was_chosen():
    assert repr(S.cosine_decay_schedule(0.1, 1e2)) == "cosine_decay_schedule(init_value=0.1, decay_steps=100)"
    assert repr(S.linear_schedule(1, 0, np.int64(9), 2)) == (
        "linear_schedule(init_value=1.0, end_value=0.0, transition_steps=9, transition_begin=2)"
    )
    shown = []
    jax.jit(lambda v: shown.append(repr(S.constant_schedule(v))))(0.1)
    assert shown == ["constant_schedule(value=<traced float32[]>)"]


@pytest.mark.fast
def test_a_record_keeps_nothing_that_its_maker_can_change():
    boundaries, scales = [10], {10: 0.5}
    joined = S.join_schedules((S.constant_schedule(1) for _ in range(2)), boundaries)
    stairs = S.piecewise_constant_schedule(1, scales)
    before = hash(joined), hash(stairs)
    boundaries[0], scales[10] = 20, 0.1
    assert (hash(joined), hash(stairs)) == before
    assert S.piecewise_constant_schedule(1, {9: 1, 5: 2}) == S.piecewise_constant_schedule(1, {np.int32(5): 2, 9.0: 1})


@pytest.mark.fast
def test_a_record_made_while_tracing_holds_no_new_tracer():
    kept = []

    @jax.jit
    def step(k):
        kept.append(S.warmup_cosine_decay_schedule(0.0, peak, 10, 50))
        return kept[-1](k)

    peak = jnp.float32(0.4)
    close(step(20), kept[0](20))


@pytest.mark.fast
def test_a_schedule_of_ones_own():
    @S.schedule
    def power_cooldown(k, init_value: gradxform._types.Positive, steps: gradxform._types.Count):
        """Cool."""
        return init_value * jnp.maximum(1 - k / steps, 0) ** 1.2

    assert str(inspect.signature(power_cooldown)).startswith("(init_value")
    assert "k" not in inspect.signature(power_cooldown).parameters
    close(power_cooldown(2.0, 10)(5), 2 * 0.5**1.2)
    with pytest.raises(HyperparameterError, match="power_cooldown: `init_value` must be"):
        power_cooldown(-1.0, 10)


# Mended, refused, said --------------------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_more_than_a_peak_may_be_traced():
    rate = jax.jit(lambda r: S.exponential_decay(1.0, 10, r, end_value=0.3)(7))
    close([rate(0.5), rate(1.5)], [0.5**0.7, 0.3])
    exponent = jax.grad(lambda e: S.cosine_decay_schedule(1.0, 10, 0.0, e)(5))
    close(exponent(2.0), 0.25 * math.log(0.5))
    close(jax.vmap(lambda w: S.inverse_time_schedule(1.0, w)(10))(jnp.array([0, 1])), [1, 1 / 11])
    assert math.isfinite(jax.grad(lambda p: S.warmup_power_schedule(0.1, 1.0, 10, p)(0))(0.5))


@pytest.mark.fast
def test_a_joined_schedule_is_only_asked_in_its_turn():
    first, second = lambda k: jnp.sqrt(100 - k), lambda k: 1 / jnp.sqrt(2 * k + 1)  # NaN after 100, before 0
    for k, wanted in ((3, 97**0.5), (200, 383**-0.5)):
        schedule = lambda v, k=k: S.join_schedules([lambda j: v * first(j), lambda j: v * second(j)], [9])(k)
        close(jax.value_and_grad(schedule)(2.0), (2 * wanted, wanted))
    np.testing.assert_allclose(S.cosine_decay_schedule(1000.0, 10**10)(10**9), 500 * (1 + np.cos(np.pi / 10)), rtol=1e-6)
    far = S.join_schedules([S.constant_schedule(1), S.constant_schedule(2)], [10**10])
    assert far(LAST) in (1, 2)
    assert far(LAST - 1) == 1


@pytest.mark.fast
@pytest.mark.parametrize("n", [41, 55, 80, 83])  # e (1 / n) is not 1, or 1 - e (1 / n) is negative, for e = n
def test_the_end_is_exact_when_compiled(n):
    for schedule in (S.polynomial_schedule(1, 0.25, 0.5, n), S.warmup_power_schedule(1, 0.25, n, 0.3), S.rex_schedule(1, 0.25, n)):
        np.testing.assert_array_equal(jax.jit(schedule)(np.arange(n, n + 9)), 0.25)


@pytest.mark.fast
def test_stairs_are_exact_for_large_counts():
    k, steps = 2**30 + 1, 2**20
    assert S.cyclic_triangular_schedule(0, 1, steps)(k) == pytest.approx(1 / steps)
    stairs = S.exponential_decay(1.0, 3, 0.5, transition_begin=3 * 2**24, staircase=True)
    assert [float(stairs(3 * (2**24 + n) + d)) for n, d in ((1, -1), (1, 0), (1, 2), (2, 0))] == [1, 0.5, 0.5, 0.25]


whole = "must be a whole number in"
ERRORS = [
    (lambda: S.linear_schedule(1, 0, math.nan), "linear_schedule: `transition_steps` must be a number"),
    (lambda: S.polynomial_schedule(1, 0, 2, "5"), "polynomial_schedule: `transition_steps` must be a number"),
    (lambda: S.exponential_decay(1, 9, -0.5), "exponential_decay: `decay_rate` must be"),
    (lambda: S.exponential_decay(1, 9, 0.9, 1j), "`transition_begin` must be a number"),
    (lambda: S.cosine_decay_schedule(1, 0), "cosine_decay_schedule: `decay_steps` must be a number"),
    (lambda: mxnet.factor_scheduler(10.5), f"factor_scheduler: `step` {whole} [1, inf), but got 10.5 (a float)"),
    (lambda: S.cosine_decay_schedule(1, True), "got True (a flag"),
    (lambda: S.cosine_decay_schedule("1", 10), "cosine_decay_schedule: `init_value` must be a number"),
    (lambda: S.cosine_decay_schedule(math.nan, 10), "`init_value` must be a number"),
    (lambda: S.constant_schedule(S.constant_schedule(1)), "but got the schedule constant_schedule(value=1.0)"),
    (lambda: jax.jit(lambda n: mxnet.factor_scheduler(n)(0))(5), "`step` must be a whole number that is known before"),
    (lambda: S.rsqrt_schedule(0, 1, 0), "rsqrt_schedule: `warmup_steps`"),
    (
        lambda: S.wsd_schedule(0, 1, 0, 0, 5, decay="exp"),
        "`decay` must be one of 'linear', 'cosine', 'one_minus_sqrt', but got 'exp'",
    ),
    (lambda: S.piecewise_interpolate_schedule("cubic", 1), "`interpolate_type` must be one of 'linear', 'cosine', but got 'cubic'"),
    (lambda: S.piecewise_interpolate_schedule("linear", 1, {5: -1}), "piecewise_interpolate_schedule: `boundaries_and_scales[5]`"),
    (
        lambda: S.piecewise_constant_schedule(1, {"5": 1}),
        "piecewise_constant_schedule: `a step of boundaries_and_scales` must be a number",
    ),
    (lambda: S.piecewise_constant_schedule(1, [5]), "must be a dictionary {step: factor}, but got [5]"),
    (lambda: S.linear_onecycle_schedule(9, 1, 0.9), "`pct_final` must be at least `pct_start` = 0.9, but got 0.85"),
    (lambda: S.linear_onecycle_schedule(9, 1, 1.5), "linear_onecycle_schedule: `pct_start` must be"),
    (lambda: S.warmup_cosine_decay_schedule(0, 1, 9, 9), "`decay_steps` must be more than `warmup_steps` = 9, but got 9"),
    (lambda: S.sgdr_schedule([]), "sgdr_schedule: `cosine_kwargs` must have the arguments of at least one cycle"),
    (lambda: S.join_schedules([S.constant_schedule(1)], [5]), "got 1 schedules and 1 boundaries, (5,)"),
    (lambda: S.join_schedules([], []), "join_schedules: one boundary is needed between"),
    (lambda: S.join_schedules([S.constant_schedule(1)] * 2, [None]), "join_schedules: `boundaries[0]` must be a number"),
    (lambda: S.tabulate(0.1, 10), "tabulate: `f` must be a function of a number of steps, but got 0.1"),
    (lambda: S.tabulate(lambda k: None, 10), "tabulate: `f` is a schedule, which must return a real number"),
    (lambda: S.tabulate(lambda k: np.ones(k), 2), "tabulate: `f` must return one number, but at step 0 it has shape (0,)"),
    (lambda: S.tabulate(math.cos, 0), "tabulate: `steps` must be a whole number in [1, inf), but got 0"),
    (
        lambda: S.join_schedules([S.constant_schedule(1), 1], [5]),
        "`schedules[1]` must be a function of the update count, but got 1",
    ),
]


@pytest.mark.fast
@pytest.mark.parametrize(("make", "words"), ERRORS, ids=[words[:50] for _, words in ERRORS])
def test_errors_say_which_argument_and_what_was_got(make, words):
    with pytest.raises(HyperparameterError) as error:
        make()
    assert words in str(error.value)


@pytest.mark.fast
def test_every_factory_is_here_and_every_name_of_optax():
    assert {f.__name__ for f in FACTORIES} == {c.name for c in CASES} | {"tabulate"}  # whose numbers are those of any function
    theirs = {n for n in vars(optax.schedules) if n.endswith(("schedule", "schedules", "decay")) and not n.startswith("_")}
    assert theirs <= {f.__name__ for f in FACTORIES}
    for name in theirs:
        ours, other = (inspect.signature(getattr(s, name)).parameters.values() for s in (S, optax))
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in other]


@pytest.mark.fast
@pytest.mark.parametrize("factory", FACTORIES, ids=lambda f: f.__name__)
def test_docstrings_have_their_headings(factory):
    first, *lines = inspect.getdoc(factory).splitlines()
    assert first.endswith(".")
    titles = [line.split()[0] for line in lines if re.match(r"[A-Z][a-z]+  +", line)]
    assert titles == ["Units", "Source", "Differs", "Raises"]
    notes = lines[next(i for i, line in enumerate(lines) if line.startswith("Units")) :]
    assert all(line[8] == " " != line[9] for line in notes)
    for name in inspect.signature(factory).parameters:
        assert name in factory.__doc__
