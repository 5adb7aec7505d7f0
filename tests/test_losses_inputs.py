"""`gradxform.losses` of odd labels and of large and small numbers: each loss with each of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax.losses
import pytest
from scipy.special import expit

from gradxform import losses
from gradxform._errors import HyperparameterError

SCORES = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
NO_FRAMES, NO_LABELS = jnp.zeros((3, 5)), jnp.zeros((3, 2))
FRAMES = np.random.default_rng(1).normal(size=(3, 5, 4)).astype(np.float32)

# Of scores and of the labels of three examples, of which the second may be none.
INTEGER = {
    "softmax_cross_entropy_with_integer_labels": (SCORES, lambda f, x, y: f(x, y)),
    "softmax_cross_entropy_with_integer_labels axis 0": (SCORES.T, lambda f, x, y: f(x, y, axis=0)),
    "softmax_cross_entropy_with_integer_labels axes": (SCORES.reshape(3, 2, 2), lambda f, x, y: f(x, y, axis=(1, 2))),
    "softmax_cross_entropy_with_integer_labels where": (
        SCORES,
        lambda f, x, y: f(x, y, where=jnp.array([[True, True, False, True]])),
    ),
    "multiclass_hinge_loss": (SCORES, lambda f, x, y: f(x, y)),
    "multiclass_perceptron_loss": (SCORES, lambda f, x, y: f(x, y)),
    "multiclass_sparsemax_loss": (SCORES, lambda f, x, y: f(x, y)),
    "ctc_loss": (FRAMES, lambda f, x, y: f(x, NO_FRAMES, jnp.stack([y, jnp.full_like(y, 3)], 1), NO_LABELS)),
    "sparsemax_loss": (SCORES[:, 0], lambda f, x, y: f(x, y)),
}
LABELS = [-1, 4, -100, 100, 127, -128]


@pytest.mark.parametrize("case", INTEGER)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_a_label_that_is_no_class_gives_nan(case, dtype):
    """Value and gradient, of this example alone; the others' are those of Optax."""
    name, (x, call) = case.split()[0], INTEGER[case]
    examples = x.shape.index(3)
    f = lambda x, y: call(getattr(losses, name), x, y)
    both = jax.jit(lambda x, y: (f(x, y), jax.grad(lambda x: f(x, y)[1])(x), jax.grad(lambda x: f(x, y)[0] + f(x, y)[2])(x)))
    for label in LABELS:
        if jnp.iinfo(dtype).min <= label <= jnp.iinfo(dtype).max:
            value, bad, good = both(x, jnp.array([1, label, 1], dtype))
            np.testing.assert_array_equal(np.isnan(value), [False, True, False])
            bad, good = (np.moveaxis(np.asarray(x), examples, 0) for x in (bad, good))
            assert np.isnan(bad[1]).all()
            assert not bad[[0, 2]].any()
            assert np.isfinite(good[[0, 2]]).all()
    value, *_ = both(x, jnp.array([1, 0, 1], dtype))
    with jax.numpy_dtype_promotion("standard"):
        theirs = call(getattr(optax.losses, name), x, jnp.array([1, 0, 1]))
    np.testing.assert_allclose(value, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("label", [-100, -1, 4])
@pytest.mark.parametrize("whole", [False, True])
def test_what_where_excludes_is_0_whatever_its_label(label, whole):
    labels = jnp.array([1, label, 2])
    where = labels >= 0 if label < 0 else labels < 4
    where = jnp.broadcast_to(where[:, None], (3, 4)) if whole else where
    f = jax.value_and_grad(lambda x: losses.softmax_cross_entropy_with_integer_labels(x, labels, where=where).sum())
    value, gradient = jax.jit(f)(SCORES)
    kept = np.array([0, 2])
    expected = jax.value_and_grad(lambda x: losses.softmax_cross_entropy_with_integer_labels(x, labels[kept]).sum())(SCORES[kept])
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient[kept], expected[1], rtol=1e-5)
    assert not gradient[1].any()


@pytest.mark.parametrize("label", [-1, 4, np.nan, 1.5])
def test_labels_of_ctc_as_floats(label):
    f = lambda labels, paddings: losses.ctc_loss(FRAMES[:1], NO_FRAMES[:1], jnp.array([labels]), jnp.array([paddings]))
    theirs = optax.losses.ctc_loss(FRAMES[:1], NO_FRAMES[:1], jnp.array([[1, 2]]), NO_LABELS[:1])
    np.testing.assert_allclose(f([1.0, 2.0], [0.0, 0.0]), theirs, rtol=1e-5)
    assert np.isnan(f([1.0, label], [0.0, 0.0]))
    np.testing.assert_allclose(f([1.0, label], [0.0, 1.0]), f([1, 0], [0.0, 1.0]), rtol=1e-6)
    with pytest.raises(HyperparameterError, match="`blank_id` must be one of the 4 classes, but got 4"):
        losses.ctc_loss(FRAMES, NO_FRAMES, jnp.ones((3, 2), int), NO_LABELS, blank_id=4)


# Large and small numbers ---------------------------------------------------------------------------------------------------------

