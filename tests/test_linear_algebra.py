"""Assignment, eigenvectors, inverse roots, non-negative least squares, and the small numerical functions."""

import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from oracle import optax

from gradxform import assignment, linear_algebra, numerics, tree
from gradxform._errors import HyperparameterError, MissingArgumentError, StructureError
from gradxform.linear_algebra._newton_schulz import Preconditioning, newton_schulz
from gradxform.tree._leafwise import alike

RNG = np.random.default_rng(0)

# Assignment --------------------------------------------------------------------------------------------------------------------

ASSIGN = [assignment.hungarian_algorithm, assignment.base_hungarian_algorithm]


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 8), (9, 4)], ids=str)
def test_assignments_are_those_of_scipy(shape):
    whole = RNG.integers(0, 4, (6, *shape))
    costs = [np.concatenate([RNG.normal(size=(6, *shape)), whole]), np.concatenate([whole, whole])]
    costs[0][-1, : min(shape), : min(shape)][~np.eye(min(shape), dtype=bool)[::-1]] = np.inf
    both = jax.jit(jax.vmap(lambda c: [f(c) for f in ASSIGN]))
    for batch in costs:
        for which, (i, j) in enumerate(both(jnp.asarray(batch, jnp.float32))):
            for cost, rows, columns in zip(batch, np.asarray(i), np.asarray(j), strict=True):
                best = cost[scipy.optimize.linear_sum_assignment(cost)].sum()
                assert len(set(rows)) == len(set(columns)) == min(shape)
                assert sorted((columns, rows)[which]) == list((columns, rows)[which])
                np.testing.assert_allclose(cost[rows, columns].sum(), best, rtol=1e-5, atol=1e-5)


def test_square_assignments_have_the_order_of_optax():
    cost = jnp.asarray(RNG.normal(size=(6, 6)), jnp.float32)
    for name in ("hungarian_algorithm", "base_hungarian_algorithm"):
        for a, b in zip(getattr(assignment, name)(cost), getattr(optax.assignment, name)(cost), strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_impossible_assignment_ends():
    i, j = assignment.hungarian_algorithm(jnp.full((3, 3), jnp.inf))
    assert sorted(i) == sorted(j) == [0, 1, 2]


@pytest.mark.parametrize("f", ASSIGN)
def test_odd_costs(f):
    assert f(jnp.zeros((0, 3)))[0].shape == f(jnp.zeros((3, 0)))[1].shape == (0,)
    with pytest.raises(StructureError, match=r"must be a matrix, but have shape \(2, 3, 3\)"):
        f(jnp.zeros((2, 3, 3)))


# Linear algebra ----------------------------------------------------------------------------------------------------------------


def positive(n, condition):
    q, _ = np.linalg.qr(RNG.normal(size=(n, n)))
    return q * np.geomspace(1, 1 / condition, n) @ q.T


def test_power_iteration_finds_the_dominant_eigenvector():
    a = -positive(6, 1e3)
    w, v = np.linalg.eigh(a)
    value, vector = linear_algebra.power_iteration(jnp.asarray(a, jnp.float32), key=jax.random.key(1))
    assert abs(value - w[0]) < 1e-4
    np.testing.assert_allclose(np.abs(vector @ v[:, 0]), 1, atol=1e-4)
    value, vector = linear_algebra.power_iteration(
        lambda x: {"a": 2 * x["a"], "b": x["b"]}, v0={"a": jnp.ones(3), "b": jnp.ones(2, jnp.bfloat16)}
    )
    assert abs(value - 2) < 1e-3
    assert vector["b"].dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "complex64"])
def test_power_iteration_in_other_dtypes(dtype):
    a = jnp.asarray(positive(4, 100), dtype)
    value, vector = jax.jit(linear_algebra.power_iteration)(a)
    assert abs(value - 1) < 0.02
    assert vector.dtype == dtype
    value, vector = linear_algebra.power_iteration(0 * a)
    assert value == 0
    assert abs(tree.norm(vector) - 1) < 0.02


