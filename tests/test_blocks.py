"""A leaf as the matrices and blocks that it holds: every way of cutting is undone exactly, and errors say what does not fit."""

from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.core._blocks import blocks_of
from gradxform.core._roles import role_for
from gradxform.kernels import Axes, BlockSize, Field, MergeDims, Roles, per_leaf

pytestmark = pytest.mark.fast
Dims = gx.WeightDimensionNumbers

CUTS = {  # shape, dimension numbers, block size, merged up to: shapes of the batches of pieces
    "a matrix": ((5, 7), None, None, None, [(5, 7)]),
    "blocks and what is over": ((5, 7), None, 3, None, [(2, 3, 3), (3, 1), (2, 2, 3), (2, 1)]),
    "blocks that fit": ((6, 4), None, 2, None, [(3, 2, 2, 2)]),
    "axes that are joined": ((2, 3, 4), None, None, 6, [(6, 4)]),
    "axes of length 1": ((1, 3, 1, 4), None, None, 4, [(3, 4)]),
    "a number": ((), None, 2, 3, [()]),
    "a vector": ((7,), None, 3, None, [(2, 3), (1,)]),
    "nothing": ((0, 3), None, 2, None, [(0, 2), (0, 1)]),
    "layers": ((3, 5, 7), Dims(), None, None, [(3, 5, 7)]),
    "heads": ((3, 6, 8), Dims(output_split=4), None, None, [(3, 4, 6, 2)]),
    "fused": ((3, 6, 8), Dims(output_split=(4, 2, 2)), None, None, [(3, 6, 4), (3, 2, 6, 2)]),
    "turned": ((6, 8), "equinox", None, None, [(8, 6)]),
    "a convolution": ((3, 3, 4, 8), "conv", None, None, [(36, 8)]),
    "several axes": ((3, 6, 8, 2), Dims((2, 0), -1), 5, None, [(6, 4, 5, 2), (6, 4, 2)]),
    "both split, and cut": ((3, 6, 8), Dims(-1, -2, reduction_split=2, output_split=(4, 2)), 3, None, None),
}


@pytest.mark.parametrize(("shape", "numbers", "size", "merge", "expected"), CUTS.values(), ids=CUTS)
def test_cut_and_put_together(shape, numbers, size, merge, expected):
    view = blocks_of(shape, None if numbers is None else role_for("x", shape, numbers), size, merge)
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    pieces = view.take(x)
    assert sum(piece.size for piece in pieces) == x.size
    assert [p.shape for p in pieces] == [p.batch + p.shape for p in view.pieces]
    if expected is not None:
        assert [p.shape for p in pieces] == expected
    np.testing.assert_array_equal(view.put(pieces), x)


def test_which_numbers_are_in_a_piece():
    x = jnp.arange(48.0).reshape(6, 8)
    heads = blocks_of((6, 8), role_for("x", (6, 8), Dims(output_split=4)), None, None).take(x)[0]
    np.testing.assert_array_equal(heads[1], x[:, 2:4])
    query, rest = blocks_of((6, 8), role_for("x", (6, 8), Dims(output_split=(4, 2, 2))), None, None).take(x)
    np.testing.assert_array_equal(query, x[:, :4])
    np.testing.assert_array_equal(rest[1], x[:, 6:])
    np.testing.assert_array_equal(blocks_of((6, 8), role_for("x", (6, 8), "equinox"), None, None).take(x)[0], x.T)


class RowsState(NamedTuple):
    nu: Annotated[Any, Field("leaf", axes=lambda shape: Axes(0) if shape else Axes())]


@per_leaf(RowsState, stack=True, sees="tensor")
def rows(g, s, p, c, weight_dimension_numbers: Roles = None, block_size: BlockSize = None, merge_dims: MergeDims = None):
    """The mean square of each row, of each matrix or block."""
    nu = s.nu + jnp.mean(g**2, tuple(range(1, g.ndim)))
    return g / jnp.sqrt(nu).reshape(-1, *(1,) * (g.ndim - 1)).reshape(
        g.shape[:1] + (1,) * (g.ndim - 1)
    ) if g.ndim else g, s._replace(nu=nu)


