"""`gradxform.losses` against their equations in float64 NumPy, and where Optax 0.2.8 is at fault."""

import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from scipy.special import expit, log_softmax, logsumexp, softmax

from gradxform import losses
from gradxform._errors import HyperparameterError, StructureError

# The equations -----------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5))
Q, R = RNG.dirichlet(np.ones(5), 4), RNG.dirichlet(np.ones(5), 4)
LABELS, ONE_HOT, SIGN = np.array([0, 1, 4, 2]), np.eye(5)[[0, 1, 4, 2]], np.sign(T).astype(int)
GROUPS = np.array([0, 0, 1, 1])
WHERE = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 0, 1]], bool)
PIXELS, CTC = RNG.normal(size=(2, 3, 3, 4)), RNG.normal(size=(2, 5, 4))
MASK = np.eye(4, dtype=int)[RNG.integers(0, 4, (2, 3, 3))]
WHICH = np.array([[3, 7, 0], [1, 2, 11]])
WORDS, NO_WORD, NO_FRAME = np.array([[1, 2, 2], [3, 1, 0]]), np.array([[0, 0, 0], [0, 0, 1]]), np.array([[0] * 5, [0] * 4 + [1]])


def simplex(x):
    u = np.sort(x)[::-1]
    k = np.arange(1, len(u) + 1)
    n = np.count_nonzero(1 + k * u > np.cumsum(u))
    return np.maximum(x - (np.sum(u[:n]) - 1) / n, 0)


def sparsemax(x, y):
    return np.array([p @ z + 0.5 * (1 - p @ p) - z[i] for z, i in zip(x, y, strict=True) for p in [simplex(z)]])


def cosine(a, b, where=1):
    return np.sum(a * b * where, -1) / np.sqrt(np.sum(a * a * where, -1) * np.sum(b * b * where, -1))


def focal(x, y, alpha, gamma):
    p = expit(x)
    ce = -y * np.log(p) - (1 - y) * np.log(1 - p)
    return (alpha * y + (1 - alpha) * (1 - y)) * (1 - p * y - (1 - p) * (1 - y)) ** gamma * ce


def dice(x, t, alpha=0.5, beta=0.5, w=1.0):
    p = softmax(x, -1)
    over, fp, fn = (np.sum(v, (1, 2)) for v in (p * t, p * (1 - t), (1 - p) * t))
    return w * (1 - (over + 1) / (over + alpha * fp + beta * fn + 1))


def generalized_dice(x, t):
    w = 1 / (np.sum(t, (0, 1, 2)) ** 2 + 1e-7)
    return np.mean(dice(x, t, w=w / w.mean()))


def ntxent(x, y):
    s = np.array([[cosine(a, b) for b in x] for a in x]) / 0.07
    pairs = [(i, j) for i, j in itertools.product(range(len(x)), repeat=2) if i != j and y[i] == y[j]]
    return np.mean([np.log1p(np.sum(np.exp(s[i][y != y[i]] - s[i, j]))) for i, j in pairs])


def ctc(x, no_frame, words, no_word):
    """The sum over all paths, one by one."""
    out = []
    for logits, frames, word, length in zip(x, 5 - no_frame.sum(1), words, 3 - no_word.sum(1), strict=True):
        log_p = log_softmax(logits, -1)[:frames]
        spelled = lambda path: [k for k, _ in itertools.groupby(path) if k != 0]
        paths = [path for path in itertools.product(range(4), repeat=frames) if spelled(path) == list(word[:length])]
        out.append(-logsumexp([sum(row[k] for row, k in zip(log_p, path, strict=True)) for path in paths]))
    return np.array(out)


def masked(x):
    return np.where(WHERE, x, -np.inf)