def test_power_iteration_refuses():
    with pytest.raises(MissingArgumentError, match="`v0` is needed when `matrix` is a function"):
        linear_algebra.power_iteration(lambda x: x)
    with pytest.raises(StructureError, match=r"must be square, but has shape \(2, 3\)"):
        linear_algebra.power_iteration(jnp.ones((2, 3)))


@pytest.mark.parametrize("p", [1, 3, 4])
def test_inverse_roots(p):
    a = positive(8, 100)
    w, v = np.linalg.eigh(a)
    root, error = linear_algebra.matrix_inverse_pth_root(jnp.asarray(a, jnp.float32), p, ridge_epsilon=0.0)
    np.testing.assert_allclose(root, v * w ** (-1 / p) @ v.T, rtol=2e-3, atol=2e-3 * 100 ** (1 / p))
    assert error < 1e-2
    if p == 4:
        theirs = optax.matrix_inverse_pth_root(jnp.asarray(a, jnp.float32), p, ridge_epsilon=0.0)[0]
        np.testing.assert_allclose(root, theirs, rtol=1e-2, atol=1e-2)


def test_inverse_roots_of_odd_matrices():
    f = linear_algebra.matrix_inverse_pth_root
    root, error = f(jnp.full((1, 1), 16.0, jnp.bfloat16), 4)
    assert root.dtype == jnp.bfloat16
    np.testing.assert_allclose(root.astype(float), [[0.5]])
    assert error == 0
    assert jnp.isfinite(f(jnp.zeros((3, 3)), 2)[0]).all()
    a = jnp.asarray(positive(3, 10), jnp.float32)
    np.testing.assert_allclose(jax.jit(f)(a, 3)[0], f(a, 3)[0], rtol=1e-3, atol=1e-3)
    for bad in (0, 2.5):
        with pytest.raises(HyperparameterError, match="`p` must be a positive integer"):
            f(a, bad)


@pytest.mark.parametrize("shape", [(8,), (8, 3)], ids=str)
def test_non_negative_least_squares(shape):  # optax #1200
    a, b = RNG.normal(size=(8, 5)), RNG.normal(size=shape)
    best = np.stack([scipy.optimize.nnls(a, column)[0] for column in np.atleast_2d(b.T)], -1).reshape(5, *shape[1:])
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    np.testing.assert_allclose(linear_algebra.nnls(a, b, 2000), best, atol=1e-4)
    np.testing.assert_allclose(linear_algebra.nnls(a, b, 5), optax.nnls(a, b, 5), rtol=1e-4, atol=1e-5)
    assert linear_algebra.nnls(a.astype("bfloat16"), b.astype("bfloat16"), 5).dtype == jnp.bfloat16
    assert not linear_algebra.nnls(0 * a, b, 5).any()
    with pytest.raises(StructureError, match=r"but got \(8, 5\) and \(3,\)"):
        linear_algebra.nnls(a, jnp.ones(3), 5)


def test_global_norm():
    x = {"a": jnp.full(4000, 16.0, jnp.float16), "b": None}
    np.testing.assert_allclose(linear_algebra.global_norm(x), 16 * np.sqrt(4000), rtol=1e-6)


# Numerics ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, 1, np.inf])
def test_safe_norm(order):  # optax commit 5d27579e
    f = functools.partial(numerics.safe_norm, ord=order, axis=-1)
    x = jnp.array([[3.0, -4.0], [0.0, 0.0], [0.3, 0.4]])
    np.testing.assert_allclose(f(x, 1.0), np.maximum(np.linalg.norm(x, order, -1), 1), rtol=1e-6)
    for least in (0.0, 1.0):
        grad = jax.grad(lambda x, least=least: f(x, least).sum())(x)
        np.testing.assert_allclose(grad[0], jax.grad(lambda x: jnp.linalg.norm(x, order))(x[0]), rtol=1e-6)
        assert not grad[1].any()
    assert numerics.safe_norm(x, 0.0, axis=(0, 1), keepdims=True).shape == (1, 1)
    assert numerics.safe_norm(jnp.full(4000, 256.0, jnp.bfloat16), 1e-3).dtype == jnp.bfloat16


