"""Flax: NNX keeps parameters in variables and hands states back in containers of its own; Linen may box them. Paths are the same."""

import dataclasses
import inspect
import sys
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.core._holes import paths
from gradxform.kernels import Axes, Field, Updates

nnx = pytest.importorskip("flax.nnx")
linen = pytest.importorskip("flax.linen")
as_pure = nnx.as_pure if hasattr(nnx, "as_pure") else nnx.pure  # under its older name
WAYS = [{"graph": True}, {"graph": False}] if "graph" in inspect.signature(nnx.Optimizer).parameters else [{}]
X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
DECAY = {"*/bias": False, "default": True}


class Net(nnx.Module):
    """With layers in a list, and with a layer, a parameter and a key that are called `value`."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)])
        self.heads = nnx.Dict({"value": nnx.Linear(4, 1, rngs=rngs), "policy": nnx.Linear(4, 2, rngs=rngs)})
        self.value = nnx.Param(jnp.ones(2))

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.heads["value"](x) + self.heads["policy"](x).sum() + self.value.sum()


def loss(model):
    return jnp.mean(model(X) ** 2)


def arrays(model):
    return as_pure(nnx.state(model, nnx.Param))


NAMES = [
    *(f"heads/{head}/{leaf}" for head in ("policy", "value") for leaf in ("bias", "kernel")),
    *(f"layers/{i}/{leaf}" for i in (0, 1) for leaf in ("bias", "kernel")),
    "value",
]


def test_paths_are_those_of_the_plain_dictionary():
    state = nnx.state(Net(), nnx.Param)
    for tree in (state, Net(), as_pure(state), nnx.to_pure_dict(state)):
        assert paths(tree) == NAMES
    boxes = {"kernel": linen.Partitioned(jnp.ones((4, 3)), ("a", None)), "bias": linen.LogicallyPartitioned(jnp.ones(3), ("b",))}
    assert paths(boxes) == ["bias", "kernel"]
    assert paths({"mu": nnx.Param([jnp.ones(2), jnp.ones(3)])}) == ["mu/0", "mu/1"]


class Scaled(NamedTuple):
    value: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Critic:
    value: jax.Array


NO_BOXES = {"a key": {"value": X}, "a field": Scaled(X), "an attribute": Critic(X)}


@pytest.mark.parametrize("kind", NO_BOXES)
def test_what_is_called_value_otherwise_stays(kind):
    assert paths({"a": NO_BOXES[kind]}) == ["a/value"]
    assert paths({"a": NO_BOXES[kind], "w": nnx.Param(X)}) == ["a/value", "w"]


MASKED = {
    "decay": lambda: gx.adamw(0.1, mask=DECAY),
    "partition": lambda: gx.partition({"plain": gx.sgd(0.1), "matrix": gx.adam(0.1)}, {"*/kernel": "matrix", "default": "plain"}),
    "frozen head": lambda: gx.selective_transform(gx.sgd(0.1), freeze_mask={"heads/value/*": True, "default": False}),
    "by_leaf": lambda: gx.masked(gx.sgd(0.1), lambda path, leaf: path.endswith("kernel") or path == "value"),
    "multiplier": lambda: gx.chain(gx.sgd(0.1), gx.scale_by_multiplier({"layers/1/kernel": 3.0})),
}


@pytest.mark.parametrize("kind", MASKED)
def test_patterns_written_for_linen_fit(kind):
    """In `init` NNX shows variables, in `update` arrays; the numbers are those of a plain dictionary."""
    tx, model = MASKED[kind](), Net()
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    state = tx.init(params)
    for _ in range(2):
        grads = nnx.grad(loss)(model)
        updates, state = tx.update(nnx.to_pure_dict(as_pure(nnx.state(grads, nnx.Param))), state, params)
        params = gx.apply_updates(params, updates)
        optimizer.update(model, grads)
        jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(model, nnx.Param)), params)


def test_a_mask_of_variables_fits_arrays():
    model = Net()
    mask = jax.tree.map(lambda x: x.ndim > 1, nnx.state(model, nnx.Param))
    nnx.Optimizer(model, gx.masked(gx.masked(gx.sgd(0.1), mask), mask), wrt=nnx.Param).update(model, nnx.grad(loss)(model))
    with pytest.raises(gx.LabelError, match=r"matches no leaf.*'heads/policy/bias'"):
        gx.masked(gx.sgd(0.1), {"*/bias/value": False, "default": True}).init(nnx.state(model, nnx.Param))


class Rows(NamedTuple):
    row: jax.Array
    column: jax.Array


class FactoredState(NamedTuple):
    """A record for each leaf, as a user may have it."""

    nu: Annotated[Updates, Field(axes=lambda shape: Rows(Axes(0), Axes(1)) if len(shape) == 2 else Rows(Axes(), Axes()))]


@gx.per_leaf(FactoredState)
def factored(g, s, p, c):
    means = Rows(jnp.mean(g**2, -1), jnp.mean(g**2, 0)) if g.ndim == 2 else Rows(*[jnp.mean(g**2)] * 2)
    nu = jax.tree.map(lambda new, old: old + new, means, s.nu)
    return g / (1 + nu.row.mean() + nu.column.mean()), s._replace(nu=nu)


HANDED_BACK = {
    "a list for each leaf": lambda: gx.sm3(0.1),
    "inside a mask": lambda: gx.masked(gx.sm3(0.1), DECAY),
    "a record for each leaf": lambda: gx.chain(factored(), gx.scale(-0.1)),
    "arrays": lambda: gx.adafactor(0.1, min_dim_size_to_factor=2),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", HANDED_BACK)
def test_states_come_back_in_other_containers(kind, way):
    tx, model = HANDED_BACK[kind](), Net()
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param, **way)
    params = arrays(model)
    state = tx.init(params)
    for _ in range(3):
        grads = nnx.grad(loss)(model)
        updates, state = tx.update(as_pure(nnx.state(grads, nnx.Param)), state, params)
        params = gx.apply_updates(params, updates)
        optimizer.update(model, grads)
        jax.tree.map(np.testing.assert_array_equal, arrays(model), params)


RECORDS = {
    "a stage": gx.scale_by_adam(),
    "a boxed clock": gx.trace(gx.linear_schedule(0.9, 0.5, 10)),
    "a mask": gx.masked(gx.scale_by_adam(), True),
    "a partition": gx.partition({"a": gx.scale_by_adam()}, lambda path, leaf: "a"),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_comes_back_as_a_mapping_of_its_fields(kind):
    """As Optax takes it, which reads the fields."""
    tx, params = RECORDS[kind], arrays(Net())
    state = tx.update(params, tx.init(params), params)[1]
    updates, expected = tx.update(params, state, params)
    back = nnx.state(state)
    assert isinstance(back, nnx.State)
    u, after = tx.update(params, back, params)
    jax.tree.map(np.testing.assert_array_equal, u, updates)
    assert type(after) is type(expected)
    assert len(jax.tree.leaves(after)) == len(jax.tree.leaves(expected))
    for x, y in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(x, y)


class Linen(linen.Module):
    boxed: bool = False

    @linen.compact
    def __call__(self, x):
        init = linen.initializers.lecun_normal()
        x = linen.Dense(4, kernel_init=linen.with_partitioning(init, ("a", None)) if self.boxed else init, name="first")(x)
        return linen.Dense(1, name="value")(jnp.tanh(x))


class InNNX(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first, self.value = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.value(jnp.tanh(self.first(x)))


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("name", ["adamw", "sm3"])
def test_a_checkpoint_moves_between_linen_and_nnx(name, boxed):
    """Parameters, moments and clock go over by name, there and back, and the run goes on as if it had stayed."""
    tx = {"adamw": gx.adamw(0.1, mask=DECAY), "sm3": gx.masked(gx.sm3(0.1), DECAY)}[name]
    linen_model, model = Linen(boxed), InNNX()
    params = linen_model.init(jax.random.key(0), X)["params"]
    gradient = jax.grad(lambda params: jnp.mean(linen_model.apply({"params": params}, X) ** 2))

    def step(params, state):
        updates, state = tx.update(gradient(params), state, params)
        return gx.apply_updates(params, updates), state

    params, state = step(*step(params, tx.init(params)))

    nnx.update(model, jax.tree.map(nnx.Param, linen.unbox(params)))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    moved = gx.transfer_state(tx, state, tx, arrays(model))
    assert not moved.fresh
    assert not moved.dropped
    nnx.update(optimizer.opt_state, nnx.state(moved.state))
    optimizer.update(model, nnx.grad(loss)(model))
    params, state = step(params, state)
    close = lambda a, b: jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)
    close(nnx.to_pure_dict(nnx.state(model, nnx.Param)), linen.unbox(params))

    back = gx.transfer_state(tx, as_pure(optimizer.opt_state), tx, params)
    assert not back.fresh
    assert not back.dropped
    assert jax.tree.structure(back.state) == jax.tree.structure(state)
    close(back.state, state)


def test_flax_need_not_be_loaded(monkeypatch):
    for module in ("flax.nnx.variablelib", "flax.core.meta"):
        monkeypatch.delitem(sys.modules, module)
    assert paths({"a": Scaled(X)}) == ["a/value"]