A, B = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[4.0, 3.0], [-1.0, 2.0]])
UNIT = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
DISTANCE = lambda a, b: np.linalg.norm(a - b, axis=-1)
VECTORS = {
    "cosine_similarity": (lambda f, a, b: f(a, b), lambda a, b: np.sum(UNIT(a) * UNIT(b), -1)),
    "cosine_distance": (lambda f, a, b: f(a, b), lambda a, b: 1 - np.sum(UNIT(a) * UNIT(b), -1)),
    "ntxent": (lambda f, a, b: f(a, jnp.array([0, 0]), 0.5)[None], None),
    "triplet_margin_loss": (lambda f, a, b: f(a, b, 3 * a), lambda a, b: np.maximum(DISTANCE(a, b) - DISTANCE(a, 3 * a) + 1, 0)),
}


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize(("a", "b"), [(1e25, 1e25), (1e-25, 1e-25), (1e25, 1e-25), (1.0, 1e20), (1e-15, 1.0)])
def test_squares_may_overflow_and_vanish(name, a, b):
    call, equation = VECTORS[name]
    f = functools.partial(call, getattr(losses, name))
    with jax.enable_x64(True):
        value, (da, db) = jax.value_and_grad(lambda a, b: f(a, b).sum(), (0, 1))(A * a, B * b)
        value, da, db = np.asarray(value), np.asarray(da), np.asarray(db)
    if equation is not None:
        np.testing.assert_allclose(value, equation(A * a, B * b).sum(), rtol=1e-3 if name == "triplet_margin_loss" else 1e-10)
    if name == "ntxent" and a < 1:
        return  # 1e-7, below which a vector counts as short, depends on the dtype
    x, y = jnp.asarray(A * a, jnp.float32), jnp.asarray(B * b, jnp.float32)
    got, (gx, gy) = jax.value_and_grad(lambda a, b: f(a, b).sum(), (0, 1))(x, y)
    np.testing.assert_allclose(got, value, rtol=2e-6)
    for g, d in ((gx, da), (gy, db)):
        if name != "triplet_margin_loss" or a >= 1:  # eps makes it smooth at short distances, by its own size
            np.testing.assert_allclose(g / (np.abs(d).max() or 1), d / (np.abs(d).max() or 1), atol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [None, 0.3])
def test_the_derivative_of_focal_loss_by_labels(gamma, alpha):
    """At 0 and 1 too, where one of two terms has no part in the value."""
    x, y = (v.ravel() for v in np.meshgrid([-30.0, -3.0, -0.2, 0.0, 0.3, 2.0, 30.0], [0.0, 1e-3, 0.5, 1.0]))

    def derivative(x, y):
        p, q = expit(x), expit(-x)
        r, ce, w = (
            y * q + (1 - y) * p,
            -y * np.log(p) - (1 - y) * np.log(q),
            1.0 if alpha is None else y * alpha + (1 - y) * (1 - alpha),
        )
        inside = gamma * r ** (gamma - 1) * (q - p) * ce + r**gamma * (np.log(q) - np.log(p))
        return w * inside + (0 if alpha is None else (2 * alpha - 1) * r**gamma * ce)

    f = lambda x, y: losses.sigmoid_focal_loss(x, y, alpha=alpha, gamma=gamma)
    got = jax.jit(jax.vmap(jax.grad(f, 1)))(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(got, derivative(x, y), rtol=2e-5, atol=1e-6)
    far = jnp.array([1000.0, -1000.0, 1000.0, -1000.0])
    assert jnp.isfinite(jax.vmap(jax.grad(f, 1))(far, jnp.array([1.0, 1.0, 0.0, 0.0]))).all()


@pytest.mark.parametrize("axis", [-1, 0, (0, 1)])
def test_smoothed_labels_have_no_mass_outside_where(axis):
    labels, where = np.eye(4, dtype=np.float32)[[0, 3, 2]], np.array([[1, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]], bool)
    n = np.maximum(where.sum(axis, keepdims=True), 1)
    expected = np.where(where, labels * (1 - 0.1) + 0.1 / n, 0)
    smooth = losses.smooth_labels(jnp.asarray(labels), 0.1, axis=axis, where=where)
    np.testing.assert_allclose(smooth, expected, rtol=1e-6)
    np.testing.assert_array_equal(smooth, losses.smooth_labels(jnp.where(where, labels, jnp.nan), 0.1, axis=axis, where=where))
    x = jnp.asarray(SCORES)
    if axis == -1:
        for loss in (losses.softmax_cross_entropy, losses.poly_loss_cross_entropy):  # as if the classes were not there
            np.testing.assert_allclose(loss(x, smooth, where=where)[0], loss(x[0, [0, 2, 3]], smooth[0, [0, 2, 3]]), rtol=1e-6)


# What the docstrings say ---------------------------------------------------------------------------------------------------------


def test_reduce_fn_of_a_ranking():
    """It is always called with `where`, as Optax does."""
    x, seen = jnp.asarray(SCORES), []

    def reduce_fn(losses, where):
        seen.append(where)
        return jnp.max(losses, where=where, initial=0)

    where = jnp.array([[True, True, False, True], [False] * 4, [True] * 4])
    for given in (None, where):
        for m in (losses, optax.losses):
            m.ranking_softmax_loss(x, x, reduce_fn=reduce_fn, where=given)
    assert seen[0] is seen[1] is None
    np.testing.assert_array_equal(seen[2], [True, False, True])
    np.testing.assert_array_equal(seen[3], seen[2])
    each = losses.ranking_softmax_loss(x, x, reduce_fn=None, where=where)
    assert each.shape == (3,)
    assert each[1] == 0


def test_dice_of_probabilities_that_are_constants_of_a_jit():
    p, t = np.full((2, 3, 2), 0.5, np.float32), np.ones((2, 3, 2), np.float32)
    for constant in (p, jnp.asarray(p)):
        f = jax.jit(lambda t, constant=constant: losses.dice_loss(constant, t, apply_softmax=False))
        np.testing.assert_allclose(f(t), optax.losses.dice_loss(jnp.asarray(p), t, apply_softmax=False), rtol=1e-6)