CASES = {
    "squared_error": (lambda f, x, t: f(x, t), lambda x, t: (x - t) ** 2, X, T),
    "l2_loss": (lambda f, x, t: f(x, t), lambda x, t: (x - t) ** 2 / 2, X, T),
    "l2_loss alone": (lambda f, x: f(x), lambda x: x**2 / 2, X),
    "huber_loss": (
        lambda f, x, t: f(x, t, delta=0.7),
        lambda x, t: np.where(abs(x - t) < 0.7, (x - t) ** 2 / 2, 0.7 * (abs(x - t) - 0.35)),
        X,
        T,
    ),
    "log_cosh": (lambda f, x, t: f(x, t), lambda x, t: np.log(np.cosh(x - t)), X, T),
    "cosine_similarity": (lambda f, x, t: f(x, t), cosine, X, T),
    "cosine_similarity where": (lambda f, x, t: f(x, t, where=WHERE), lambda x, t: cosine(x, t, WHERE), X, T),
    "cosine_distance": (lambda f, x, t: f(x, t, axis=0), lambda x, t: 1 - cosine(x.T, t.T), X, T),
    "smooth_labels": (lambda f, y: f(y, 0.1), lambda y: 0.9 * y + 0.1 / 5, ONE_HOT),
    "smooth_labels where": (
        lambda f, y: f(y, 0.1, where=WHERE),
        lambda y: WHERE * (0.9 * y + 0.1 / WHERE.sum(1, keepdims=True)),
        ONE_HOT,
    ),
    "softmax_cross_entropy": (lambda f, x, q: f(x, q), lambda x, q: -np.sum(q * log_softmax(x, -1), -1), X, Q),
    "softmax_cross_entropy axes": (lambda f, x, q: f(x, q, axis=None), lambda x, q: -np.sum(q * log_softmax(x)), X, Q),
    "softmax_cross_entropy where": (
        lambda f, x, q: f(x, q, where=WHERE),
        lambda x, q: -np.sum(q * np.where(WHERE, log_softmax(masked(x), -1), 0), -1),
        X,
        Q,
    ),
    "safe_softmax_cross_entropy": (lambda f, x, q: f(x, q), lambda x, q: -np.sum(q * log_softmax(x, -1), -1), X, Q),
    "softmax_cross_entropy_with_integer_labels": (lambda f, x: f(x, LABELS), lambda x: -log_softmax(x, -1)[ONE_HOT == 1], X),
    "softmax_cross_entropy_with_integer_labels where": (
        lambda f, x: f(x, LABELS, where=WHERE),
        lambda x: np.where(WHERE[ONE_HOT == 1], -log_softmax(masked(x), -1)[ONE_HOT == 1], 0),
        X,
    ),
    "softmax_cross_entropy_with_integer_labels axes": (
        lambda f, x: f(x, WHICH, axis=(3, 1)),
        lambda x: -np.take_along_axis(log_softmax(np.moveaxis(x, (3, 1), (0, 1)).reshape(12, 2, 3), 0), WHICH[None], 0)[0],
        PIXELS,
    ),
    "poly_loss_cross_entropy": (
        lambda f, x, q: f(x, q, epsilon=1.5),
        lambda x, q: np.sum(q * (-log_softmax(x, -1) + 1.5 * (1 - softmax(x, -1))), -1),
        X,
        Q,
    ),
    "sigmoid_binary_cross_entropy": (
        lambda f, x, q: f(x, q),
        lambda x, q: -q * np.log(expit(x)) - (1 - q) * np.log(expit(-x)),
        X,
        Q,
    ),
    "sigmoid_focal_loss": (lambda f, x, q: f(x, q, alpha=0.3, gamma=1.5), lambda x, q: focal(x, q, 0.3, 1.5), X, Q),
    "hinge_loss": (lambda f, x: f(x, SIGN), lambda x: np.maximum(0, 1 - x * SIGN), X),
    "perceptron_loss": (lambda f, x: f(x, SIGN), lambda x: np.maximum(0, -x * SIGN), X),
    "sparsemax_loss": (lambda f, x: f(2 * x, ONE_HOT), lambda x: sparsemax_loss(2 * x), X),
    "multiclass_hinge_loss": (lambda f, x: f(x, LABELS), lambda x: np.max(x + 1 - ONE_HOT, -1) - x[ONE_HOT == 1], X),
    "multiclass_perceptron_loss": (lambda f, x: f(x, LABELS), lambda x: np.max(x, -1) - x[ONE_HOT == 1], X),
    "multiclass_sparsemax_loss": (lambda f, x: f(x, LABELS), lambda x: sparsemax(x, LABELS), X),
    "kl_divergence": (lambda f, x, q: f(x, q), lambda x, q: np.sum(q * (np.log(q) - x), -1), np.log(R), Q),
    "kl_divergence where": (
        lambda f, x, q: f(x, q, where=WHERE),
        lambda x, q: np.sum(q * (np.log(q) - x), -1, where=WHERE),
        np.log(R),
        Q,
    ),
    "kl_divergence_with_log_targets": (lambda f, x, t: f(x, t), lambda x, t: np.sum(np.exp(t) * (t - x), -1), np.log(R), np.log(Q)),
    "generalized_kl_divergence": (
        lambda f, x, q: f(x, 2 * q),
        lambda x, q: np.sum(2 * q * (np.log(2 * q) - x) + np.exp(x) - 2 * q, -1),
        np.log(R),
        Q,
    ),
    "ntxent": (lambda f, x: f(x, GROUPS), lambda x: ntxent(x, GROUPS), X),
    "triplet_margin_loss": (
        lambda f, a, p, n: f(a, p, n, norm_degree=3),
        lambda a, p, n: np.maximum(np.cbrt(np.sum(abs(a - p) ** 3, -1)) - np.cbrt(np.sum(abs(a - n) ** 3, -1)) + 1, 0),
        X,
        T,
        R,
    ),
    "ranking_softmax_loss": (
        lambda f, x: f(x, LABELS[:, None] * Q, where=WHERE, weights=R),
        lambda x: -np.mean(np.sum(LABELS[:, None] * Q * R * np.where(WHERE, log_softmax(masked(x), -1), 0), -1)),
        X,
    ),
    "dice_loss": (lambda f, x: f(x, MASK, alpha=0.3, beta=0.7), lambda x: dice(x, MASK, 0.3, 0.7).mean(-1), PIXELS),
    "dice_loss foreground": (
        lambda f, x: f(x, MASK, class_weights=R[0, :4], reduction="none", ignore_background=True),
        lambda x: dice(x, MASK, w=R[0, :4])[:, 1:],
        PIXELS,
    ),
    "binary_dice_loss": (
        lambda f, x: f(x, MASK),
        lambda x: 1 - (np.sum(expit(x) * MASK, (1, 2, 3)) + 1) / ((np.sum(expit(x), (1, 2, 3)) + np.sum(MASK, (1, 2, 3))) / 2 + 1),
        PIXELS,
    ),
    "multiclass_generalized_dice_loss": (lambda f, x: f(x, MASK), lambda x: generalized_dice(x, MASK), PIXELS),
    "ctc_loss": (lambda f, x: f(x, NO_FRAME, WORDS, NO_WORD), lambda x: ctc(x, NO_FRAME, WORDS, NO_WORD), CTC),
}


