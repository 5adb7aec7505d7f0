"""What a slip of the pen is answered with: who complains, what came, and what to write."""

import copy
import pickle
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


# ---- those who train

ADAM, SCHEDULE = gx.adam(0.1), gx.linear_schedule(1.0, 0.0, 10)
STATE = ADAM.init(PARAMS)
MOVE = r"`gradxform\.transfer_state\(old_tx, state, new_tx, params\)` carries it over"
HALF = {"w": True, "b": False}
TWO = gx.partition({"x": ADAM, "y": SGD}, {"w": "x", "b": "y"})
OTHER_OPTIMIZERS = {  # old, new
    "a stage more": (ADAM, gx.chain(gx.clip(1.0), gx.adam(0.1))),
    "a stage less": (ADAM, gx.scale_by_adam()),
    "another optimizer": (ADAM, gx.sgd(0.1, 0.9)),
    "a rate becomes a schedule": (ADAM, gx.adam(SCHEDULE)),
    "masked": (ADAM, gx.masked(ADAM, HALF)),
    "unmasked": (gx.masked(ADAM, HALF), ADAM),
    "another mask": (gx.masked(ADAM, HALF), gx.masked(ADAM, {"w": True, "b": True})),
    "groups": (ADAM, TWO),
    "other labels": (gx.partition({"x": ADAM, "z": SGD}, {"w": "x", "b": "z"}), TWO),
    "named": (ADAM, gx.named_chain(("adam", ADAM))),
    "other names": (gx.named_chain(("adam", ADAM)), gx.named_chain(("first", ADAM))),
    "accumulated": (ADAM, gx.accumulate(ADAM, 2)),
    "MultiSteps": (ADAM, gx.MultiSteps(ADAM, 2)),
    "injected": (ADAM, gx.inject_hyperparams(gx.adam)(0.1)),
    "no longer injected": (gx.inject_hyperparams(gx.adam)(0.1), ADAM),
    "apply_if_finite": (ADAM, gx.apply_if_finite(ADAM, 3)),
    "schedule_free": (ADAM, gx.schedule_free(SGD, 0.1)),
    "selective": (ADAM, gx.selective_transform(ADAM, freeze_mask=HALF)),
}


@pytest.mark.parametrize("name", OTHER_OPTIMIZERS)
def test_the_state_of_another_optimizer_can_be_carried_over(name):
    old, new = OTHER_OPTIMIZERS[name]
    with pytest.raises(gx.StructureError, match=MOVE):
        new.update(PARAMS, old.init(PARAMS), PARAMS)
    state = gx.transfer_state(old, old.init(PARAMS), new, PARAMS).state  # as the message says
    new.update(PARAMS, state, PARAMS)


SURGERY = {
    "transfer_state": lambda tx, state: gx.transfer_state(tx, state, SGD, PARAMS),
    "resume_at": lambda tx, state: gx.resume_at(tx, state, 4),
    "get_hyperparams": gx.get_hyperparams,
    "set_hyperparams": lambda tx, state: gx.set_hyperparams(tx, state, b1=0.5),
    "eval_params": lambda tx, state: gx.eval_params(tx, state, PARAMS),
    "reset_group": lambda tx, state: gx.reset_group(tx, state, PARAMS, "x"),
}
LACKING = {"eval_params": [ADAM], "reset_group": [ADAM, gx.scale_by_adam(b1=SCHEDULE)]}  # have nothing to read there


@pytest.mark.parametrize("name", SURGERY)
@pytest.mark.parametrize("tx", [ADAM, gx.scale_by_adam(b1=SCHEDULE), TWO, gx.accumulate(TWO, 2)], ids=str)
def test_surgery_on_the_state_of_another_optimizer(name, tx):
    for state in ((gx.EmptyState(), gx.sgd(SCHEDULE).init(PARAMS)[1]), gx.sgd(0.1, 0.9).init(PARAMS), {"inner_states": 1}):
        if tx not in LACKING.get(name, []) and not (name == "eval_params" and tx.update.name().startswith("scale_by")):
            with pytest.raises(gx.StructureError, match="the state should be "):
                SURGERY[name](tx, state)


