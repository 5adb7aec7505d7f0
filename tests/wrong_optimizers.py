"""Wrong optimizers, each with one fault: what laws must catch, and by which law. Lifted, and by hand where both are possible.

All are Adam, or gradient descent where that is enough, and right but for the fault.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx
from gradxform.kernels import Clock, Field, Shared

RATE, B1, B2, EPS = 1e-2, 0.9, 0.99, 1e-8
PAIR = gx.GradientTransformation


class AdamState(NamedTuple):
    count: Clock
    mu: gx.Updates
    nu: gx.RealUpdates


class MomentumState(NamedTuple):
    mu: gx.Updates


class NuState(NamedTuple):
    nu: gx.RealUpdates


def squared(g):
    return g.real**2 + g.imag**2


def adam_reference(learning_rate=RATE, **_):
    """Adam in float64 NumPy."""
    mus, nus, t = {}, {}, itertools.count(1)

    def step(gs, ws):
        n, us = next(t), []
        for i, g in enumerate(gs):
            mus[i] = B1 * mus.get(i, 0.0) + (1 - B1) * g
            nus[i] = B2 * nus.get(i, 0.0) + (1 - B2) * g**2
            us.append(-learning_rate * mus[i] / (1 - B1**n) / (np.sqrt(nus[i] / (1 - B2**n)) + EPS))
        return us

    return step


def sgd_reference(learning_rate=RATE, **_):
    return lambda gs, ws: [-learning_rate * g for g in gs]


def direction(mu, nu, t, rate):
    """Adam's update of its averages after t updates."""
    t = t.astype(nu.dtype)
    return -rate * (mu / (1 - B1**t)) / (jnp.sqrt(nu / (1 - B2**t)) + EPS)


def right_leaf(g, mu, nu, t, rate):
    """One leaf of Adam: (u, mu, nu)."""
    mu, nu = B1 * mu + (1 - B1) * g, B2 * nu + (1 - B2) * squared(g)
    return direction(mu, nu, t, rate), mu, nu


def lifted(leaf, rate=RATE):
    """Adam as a kernel, with the rule of a leaf."""

    @gx.elementwise(AdamState)
    def adam(g, s, p, c, learning_rate: gx.NonNegative = rate):
        u, mu, nu = leaf(g, s.mu, s.nu, c.t, learning_rate)
        return u, s._replace(mu=mu, nu=nu)

    return adam


class HandState(NamedTuple):
    count: Any
    mu: Any
    nu: Any


def wide_zeros(p):
    return jnp.zeros_like(p, dtype=jnp.promote_types(p.dtype, jnp.float32))


def real_zeros(p):
    return wide_zeros(p.real)


def by_hand(
    leaf=right_leaf, first=lambda: jnp.zeros([], jnp.int32), zeros=(wide_zeros, real_zeros), after=None, at=None, rate=RATE
):
    """Adam as a pair of functions: with the rule of a leaf, the first count, the first averages, what becomes of the new state,
    and when a schedule is read.
    """
    at = at or (lambda count: count)

    def make(learning_rate=rate):
        def init(params):
            return HandState(first(), *(jax.tree.map(z, params) for z in zeros))

        def update(updates, state, params=None):
            r = learning_rate(at(state.count)) if callable(learning_rate) else learning_rate
            gs, treedef = jax.tree.flatten(updates)
            gs = [g.astype(jnp.promote_types(g.dtype, jnp.float32)) for g in gs]
            rows = zip(gs, treedef.flatten_up_to(state.mu), treedef.flatten_up_to(state.nu), strict=True)
            t = state.count + jnp.asarray(1, state.count.dtype)
            out = [leaf(g, mu, nu, t, r) for g, mu, nu in rows]
            u, mu, nu = ([row[i] for row in out] for i in range(3))
            u = [x.astype(p.dtype) for x, p in zip(u, treedef.flatten_up_to(params), strict=True)]
            mu, nu = (
                [x.astype(o.dtype) for x, o in zip(new, treedef.flatten_up_to(old), strict=True)]
                for new, old in ((mu, state.mu), (nu, state.nu))
            )
            new = HandState(t, treedef.unflatten(mu), treedef.unflatten(nu))
            return treedef.unflatten(u), new if after is None else after(new, state)

        return PAIR(init, update)

    return make