def test_safe_root_mean_squares():
    x = jnp.array([3.0, 4.0])
    np.testing.assert_allclose(numerics.safe_root_mean_squares(x, 0.1), np.sqrt(12.5), rtol=1e-6)
    assert numerics.safe_root_mean_squares(0 * x, 0.1) == np.float32(0.1)
    assert not jax.grad(numerics.safe_root_mean_squares)(0 * x, 0.0).any()
    assert numerics.safe_root_mean_squares(jnp.full(9, 500.0, jnp.float16), 1e-3) == 500


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "float32", "bfloat16"])
def test_safe_increment(dtype):
    largest = jnp.asarray((jnp.iinfo if "int" in dtype else jnp.finfo)(dtype).max, dtype)
    for count, after in ((jnp.asarray(3, dtype), 4), (largest, largest)):
        assert numerics.safe_increment(count) == after
        assert numerics.safe_increment(count).dtype == dtype
    with pytest.raises(ValueError, match="has dtype bool"):
        numerics.safe_increment(True)


@pytest.mark.parametrize("scale", [-0.5, 0.0, 1.0, 2.0])
def test_scale_gradient(scale):
    x = {"a": jnp.array([1.0, jnp.inf]), "n": jnp.arange(3)}
    f = lambda x, scale: numerics.scale_gradient({**x, "n": jnp.arange(3)}, scale)["a"]
    floats = {"a": x["a"]}
    for value, derivative in (
        jax.jvp(lambda x: f(x, scale), (floats,), ({"a": jnp.ones(2)},)),
        jax.jit(lambda s: jax.jvp(lambda x: f(x, s), (floats,), ({"a": jnp.ones(2)},)))(scale),
    ):
        np.testing.assert_array_equal(value, x["a"])
        np.testing.assert_array_equal(derivative, [scale, scale])
    np.testing.assert_array_equal(jax.grad(lambda x: f(x, scale).sum())(floats)["a"], [scale, scale])
    assert jax.tree.structure(numerics.scale_gradient(x, scale)) == jax.tree.structure(x)


@pytest.mark.parametrize("scale", [0.5, -2.0, 0, 1, jnp.float32(0.5)], ids=repr)
def test_higher_derivatives_of_a_scaled_gradient(scale):
    """As Optax's: what is differentiated again is scaled again."""
    ours, theirs = ([lambda x, m=m: m.scale_gradient(x, scale) ** 3] for m in (numerics, optax))
    for _ in range(3):
        ours.append(jax.grad(ours[-1]))
        theirs.append(jax.grad(theirs[-1]))
    np.testing.assert_allclose([f(2.0) for f in ours], [f(2.0) for f in theirs])
    np.testing.assert_allclose(jax.jacfwd(jax.jacrev(ours[0]))(2.0), ours[2](2.0))
    narrow = jax.grad(lambda x: numerics.scale_gradient(x, jnp.float32(0.5)).sum())(jnp.ones(2, jnp.bfloat16))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_array_equal(narrow.astype(float), 0.5)


def test_multi_normal():
    ours, theirs = (f(jnp.ones((2, 1)), jnp.full(3, 0.5)) for f in (numerics.multi_normal, optax.multi_normal))
    for f in (
        lambda d: d.sample((4,), jax.random.key(0)),
        lambda d: d.log_prob(jnp.zeros((5, 2, 3))),
        lambda d: d.log_scale,
        lambda d: d.params[0],
    ):
        with jax.numpy_rank_promotion("allow"):
            np.testing.assert_allclose(f(ours), f(theirs), rtol=1e-6)


# Odd inputs, against double precision ------------------------------------------------------------------------------------------

SIZES = {"large": 1e25, "small": 1e-25, "one": 1.0}
HERMITIAN = np.array([[2, 1j, 0], [-1j, 3, 0.5], [0, 0.5, 1]])
SPD = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 2]])
MATRICES = {"float32": SPD * 1.0, "whole": SPD, "complex": HERMITIAN, "narrow": SPD.astype(np.int8)}


def given(x, size=1.0):
    """An array as a user would hand it in: whole numbers if it is whole and not scaled, else 32 bits."""
    if size == 1.0 and x.dtype.kind == "i":
        return jnp.asarray(x)
    x = x * size
    return jnp.asarray(x, jnp.complex64 if np.iscomplexobj(x) else jnp.float32)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("start", [None, [1, 1, 0], [1.0 + 1j, 1, 0], np.array([1, 1, 0], np.int8)], ids=repr)
