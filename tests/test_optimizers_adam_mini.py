"""`adam_mini`: blocks of one kind for each leaf, by patterns, against the transcription."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import gradients
from oracles import ORACLES

import gradxform as gx

pytestmark = pytest.mark.fast

SHAPES = {"embed": (5, 4), "query": (4, 6), "key": (2, 4, 6), "norm": (6,), "number": (), "w": (3, 5)}
BLOCKS = {"embed": "input", "query": ("heads", 3), "key": ("heads", 2), "norm": "element"}


def test_each_leaf_has_blocks_of_its_own(x64):
    tx = gx.adam_mini(0.1, blocks=BLOCKS, weight_decay=0.1)
    draw = lambda seed: {n: jnp.asarray(gradients(shape, 1, seed=seed)[0]) for n, shape in SHAPES.items()}
    params, steps = draw(99), {n: ORACLES["adam_mini"](0.1, blocks=BLOCKS.get(n), weight_decay=0.1) for n in SHAPES}
    state, update = tx.init(params), jax.jit(tx.update)
    sizes = {"embed": (5,), "query": (3,), "key": (2,), "norm": (6,), "number": (), "w": (5,)}
    assert {n: x.shape for n, x in state[0].nu.items()} == sizes
    for k in range(12):
        g = draw(k)
        u, state = update(g, state, params)
        for n in SHAPES:
            np.testing.assert_allclose(u[n], steps[n]([g[n]], [params[n]])[0], rtol=1e-9, atol=1e-12)
        params = gx.apply_updates(params, u)


def test_roles_say_which_axis_has_the_outputs(x64):
    (g,) = gradients((6, 4), 1)
    turned = gx.adam_mini(0.1, blocks=("heads", 3), weight_dimension_numbers="equinox")
    plain = gx.adam_mini(0.1, blocks=("heads", 3))
    u = turned.update({"w": jnp.asarray(g)}, turned.init({"w": g}), {"w": jnp.asarray(g)})[0]["w"]
    v = plain.update({"w": jnp.asarray(g.T)}, plain.init({"w": g.T}), {"w": jnp.asarray(g.T)})[0]["w"]
    np.testing.assert_allclose(u, v.T)


def test_its_state_lies_on_a_mesh_as_the_outputs_do():
    mesh = jax.sharding.AbstractMesh((2,), ("model",))
    place = jax.sharding.NamedSharding(mesh, jax.P(None, "model"))
    params = {n: jax.ShapeDtypeStruct((4, 8), jnp.float32, sharding=place) for n in ("w", "embed")}
    found = gx.state_shardings(gx.adam_mini(0.1, blocks={"embed": "input"}), params)[0].nu
    assert {n: "model" in s.spec for n, s in found.items()} == {"w": True, "embed": False}


def test_a_leaf_that_cannot_have_the_blocks_is_said():
    p = {"w": jnp.ones((2, 5))}
    with pytest.raises(gx.StructureError, match=r"adam_mini: 5 outputs, of a leaf of shape \(2, 5\), are not 3 heads"):
        gx.adam_mini(0.1, blocks=("heads", 3)).init(p)
    with pytest.raises(gx.HyperparameterError, match="`blocks` of a leaf must be"):
        gx.adam_mini(0.1, blocks={"w": "rows"}).init(p)