def sparsemax_loss(x):
    x = np.where(ONE_HOT, -x, x)
    return np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x))


NARROW = ["bfloat16", "float16"]


def call(case):
    return functools.partial(CASES[case][0], getattr(losses, case.split()[0]))


@functools.cache
def results():
    """Of every case: the value, its derivative along a direction both ways, the value by `vmap`, and narrow values; one compilation."""

    def measure(case, arrays):
        f = call(case)
        forward = jax.jvp(f, arrays, directions(arrays))[1]
        backward = jax.grad(lambda xs: jnp.sum(f(*xs)))(arrays)
        backward = sum(jnp.sum(x * y) for x, y in zip(backward, directions(arrays), strict=True))
        mapped = jax.vmap(f)(*(jnp.stack([2 * x, x]) for x in arrays))[1]
        narrow = [tuple(x.astype(dtype) for x in arrays) for dtype in NARROW]
        rounded = [f(*(x.astype("float32") for x in xs)) for xs in narrow]
        return f(*arrays), jnp.sum(forward), backward, mapped, [f(*xs) for xs in narrow], rounded

    everything = {case: tuple(jnp.asarray(x, jnp.float32) for x in CASES[case][2:]) for case in CASES}
    return jax.jit(lambda arrays: {case: measure(case, arrays[case]) for case in CASES})(everything)