def stateless(change, rate=RATE):
    """Gradient descent as a pair of functions: (updates, params, rate) -> updates."""

    def make(learning_rate=rate):
        return PAIR(lambda params: (), lambda updates, state, params=None: (change(updates, params, learning_rate), state))

    return make


def each(f):
    """(g, rate) -> u at each leaf, in the parameter's dtype."""
    return lambda g, p, r: jax.tree.map(lambda x, y: f(x, r).astype(y.dtype), g, p)


def changed(after):
    """A leaf of Adam with another update: (u, g, t) -> u."""

    def leaf(g, mu, nu, t, rate):
        u, mu, nu = right_leaf(g, mu, nu, t, rate)
        return after(u, g, t), mu, nu

    return leaf


def no_debiasing(g, mu, nu, t, rate):
    _, mu, nu = right_leaf(g, mu, nu, t, rate)
    return -rate * mu / (jnp.sqrt(nu) + EPS), mu, nu


def debiased_late(g, mu, nu, t, rate):
    _, mu, nu = right_leaf(g, mu, nu, t, rate)
    return direction(mu, nu, t + 1, rate), mu, nu


def ahead(g, mu, nu, t, rate):
    _, mu, nu = right_leaf(g, mu, nu, t, rate)
    return direction(B1 * mu + (1 - B1) * g, nu, t, rate), mu, nu


def without_eps(g, mu, nu, t, rate):
    _, mu, nu = right_leaf(g, mu, nu, t, rate)
    t = t.astype(nu.dtype)
    return -rate * (mu / (1 - B1**t)) / jnp.sqrt(nu / (1 - B2**t)), mu, nu


def overflowing(g, mu, nu, t, rate):
    u, mu, nu = right_leaf(g, mu, nu, t, rate)
    return u * (g**4 + 1) / (g**4 + 1), mu, nu


def uphill(u, g, t):
    return -u


def mirrored(u, g, t):
    return u.ravel()[::-1].reshape(u.shape)


def rounded(u, g, t):
    return jnp.round(u * 64) / 64


def real(u, g, t):
    return u.real + 0 * u


def twice(u, g, t):
    return jnp.where(t <= 2, u, 0 * u)


def sized(u, g, t):
    return u / g.size


def mean_free(u, g, t):
    return u - jnp.mean(u) / 2


def drawn(u, g, t):
    return u * np.random.default_rng().uniform(0.5, 1.5)


def counted():
    calls = itertools.count(1)
    return changed(lambda u, g, t: u / next(calls))


def is_absent(x):
    return x is None or x.dtype == jax.dtypes.float0


def times(g, p, factors):
    """Updates times a number for each leaf, in the parameter's dtype."""
    leaves, treedef = jax.tree.flatten(g, is_leaf=lambda x: x is None)
    ps = treedef.flatten_up_to(p)
    return treedef.unflatten([x if is_absent(x) else (f * x).astype(y.dtype) for f, x, y in zip(factors, leaves, ps, strict=True)])


def coupled(g, p, r):
    leaves = jax.tree.leaves(g, is_leaf=lambda x: x is None)
    total = jnp.sqrt(sum(jnp.sum(squared(x)) for x in leaves if not is_absent(x)))
    return times(g, p, [-r / (1 + total)] * len(leaves))


def by_name(g, p, r):
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(g)[0]]
    return times(g, p, [-r * (0.1 if "bias" in name else 1.0) for name in names])


def by_position(g, p, r):
    return times(g, p, [-r / (i + 1) for i, _ in enumerate(jax.tree.leaves(g))])


def of_trees(change, scope="per_tree"):
    """Gradient descent of whole trees, lifted."""

    @gx.kernels.wrapper(scope=scope, needs=("params",))
    def descent(g, s, p, c, learning_rate: gx.NonNegative = RATE):
        return change(g, p, learning_rate), s

    return descent


def ignoring_the_mask(learning_rate=RATE, weight_decay=1e-2, mask=None):
    return gx.chain(gx.scale_by_adam(), gx.add_decayed_weights(weight_decay), gx.scale_by_learning_rate(learning_rate))