def test_a_group_of_other_parameters_is_not_reset():
    with pytest.raises(gx.StructureError, match=r"reset_group, the group 'x': the state should be one of 5 arrays.*" + MOVE):
        gx.reset_group(
            gx.partition({"x": ADAM, "y": SGD}, {"w": "x", "b": "y", "c": "x"}), TWO.init(PARAMS), {**PARAMS, "c": jnp.ones(2)}, "x"
        )


LESS, TALL = {"w": PARAMS["w"]}, {**PARAMS, "w": jnp.ones((3, 2))}
SEVEN = jnp.ones(7)
OWNERS = {  # a transformation, what is wrong with its update, who says so
    "sgd, gradients": (gx.sgd(0.1, 0.9), {"updates": TALL}, r"sgd \(trace, scale_by_learning_rate\): at 'w' the update"),
    "sgd, state": (gx.sgd(0.1, 0.9), {"state": ADAM.init(PARAMS)}, r"sgd \(trace\): the state should be a TraceState"),
    "sgd, no state": (SGD, {"state": None}, r"sgd: the state should be a tuple"),
    "sgd, rate": (gx.sgd(SEVEN), {}, r"sgd \(scale_by_learning_rate\): `learning_rate` has shape \(7,\)"),
    "sgd, schedule": (gx.sgd(lambda k: SEVEN), {}, r"sgd \(scale_by_learning_rate\): `learning_rate` has shape \(7,\)"),
    "adamw": (gx.adamw(0.1), {"params": None}, r"adamw \(add_decayed_weights\): needs the parameters"),
    "a stage alone": (gx.add_decayed_weights(0.1), {"params": None}, r"add_decayed_weights: needs the parameters"),
    "in a chain": (
        gx.chain(gx.clip(1.0), ADAM, gx.scale(2.0)),
        {"updates": TALL},
        r"clip, adam \(scale_by_adam, scale_by_learning_rate\), scale: at 'w'",
    ),
    "a chain": (gx.chain(gx.clip(1.0), ADAM), {"state": None}, r"chain: the state should be"),
    "two": (
        gx.chain(gx.lion(0.1), SGD),
        {"updates": LESS},
        r"lion \(.*\), sgd \(identity, scale_by_learning_rate\): .*They part at b",
    ),
    "partition": (gx.muon(0.1), {"state": None}, r"muon: the state should be a PartitionState"),
    "in a partition": (gx.muon(0.1), {"params": None}, r"muon \(add_decayed_weights\): needs"),
    "optimizers of optimizers": (
        gx.contrib.schedule_free_adamw(0.1),
        {"params": None},
        r"schedule_free_adamw \(schedule_free\): needs",
    ),
    "and inside": (gx.contrib.schedule_free_adamw(0.1), {"updates": TALL}, r"schedule_free_adamw \(scale_by_rms, .*\): at 'w'"),
    "a wrapper": (gx.accumulate(ADAM, 2), {"state": None}, r"accumulate: the state should be"),
    "in a wrapper": (gx.apply_if_finite(ADAM, 2), {"updates": TALL}, r"adam \(scale_by_adam, scale_by_learning_rate\): at 'w'"),
    "masked": (gx.masked(ADAM, gx.by_ndim(2)), {"updates": LESS}, r"masked: `params` should have the structure of the updates"),
    "in a mask": (gx.masked(ADAM, HALF), {"updates": TALL}, r"adam \(scale_by_adam, scale_by_learning_rate\): at 'w'"),
    "injected": (gx.inject_hyperparams(gx.adam)(0.1), {"updates": TALL}, r"adam \(scale_by_adam, scale_by_learning_rate\): at 'w'"),
    "a view": (gx.lbfgs(), {"updates": TALL}, r"lbfgs \(scale_by_lbfgs\): at 'w'"),
    "an extra argument": (gx.contrib.momo(0.1), {}, r"momo: needs the extra argument `value`"),
    "another's": (gx.polyak_sgd(), {}, r"polyak_sgd \(scale_by_polyak\): needs the extra argument `value`"),
    "a dialect": (torch.adam(0.1), {"updates": TALL}, r"torch\.adam \(scale_by_torch_adam, scale_by_learning_rate\): at 'w'"),
}