def test_the_dominant_eigenvector_in_double_precision(matrix, start):
    v0 = start if start is None else jnp.asarray(start)
    f = jax.jit(lambda a: linear_algebra.power_iteration(a, v0=v0, num_iters=300))
    by_function = jax.jit(lambda a: linear_algebra.power_iteration(lambda v: jnp.matmul(*alike(a, v)), v0=v0, num_iters=300))
    for size in SIZES.values():
        a = given(MATRICES[matrix], size)
        values, vectors = np.linalg.eigh(MATRICES[matrix] * size)
        for found in [f(a)] if v0 is None else [f(a), by_function(given(MATRICES[matrix] * 1.0, size))]:
            np.testing.assert_allclose(found[0] / size, values[-1] / size, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(abs(np.vdot(vectors[:, -1], np.asarray(found[1]))), 1, rtol=1e-4)


def test_power_iteration_from_nowhere():
    assert jnp.isnan(linear_algebra.power_iteration(jnp.eye(3), v0=jnp.zeros(3))[0])


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("p", [1, 4])
def test_inverse_roots_in_double_precision(matrix, p):
    f = jax.jit(lambda a: linear_algebra.matrix_inverse_pth_root(a, p))
    for size in SIZES.values():
        values, vectors = np.linalg.eigh(MATRICES[matrix] * size)
        root, error = f(given(MATRICES[matrix], size))
        expected = vectors * (values + 1e-6 * max(values[-1], 1e-16)) ** (-1 / p) @ vectors.conj().T
        np.testing.assert_allclose(np.asarray(root) / np.abs(expected).max(), expected / np.abs(expected).max(), atol=1e-3)
        assert error < 1e-3


@pytest.mark.parametrize("p", [0, -1, 2.5, np.nan, np.inf, -np.inf, 1j, jnp.ones(2)], ids=str)
def test_inverse_roots_of_an_order_that_there_is_not(p):
    with pytest.raises(HyperparameterError, match="matrix_inverse_pth_root: `p` must be a positive integer"):
        linear_algebra.matrix_inverse_pth_root(jnp.eye(2), p)


LEFT, RIGHT = np.array([[3, -1], [1, 2], [0, 4], [2, 2]]), np.array([3, -5, 2, 4])
LEAST_SQUARES = {
    "float32": (LEFT * 1.0, RIGHT * 1.0),
    "whole": (LEFT, RIGHT),
    "complex": (LEFT * (1 + 0.5j), RIGHT * (1 - 0.25j)),
    "mixed": (LEFT, RIGHT * 0.5),
}


@pytest.mark.parametrize("case", LEAST_SQUARES)
def test_non_negative_least_squares_in_double_precision(case):
    a, b = LEAST_SQUARES[case]
    stack = lambda x: np.concatenate([x.real, x.imag]) * 1.0
    best = scipy.optimize.nnls(stack(a), stack(b))[0]
    largest = np.linalg.eigvalsh((a.conj().T @ a).real)[-1]
    f = jax.jit(lambda a, b, most: linear_algebra.nnls(a, b, 500, L=most))
    for size_a, size_b, most in (
        (1.0, 1.0, None),
        (1e25, 1e25, None),
        (1e-25, 1e-25, None),
        (1e-20, 1e10, None),
        (1e10, 1, 1e20 * largest),
    ):
        x = f(given(a, size_a), given(b, size_b), most)
        assert not jnp.iscomplexobj(x)
        np.testing.assert_allclose(np.asarray(x, float) / size_b * size_a, best, atol=1e-5)


@pytest.mark.parametrize("kind", typing.get_args(Preconditioning))
@pytest.mark.parametrize(("shape", "phase"), [((5, 3), 1), ((2, 3, 4), 1 + 1j)], ids=["real", "complex"])
def test_newton_schulz_in_double_precision(kind, shape, phase):
    coefficients, x = np.array([3.4445, -4.775, 2.0315]), np.random.default_rng(1).normal(size=shape) * phase
    f = jax.jit(lambda x, coefficients: newton_schulz(x, coefficients, 3, kind, 0.0))
    for size in SIZES.values():
        x32 = given(x, size)
        with jax.enable_x64(True):
            expected = f(np.asarray(x32, complex if phase != 1 else float), coefficients)
        got = f(x32, jnp.asarray(coefficients, jnp.float32))
        assert got.dtype == x32.dtype
        np.testing.assert_allclose(got, expected, atol=2e-5)


VECTORS = {
    "float32": np.array([3.0, -4.0, 0.0]),
    "whole": np.array([3, -4, 0]),
    "complex": np.array([3 + 1j, -4j, 0]),
}


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("size", SIZES)
def test_norms_in_double_precision(vector, size):
    x, exact = given(VECTORS[vector], SIZES[size]), VECTORS[vector] * SIZES[size]
    mixed = {"a": x[:2], "b": [x[2], None], "c": x[:0]}
    norm = np.linalg.norm(exact / SIZES[size]) * SIZES[size]
    close = lambda a, b: np.testing.assert_allclose(np.asarray(a, float) / SIZES[size], b / SIZES[size], rtol=1e-6)
    for f in (linear_algebra.global_norm, tree.norm, jax.jit(tree.norm), functools.partial(tree.norm, ord=2)):
        close(f(mixed), norm)
    close(tree.norm(mixed, ord=1), np.abs(exact / SIZES[size]).sum() * SIZES[size])
    close(tree.norm(mixed, ord="inf"), np.abs(exact).max())
    close(numerics.safe_norm(x, 0.0), norm)
    close(numerics.safe_norm(x, 9 * SIZES[size]), 9 * SIZES[size])
    close(numerics.safe_root_mean_squares(x, 0.0), norm / np.sqrt(3))
    if vector == "float32":
        direction = VECTORS[vector] / 5
        for f in (tree.norm, lambda x: numerics.safe_norm(x, 0.0), lambda x: numerics.safe_root_mean_squares(x, 0.0) * np.sqrt(3)):
            np.testing.assert_allclose(jax.jit(jax.grad(f))(x), direction, rtol=1e-6)


def test_a_norm_that_was_right_has_the_same_bits():
    for seed in range(3):
        x = jnp.asarray(np.random.default_rng(seed).normal(size=2000) * 10.0 ** (5 * seed - 5), jnp.float32)
        assert tree.norm(x) == jnp.sqrt(jnp.sum(x * x)) == optax.tree.norm(x)


def test_norms_of_what_is_not_finite():
    for x, norm in (([np.inf, 1.0], np.inf), ([np.nan, 1.0], np.nan), ([3e38, 3e38], np.inf), ([], 0.0)):
        np.testing.assert_array_equal(tree.norm(jnp.array(x)), np.float32(norm))


COSTS = {
    "int32": (2**31 - 1, np.int32),
    "int32 of both signs": (-(2**31), np.int32),
    "uint32": (2**32 - 1, np.uint32),
    "int16": (2**15 - 1, np.int16),
    "uint8": (255, np.uint8),
    "bool": (1, np.bool_),
}


@pytest.mark.fast
@pytest.mark.parametrize("kind", COSTS)
def test_costs_of_whole_numbers_are_exact(kind):
    """Above 2^24 neighbours are one number in float32; sums of two of them do not fit into 32 bits."""
    most, dtype = COSTS[kind]
    f, rng = jax.jit(assignment.base_hungarian_algorithm), np.random.default_rng(0)
    for shape in ((6, 6), (4, 9), (9, 4)):
        near = abs(most) - rng.integers(0, min(40, abs(most) + 1), shape) if most > 0 else rng.integers(most, 2**31, shape)
        anything = rng.integers(min(most, 0), abs(most) if most < 0 else most + 1, shape)
        two = np.where(rng.random(shape) < 0.5, min(most, 0), abs(most) - 1 if most < 0 else most)
        for costs in (near, anything, two, np.zeros(shape)):
            given = costs.astype(dtype)
            i, j = f(given)
            exact = given.astype(object)
            best = scipy.optimize.linear_sum_assignment(given.astype(np.float64))
            assert exact[np.asarray(i), np.asarray(j)].sum() == exact[best].sum()