def directions(arrays):
    return tuple(jnp.asarray(np.cos(np.arange(x.size)).reshape(x.shape), x.dtype) for x in arrays)


@pytest.mark.parametrize("case", CASES)
def test_the_equation(case):
    equation, arrays = CASES[case][1], CASES[case][2:]
    value, forward, backward, mapped, *_ = results()[case]
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, equation(*arrays), rtol=1e-5, atol=2e-6)
    h, d = 1e-5, directions([jnp.asarray(x) for x in arrays])
    ahead, behind = (np.sum(equation(*(x + s * np.asarray(v) for x, v in zip(arrays, d, strict=True)))) for s in (h, -h))
    np.testing.assert_allclose([forward, backward], (ahead - behind) / (2 * h), rtol=3e-4, atol=1e-4)
    np.testing.assert_allclose(mapped, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_narrow_dtypes_are_rounded_once(case):
    for dtype, value, rounded in zip(NARROW, *results()[case][4:], strict=True):
        assert value.dtype == ("float32" if case.split()[0] in WIDE else dtype)
        np.testing.assert_allclose(value.astype("float32"), rounded, rtol=jnp.finfo(value.dtype).eps, atol=1e-6)


WIDE = {"multiclass_hinge_loss", "multiclass_perceptron_loss", "multiclass_sparsemax_loss", "ctc_loss"}


def test_every_loss_of_optax_is_here():
    names = {n for n in dir(optax.losses) if not n.startswith("_")}
    assert names <= set(dir(losses))
    aside = {"convex_kl_divergence", "ctc_loss_with_forward_probs", "make_fenchel_young_loss"}
    assert {case.split()[0] for case in CASES} == names - aside


def test_the_old_name_of_the_generalized_divergence():
    with pytest.warns(DeprecationWarning, match="use generalized_kl_divergence"):
        old = losses.convex_kl_divergence(jnp.log(R), jnp.asarray(Q))
    np.testing.assert_array_equal(old, losses.generalized_kl_divergence(jnp.log(R), jnp.asarray(Q)))


def test_fenchel_young_passes_arguments_on():
    loss = losses.make_fenchel_young_loss(lambda x, t, shift=0.0: t * jax.nn.logsumexp(x / t) + shift)
    x, q = jnp.asarray(X), jnp.asarray(Q)
    np.testing.assert_allclose(loss(x, q, 2.0, shift=1.0), 2 * logsumexp(X / 2, -1) + 1 - np.sum(X * Q, -1), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(lambda x: loss(x, q, 1.0).sum())(x), softmax(X, -1) - Q, rtol=1e-4, atol=1e-6)


def test_forward_probabilities_of_ctc_are_those_of_optax():
    arguments = [jnp.asarray(x) for x in (CTC, NO_FRAME, WORDS, NO_WORD)]
    ours, theirs = (m.ctc_loss_with_forward_probs(*arguments) for m in (losses, optax.losses))
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# Infinities and zeros ----------------------------------------------------------------------------------------------------------

INF = jnp.inf


def derivatives(f, *arrays):
    """The value, the gradient and the derivative along zeros and along ones, all of them."""

    @jax.jit
    def compute(*xs):
        zeros, ones = (jax.tree.map(fill, xs) for fill in (jnp.zeros_like, jnp.ones_like))
        return f(*xs), jax.grad(lambda xs: jnp.sum(f(*xs)))(xs), jax.jvp(f, xs, zeros)[1], jax.jvp(f, xs, ones)[1]

    return compute(*arrays)


def finite(*trees):
    return all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(trees))


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.safe_softmax_cross_entropy])
def test_an_impossible_class_that_is_not_the_label(loss):  # optax #896, PR #1762
    logits, labels = jnp.array([[-INF, 0.0, 0.0], [-INF, 1.0, 0.0]]), jnp.array([[0.0, 0.5, 0.5], [0.0, 1.0, 0.0]])
    value, *rest = derivatives(loss, logits, labels)
    np.testing.assert_allclose(value, [np.log(2), np.log1p(np.exp(-1))], rtol=1e-6)
    assert finite(rest)
    assert jnp.isposinf(loss(logits[0], jnp.array([0.4, 0.3, 0.3])))


