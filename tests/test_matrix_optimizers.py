"""The matrix optimizers go where their transcriptions go: 12 updates in float64, many shapes and options, by every engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import gradients
from oracles import ORACLES
from oracles._matrices import pseudonormal
from test_oracles_matrix import CASES

import gradxform as gx

SHAPES = {"square": (4, 4), "same": (4, 4), "cube": (3, 3, 3), "vector": (7,), "number": ()}
OBLONG = {"tall": (5, 3), "wide": (3, 5), "row": (1, 6), "column": (6, 1), "tensor": (2, 3, 4), "more": (3, 3, 2, 4)}
STEPS = 12
HAVE = [case for case in CASES if hasattr(gx, case[0])]
TIES = [case for case in HAVE if "tie_break" in gx.kernels.entry(case[0]).parameters]


def both(name, arguments, shapes):
    """The updates of both along one path, for each update a list of leaves."""
    entry = gx.kernels.entry(name)
    if "sampler" in entry.parameters:
        arguments = {**arguments, "sampler": pseudonormal}
    tx, step = entry.make(0.01, **arguments), ORACLES[name](0.01, **arguments)
    draw = lambda seed: [gradients(shape, 1, seed=seed)[0] for shape in shapes.values()]
    w, found, wanted = [jnp.asarray(x) for x in draw(99)], [], []
    state, update = tx.init(w), jax.jit(tx.update)
    for k in range(STEPS):
        g = draw(k)
        u, state = update([jnp.asarray(x) for x in g], state, w)
        found.append(u)
        wanted.append(step(g, [np.asarray(x) for x in w]))
        w = gx.apply_updates(w, u)
    return found, wanted


def close(found, wanted, shapes, tolerance):
    for t, (us, vs) in enumerate(zip(found, wanted, strict=True), 1):
        for leaf, u, v in zip(shapes, us, vs, strict=True):
            size = max(np.max(np.abs(v)), 1e-12)
            np.testing.assert_allclose(u, v, rtol=0, atol=tolerance * size, err_msg=f"update {t} of {leaf}")


@pytest.mark.fast
@pytest.mark.parametrize(("name", "arguments"), HAVE, ids=str)
def test_twelve_updates_are_the_transcriptions(name, arguments, x64):
    shapes = SHAPES if gx.kernels.entry(name).null_space else SHAPES | OBLONG
    close(*both(name, arguments, shapes), shapes, 1e-9)


@pytest.mark.parametrize(("name", "arguments"), TIES, ids=str)
def test_with_a_tie_break_so_are_those_of_oblong_leaves(name, arguments, x64):
    close(*both(name, {**arguments, "tie_break": 1e-4}, OBLONG), OBLONG, 1e-6)


LAYERS, WIDTH = 4, 8


def decoder(layers, width=WIDTH):
    """The shapes of a decoder: an embedding, and for each layer four square matrices, two oblong ones and two scales."""
    square, up, down, scale = (width, width), (width, 4 * width), (4 * width, width), (width,)
    layer = {"q": square, "k": square, "v": square, "o": square, "up": up, "down": down, "norm": scale, "norm2": scale}
    shapes = {"embedding": (5 * width, width), "layers": [layer] * layers, "norm": scale}
    return jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes, is_leaf=lambda x: isinstance(x, tuple))


def test_conditionals_are_those_of_the_shapes_and_not_of_the_leaves():
    tx, w = gx.scale_by_soap(), decoder(LAYERS)
    state, found = jax.eval_shape(tx.init, w), {}
    for engine in ("stacked", "leaf"):
        with gx.kernels.engine(engine):
            text = jax.jit(lambda *args: tx.update(*args)).lower(w, state, w).compile().as_text()
        found[engine] = text.count(" conditional("), sum(" = " in line for line in text.splitlines())
    assert found["stacked"][0] == 4  # square, up, down, embedding
    assert found["leaf"][0] == 6 * LAYERS + 1
    assert found["stacked"][1] < found["leaf"][1] / 2
