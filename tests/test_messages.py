"""What a slip of the pen is answered with: who complains, what came, and what to write."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx
from gradxform.dialects import keras, mxnet, neon, torch
from gradxform.kernels import Decay, Field, Inner, Key, Shared, Updates, elementwise, per_leaf, per_tree, wrapper

pytestmark = pytest.mark.fast

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
SGD = gx.sgd(0.1)
ADAM = r"It takes learning_rate, b1=0\.9, b2=0\.999, eps=1e-08, eps_root=0\.0, mu_dtype=None, nesterov=False\."

WRONG_ARGUMENTS = {
    # PyTorch's words
    "adam, lr": (
        lambda: gx.adam(lr=1e-3),
        rf"adam has no argument 'lr'\. Did you mean 'learning_rate'\? gradxform\.dialects\.torch\.adam takes it\. {ADAM}",
    ),
    "adam, betas": (
        lambda: gx.adam(1e-3, betas=(0.9, 0.99)),
        rf"adam has no argument 'betas'\. Did you mean 'b1' and 'b2'\? gradxform\.dialects\.torch\.adam takes it\. {ADAM}",
    ),
    "adam, weight_decay": (
        lambda: gx.adam(1e-3, weight_decay=0.1),
        rf"adam has no argument 'weight_decay'\. adamw and gradxform\.dialects\.torch\.adam take it\. {ADAM}",
    ),
    "sgd, lr": (
        lambda: gx.sgd(lr=0.1),
        r"sgd has no argument 'lr'\. Did you mean 'learning_rate'\? .*dialects\.torch\.sgd takes it",
    ),
    # kernels
    "trace": (lambda: gx.trace(decy=0.9), r"trace has no argument 'decy'\. Did you mean 'decay'\? It takes decay, nesterov=False,"),
    "trace, none": (lambda: gx.trace(), r"trace: missing a required argument: 'decay'\. It takes decay, nesterov=False,"),
    "scale, many": (lambda: gx.scale(1, 2, 3), r"scale: too many positional arguments\. It takes step_size\."),
    "scale_by_adam": (lambda: gx.scale_by_adam(beta1=0.9), r"scale_by_adam has no argument 'beta1'\. Did you mean 'b1'\?"),
    "identity": (lambda: gx.identity(decay=1), r"identity has no argument 'decay'\. It takes nothing\."),
    # optimizers
    "adamw": (lambda: gx.adamw(0.1, weight_deca=1), r"adamw has no argument 'weight_deca'\. Did you mean 'weight_decay'\?"),
    "lbfgs": (lambda: gx.lbfgs(memory=5), r"lbfgs has no argument 'memory'\. Did you mean 'memory_size'\?"),
    # wrappers
    "masked": (lambda: gx.masked(SGD, maks=True), r"masked has no argument 'maks'\. Did you mean 'mask'\? It takes inner, mask,"),
    "accumulate": (lambda: gx.accumulate(SGD, evry_k=2), r"accumulate has no argument 'evry_k'\. Did you mean 'every_k'\?"),
    "lookahead": (
        lambda: gx.lookahead(SGD, sync=2),
        r"lookahead has no argument 'sync'\. .* fast_optimizer, sync_period, slow_step_size",
    ),
    "sam": (lambda: gx.sam(SGD, SGD, sync_periods=2), r"sam has no argument 'sync_periods'\. Did you mean 'sync_period'\?"),
    "monitor": (lambda: gx.monitor(measure={}), r"monitor has no argument 'measure'\. Did you mean 'measures'\?"),
    # schedules
    "cosine": (
        lambda: gx.cosine_decay_schedule(0.1, steps=9),
        r"cosine_decay_schedule has no argument 'steps'\. .*'decay_steps'\?",
    ),
    "linear": (
        lambda: gx.linear_schedule(1.0, 0.0),
        r"linear_schedule: missing a required argument: 'transition_steps'\. It takes",
    ),
    "join": (
        lambda: gx.join_schedules([], boundary=[]),
        r"join_schedules has no argument 'boundary'\. Did you mean 'boundaries'\?",
    ),
    # dialects
    "torch": (
        lambda: torch.adam(learning_rate=0.1),
        r"torch\.adam has no argument 'learning_rate'\. Did you mean 'lr'\? It takes lr=0",
    ),
    "torch, b1": (lambda: torch.adam(b1=0.1), r"torch\.adam has no argument 'b1'\. Did you mean 'betas'\?"),
    "keras": (lambda: keras.adam(lr=0.1), r"keras\.adam has no argument 'lr'\. Did you mean 'learning_rate'\?"),
    "mxnet": (lambda: mxnet.sgd(weight_decay=0.1), r"mxnet\.sgd has no argument 'weight_decay'\. Did you mean 'wd'\?"),
    "neon": (lambda: neon.adam(b1=0.1), r"neon\.adam has no argument 'b1'\. Did you mean 'beta_1'\?"),
    # by name, and injected
    "create": (lambda: gx.create("adam", lr=0.1), rf"adam has no argument 'lr'\. Did you mean 'learning_rate'\? .*{ADAM}"),
    "inject": (
        lambda: gx.inject_hyperparams(gx.adam)(lr=0.1),
        rf"adam has no argument 'lr'\. Did you mean 'learning_rate'\? .*{ADAM}",
    ),
    "inject, none": (lambda: gx.inject_hyperparams(gx.adam)(), rf"adam: missing a required argument: 'learning_rate'\. {ADAM}"),
    "inject, twice": (lambda: gx.inject_hyperparams(gx.adam)(0.1, learning_rate=1), r"adam: multiple values for .*'learning_rate'"),
    "inject, called": (
        lambda: gx.inject_hyperparams(SGD),
        r"inject_hyperparams: expected a function .* `inject_hyperparams\(adam\)\(",
    ),
    "inject, static": (
        lambda: gx.inject_hyperparams(gx.adam, "lr"),
        r"`static_args` must name arguments of adam, which are learning_rate",
    ),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_a_wrong_argument(name):
    make, text = WRONG_ARGUMENTS[name]
    with pytest.raises(gx.HyperparameterError, match=text) as raised:
        make()
    assert isinstance(raised.value, TypeError)


def test_a_foreign_factory_is_injected_with_its_own_names():
    def mine(rate, decay=0.9):
        return gx.chain(gx.trace(decay), gx.scale(rate))

    with pytest.raises(
        gx.HyperparameterError, match=r"mine has no argument 'rte'\. Did you mean 'rate'\? It takes rate, decay=0\.9\."
    ):
        gx.inject_hyperparams(mine)(rte=0.1)


# ---- those who write kernels


class MuState(NamedTuple):
    mu: Updates


class AverageState(NamedTuple):
    mu: Updates
    average: Shared


class Unannotated(NamedTuple):
    mu: Updates
    nu: jax.Array


class Wrapped(NamedTuple):
    inner_state: Inner


class Random(NamedTuple):
    key: Key


def kernel(g, s, p, c, decay: Decay = 0.9):
    return g, s


def without_a_context(g, s, p):
    return g, s


AT_DECORATION = {
    "no parentheses": (lambda: elementwise(kernel), r"elementwise: it takes the state class, .* Write `@elementwise\(\)` where"),
    "no parentheses, per_tree": (lambda: per_tree(kernel), r"per_tree: it takes the state class"),
    "no parentheses, wrapper": (lambda: wrapper(kernel), r"wrapper: it takes the state class"),
    "another container": (lambda: per_leaf(dict), r"per_leaf: the state is a NamedTuple with annotated fields, but got .*dict"),
    "no context": (
        lambda: elementwise(MuState)(without_a_context),
        r"without_a_context: a kernel is a function \(g, s, p, c, hyperparameters\) -> \(u, s'\), but this takes \(g, s, p\)",
    ),
    "a shared field": (
        lambda: elementwise(AverageState)(kernel),
        r"kernel: AverageState\.average: a shared field needs its first value: `Annotated\[Shared, Field\(first=",
    ),
    "no annotation": (
        lambda: elementwise(Unannotated)(kernel),
        r"Unannotated\.nu: annotate it as `Updates` \(one array per leaf\)",
    ),
    "a key": (lambda: elementwise(Random)(kernel), r"kernel: Random\.key: a random key begins from an argument `key`"),
    "no transformation": (
        lambda: wrapper(Wrapped)(kernel),
        r"kernel: the state has 1 `Inner` fields \(inner_state\), but 0 arguments .*: annotate the argument, `inner: GradientTransf",
    ),
    "inside a kernel of one leaf": (
        lambda: elementwise(Wrapped)(kernel)(),
        r"kernel: its state keeps .*\(inner_state\).* `wrapper`",
    ),
    "a scope": (
        lambda: wrapper(MuState, scope="pointwise"),
        r"`scope` is one of elementwise, per_leaf, per_tree, but got 'pointwise'",
    ),
}


@pytest.mark.parametrize("name", AT_DECORATION)
def test_a_slip_in_a_declaration_is_caught_there(name):
    decorate, text = AT_DECORATION[name]
    with pytest.raises(gx.StructureError, match=text):
        decorate()


RETURNS = "k: a kernel returns the update and the state, `return u, s` or .*, but this returned "
AT_FIRST_CALL = {
    "forgets the state": (lambda g, s, p, c: g, RETURNS + "a .*Tracer"),
    "returns nothing": (lambda g, s, p, c: None, RETURNS + "a NoneType"),
    "three values": (lambda g, s, p, c: (g, s, s), RETURNS + "3 values"),
    "a dictionary": (lambda g, s, p, c: (g, {"mu": g}), RETURNS + "a dict for the state"),
    "a bare array": (lambda g, s, p, c: (g, g), RETURNS + "a .*Tracer for the state"),
    "p, by an operator": (lambda g, s, p, c: (g * p, s), r"k: the kernel reads `p`, which .*; add it: `needs=\(\"params\",\)`"),
    "p, by a function": (lambda g, s, p, c: (jnp.multiply(g, p), s), r"k: the kernel reads `p`, which .*; add it: `needs="),
    "p, by a compiled one": (lambda g, s, p, c: (g + jnp.sqrt(p), s), r"k: the kernel reads `p`, which .*; add it: `needs="),
    "p, its shape": (lambda g, s, p, c: (g + p.ndim, s), r"k: the kernel reads `p`, which .*; add it: `needs="),
    "an extra argument": (lambda g, s, p, c: (g * c.value, s), r"k: the kernel reads `c\.value`, which .*; add it to `needs=`"),
    "an update of another shape": (lambda g, s, p, c: (jnp.sum(g), s), r"k: the update must keep the shape \(3,\), .* with \(\)"),
    "a state of another shape": (
        lambda g, s, p, c: (g, s._replace(mu=jnp.zeros(7))),
        r"k: the state's `mu` must keep the shape \(3,\), but the kernel returns it with \(7,\)",
    ),
}


@pytest.mark.parametrize("name", AT_FIRST_CALL)
@pytest.mark.parametrize("engine", ["leaf", "stacked", "plain"])
def test_a_slip_in_a_kernel_is_told_at_its_first_call(name, engine):
    k, text = AT_FIRST_CALL[name]
    k.__name__ = "k"
    tx = elementwise(MuState)(k)()
    state = tx.init(PARAMS)
    text = text.replace("Tracer", "Array.*") if engine == "plain" else text
    with gx.engine(engine), pytest.raises((gx.StructureError, gx.MissingArgumentError), match=text):
        tx.update(PARAMS, state, PARAMS)


AT_FIRST_CALL_OF_A_WRAPPER = {
    "forgets the state": (lambda u, s, new: u, "a dict"),
    "the inner state": (lambda u, s, new: (u, new), "a TraceState for the state"),
    "a dictionary": (lambda u, s, new: (u, {"inner_state": new}), "a dict for the state"),
}


@pytest.mark.parametrize("name", AT_FIRST_CALL_OF_A_WRAPPER)
def test_a_slip_in_a_wrapper_is_told_at_its_first_call(name):
    out, came = AT_FIRST_CALL_OF_A_WRAPPER[name]

    @wrapper(Wrapped)
    def k(g, s, p, c, inner: gx.GradientTransformation):
        u, new = inner.update(g, s.inner_state, p)
        return out(u, s, new)

    tx = k(gx.trace(0.9))
    with pytest.raises(gx.StructureError, match=RETURNS + came):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


class Mended(NamedTuple):
    mu: Updates
    average: Annotated[Shared, Field(first=lambda: 0.5)]


def test_what_is_right_passes():
    """The declarations above, mended."""
    tx = elementwise(Mended, needs=("params", "value"))(
        lambda g, s, p, c: (g * c.value + jnp.sqrt(p) * s.average, s._replace(mu=g))
    )()
    u, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=2.0)
    assert (u["b"] == 2.5).all()
    assert (state.mu["b"] == 1).all()