def test_integer_labels_are_one_hot_labels():  # optax #1335
    x = jnp.asarray(X, jnp.float32)
    for where in (WHERE, WHERE[:, :1], WHERE[:, 0], np.zeros((4, 1), bool), ~ONE_HOT.astype(bool)):
        integer = lambda x, where=where: losses.softmax_cross_entropy_with_integer_labels(x, LABELS, where=where)
        one_hot = lambda x, where=where: losses.softmax_cross_entropy(x, ONE_HOT.astype(np.float32), where=where)
        for a, b in zip(jax.tree.leaves(derivatives(integer, x)), jax.tree.leaves(derivatives(one_hot, x)), strict=True):
            assert finite(a)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_label_that_is_no_class_is_not_silent():  # optax #1185
    for loss in (losses.softmax_cross_entropy_with_integer_labels, losses.multiclass_hinge_loss, losses.multiclass_perceptron_loss):
        assert jnp.isnan(loss(jnp.zeros((1, 4)), jnp.array([4])))[0]


def test_what_where_excludes_may_be_nan():
    where = jnp.array([True, True, False])
    x, q = jnp.array([0.1, 0.2, jnp.nan]), jnp.array([0.5, 0.5, jnp.nan])
    for f in (
        losses.softmax_cross_entropy,
        losses.poly_loss_cross_entropy,
        losses.kl_divergence,
        losses.kl_divergence_with_log_targets,
        losses.generalized_kl_divergence,
        losses.cosine_similarity,
        losses.ranking_softmax_loss,
    ):
        value, (gx, gq), *_ = derivatives(functools.partial(f, where=where), x, q)
        assert finite(value, gx, gq[:2]), f
        assert gx[2] == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_at_large_logits(gamma):  # optax #1267, PR #1346
    logits, labels = jnp.array([1000.0, -1000.0, 100.0, -75.0, 1000.0, 0.0]), jnp.array([1.0, 0.0, 0.9, 0.2, 0.0, 1.0])
    f = lambda x: losses.sigmoid_focal_loss(x, labels, gamma=gamma)
    assert finite(derivatives(f, logits), jax.jit(jax.hessian(lambda x: f(x).sum()))(logits))
    if gamma == 0:
        np.testing.assert_allclose(f(logits), losses.sigmoid_binary_cross_entropy(logits, labels), rtol=1e-6)


def test_binary_cross_entropy_at_infinite_logits():
    assert finite(derivatives(losses.sigmoid_binary_cross_entropy, jnp.array([INF, -INF]), jnp.array([1.0, 0.0]))[:3])
    assert jnp.isposinf(losses.sigmoid_binary_cross_entropy(jnp.array(INF), 0))


@pytest.mark.parametrize("loss", [losses.kl_divergence, losses.generalized_kl_divergence])
def test_divergence_from_targets_of_zero(loss):  # optax commit 51537b4e
    p, q = jnp.array([-INF, jnp.log(0.5), jnp.log(0.5)]), jnp.array([0.0, 0.0, 1.0])
    value, *rest = derivatives(loss, p, q)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert finite(rest)
    assert jnp.isposinf(loss(p, q[::-1]))


def test_divergence_from_log_targets_of_minus_infinity():
    p, q = jnp.array([-INF, jnp.log(0.5), jnp.log(0.5)]), jnp.array([-INF, -INF, 0.0])
    value, *rest = derivatives(losses.kl_divergence_with_log_targets, p, q)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert finite(rest)


def test_cosine_similarity_of_zero():  # optax: cosine similarity at 0
    x, t = jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    value, *rest = derivatives(losses.cosine_similarity, x, t)
    np.testing.assert_allclose(value, [0, 0.8], rtol=1e-6)
    assert finite(rest)
    assert finite(derivatives(lambda x: losses.ntxent(x, jnp.array([0, 0])), x))


