"""`gradxform.projections` of odd inputs, against the nearest point in float64 or complex128 NumPy: a table of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradxform import projections
from gradxform._errors import HyperparameterError, StructureError

# The nearest points of one vector, in double precision ----------------------------------------------------------------------------


def simplex(x, s):
    u = np.sort(x)[::-1] - np.max(x)
    excess = np.cumsum(u) - s
    n = max(np.count_nonzero(np.arange(1, x.size + 1) * u > excess), 1)
    return np.maximum(x - np.max(x) - excess[n - 1] / n, 0)


def sign(x):
    return np.where(x == 0, 1, x / np.where(x == 0, 1, np.abs(x)))


def l1_sphere(x, s):
    return sign(x) * simplex(np.abs(x), s)


def size(x):
    return np.linalg.norm(x / np.max(np.abs(x), initial=1e-300)) * np.max(np.abs(x), initial=1e-300)


def on_sphere(x, s):
    return x / size(x) * s if np.any(x) else np.full_like(x, s / np.sqrt(x.size))


def along(x, a):
    return np.vdot(a / size(a), x) / size(a)


A = np.array([1.0, -2.0, 0.5, 1.0])
ORDERED, ALL = "of real numbers", "of complex numbers too"
NEAREST = {
    "projection_non_negative": (ORDERED, lambda f, x, s, a: f(x), lambda x, s, a: np.maximum(x, 0)),
    "projection_box": (ORDERED, lambda f, x, s, a: f(x, -s / 2, s), lambda x, s, a: np.clip(x, -s / 2, s)),
    "projection_hypercube": (ORDERED, lambda f, x, s, a: f(x, s), lambda x, s, a: np.clip(x, 0, s)),
    "projection_simplex": (ORDERED, lambda f, x, s, a: f(x, s), lambda x, s, a: simplex(x, s)),
    "projection_linf_ball": (ALL, lambda f, x, s, a: f(x, s), lambda x, s, a: sign(x) * np.minimum(np.abs(x), s)),
    "projection_l1_sphere": (ALL, lambda f, x, s, a: f(x, s), lambda x, s, a: l1_sphere(x, s)),
    "projection_l1_ball": (ALL, lambda f, x, s, a: f(x, s), lambda x, s, a: x if np.abs(x).sum() <= s else l1_sphere(x, s)),
    "projection_l2_sphere": (ALL, lambda f, x, s, a: f(x, s), lambda x, s, a: on_sphere(x, s)),
    "projection_l2_ball": (ALL, lambda f, x, s, a: f(x, s), lambda x, s, a: x if size(x) <= s else on_sphere(x, s)),
    "projection_vector": (ALL, lambda f, x, s, a: f(x, a), lambda x, s, a: a * along(x, a)),
    "projection_hyperplane": (ALL, lambda f, x, s, a: f(x, a, s), lambda x, s, a: x + a * (s / size(a) ** 2 - along(x, a))),
    "projection_halfspace": (
        ALL,
        lambda f, x, s, a: f(x, a, -s),
        lambda x, s, a: x + a * min(-s / size(a) ** 2 - along(x, a).real, 0),
    ),
}

# A vector of four elements, in two leaves; a scale; the direction of lines and planes.
X = np.array([3.0, -4.0, 0.0, 1.5])
INPUTS = {
    "float32": (X, 2.0, A),
    "inside": (X, 100.0, A),
    "overflowing squares": (X * 1e25, 2e25, A),
    "vanishing squares": (X * 1e-25, 2e-25, A),
    "near the largest number": (X * 7e37, 1e38, A),
    "a large scale": (X, 1e30, A),
    "a small scale": (X, 1e-30, A),
    "scale 0": (X, 0.0, A),
    "scale inf": (X, np.inf, A),
    "zeros": (0 * X, 2.0, A),
    "a long direction": (X, 2.0, A * 1e25),
    "a short direction": (X * 1e-10, 2e-30, A * 1e-25),
    "whole numbers": (np.array([3, -4, 0, 2]), 2, np.array([1, -2, 0, 1])),
    "whole numbers, scale a fraction": (np.array([3, -4, 0, 2]), 0.75, A),
    "narrow whole numbers": (np.array([3, -4, 0, 2], np.int8), 1000, A),
    "flags": (np.array([True, False, True, True]), 0.5, A),
    "complex": (X * (1 + 1j) + np.array([0, 2j, 3j, 0]), 2.0, A),
    "complex, overflowing squares": ((X + 1j) * 1e25, 2e25, A * (1 - 2j)),
    "complex, vanishing squares": ((X + 1j) * 1e-25, 2e-25, A),
    "a complex direction": (X, 2.0, A * 1j + 0.5),
    "zeros, complex": (0j * X, 2.0, A),
}
ENDLESS = {"projection_simplex", "projection_l1_sphere", "projection_l2_sphere", "projection_hyperplane", "projection_halfspace"}


def as_tree(x):
    x = np.asarray(x)
    x = x if x.dtype in (np.int8, np.bool_) else x.astype({"f": np.float32, "c": np.complex64, "i": np.int32}[x.dtype.kind])
    return {"w": jnp.asarray(x[:3]).reshape(1, 3), "b": jnp.asarray(x[3])}


def as_vector(tree):
    return np.concatenate([np.ravel(np.asarray(tree[k])) for k in ("w", "b")])


def cases():
    for name, (kind, *_) in NEAREST.items():
        for given, (x, s, a) in INPUTS.items():
            none = (kind is ORDERED and np.iscomplexobj(x)) or (name in ENDLESS and np.isinf(s))
            if not none:
                yield pytest.param(name, x, s, a, id=f"{name[11:]} {given}")


@pytest.mark.parametrize(("name", "x", "s", "a"), list(cases()))
def test_the_nearest_point_in_double_precision(name, x, s, a):
    _, call, nearest = NEAREST[name]
    kind = lambda v: np.asarray(v, np.complex128 if np.iscomplexobj(v) else np.float64)
    with np.errstate(over="ignore"):
        expected = nearest(kind(x), float(s), kind(a))
    tree = as_tree(x)
    p = call(getattr(projections, name), tree, s, as_tree(a))
    assert jax.tree.map(jnp.shape, p) == jax.tree.map(jnp.shape, tree)
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(as_vector(p) / (size or 1), expected / (size or 1), rtol=3e-6, atol=6e-7)
    for got, given in zip(jax.tree.leaves(p), jax.tree.leaves(tree), strict=True):
        if jnp.issubdtype(given.dtype, jnp.inexact):
            assert got.dtype == given.dtype or (np.iscomplexobj(a) and got.dtype == jnp.complex64)
        else:
            assert jnp.isdtype(got.dtype, ("integral", "real floating"))


SCALED = [name for name in NEAREST if name.split("_")[1] not in ("non", "vector", "hyperplane", "halfspace")]


@pytest.mark.parametrize("name", [name for name, (kind, *_) in NEAREST.items() if kind is ORDERED])
def test_an_order_of_complex_numbers_is_refused(name):
    with pytest.raises(StructureError, match=rf"{name}: at \['b'\] the elements are complex \(complex64\)"):
        NEAREST[name][1](getattr(projections, name), as_tree(X * 1j), 1.0, as_tree(A))


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("scale", [-1.0, -1, np.float32(-0.5), np.nan, np.array([-2.0])], ids=repr)
def test_no_set_has_a_negative_size(name, scale):
    f = lambda x, s: NEAREST[name][1](getattr(projections, name), x, s, None)
    with pytest.raises(HyperparameterError, match=name):
        f(as_tree(X), scale)
    assert np.isnan(as_vector(jax.jit(f)(as_tree(X), scale))).all()


def test_bounds_in_the_wrong_order():
    with pytest.raises(HyperparameterError, match="projection_box: there is no point between"):
        projections.projection_box(as_tree(X), 1.0, 0.0)
    p = jax.jit(projections.projection_box)(jnp.asarray(X), jnp.array([0.0, 2.0, 0.0, 0.0]), 1.0)
    np.testing.assert_array_equal(np.isnan(p), [False, True, False, False])


@pytest.mark.parametrize("name", [name for name in NEAREST if name not in ("projection_non_negative", "projection_vector")])
def test_shapes_of_scales(name):
    """One number may be an array of one element; what would change the shape of a leaf is refused."""
    f = lambda s: NEAREST[name][1](getattr(projections, name), as_tree(X), s, as_tree(A))
    jax.tree.map(np.testing.assert_array_equal, f(2.0), f(np.full((1, 1), 2.0, np.float32)))
    with pytest.raises(StructureError, match=name):
        f(np.ones((2, 3), np.float32))


def test_bounds_of_the_shape_of_a_leaf():
    x = jnp.asarray(np.outer([1, -1], X), jnp.float32)
    bound = np.array([1.0, 2.0, 3.0, 0.5])
    with jax.numpy_dtype_promotion("strict"):
        for p, least in (
            (projections.projection_linf_ball(x, bound), -bound),
            (projections.projection_hypercube(x, jnp.asarray(bound, jnp.float32)), 0),
        ):
            np.testing.assert_allclose(p, np.clip(x, least, bound))


@pytest.mark.parametrize("name", NEAREST)
@pytest.mark.parametrize(
    "scale", [2.0, np.float32(2), np.float16(2), jnp.float32(2), 2, np.int8(2)], ids=lambda s: type(s).__name__
)
def test_the_scale_has_no_part_in_the_dtype(name, scale):
    for dtype in (jnp.bfloat16, jnp.float32):
        tree = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), as_tree(X))
        with jax.numpy_dtype_promotion("strict"):
            p = NEAREST[name][1](getattr(projections, name), tree, scale, as_tree(A))
        assert {x.dtype for x in jax.tree.leaves(p)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("name", NEAREST)
def test_derivatives_are_finite_where_nothing_is_near(name):
    f = lambda x, s: jax.tree.leaves(NEAREST[name][1](getattr(projections, name), x, s, as_tree(A)))[0].sum()
    for x, s in ((0 * X, 2.0), (X * 1e25, 2e25), (X * 1e-25, 2e-25), (X, np.inf)):
        if not (np.isinf(s) and name in ENDLESS):
            gradients = jax.jit(jax.grad(f, argnums=(0, 1)))(as_tree(x), s)
            assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_nothing_is_projected_on_anything():
    for name, (_, call, _) in NEAREST.items():
        assert call(getattr(projections, name), {"w": jnp.zeros((0, 2))}, 1.0, {"w": jnp.zeros((0, 2))})["w"].shape == (0, 2)


def test_python_numbers():
    np.testing.assert_allclose(projections.projection_l2_ball([3j, 3.0]), np.array([1j, 1]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(projections.projection_linf_ball([3, -1], 0.5), [0.5, -0.5])
    np.testing.assert_array_equal(projections.projection_linf_ball([3, -300], np.uint8(200)), [3, -200])