def rebuilt(tx):
    """What set_hyperparams makes of it."""
    return gx.set_hyperparams(tx, tx.init(PARAMS), b1=0.5)[0]


@pytest.mark.parametrize("name", OWNERS)
def test_a_stage_says_what_the_user_wrote(name):
    tx, wrong, text = OWNERS[name]
    given = {"updates": PARAMS, "state": tx.init(PARAMS), "params": PARAMS} | wrong
    with pytest.raises(gx.GradxformError, match=f"^{text}"):
        tx.update(**given)


@pytest.mark.parametrize(
    "again", [rebuilt, copy.deepcopy, lambda tx: pickle.loads(pickle.dumps(tx))], ids=["set", "copy", "pickle"]
)
@pytest.mark.parametrize("make", [gx.adamw, gx.muon, gx.inject_hyperparams(gx.adamw)], ids=["adamw", "muon", "injected"])
def test_it_is_still_said_of_what_is_made_anew(again, make):
    with pytest.raises(gx.StructureError, match=r"^(adamw|muon) \("):
        again(make(0.1)).update(TALL, make(0.1).init(PARAMS), PARAMS)


def test_who_made_a_stage_makes_no_difference_elsewhere():
    plain = gx.chain(gx.identity(), gx.scale_by_learning_rate(0.1))
    assert plain == SGD
    assert hash(plain) == hash(SGD)
    assert repr(plain) == repr(SGD)


NO_STATE = {
    "None": (None, r"Begin with `state = tx\.init\(params\)`"),
    "init": (ADAM.init, r"Did you forget to call it\? .*`state = tx\.init"),
}


@pytest.mark.parametrize("name", NO_STATE)
@pytest.mark.parametrize(
    "tx",
    [ADAM, gx.scale_by_adam(), TWO, gx.accumulate(ADAM, 2), gx.named_chain(("a", ADAM)), gx.inject_hyperparams(gx.adam)(0.1)],
    ids=str,
)
def test_no_state(tx, name):
    state, text = NO_STATE[name]
    with pytest.raises(gx.StructureError, match=text):
        tx.update(PARAMS, state, PARAMS)


def loss(p):
    return sum(jnp.sum(x**2) for x in jax.tree.leaves(p))


