"""Factorizations, roots and Newton-Schulz tables for batches of matrices, against NumPy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradxform import HyperparameterError, UnknownNameError, linear_algebra
from gradxform.linear_algebra._newton_schulz import newton_schulz
from gradxform.linear_algebra._polynomials import polynomials


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def symmetric(n, batch=3, condition=1e3):
    """Symmetric matrices with eigenvalues from 1 / condition to 1, and these."""
    q = np.linalg.qr(drawn(batch, n, n))[0]
    w = np.geomspace(1 / condition, 1, n)
    return (q * w) @ q.swapaxes(1, 2), w


@pytest.mark.fast
@pytest.mark.parametrize("batched", ["vmap", "last two axes"])
def test_factors_multiply_to_what_was_factored(batched, x64):
    a, w = symmetric(6)
    x = drawn(2, 3, 5, 4)
    over = lambda f, times: jax.vmap(over(f, times - 1)) if times else f
    call = lambda f, y: over(f, y.ndim - 2)(y) if batched == "vmap" else f(y)
    values, v = call(linear_algebra.eigh, jnp.asarray(a))
    np.testing.assert_allclose(values, np.broadcast_to(w, (3, 6)), rtol=1e-9)
    np.testing.assert_allclose((v * values[:, None]) @ v.swapaxes(1, 2), a, atol=1e-12)
    q, r = call(linear_algebra.qr, jnp.asarray(x))
    np.testing.assert_allclose(q @ r, x, atol=1e-12)
    np.testing.assert_allclose(q.swapaxes(-1, -2) @ q, np.broadcast_to(np.eye(4), (2, 3, 4, 4)), atol=1e-12)
    assert not np.tril(r, -1).any()
    u, s, v = call(linear_algebra.svd, jnp.asarray(x))
    np.testing.assert_allclose((u * s[..., None, :]) @ v, x, atol=1e-12)
    np.testing.assert_allclose(s, np.linalg.svd(x, compute_uv=False), rtol=1e-12)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["eigh", "qr", "svd"])
def test_a_batch_is_factored_one_by_one(name):
    """One LAPACK call, of one matrix, in a loop: several batches at once wait for one another on the CPU."""
    f, x = getattr(linear_algebra, name), jnp.asarray(symmetric(4)[0], jnp.float32)
    text = jax.jit(jax.vmap(f)).lower(x).compile().as_text()
    calls = re.findall(r"(\S+) custom-call\(.*lapack_", text)
    assert calls
    assert " while(" in text
    shapes = re.findall(r"f32\[([\d,]+)\][^=]*custom-call[^\n]*lapack_", text)
    assert all(not shape.startswith("3,") for shape in shapes), shapes


@pytest.mark.fast
@pytest.mark.parametrize("name", ["eigh", "qr", "svd"])
def test_derivatives_are_those_of_jax(name, x64):
    theirs = {"eigh": jnp.linalg.eigh, "qr": jnp.linalg.qr, "svd": lambda x: jnp.linalg.svd(x, full_matrices=False)}[name]
    x = jnp.asarray(symmetric(4)[0])
    loss = lambda f: lambda x: sum(jnp.sum(jnp.sin(part)) for part in f(x))
    ours, wanted = (jax.grad(loss(jax.vmap(f)))(x) for f in (getattr(linear_algebra, name), theirs))
    np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("method", "p"), [("eigh", 1), ("eigh", 3), ("eigh", 4), ("newton", 3), ("newton_db", 2), ("newton_db", 4)]
)
def test_inverse_roots(method, p, x64):
    a, _ = symmetric(7)
    root = jax.jit(lambda x, ridge: linear_algebra.inverse_root(x, p, method, ridge))
    for ridge in (0.0, 1e-2):
        w, v = np.linalg.eigh(a)
        wanted = (v * (w + ridge * w[:, -1:])[:, None] ** (-1 / p)) @ v.swapaxes(1, 2)
        np.testing.assert_allclose(root(jnp.asarray(a), ridge), wanted, rtol=1e-4, atol=1e-5 * wanted.max())


@pytest.mark.parametrize("method", ["eigh", "newton", "newton_db"])
def test_inverse_roots_of_singular_matrices_in_float32(method):
    """A factor after one gradient has rank 1; the ridge bounds its root."""
    g = drawn(5, 1)
    a = jnp.asarray(g @ g.T, jnp.float32)
    root = np.asarray(linear_algebra.inverse_root(a, 4, method, 1e-4), float)
    size = float((g * g).sum())
    along = (g.T @ root @ g / size).item()
    np.testing.assert_allclose(along, size ** (-1 / 4), rtol=1e-3)
    across = np.linalg.eigvalsh(root)[1:]
    np.testing.assert_allclose(across, (1e-4 * size) ** (-1 / 4), rtol=0.02)


@pytest.mark.fast
@pytest.mark.parametrize("method", ["eigh", "newton", "newton_db"])
def test_the_root_of_a_matrix_of_ones(method):
    """The first iteration makes elements of M - I larger, though eigenvalues come nearer to 1."""
    root = linear_algebra.inverse_root(jnp.full((6, 6), 6.0), 4, method, 1e-4)
    expected = np.array([36 * (1 + 1e-4), *5 * [36e-4]]) ** (-1 / 4)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.asarray(root, float)), np.sort(expected), rtol=3e-3)


@pytest.mark.fast
@pytest.mark.parametrize("method", ["eigh", "newton", "newton_db"])
def test_a_root_of_what_is_not_finite_is_not_finite(method):
    for x in (np.nan, np.inf):
        assert not np.all(np.isfinite(linear_algebra.inverse_root(jnp.full((3, 3), x), 4, method)))


@pytest.mark.parametrize("method", ["eigh", "newton_db"])
def test_a_root_of_zeros_is_zeros(method):
    assert not np.any(linear_algebra.inverse_root(jnp.zeros((2, 3, 3)), 4, method))


@pytest.mark.fast
def test_no_such_method_or_root():
    with pytest.raises(UnknownNameError, match="eigh, newton, newton_db"):
        linear_algebra.inverse_root(jnp.eye(2), 2, "schur")
    for p, method in ((0, "eigh"), (1, "newton_db"), (3, "newton_db")):
        with pytest.raises(HyperparameterError, match=f"2, 4, 8 or so on, but got {p}"):
            linear_algebra.inverse_root(jnp.eye(2), p, method)


@pytest.mark.fast
def test_what_is_not_finite_is_not_kept():
    new, old = np.ones((3, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32)
    new[1, 0, 1] = np.nan
    roots, failures = linear_algebra.kept(jnp.asarray(new), jnp.asarray(old))
    assert failures == 1
    np.testing.assert_array_equal(roots, np.stack([new[0], old[1], new[2]]))


# Newton-Schulz -------------------------------------------------------------------------------------------------------------------


def image(rows, low):
    """Where singular values from `low` to 1 go."""
    x = np.geomspace(low, 1, 20_000)
    for a, b, c in rows:
        x = a * x + b * x**3 + c * x**5
    return x.min(), x.max()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "steps", "low", "lowest", "highest"),
    [
        ("dion", 5, 1e-3, 0.475, 1.145),
        ("dion", 5, 1e-2, 0.978, 1.032),
        ("polar_express", 5, 1e-3, 0.846, 1.124),
        ("polar_express", 6, 1e-3, 0.994, 1.001),
        ("polar_express", 8, 1e-3, 1.0, 1.0),
        ("polar_express", 12, 1e-3, 1.0, 1.0),
        ("deepseek_v4", 10, 1e-3, 1.0, 1.0005),
    ],
)
def test_published_images(name, steps, low, lowest, highest):
    """Those that their authors, or those who looked at them, give."""
    np.testing.assert_allclose(image(polynomials("f", name, steps), low), (lowest, highest), atol=2e-3)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["cans", "cubic", "dion2"])
def test_every_table_brings_singular_values_near_one(name):
    lowest, highest = image(polynomials("f", name, 5), 0.02)
    assert lowest > 0.7
    assert highest < 1.3


@pytest.mark.fast
def test_no_such_table():
    with pytest.raises(HyperparameterError, match="'polar'; there are standard, dion"):
        polynomials("muon", "polar", 5)


@pytest.mark.parametrize("shape", [(4, 16), (16, 4), (5, 5), (2, 3, 8), (1, 6)])
@pytest.mark.parametrize("name", ["standard", "polar_express", "deepseek_v4", "cubic"])
def test_the_gram_form_gives_the_same(name, shape, x64):
    x, rows = jnp.asarray(drawn(*shape)), jnp.asarray(polynomials("f", name, 6))
    plain, gram = (newton_schulz(x, rows, 6, gram=gram) for gram in (False, True))
    np.testing.assert_allclose(gram, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.fast
def test_the_gram_form_takes_fewer_operations_where_it_is_long():
    def flops(gram, x):
        return jax.jit(lambda x: newton_schulz(x, jnp.ones(3), 5, gram=gram)).lower(x).compile().cost_analysis()["flops"]

    for length, most in ((256, 0.55), (128, 0.7)):
        x = jnp.ones((32, length))
        assert flops(True, x) / flops(False, x) < most
