"""`scale_by_width` and `initial_scale`: factors by hand, widths that move together, and what goes wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

WIDE = {"embed": (100, 64), "hidden": (64, 128), "head": (128, 10), "bias": (128,), "temperature": ()}
BASE = {"embed": (100, 16), "hidden": (16, 32), "head": (32, 10), "bias": (32,), "temperature": ()}
# Yang et al. 2022, table 8: by hand, for a model four times as wide.
FACTORS = {
    "adam": {"embed": 1, "hidden": 1 / 4, "head": 1 / 4, "bias": 1, "temperature": 1},
    "sgd": {"embed": 4, "hidden": 1, "head": 1 / 4, "bias": 4, "temperature": 1},
    "spectral": {"embed": 2, "hidden": 1, "head": 1 / 2, "bias": 1, "temperature": 1},
    "muon": {"embed": 2, "hidden": 1, "head": 1 / 2, "bias": 1, "temperature": 1},
}


def shaped(shapes, dtype=jnp.float32):
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in shapes.items()}


def ones(shapes):
    return {name: jnp.ones(shape) for name, shape in shapes.items()}


@pytest.mark.fast
@pytest.mark.parametrize("rule", FACTORS)
def test_the_factors_are_those_of_the_papers(rule):
    tx = gx.scale_by_width(gx.sgd(1.0), shaped(BASE), rule)
    u, _ = tx.update(ones(WIDE), tx.init(ones(WIDE)))
    for name, factor in FACTORS[rule].items():
        np.testing.assert_allclose(u[name], -factor * np.ones(WIDE[name]), rtol=1e-6, err_msg=name)


def test_a_step_of_muon_that_is_clipped_is_made_one_that_is_not():
    """sqrt(max(1, m / n)) times the factor is in proportion to sqrt(m / n)."""
    shapes, base = {"a": (64, 16), "b": (16, 64), "c": (8, 8)}, {"a": (16, 16), "b": (16, 16), "c": (8, 2)}
    tx = gx.scale_by_width(gx.sgd(1.0), shaped(base), "muon")
    u, _ = tx.update(ones(shapes), tx.init(ones(shapes)))
    for name, (n, m) in shapes.items():
        n0, m0 = base[name]
        wanted = np.sqrt(m / n) / np.sqrt(m0 / n0)
        step = np.sqrt(max(1, m / n)) / np.sqrt(max(1, m0 / n0))
        np.testing.assert_allclose(-u[name][0, 0] * step, wanted, rtol=1e-6, err_msg=name)


def test_at_the_base_width_it_is_the_base_optimizer():
    tx, base = gx.scale_by_width(gx.adamw(0.1), shaped(WIDE)), gx.adamw(0.1)
    p, g = ones(WIDE), ones(WIDE)
    u, v = tx.update(g, tx.init(p), p)[0], base.update(g, base.init(p), p)[0]
    jax.tree.map(np.testing.assert_array_equal, u, v)


@pytest.mark.fast
def test_roles_masks_and_functions():
    """Outputs first, layers in front, a head that is no matrix; a part of the tree; shapes by a function."""
    wide, base = {"w": (3, 64, 32), "v": (3, 64)}, {"w": (3, 16, 8), "v": (3, 16)}
    roles = {"w": "equinox", "default": None}
    tx = gx.scale_by_width(gx.sgd(1.0), shaped(base), weight_dimension_numbers=roles)
    u, _ = tx.update(ones(wide), tx.init(ones(wide)))
    np.testing.assert_allclose(u["w"], -np.ones(wide["w"]) / 4)
    np.testing.assert_allclose(u["v"], -np.ones(wide["v"]))
    inside = gx.masked(gx.scale_by_width(gx.sgd(1.0), shaped(BASE)), {name: name == "hidden" for name in WIDE})
    u, _ = inside.update(ones(WIDE), inside.init(ones(WIDE)))
    np.testing.assert_allclose(u["hidden"], -np.ones(WIDE["hidden"]) / 4)
    np.testing.assert_allclose(u["head"], np.ones(WIDE["head"]))
    by_function = gx.scale_by_width(gx.sgd(1.0), lambda tree: jax.tree.map(lambda x: jnp.zeros((16,) * x.ndim), tree))
    u, _ = by_function.update({"w": jnp.ones((32, 32))}, by_function.init({"w": jnp.ones((32, 32))}))
    np.testing.assert_allclose(u["w"], -np.ones((32, 32)) / 2)


@pytest.mark.fast
def test_initial_sizes():
    """The standard deviation that gives spectral norm sqrt(m / n): sqrt(m / n) / (sqrt(m) + sqrt(n)), up to a factor of at most 2."""
    scale = gx.initial_scale(shaped(WIDE), shaped(BASE))
    assert scale == {"embed": 2.0, "hidden": 0.5, "head": 0.25, "bias": 1.0, "temperature": 1.0}
    # head: s = sqrt(10 / n) / sqrt(n), in proportion to 1 / n; embed: min(1, sqrt(m / 100)) / 10
    assert gx.initial_scale({"embed": jnp.ones((100, 400))}, {"embed": jnp.ones((100, 200))}) == {"embed": 1.0}


@pytest.mark.fast
def test_a_leaf_without_a_base():
    tx = gx.scale_by_width(gx.sgd(1.0), shaped({"w": (2, 2)}))
    with pytest.raises(
        gx.StructureError, match=r"scale_by_width: at 'v' the leaf has shape \(4,\), but `base_shapes` has nothing there"
    ):
        tx.update(ones({"w": (4, 4), "v": (4,)}), tx.init(ones({"w": (4, 4), "v": (4,)})))
    with pytest.raises(
        gx.StructureError, match=r"initial_scale: at 'w' the leaf has shape \(4,\), but `base_shapes` has shape \(2, 2\)"
    ):
        gx.initial_scale(ones({"w": (4,)}), shaped({"w": (2, 2)}))