LISTS = [[jnp.ones(2), jnp.ones(2)]]
TREE = r"but the state's `mu` has no array but \{'b': float32\[3\], 'w': float32\[2, 3\]\}"
ODD_TREES = {
    "value_and_grad": (
        lambda: ADAM.update(jax.value_and_grad(loss)(PARAMS), STATE),
        r"the updates are a pair: \(value, gradients\), as `jax\.value_and_grad` returns\. Write `value, grads = \.\.\.`",
    ),
    "value_and_grad, aux": (
        lambda: ADAM.update(jax.value_and_grad(lambda p: (loss(p), p), has_aux=True)(PARAMS), STATE),
        r"the updates are a pair: \(value, gradients\)",
    ),
    "value_and_grad, one array": (
        lambda: ADAM.update(jax.value_and_grad(loss)(jnp.ones(3)), ADAM.init(jnp.ones(3))),
        r"the updates are a pair: \(value, gradients\)",
    ),
    "grad, aux": (
        lambda: ADAM.update(jax.grad(lambda p: (loss(p), 1.0), has_aux=True)(PARAMS), STATE),
        r"the updates are a pair: \(gradients, aux\), .*Write `grads, aux = ",
    ),
    "value_and_grad, applied": (
        lambda: gx.apply_updates(PARAMS, jax.value_and_grad(loss)(PARAMS)),
        r"apply_updates: `updates` is a pair: \(value, gradients\)",
    ),
    "update's pair": (
        lambda: gx.apply_updates(PARAMS, ADAM.update(PARAMS, STATE)),
        r"apply_updates: `updates` is a pair: \(updates, state\), as `update` returns\. Write `updates, state = tx\.update\(\.\.\.\)`",
    ),
    "the loss": (lambda: ADAM.update(loss(PARAMS), STATE), r"at '\(root\)' the update has shape \(\), " + TREE),
    "an array for a tree": (lambda: ADAM.update(jnp.ones((1, 8)), STATE), r"at '\(root\)' the update has shape \(1, 8\), " + TREE),
    "an array for a branch": (
        lambda: ADAM.update({"enc": jnp.ones(8)}, ADAM.init({"enc": PARAMS})), r"at 'enc' the update has shape \(8,\), " + TREE,
    ),
    "lists of lists": (
        lambda: ADAM.update([jnp.ones((2, 2))], ADAM.init(LISTS)),
        r"at '0' the update has shape \(2, 2\), but the state's `mu` has no array but \[float32\[2\], float32\[2\]\]",
    ),
    "other parameters": (
        lambda: gx.apply_updates(PARAMS, {"x": jnp.ones(3)}),
        r"`updates` should have the structure of the parameters, .* The parameters: .*Pass the parameters first, and the updates",
    ),
    "a tree for an array": (
        lambda: gx.apply_updates(jnp.ones(3), PARAMS), r"the parameter has shape \(3,\), but the update has no array but \{'b': float32",
    ),
    "another shape": (
        lambda: gx.apply_updates(PARAMS, {"w": jnp.ones(3), "b": jnp.ones(3)}),
        r"at 'w' the parameter has shape \(2, 3\), but the update has shape \(3,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_TREES)
def test_a_tree_that_does_not_fit(name):
    run, text = ODD_TREES[name]
    with pytest.raises(gx.StructureError, match=text) as raised:
        run()
    assert len(str(raised.value)) < 600


NO_TRANSFORMATIONS = {
    "a list": (lambda: gx.chain([gx.clip(1.0), ADAM]), r"member 0: .* Give them one by one: `chain\(\*transformations\)`"),
    "a schedule": (
        lambda: gx.chain(ADAM, gx.cosine_decay_schedule(0.1, 9)),
        r"member 1: .*made a transformation by `scale_by_schedule",
    ),
    "a function": (
        lambda: gx.chain(ADAM, lambda k: 0.1),
        r"`scale_by_schedule\(schedule\)`\. If it makes one: did you forget to call it\?",
    ),
    "not called": (lambda: gx.chain(gx.clip(1.0), gx.adam), r"member 1: .*<function adam at .*>\. Did you forget to call it\?"),
    "a number": (lambda: gx.chain(ADAM, 0.1), r"member 1: expected a GradientTransformation .*, but got 0\.1\.$"),
    "a name": (lambda: gx.chain(("adam", ADAM)), r"member 0: .*Named members are for `named_chain`"),
    "parameters": (lambda: gx.masked(PARAMS, True), r"but got \{'b': float32\[3\], 'w': float32\[2, 3\]\}\.$"),
}


@pytest.mark.parametrize("name", NO_TRANSFORMATIONS)
def test_something_else_for_a_transformation(name):
    make, text = NO_TRANSFORMATIONS[name]
    with pytest.raises(gx.StructureError, match=text):
        make()


LARGE = {"w": jnp.ones((300, 300)), "b": [jnp.ones(300)] * 50}


@pytest.mark.parametrize(
    "make",
    [gx.adam, lambda p: gx.adam(0.1, b1=p), lambda p: gx.cosine_decay_schedule(p, 9), lambda p: gx.accumulate(ADAM, p), torch.adam],
)
def test_parameters_for_a_number_are_not_printed(make):
    with pytest.raises(gx.HyperparameterError, match=r"but got \{'b': \[float32\[300\].*The parameters are for `init`") as raised:
        make(LARGE)
    assert len(str(raised.value)) < 600