def test_pairs_of_all_vectors_by_cosine():
    x = jnp.asarray(X, jnp.float32)
    assert losses.cosine_similarity(x[None], x[:, None]).shape == (4, 4)


def test_ntxent_without_a_positive_pair():
    assert finite(derivatives(lambda x: losses.ntxent(x, jnp.arange(4)), jnp.asarray(X, jnp.float32)))


def test_ctc_is_never_negative():  # optax #1771, PR #1783
    logits = jnp.array([[[0.0, 17.0], [0.0, 17.0]]])
    f = jax.jit(lambda x: losses.ctc_loss_with_forward_probs(x, jnp.zeros((1, 2)), jnp.array([[1]]), jnp.zeros((1, 1))))
    loss, blank, label = f(logits)
    assert loss[0] >= 0
    assert finite(jnp.log(loss + 1e-8), jax.grad(lambda x: f(x)[0][0])(logits))
    assert jnp.max(blank) <= 0
    assert jnp.max(label) <= 0


def test_ctc_does_not_look_at_padding():
    f = lambda x, words: losses.ctc_loss(x, jnp.asarray(NO_FRAME), words, jnp.asarray(NO_WORD))
    clean = jnp.asarray(CTC, jnp.float32)
    dirty = jnp.where(NO_FRAME[..., None] == 1, jnp.nan, clean)
    words = jnp.where(NO_WORD == 1, 99, WORDS)
    value, (grad, *_), *_ = derivatives(lambda x: f(x, words), dirty)
    np.testing.assert_allclose(value, f(clean, jnp.asarray(WORDS)), rtol=1e-6)
    assert finite(grad)
    assert not jnp.any(grad[NO_FRAME == 1])


def test_ctc_without_labels():
    logits, none = jnp.asarray(CTC, jnp.float32), jnp.zeros((2, 0), jnp.int32)
    np.testing.assert_allclose(
        losses.ctc_loss(logits, jnp.zeros((2, 5)), none, none), -log_softmax(CTC, -1)[..., 0].sum(1), rtol=1e-5
    )


def test_log_cosh_of_small_and_large_errors():
    x = jnp.array([0.0, 1e-4, 1.0, 500.0])
    value, (grad,), *_ = derivatives(losses.log_cosh, x)
    np.testing.assert_allclose(value, [0, 5e-9, np.log(np.cosh(1)), 500 - np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(grad, np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(losses.log_cosh)))(x), 1 - np.tanh(np.asarray(x, float)) ** 2, atol=1e-6)


def test_sums_of_narrow_dtypes_do_not_overflow():
    x = jnp.full((1, 3000), 40.0, jnp.float16)
    assert losses.cosine_similarity(x, x)[0] == 1
    assert abs(losses.softmax_cross_entropy(x, jnp.full_like(x, 1 / 3000))[0].item() - np.log(3000)) < 0.01


def test_dice_of_probabilities_under_jit():
    x, t = jnp.asarray(PIXELS, jnp.float32), jnp.asarray(MASK, jnp.float32)
    p = jax.nn.softmax(x)
    f = lambda p: losses.dice_loss(p, t, apply_softmax=False)
    np.testing.assert_allclose(jax.jit(f)(p), losses.dice_loss(x, t), rtol=1e-5)
    assert finite(jax.grad(lambda p: f(p).sum())(p))
    assert losses.dice_loss(p.astype(jnp.bfloat16), t, apply_softmax=False).shape == (2,)
    single = lambda g, x, **how: g(x[..., :1], t[..., :1], **how)
    np.testing.assert_allclose(
        single(losses.binary_dice_loss, jax.nn.sigmoid(x), apply_sigmoid=False), single(losses.binary_dice_loss, x), rtol=1e-5
    )
    assert finite(derivatives(lambda p: losses.dice_loss(p, 0 * t[..., :1], apply_softmax=False, smooth=0.0), 0 * p[..., :1]))
    for bad in (2 * p, x[..., :1]):
        with pytest.raises(StructureError, match="valid probability distributions"):
            losses.dice_loss(bad, t[..., : bad.shape[-1]], apply_softmax=False)