def ignoring_the_mask_by_hand(learning_rate=RATE, weight_decay=1e-2, mask=None):
    return stateless(lambda g, p, r: jax.tree.map(lambda x, y: (-r * (x + weight_decay * y)).astype(y.dtype), g, p))(learning_rate)


@gx.elementwise(MomentumState)
def not_stored(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    return -learning_rate * (B1 * s.mu + g), s


class ShortState(NamedTuple):
    short: Annotated[Shared, Field(first=lambda: jnp.int8(0), advance=lambda short, c: short + jnp.int8(1))]


@gx.elementwise(ShortState)
def short_count(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    return -learning_rate * g / jnp.sqrt(c.short.astype(g.dtype)), s


class KeptState(NamedTuple):
    kept: Annotated[gx.ParamsCopy, Field(first=lambda leaf: leaf, constant=True)]


@gx.elementwise(KeptState, needs=("params",))
def aliasing(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    return -learning_rate * (g + 1e-3 * (p - s.kept)), s


class NarrowState(NamedTuple):
    mu: Annotated[gx.Updates, Field(first=lambda leaf: jnp.zeros_like(leaf, dtype="bfloat16"))]


@gx.elementwise(NarrowState)
def narrow_average(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    mu = B1 * s.mu + (1 - B1) * g
    return -learning_rate * mu, s._replace(mu=mu)


class CopyState(NamedTuple):
    mu: gx.ParamsCopy


@gx.elementwise(gx.kernels.layout(CopyState, mu=Field(first=lambda zero: zero)))
def average_like_the_parameter(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    mu = B1 * s.mu + (1 - B1) * g
    return -learning_rate * mu, s._replace(mu=mu)


@gx.per_leaf(AdamState)
def sized_per_leaf(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    u, mu, nu = right_leaf(g, s.mu, s.nu, c.t, learning_rate)
    return u / g.size, s._replace(mu=mu, nu=nu)


@gx.elementwise(AdamState)
def read_late(g, s, p, c, learning_rate=RATE):
    rate = learning_rate(c.t) if callable(learning_rate) else learning_rate
    u, mu, nu = right_leaf(g, s.mu, s.nu, c.t, rate)
    return u, s._replace(mu=mu, nu=nu)


@gx.elementwise(AdamState)
def read_once(g, s, p, c, learning_rate=RATE):
    rate = learning_rate(0) if callable(learning_rate) else learning_rate
    u, mu, nu = right_leaf(g, s.mu, s.nu, c.t, rate)
    return u, s._replace(mu=mu, nu=nu)


@gx.elementwise()
def branching(g, s, p, c, learning_rate: gx.NonNegative = RATE, decay: gx.Decay = 0.5):
    return (-learning_rate * g if decay > 0.4 else -2 * learning_rate * g), s


@gx.elementwise()
def deaf(g, s, p, c, learning_rate: gx.NonNegative = RATE):
    return -RATE * g + 0 * learning_rate, s


def unchecked(learning_rate: gx.NonNegative = RATE):
    return by_hand()(learning_rate)


def drifting(new, old):
    return new._replace(count=old.count + 1.0)


def keeps_the_old(new, old):
    return old


def mutating(learning_rate=RATE):
    def update(g, s, p=None):
        s["mu"] = jax.tree.map(lambda m, x: B1 * m + x, s["mu"], g)
        return jax.tree.map(lambda m, y: (-learning_rate * m).astype(y.dtype), s["mu"], p), s

    return PAIR(lambda params: {"mu": jax.tree.map(wide_zeros, params)}, update)


def weak_first(learning_rate=RATE):
    def update(g, s, p=None):
        return jax.tree.map(lambda x, y: (-learning_rate * x).astype(y.dtype), g, p), s * jnp.float32(0.5)

    return PAIR(lambda params: jnp.asarray(1.0), update)


def everywhere(learning_rate=RATE):
    is_masked = lambda x: isinstance(x, gx.MaskedNode)

    def update(g, s, p=None):
        s = jax.tree.map(lambda n: n + 1, s)
        return jax.tree.map(lambda x, y: (-learning_rate * x).astype(y.dtype), g, p), s

    return PAIR(lambda params: jax.tree.map(lambda _: jnp.zeros([], jnp.int32), params, is_leaf=is_masked), update)


def one_zero_twice(params):
    zeros = jax.tree.map(wide_zeros, params)
    return HandState(jnp.zeros([], jnp.int32), zeros, zeros)


def aliased(learning_rate=RATE):
    right = by_hand(zeros=(wide_zeros, wide_zeros))(learning_rate)
    return PAIR(one_zero_twice, right.update)


def same_noise(learning_rate=RATE):
    def update(g, key, p=None):
        noisy = lambda x, y: (-learning_rate * (x + 1e-3 * jax.random.normal(key, x.shape))).astype(y.dtype)
        return jax.tree.map(noisy, g, p), key

    return PAIR(lambda params: jax.random.key(0), update)


def branching_on_values(g, p, r):
    return jax.tree.map(lambda x, y: (-r * x if abs(x).max() > 0 else x).astype(y.dtype), g, p)


@dataclasses.dataclass(frozen=True)
class Wrong:
    """One fault: the law that names it, a phrase of what it says, and the optimizers that have it."""

    law: int
    phrase: str
    lifted: Callable[..., Any] | None = None
    by_hand: Callable[..., Any] | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


ADAM, SGD = {"reference": adam_reference}, {"reference": sgd_reference}
WRONG = {
    "sign error": Wrong(14, "Is a minus sign missing", lifted(changed(uphill)), by_hand(changed(uphill))),
    "sign error, only a pair": Wrong(14, "minus sign", None, lambda: by_hand(changed(uphill))(RATE), {"kind": "optimizer"}),
    "no debiasing": Wrong(15, "the reference's times 1", lifted(no_debiasing), by_hand(no_debiasing), ADAM),
    "debiasing with t + 1": Wrong(15, "the reference's times 0.7", lifted(debiased_late), by_hand(debiased_late), ADAM),
    "a look-ahead too much": Wrong(15, "update 1 of the reference", lifted(ahead), by_hand(ahead), ADAM),
    "schedule read at k + 1": Wrong(23, "that of the schedule at 1", read_late, by_hand(at=lambda count: count + 1)),
    "schedule read once": Wrong(23, "that of the schedule at 0", read_once, by_hand(at=lambda count: 0)),
    "count that starts at 1": Wrong(23, "that of the schedule at 1", None, by_hand(first=lambda: jnp.ones([], jnp.int32))),
    "count that starts at 1, in debiasing": Wrong(
        15, "the reference's times 0.7", None, lambda: by_hand(first=lambda: jnp.ones([], jnp.int32))(RATE), ADAM
    ),
    "reversed within a leaf": Wrong(22, "at element 2 and not at element 0", lifted(changed(mirrored)), by_hand(changed(mirrored))),
    "coupling of leaves": Wrong(
        4, "in the tree, and alone", of_trees(coupled, "per_leaf"), stateless(coupled), {"scope": "per_leaf"}
    ),
    "coupling of leaves, at a small rate": Wrong(
        4, "in the tree, and alone", None, stateless(coupled, 1e-6), {"scope": "per_leaf"}
    ),
    "coupling within a leaf": Wrong(
        4, "joined and reversed", lifted(changed(mean_free)), by_hand(changed(mean_free)), {"scope": "elementwise"}
    ),
    "dependence on a leaf's size": Wrong(
        4, "joined and reversed", lifted(changed(sized)), by_hand(changed(sized), rate=1e-6), {"scope": "elementwise"}
    ),
    "dependence on a leaf's size, per leaf": Wrong(
        15, "by leaf it is the reference's times 0.3333", sized_per_leaf, by_hand(changed(sized)), ADAM
    ),
    "dependence on a leaf's name": Wrong(6, "in a dict with other names", of_trees(by_name), stateless(by_name)),
    "dependence on a leaf's position": Wrong(6, "in a list in the opposite order", of_trees(by_position), stateless(by_position)),
    "rounding to 1/64": Wrong(24, "multiples of 0.015625", lifted(changed(rounded), rate=0.1), by_hand(changed(rounded), rate=0.1)),
    "a dropped imaginary part": Wrong(22, "which is dropped", lifted(changed(real)), by_hand(changed(real))),
    "right for two updates, then 0": Wrong(20, "is 0 from update 3 on", lifted(changed(twice)), by_hand(changed(twice))),
    "an int8 count": Wrong(20, "counts updates in int8", short_count, by_hand(first=lambda: jnp.zeros([], jnp.int8))),
    "a bfloat16 count": Wrong(20, "counts updates in bfloat16", None, by_hand(first=lambda: jnp.zeros([], jnp.bfloat16))),
    "averages in bfloat16": Wrong(19, "is bfloat16 beside a parameter of float32", narrow_average),
    "averages always in bfloat16": Wrong(
        24, r"\.nu\['b'\] is bfloat16", None, by_hand(zeros=(wide_zeros, lambda p: jnp.zeros_like(p, dtype=jnp.bfloat16)))
    ),
    "averages as narrow as the parameter": Wrong(
        24, "is off by", average_like_the_parameter, by_hand(zeros=(jnp.zeros_like, lambda p: jnp.zeros_like(p.real)))
    ),
    "a state that is never stored": Wrong(20, "still as `init` made it", not_stored, by_hand(after=keeps_the_old)),
    "a field that is never stored": Wrong(
        20, "the state's .mu is still", None, by_hand(after=lambda new, old: new._replace(mu=old.mu))
    ),
    "a Python counter": Wrong(21, "a Python counter", lifted(counted()), by_hand(counted())),
    "np.random": Wrong(21, "numpy's random numbers", lifted(changed(drawn)), by_hand(changed(drawn))),
    "a state that is changed in place": Wrong(21, "changes what it is given", None, mutating),
    "NaN where g = 0": Wrong(9, "of size 0: .*nan", lifted(without_eps), by_hand(without_eps)),
    "overflow": Wrong(9, "size 1e\\+15: .*nan", lifted(overflowing), by_hand(overflowing)),
    "aliased buffers": Wrong(12, "one buffer twice, or a parameter's own", aliasing, aliased),
    "a masked leaf stored": Wrong(10, "something is stored for the masked leaf", None, everywhere),
    "dtype drift": Wrong(2, "the state drifts", None, by_hand(after=drifting)),
    "weak-type drift": Wrong(2, "the state drifts", None, weak_first),
    "an update of g's dtype": Wrong(
        1,
        "float32 parameters and bfloat16 gradients",
        None,
        stateless(lambda g, p, r: jax.tree.map(lambda x: (-r * x).astype(x.dtype), g)),
    ),
    "an update that is always float32": Wrong(
        1,
        "with bfloat16 parameters",
        None,
        stateless(lambda g, p, r: jax.tree.map(lambda x: (-r * x).astype(jnp.promote_types(x.dtype, "float32")), g)),
    ),
    "float64 from NumPy": Wrong(
        1,
        "float32', False\\) became .*float64",
        None,
        stateless(
            lambda g, p, r: jax.tree.map(
                lambda x: x * np.float64(-r) if jax.config.jax_enable_x64 and x.dtype == "float32" else (-r * x).astype(x.dtype), g
            )
        ),
    ),
    "an update of another structure": Wrong(
        1, "other leaves", None, stateless(lambda g, p, r: jax.tree.leaves(each(lambda x, r: -r * x)(g, p, r)))
    ),
    "an update of another shape": Wrong(1, "other leaves", None, stateless(each(lambda x, r: -r * jnp.atleast_1d(x)))),
    "a branch on gradients": Wrong(1, "TracerBoolConversionError", None, stateless(branching_on_values)),
    "decay of leaves that its mask leaves out": Wrong(25, "left out by `mask`", ignoring_the_mask, ignoring_the_mask_by_hand),
    "a branch on a hyperparameter": Wrong(1, "at the first call: TracerBoolConversionError", branching),
    "a range that is not checked": Wrong(7, "is accepted", None, unchecked),
    "a learning rate without effect": Wrong(23, "has no effect", deaf, stateless(each(lambda x, r: -RATE * x))),
    "the same noise at every update": Wrong(20, "still as `init` made it", None, same_noise),
}
RIGHT = {"lifted": lifted(right_leaf), "by hand": by_hand(), "by hand, at a small rate": by_hand(rate=1e-6)}
