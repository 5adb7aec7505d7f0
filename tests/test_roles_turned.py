"""The one warning where most matrices look turned: a bias is as long as the outputs."""

import functools
import warnings

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx


def linear(outputs, inputs, bias=True):
    return {"weight": jnp.ones((outputs, inputs)), **({"bias": jnp.ones(outputs)} if bias else {})}


def dense(inputs, outputs):
    return {"kernel": jnp.ones((inputs, outputs)), "bias": jnp.ones(outputs)}


TURNED = {"layers": [linear(8, 4), linear(3, 8)]}
FLAT = {"fc1.weight": jnp.ones((8, 4)), "fc1.bias": jnp.ones(8), "fc2.weight": jnp.ones((3, 8)), "fc2.bias": jnp.ones(3)}
SCANNED = {"layers": {"weight": jnp.ones((5, 8, 4)), "bias": jnp.ones((5, 8))}}
UPRIGHT = {
    "as Flax": {"a": dense(4, 8), "b": dense(8, 3), "norm": {"scale": jnp.ones(3), "bias": jnp.ones(3)}},
    "square": {"a": linear(4, 4), "b": linear(8, 8)},
    "half of them": {"a": linear(8, 4), "b": dense(4, 8), "c": dense(8, 3), "d": linear(8, 3)},
    "nothing beside them": {"a": linear(8, 4, bias=False), "b": {"w": jnp.ones((4, 8))}},
    "beside them both": {"w1": jnp.ones((4, 8)), "w2": jnp.ones((8, 4)), "b1": jnp.ones(8), "b2": jnp.ones(4)},
    "fewer vectors than matrices": {"norm": jnp.ones(4), "qkv": jnp.ones((4, 12)), "o": jnp.ones((4, 4))},
    "no matrix": {"b": jnp.ones(3)},
    "nothing": {},
}
ALL = [functools.partial(make, 0.1) for make in (gx.muon, gx.normuon, gx.adamuon, gx.scion)]
WORDS = (
    r"2 of 2 matrices .* look turned\. At '{}', of shape \(8, 4\), .* inputs 0, outputs 1, .*weight_dimension_numbers=\"equinox\"`"
)


@pytest.mark.fast
@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(("tree", "where"), [(TURNED, "layers/0/weight"), (FLAT, "fc1.weight")], ids=["nested", "flat"])
def test_a_turned_tree_is_told_once(make, tree, where):
    with pytest.warns(UserWarning, match=WORDS.format(where)) as told:
        make().init(tree)
    assert len(told) == 1  # of a chain with several stages that ask
    make(weight_dimension_numbers={"*weight": "equinox"}).init(tree)


@pytest.mark.fast
@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("tree", UPRIGHT.values(), ids=UPRIGHT)
def test_others_say_nothing(make, tree):
    make().init(tree)


@pytest.mark.fast
def test_it_is_told_of_what_was_said_too():
    with pytest.warns(UserWarning, match=r"inputs 1, outputs 0.*=\"flax\""):
        gx.muon(0.1, weight_dimension_numbers={"*/kernel": "equinox"}).init({"a": dense(4, 8), "b": dense(8, 3)})
    with pytest.warns(UserWarning, match="1 of 1 matrices"):
        gx.scale_by_lmo(weight_dimension_numbers={"*/weight": "flax"}).init(SCANNED)
    gx.scale_by_lmo(weight_dimension_numbers={"*/weight": "equinox"}).init(SCANNED)


@pytest.mark.fast
def test_what_a_part_does_not_see_counts():
    """In masks, partitions and wrappers, and where only shapes are known."""
    groups = gx.partition({"m": gx.scale_by_muon(), "rest": gx.adam(0.1)}, {"*weight": "m", "default": "rest"})
    for tx in (groups, gx.chain(gx.clip(1.0), gx.masked(gx.scale_by_muon(), gx.by_ndim(2))), gx.accumulate(gx.muon(0.1), 2)):
        with pytest.warns(UserWarning, match="2 of 2"):
            jax.eval_shape(tx.init, TURNED)
    with pytest.warns(UserWarning, match="2 of 2"):
        gx.summary(gx.muon(0.1), TURNED)


@pytest.mark.fast
def test_an_update_says_nothing():
    tx = gx.muon(0.1)
    with pytest.warns(UserWarning, match="turned"):
        state = tx.init(TURNED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tx.update(TURNED, state, TURNED)


@pytest.mark.fast
def test_where_orientation_does_not_count_nothing_is_said():
    gx.galore(0.1, 2).init(TURNED)


def test_models_of_libraries():
    linen, nnx, eqx = (pytest.importorskip(name) for name in ("flax.linen", "flax.nnx", "equinox"))

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(linen.LayerNorm()(linen.Dense(8)(x)))

    gx.muon(0.1).init(Model().init(jax.random.key(0), jnp.ones((1, 4))))
    gx.muon(0.1).init(nnx.state(nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 3, rngs=nnx.Rngs(0))), nnx.Param))
    mlp = eqx.filter(eqx.nn.MLP(4, 3, 8, 1, key=jax.random.key(0)), eqx.is_array)
    with pytest.warns(UserWarning, match=r"2 of 2 .*'layers/0/weight'.*\"equinox\""):
        gx.muon(0.1).init(mlp)
    gx.muon(0.1, weight_dimension_numbers="equinox").init(mlp)