def test_mean_of_no_lists_is_zero():
    x = jnp.asarray(X, jnp.float32)
    for reduce_fn, shape in ((jnp.mean, ()), (jnp.sum, ()), (None, (4,))):
        f = lambda x, reduce_fn=reduce_fn: losses.ranking_softmax_loss(x, x, where=jnp.zeros((4, 5), bool), reduce_fn=reduce_fn)
        value, *rest = derivatives(f, x)
        assert value.shape == shape
        assert not jnp.any(value)
        assert finite(rest)


# Errors ------------------------------------------------------------------------------------------------------------------------

COLUMN, ROW = jnp.zeros((3, 1)), jnp.zeros(3)
PAIRS = ["squared_error", "l2_loss", "huber_loss", "log_cosh", "hinge_loss", "perceptron_loss", "sparsemax_loss"]
PAIRS += ["sigmoid_binary_cross_entropy", "sigmoid_focal_loss"]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shapes", [(COLUMN, ROW), (ROW, COLUMN), (jnp.zeros(2), ROW)])
def test_shapes_that_make_a_third_one_raise(name, shapes):  # optax #1408
    with pytest.raises(StructureError, match=rf"^{name}: ") as e:
        getattr(losses, name)(*shapes)
    assert str(shapes[0].shape) in str(e.value)
    assert str(shapes[1].shape) in str(e.value)


BAD = {
    "softmax_cross_entropy: `logits` has shape (2, 3) and `labels` has shape (2, 1, 3)": lambda: losses.softmax_cross_entropy(
        jnp.zeros((2, 3)), jnp.zeros((2, 1, 3))
    ),
    "kl_divergence: `log_predictions` has shape (2,) and `targets` has shape (3,)": lambda: losses.kl_divergence(jnp.zeros(2), ROW),
    "cosine_similarity: `predictions` has shape (2,) and `targets` has shape (3,)": lambda: losses.cosine_similarity(
        jnp.zeros(2), ROW
    ),
    "`labels` has shape (3,) and `scores without their classes` has shape (2,)": lambda: (
        losses.softmax_cross_entropy_with_integer_labels(jnp.zeros((2, 4)), jnp.zeros(3, int))
    ),
    "multiclass_hinge_loss: `labels` has shape (3,)": lambda: losses.multiclass_hinge_loss(jnp.zeros((2, 4)), jnp.zeros(3, int)),
    "`where` has shape (4,), which does not broadcast to the arguments' shape (3,)": lambda: losses.kl_divergence(
        ROW, ROW, where=jnp.ones(4)
    ),
    "`labels` must have a dtype that is a subdtype of integer, but it is float32": lambda: (
        losses.softmax_cross_entropy_with_integer_labels(ROW, jnp.float32(1))
    ),
    "l2_loss: `predictions` must have a dtype that is a subdtype of floating, but it is int32": lambda: losses.l2_loss(
        jnp.arange(3)
    ),
    "`axis` must be an int or a tuple of ints, but got None": lambda: losses.softmax_cross_entropy_with_integer_labels(
        ROW, 1, axis=None
    ),
    "`axis` 1 is out of bounds for logits of shape (3,)": lambda: losses.softmax_cross_entropy_with_integer_labels(ROW, 1, axis=1),
    "`reduction` must be one of mean, sum, none, but got 'max'": lambda: losses.dice_loss(COLUMN, COLUMN, reduction="max"),
    "dice_loss: `predictions` has shape (3, 1) and `targets` has shape (3, 2)": lambda: losses.dice_loss(COLUMN, jnp.zeros((3, 2))),
    "`class_weights` has shape (3,), not (1,)": lambda: losses.dice_loss(COLUMN, COLUMN, class_weights=ROW),
    "ntxent: embeddings must have shape (batch, features) and labels (batch,), but got (3, 1) and (2,)": lambda: losses.ntxent(
        COLUMN, jnp.zeros(2)
    ),
    "`logits` must have shape (B, T, K) and `labels` (B, N), but got (3, 1) and (3, 1)": lambda: losses.ctc_loss(
        COLUMN, COLUMN, COLUMN, COLUMN
    ),
    "`logit_paddings` has shape (3, 1), but its logits call for (2, 5)": lambda: losses.ctc_loss(CTC, COLUMN, WORDS, NO_WORD),
}


