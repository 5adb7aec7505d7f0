"""`gradxform.projections`: each gives the nearest point of its set, in value and in derivative."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

from gradxform import projections
from gradxform._errors import StructureError

RNG = np.random.default_rng(0)
TREE = {
    "w": jnp.asarray(RNG.normal(size=(2, 3)), jnp.float32),
    "b": [jnp.asarray(RNG.normal(size=4), jnp.float32), jnp.float32(0.5)],
}
A = jax.tree.map(lambda x: jnp.cos(x) + 0.5, TREE)

# The projection with a scale, and the points of its set near a point of the set: mapped there by f(x, scale).
CASES = {
    "projection_non_negative": (lambda f, x, s: f(x), lambda x, s: np.maximum(x, 0)),
    "projection_box": (lambda f, x, s: f(x, -s / 2, s), lambda x, s: np.clip(x, -s / 2, s)),
    "projection_hypercube": (lambda f, x, s: f(x, s), lambda x, s: np.clip(x, 0, s)),
    "projection_linf_ball": (lambda f, x, s: f(x, s), lambda x, s: np.clip(x, -s, s)),
    "projection_simplex": (lambda f, x, s: f(x, s), lambda x, s: np.abs(x) * s / np.abs(x).sum()),
    "projection_l1_sphere": (lambda f, x, s: f(x, s), lambda x, s: x * s / np.abs(x).sum()),
    "projection_l1_ball": (lambda f, x, s: f(x, s), lambda x, s: x * min(1, s / np.abs(x).sum())),
    "projection_l2_sphere": (lambda f, x, s: f(x, s), lambda x, s: x * s / np.linalg.norm(x)),
    "projection_l2_ball": (lambda f, x, s: f(x, s), lambda x, s: x * min(1, s / np.linalg.norm(x))),
    "projection_vector": (lambda f, x, s: f(x, A), lambda x, s: flat(A) * x[0]),
    "projection_hyperplane": (lambda f, x, s: f(x, A, s), lambda x, s: x - flat(A) * (flat(A) @ x - s) / (flat(A) @ flat(A))),
    "projection_halfspace": (
        lambda f, x, s: f(x, A, -s),
        lambda x, s: x - flat(A) * max(flat(A) @ x + s, 0) / (flat(A) @ flat(A)),
    ),
}


def flat(tree):
    return np.concatenate([np.ravel(np.asarray(x, float)) for x in jax.tree.leaves(tree)])


def call(case, module=projections):
    return functools.partial(CASES[case][0], getattr(module, case))


@functools.cache
def results():
    """By case and scale: the projection, its derivatives along the tree forwards and backwards, and in the scale; one compilation."""

    def measure(case, scale):
        f = call(case)
        along = jax.tree.map(jnp.sin, TREE)
        forward = jax.jvp(lambda x: f(x, scale), (TREE,), (along,))[1]
        backward = jax.vjp(lambda x: f(x, scale), TREE)[1](A)[0]
        return f(TREE, scale), forward, backward, jax.jacfwd(lambda s: f(TREE, s))(scale)

    return jax.jit(lambda scales: {(c, i): measure(c, s) for c in CASES for i, s in enumerate(scales)})([0.8, 3.0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("i", [0, 1])
def test_it_is_the_nearest_point(case, i):
    p, forward, backward, _ = results()[case, i]
    scale, into_set = [0.8, 3.0][i], CASES[case][1]
    assert jax.tree.map(jnp.shape, p) == jax.tree.map(jnp.shape, TREE)
    x, q = flat(TREE), flat(p)
    if case != "projection_vector":
        np.testing.assert_allclose(into_set(q, scale), q, atol=1e-5)
    others = np.random.default_rng(1).normal(size=(300, x.size)) * np.geomspace(1e-3, 1, 300)[:, None]
    distances = [np.linalg.norm(into_set(q + d, scale) - x) for d in others]
    assert np.linalg.norm(q - x) <= min(distances) + 1e-5
    along = jax.tree.map(jnp.sin, TREE)
    np.testing.assert_allclose(np.vdot(flat(A), flat(forward)), np.vdot(flat(backward), flat(along)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_optax(case):
    if case in ("projection_box", "projection_hypercube"):  # Optax's take scalars for a single leaf only
        x, y = TREE["w"], jnp.sin(TREE["w"])
    else:
        x, y = TREE, jax.tree.map(jnp.sin, TREE)
    ours, theirs = (
        jax.jvp(lambda x, s, m=m: call(case, m)(x, s), (x, jnp.float32(0.8)), (y, jnp.float32(0.3)))
        for m in (projections, optax.projections)
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_are_rounded_once(dtype):
    def both(tree):
        wide = jax.tree.map(lambda x: x.astype("float32"), tree)
        return [{c: call(c)(x, 0.8) for c in CASES} for x in (tree, wide)]

    narrow, wide = jax.jit(both)(jax.tree.map(lambda x: x.astype(dtype), TREE))
    for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype("float32"), b, rtol=float(jnp.finfo(dtype).eps), atol=1e-6)


def test_every_projection_of_optax_is_here():
    assert {n for n in dir(optax.projections) if not n.startswith("_")} == set(CASES)


def test_bounds_of_a_box():
    p = projections.projection_box(TREE, jax.tree.map(lambda x: x + 1, TREE), 9.0)
    np.testing.assert_allclose(flat(p), flat(TREE) + 1, rtol=1e-6)
    np.testing.assert_array_equal(projections.projection_box(jnp.arange(3.0), jnp.array([1.0, 0.0, 0.0]), 1), [1, 1, 1])
    with pytest.raises(StructureError, match="projection_box: `lower` has structure"):
        projections.projection_box(TREE, {"w": 0.0}, 1.0)


def test_zeros():
    zeros = {"a": jnp.zeros(3), "b": jnp.float32(0)}
    for f, size in ((projections.projection_l1_sphere, 1), (projections.projection_l2_sphere, 2)):
        np.testing.assert_allclose(np.linalg.norm(flat(f(zeros, 3.0)), size), 3, rtol=1e-6)
    for f in (projections.projection_l1_ball, projections.projection_l2_ball, projections.projection_simplex):
        assert not flat(f(zeros, 0.0)).any()
        assert np.isfinite(flat(jax.jit(jax.grad(lambda x, f=f: f(x, 1.0)["b"]))(zeros))).all()
    np.testing.assert_allclose(projections.projection_l1_sphere(jnp.array([0.0, 0.1])), [0.45, 0.55], rtol=1e-6)
    np.testing.assert_array_equal(projections.projection_vector(jnp.ones(2), jnp.zeros(2)), [0, 0])
    np.testing.assert_array_equal(projections.projection_hyperplane(jnp.ones(2), jnp.zeros(2), 1.0), [1, 1])


def test_large_elements_keep_their_digits():
    np.testing.assert_allclose(projections.projection_simplex(jnp.array([1e6, 1e6 + 0.5, -jnp.inf])), [0.25, 0.75, 0])


def test_a_point_inside_stays():
    x = jnp.asarray(RNG.normal(size=50) / 100, jnp.float32)
    for f in (projections.projection_l2_ball, projections.projection_l1_ball, projections.projection_linf_ball):
        np.testing.assert_array_equal(f(x, 0.7), x)


def test_absent_leaves_stay_absent():
    x = {"a": jnp.array([3.0, 4.0]), "b": None}
    np.testing.assert_allclose(projections.projection_l2_ball(x)["a"], [0.6, 0.8], rtol=1e-6)
    assert projections.projection_box(x, 0.0, 1.0)["b"] is None


def test_complex_vectors():
    x, a = jnp.array([1 + 2j, 3 - 1j]), jnp.array([1j, 2 + 1j])
    p = projections.projection_vector(x, a)
    assert abs(jnp.vdot(a, x - p)) < 1e-5