def test_each_piece_has_an_entry():
    g = {"l": jnp.ones((3, 4, 6)), "q": jnp.ones((4, 8)), "v": jnp.ones(5)}
    tx = rows(weight_dimension_numbers={"q": Dims(output_split=(4, 2, 2)), "l": "flax"})
    nu = tx.update(g, tx.init(g))[1].nu
    assert nu["l"].shape == (3, 4)
    assert [x.shape for x in nu["q"]] == [(4,), (2, 4)]
    assert nu["v"].shape == (5,)
    cut = rows(block_size=3).init(g).nu
    assert [x.shape for x in cut["v"]] == [(3,), (2,)]


@pytest.mark.parametrize("engine", ["stacked", "leaf", "plain"])
def test_the_same_as_one_matrix_after_another(engine):
    r = np.random.default_rng(1)
    g = {k: jnp.asarray(r.normal(size=shape), jnp.float32) for k, shape in {"a": (4, 6), "b": (4, 6), "l": (2, 4, 6)}.items()}
    tx, one = rows(weight_dimension_numbers={"*": "flax"}), rows()
    with gx.kernels.engine(engine):
        found, _ = tx.update(g, tx.init(g))
    alone = lambda x: one.update(x, one.init(x))[0]
    np.testing.assert_allclose(found["a"], alone(g["a"]), rtol=1e-6)
    np.testing.assert_allclose(found["l"], np.stack([alone(x) for x in g["l"]]), rtol=1e-6)


REFUSED = {
    "no matrix": (None, (2, 3, 4), r"expected a matrix, but at 'w' the leaf has shape \(2, 3, 4\) and no role"),
    "one axis": (Dims(), (4,), r"two axes or more, at 'w' but the leaf has shape \(4,\)"),
    "no such axis": (Dims(0, 2), (3, 4), r"at 'w' the leaf has shape \(3, 4\), which has no axis 2"),
    "twice": (Dims(0, -2), (3, 4), r"names \[0\] twice"),
    "parts": (Dims(output_split=3), (3, 4), r"whose 4 outputs cannot be split into 3"),
    "sizes": (Dims(reduction_split=(1, 1)), (3, 4), r"whose 3 inputs cannot be split into \(1, 1\)"),
    "no such preset": ("torch", (3, 4), r"no dimension numbers are called 'torch'; there are flax, equinox, conv"),
}


@pytest.mark.parametrize(("numbers", "shape", "message"), REFUSED.values(), ids=REFUSED)
def test_roles_that_do_not_fit(numbers, shape, message):
    tx, g = gx.scale_by_muon(weight_dimension_numbers=numbers), {"w": jnp.ones(shape)}
    state = tx.init(g)
    with pytest.raises(gx.StructureError, match=message):
        tx.update(g, state)


def test_muon_by_patterns_turned_and_by_heads():
    r = np.random.default_rng(2)
    g = {
        k: jnp.asarray(r.normal(size=shape), jnp.float32)
        for k, shape in {"w": (6, 4), "qkv": (4, 12), "e": (9, 4), "b": (4,)}.items()
    }
    tx = gx.muon(0.1, muon_weight_dimension_numbers={"w": "equinox", "qkv": Dims(output_split=3), "e": None, "b": None})
    u, state = tx.update(g, tx.init(g), g)
    plain = gx.muon(0.1)
    of = lambda x: plain.update({"x": x}, plain.init({"x": x}), {"x": x})[0]["x"]
    np.testing.assert_allclose(u["w"], of(g["w"].T).T, atol=1e-5)
    for i in range(3):
        np.testing.assert_allclose(u["qkv"][:, 4 * i : 4 * i + 4], of(g["qkv"][:, 4 * i : 4 * i + 4]), atol=1e-5)
    adam = gx.adamw(0.1, weight_decay=0.0, nesterov=True)
    np.testing.assert_allclose(u["e"], adam.update(g["e"], adam.init(g["e"]), g["e"])[0], atol=1e-6)
    assert isinstance(state.inner_states["muon"].inner_state[0].mu["e"], gx.MaskedNode)