@pytest.mark.parametrize("text", BAD)
def test_errors_say_what_came(text):
    with pytest.raises((StructureError, HyperparameterError)) as e:
        BAD[text]()
    assert text in str(e.value)


def test_numbers_lists_and_lower_ranks_are_accepted():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert losses.huber_loss(2.0, 0.5) == 1.0
        np.testing.assert_allclose(losses.softmax_cross_entropy([[0.0, 0.0]], np.array([0.5, 0.5])), [np.log(2)], rtol=1e-6)
        assert losses.hinge_loss(jnp.array([0.5]), 1).shape == (1,)


EMPTY = {  # a batch without an example: the call, and the shapes of its arguments
    **{name: (lambda f, x, t: f(x, t), (0,), (0,)) for name in PAIRS},
    **{f"{name} of matrices": (lambda f, x, t: f(x, t), (0, 5), (0, 5)) for name in PAIRS},
    "cosine_similarity": (lambda f, x, t: f(x, t), (0, 5), (0, 5)),
    "cosine_distance": (lambda f, x, t: f(x, t), (0, 5), (0, 5)),
    "smooth_labels": (lambda f, y: f(y, 0.1), (0, 5)),
    "softmax_cross_entropy": (lambda f, x, q: f(x, q), (0, 5), (0, 5)),
    "safe_softmax_cross_entropy": (lambda f, x, q: f(x, q), (0, 5), (0, 5)),
    "softmax_cross_entropy_with_integer_labels": (lambda f, x: f(x, np.zeros(0, int)), (0, 5)),
    "softmax_cross_entropy_with_integer_labels of two axes": (lambda f, x: f(x, np.zeros((0, 4), int)), (0, 4, 5)),
    "softmax_cross_entropy_with_integer_labels over an axis": (lambda f, x: f(x, np.zeros((0, 5), int), axis=1), (0, 4, 5)),
    "poly_loss_cross_entropy": (lambda f, x, q: f(x, q), (0, 5), (0, 5)),
    "sigmoid_binary_cross_entropy": (lambda f, x, t: f(x, t), (0, 5), (0, 5)),
    "sigmoid_focal_loss": (lambda f, x, t: f(x, t), (0,), (0,)),
    "kl_divergence": (lambda f, x, t: f(x, t), (0, 5), (0, 5)),
    "multiclass_hinge_loss": (lambda f, x: f(x, np.zeros(0, int)), (0, 5)),
    "multiclass_perceptron_loss": (lambda f, x: f(x, np.zeros(0, int)), (0, 5)),
    "multiclass_sparsemax_loss": (lambda f, x: f(x, np.zeros(0, int)), (0, 5)),
    "triplet_margin_loss": (lambda f, a, p, n: f(a, p, n), (0, 5), (0, 5), (0, 5)),
    "ctc_loss": (lambda f, x: f(x, np.zeros((0, 4)), np.zeros((0, 3), int), np.zeros((0, 3))), (0, 4, 5)),
    "ranking_softmax_loss": (lambda f, x, t: f(x, t), (0, 5), (0, 5)),
    "dice_loss": (lambda f, x, t: f(x, t), (0, 4, 4, 5), (0, 4, 4, 5)),
}


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_batch(case):
    """A value and a gradient of the shapes that Optax gives, and what is a mean the same mean of nothing."""
    f, shapes = EMPTY[case][0], EMPTY[case][1:]
    arrays = [jnp.zeros(shape) for shape in shapes]
    ours, theirs = (f(getattr(of, case.split()[0]), *arrays) for of in (losses, optax.losses))
    np.testing.assert_array_equal(ours, theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    gradients = jax.grad(lambda xs: jnp.sum(f(getattr(losses, case.split()[0]), *xs)))(arrays)
    assert [g.shape for g in gradients] == list(shapes)
