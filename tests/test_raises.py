"""Every clause of every `Raises` part is provoked: by its own words where `raises` knows them, else by a row of the table here."""

import fnmatch
import functools
import pathlib
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from raises import clauses, make, rule_for

import gradxform as gx
from gradxform import assignment, linear_algebra, losses, microbatching, precision, projections, testing
from gradxform.dialects import keras, mxnet, neon, torch
from gradxform.precision._codec import STORAGES
from gradxform.tree._leafwise import CODECS

P = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
X, Y = jnp.ones((2, 3)), jnp.ones((2, 3))
WHOLE, ODD = jnp.ones((2, 3), int), jnp.ones((5, 7))
GOLDEN = pathlib.Path(__file__).parent / "golden"
six = jnp.ones((2,) * 6)
HOST = "pinned_host"
SHAPE = jax.ShapeDtypeStruct((4, 2), jnp.float32, sharding=jax.NamedSharding(jax.sharding.AbstractMesh((2,), ("d",)), jax.P("d")))
ONE = jax.NamedSharding(jax.make_mesh((1,), ("d",)), jax.P())
NOT_A_TREE = {"w": P["w"], "c": P["b"]}


def on_a_mesh(tree):
    place = jax.sharding.NamedSharding(jax.make_mesh((1,), ("d",)), jax.sharding.PartitionSpec())
    return jax.tree.map(lambda x: jax.device_put(x, place), tree)


def update(tx, g=P, state=None, p=P, **extra):
    return tx.update(g, tx.init(p) if state is None else state, p, **extra)


def after_a_round(tx, steps=1):
    state = tx.init(P)
    for _ in range(steps):
        _, state = update(tx, state=state)
    return tx, state


NESTEROV = gx.sgd(0.1, 0.9, nesterov=True)
SCHEDULE = gx.linear_schedule(0.1, 0.0, 10)
DP = {"l2_norm_clip": 1.0, "noise_multiplier": 0.1}
LABELS = jnp.zeros(2, int)
SEARCH = {"value": jnp.ones(()), "grad": P, "value_fn": lambda p: p["b"].sum()}
HALF = jnp.full((2, 3), 0.5)
BY_LMO = [gx.scale_by_lmo, functools.partial(gx.scion, 0.1)]
ORTHOGONAL_CORES = [gx.scale_by_muon, gx.scale_by_normuon, gx.scale_by_adamuon]
ORTHOGONAL = [functools.partial(f, 0.1) for f in (gx.muon, gx.normuon, gx.adamuon)]
SPREAD = [
    *(*ORTHOGONAL_CORES, *ORTHOGONAL, *BY_LMO, gx.scale_by_dion, gx.scale_by_dion2),
    *(functools.partial(f, 0.1) for f in (gx.dion, gx.dion2, gx.soap, gx.shampoo, gx.kl_shampoo, gx.kl_soap, gx.psgd_kron)),
    *(functools.partial(f, 0.1) for f in (gx.splus, gx.asgo)),
    *(gx.scale_by_soap, gx.scale_by_shampoo, gx.scale_by_kl_shampoo, gx.scale_by_kl_soap, gx.scale_by_psgd_kron),
    *(gx.scale_by_splus, gx.scale_by_asgo),
]


TWICE = gx.WeightDimensionNumbers(0, 0)
"""Roles that fit no leaf."""


def kronecker(*names, **arguments):
    """The optimizers with factors for the axes of a leaf, and their cores."""
    names = names or ("soap", "shampoo", "kl_shampoo", "kl_soap", "splus", "asgo")
    make = {name: (getattr(gx, name), getattr(gx, f"scale_by_{name}")) for name in names}
    return [
        lambda f=f, args=args: f(*args, **arguments).init({"w": X})
        for optimizer, core in make.values()
        for f, args in ((optimizer, (0.1,)), (core, ()))
    ]


class Growing:
    """A measurement whose shape changes."""

    def __init__(self):
        self.n = 0

    def __call__(self, u):
        self.n += 1
        return jnp.zeros(self.n)


def without(modules, call):
    """A call where these modules cannot be imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name in modules:
            patch.setitem(sys.modules, name, None)
        call()


ALONE = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
OTHER = jax.sharding.AbstractMesh((7,), ("model",))
WHOLE_EVERYWHERE = jax.NamedSharding(ALONE, jax.P())
SEVEN = jax.NamedSharding(OTHER, jax.P("model"))


def sharded(*args, tx=None, **given):
    """Where a state is to be, and the state made there."""
    return [lambda f=f: f(tx or gx.adam(0.1), *(args or (P,)), **given) for f in (gx.state_shardings, gx.init_sharded)]


def broken_codec():
    """A codec that does not read what it wrote."""

    @precision.codec("of test_raises")
    class OfTestRaises(NamedTuple):
        of_test_raises: jax.Array

        @classmethod
        def zeros(cls, like, seed):
            return cls(jnp.zeros_like(like, dtype=jnp.float32))

        def decode(self, partner=None):
            return self.of_test_raises + 1

        def encode(self, x, partner=None):
            return self._replace(of_test_raises=x.astype(jnp.float32))

    try:
        testing.check_codec(OfTestRaises)
    finally:
        del STORAGES["of test_raises"], CODECS[OfTestRaises]


MOMENTS = {"step": 3.0, "exp_avg": jnp.ones((2, 3)), "exp_avg_sq": jnp.ones((2, 3))}


def loaded(tx, state, names):
    file = {"state": state, "param_groups": [{"params": sorted(state)}]}
    return torch.load_torch_state(tx, P, file, names)


def twice_in_a_chain(make, **arguments):
    return gx.chain(make(**arguments), make(**arguments))


MINI = gx.scale_by_adam_mini, functools.partial(gx.adam_mini, 0.1)
APOLLO = gx.scale_by_apollo, functools.partial(gx.apollo, 0.1), functools.partial(gx.apollo_mini, 0.1)
# "function: phrase" -> what raises; the function may be a pattern, and several calls a list.
CALLS = {
    "adaptive_grad_clip: more than 5 axes, and no `axis`": lambda: update(gx.adaptive_grad_clip(0.1), six, p=six),
    "add_regularizer: penalty does not return one real number": lambda: update(gx.add_regularizer(lambda p: p, 0.1)),
    "add_regularizer: penalty is not a function": lambda: gx.add_regularizer(3.0, 0.1),
    "add_decayed_weights: learning_rate or peak is missing": [
        lambda: gx.add_decayed_weights(0.1, policy="independent"), lambda: gx.add_decayed_weights(0.1, policy="corrected", peak=0.1),
        lambda: gx.add_decayed_weights(0.1, of="new"),
    ],
    "add_decayed_weights: one that the formula does not name is given": [
        lambda: gx.add_decayed_weights(0.1, peak=0.1), lambda: gx.add_decayed_weights(0.1, policy="cautious", learning_rate=0.1),
    ],
    "hyperball: mask does not fit the parameters": lambda: update(gx.hyperball(gx.sgd(0.1), 0.1, mask={"w": True, "c": False})),
    "*adam_mini: no such blocks": [lambda f=f: f(blocks="rows").init(P) for f in MINI],
    "*adam_mini: outputs that h does not divide": [lambda f=f: f(blocks=("heads", 2)).init(P) for f in MINI],
    "*aggmo: one of betas outside [-1, 1]": [
        lambda f=f, b=b: f(betas=b) for f in (functools.partial(gx.aggmo, 0.1), gx.scale_by_aggmo) for b in ((0.9, -1.5), (np.nan,))
    ],
    "*aggmo: betas is empty": [lambda: gx.aggmo(0.1, ()), lambda: gx.scale_by_aggmo(())],
    "apply_updates*: structures or shapes differ": [
        lambda: gx.apply_updates(P, NOT_A_TREE), lambda: gx.apply_updates(P, {**P, "b": jnp.ones(4)}),
    ],
    "chain: a member is not a transformation": lambda: gx.chain(gx.sgd),
    "check_codec: with the law, and the numbers where it is broken": broken_codec,
    "check_restored: state is not one of tx": [
        lambda state=state: gx.check_restored(gx.adam(0.1), P, state)
        for state in (gx.sgd(0.1, 0.9).init(P), gx.adam(0.1).init(X), P, None)
    ],
    "check_restored: is half restored": lambda: gx.check_restored(gx.adam(0.1), P, jax.eval_shape(gx.adam(0.1).init, P)),
    "check_restored: is stored otherwise": lambda: gx.check_restored(gx.adam(0.1), P, gx.store(gx.adam(0.1)).init(P)),
    "check_restored: is on other devices": lambda: gx.check_restored(
        gx.adam(0.1), jax.device_put(P, jax.devices()[0]), jax.device_put(gx.adam(0.1).init(P), jax.devices()[1])
    ),
    "check_restored: is not what was saved": lambda: gx.check_restored(
        gx.adam(0.1), P, after_a_round(gx.adam(0.1))[1], gx.digest(gx.adam(0.1).init(P))
    ),
    "check_restored: digest is no digest": lambda: gx.check_restored(gx.adam(0.1), P, gx.adam(0.1).init(P), "abc"),
    "check_restored: the digest is of another tree": lambda: gx.check_restored(gx.adam(0.1), P, gx.adam(0.1).init(P), gx.digest(P)),
    "digest: a leaf is no array": [lambda: gx.digest({"a": "text"}), lambda: gx.digest(jax.eval_shape(lambda: P))],
    "digest: is traced": lambda: jax.jit(lambda x: gx.digest(x) and x)(X),
    "*_shard*: nothing says where a parameter is": [
        *sharded(P), *sharded({"a": jax.device_put(jnp.ones(2), WHOLE_EVERYWHERE), "b": jnp.ones(2)}),
    ],
    "*_shard*: parameters are on several meshes": sharded(P, {"w": WHOLE_EVERYWHERE, "b": jax.NamedSharding(OTHER, jax.P())}),
    "*_shard*: shardings is not laid out like the parameters": [
        *sharded(P, {"w": WHOLE_EVERYWHERE}), *sharded(P, {"w": WHOLE_EVERYWHERE, "b": 3}),
        *sharded(P, {"w": WHOLE_EVERYWHERE, "b": WHOLE_EVERYWHERE, "c": WHOLE_EVERYWHERE}),
    ],
    "*_shard*: a sharding does not divide its parameter": [*sharded(P, SEVEN), *sharded(P, jax.NamedSharding(ALONE, jax.P(*[None] * 3)))],
    "*_shard*: the mesh has no axis of that name": [
        *sharded(P, WHOLE_EVERYWHERE, zero="model"), *sharded(P, WHOLE_EVERYWHERE, zero=("data", "model")),
        *sharded({"w": jax.device_put(jnp.ones(2), WHOLE_EVERYWHERE)}, jax.P("model")),
        *sharded(P, WHOLE_EVERYWHERE, tx=gx.per_device(gx.trace(0.9), "model")),
    ],
    "init_sharded: the mesh has no devices": lambda: gx.init_sharded(gx.adam(0.1), P, jax.NamedSharding(OTHER, jax.P())),
    "decode_state: an entry is relative to another field, and stands in a state that does not declare which": lambda: gx.decode_state(
        gx.store(gx.adam(0.1)).init(P)[0].mu
    ),
    "encode_state: the two have other fields": lambda: gx.encode_state(gx.sgd(0.1, momentum=0.9).init(P), gx.adam(0.1).init(P)),
    "encode_state: other shapes": lambda: gx.encode_state(gx.adam(0.1).init(jnp.ones(4)), gx.adam(0.1).init(jnp.ones(3))),
    "load_torch_state: `names` does not fit the file or the parameters": [
        lambda: loaded(gx.adam(0.1), {0: MOMENTS}, {"a": "nothing"}), lambda: loaded(gx.adam(0.1), {0: MOMENTS}, {"a": "w", "b": "b"}),
    ],
    "load_torch_state: a shape is another": lambda: loaded(gx.adam(0.1), {0: MOMENTS}, {"a": "b"}),
    "load_torch_state: numbers differ that are shared here": lambda: loaded(
        torch.nadam(), {i: {"step": 3.0, "mu_product": 0.5 + i} for i in range(2)}, {"a": "w", "b": "b"}
    ),
    "load_torch_state: the file is not a `state_dict`": lambda: torch.load_torch_state(gx.adam(0.1), P, {"model": {}}, {}),
    "load_torch_state: the file needs PyTorch and it is not installed": lambda: without(
        ["torch"], lambda: torch.load_torch_state(gx.adam(0.1), P, GOLDEN / "torch_adamw.pt", {})
    ),
    "loss_scale_of: there is no loss scale in the state": lambda: gx.loss_scale_of(gx.adam(0.1).init(P)),
    "loss_scale_of: more than one": lambda: gx.loss_scale_of(twice_in_a_chain(gx.loss_scale, inner=gx.sgd(0.1)).init(P)),
    "plot: a schedule cannot be traced": lambda: gx.plot(lambda k: 0.1 if k > 3 else 0.2, 10),
    "plot: does not return one real number": lambda: gx.plot(lambda k: jnp.ones(2), 10),
    "plot: no Matplotlib": lambda: without(["matplotlib", "matplotlib.pyplot"], lambda: gx.plot(SCHEDULE, 10)),
    "stats: the trees differ": lambda: gx.stats(gx.sgd(0.1), gx.sgd(0.1).init(P), grads=P, updates=NOT_A_TREE, params=P),
    "stats: the groups do not fit": lambda: gx.stats(
        gx.sgd(0.1), gx.sgd(0.1).init(P), grads=P, updates=P, params=P, groups={"nothing": "a"}
    ),
    "state_shardings: no field has the name that placement gives": lambda: gx.state_shardings(gx.adam(0.1), SHAPE, placement={"m": HOST}),
    "state_shardings: the devices cannot keep it there": lambda: gx.state_shardings(gx.adam(0.1), SHAPE, placement="unpinned_host"),
    "init_sharded: no field has the name that placement gives": lambda: gx.init_sharded(gx.adam(0.1), P, ONE, placement={"m": HOST}),
    "init_sharded: the devices cannot keep it there": lambda: gx.init_sharded(gx.adam(0.1), P, ONE, placement="unpinned_host"),
    "store: a field that does not suit its codec": lambda: gx.store(gx.sgd(0.1, 0.9), {"trace": "float8"}).init(P),
    "store: is stored already": lambda: gx.store(gx.store(gx.adam(0.1))),
    "store: nothing to store": lambda: gx.store(gx.adagrad(0.1)).init(P),
    "store: no field of that name": lambda: gx.store(gx.adam(0.1), {"nothing": "bfloat16"}).init(P),
    "store: no storage of that name": lambda: gx.store(gx.adam(0.1), "7bit"),
    "store: decays with which a storage does not work": lambda: gx.store(gx.adam(0.1, b1=0.99, b2=0.9)).init(P),
    "store: `where` does not fit the parameters": lambda: gx.store(gx.adam(0.1), where={"nothing": True}).init(P),
    "tabulate: f is no function": lambda: gx.tabulate(3, 5),
    "tabulate: does not return a real number": lambda: gx.tabulate(lambda k: "a", 5),
    "named_chain: a member is not a transformation": lambda: gx.named_chain(("a", gx.sgd)),
    "named_chain: two have one name": lambda: gx.named_chain(("a", gx.sgd(0.1)), ("a", gx.sgd(0.1))),
    "compensate_delay: delayed_params is no such tree": lambda: update(gx.compensate_delay(), delayed_params=NOT_A_TREE),
    "dcasgd: delayed_params is no such tree": lambda: update(gx.dcasgd(0.1), delayed_params=NOT_A_TREE),
    "compressed_mean: compressor is not a compressor": lambda: update(gx.compressed_mean(3)),
    "error_feedback: compressor is not a compressor": lambda: update(gx.error_feedback(3)),
    "conditionally_*: the condition is not a scalar": lambda: [
        update(f(gx.sgd(0.1), lambda step: jnp.ones(2, bool))) for f in (gx.conditionally_mask, gx.conditionally_transform)
    ],
    "constant_schedule: value is not a number or an array of numbers": lambda: gx.constant_schedule("a"),
    "linear_onecycle_schedule: a part outside [0, 1]": [
        lambda n=n: gx.linear_onecycle_schedule(10, 1.0, **{n: 1.5}) for n in ("pct_start", "pct_final")
    ],
    "linear_onecycle_schedule: pct_final < pct_start": lambda: gx.linear_onecycle_schedule(10, 1.0, 0.5, 0.4),
    "ctc_loss*: shapes that do not belong together": [
        lambda f=f: f(jnp.ones((2, 5, 4)), jnp.zeros((2, 4)), LABELS[:, None], jnp.zeros((2, 1)))
        for f in (losses.ctc_loss, losses.ctc_loss_with_forward_probs)
    ],
    "*dice_loss: shapes differ": [
        lambda f=f: f(HALF, jnp.ones((2, 4))) for f in (losses.dice_loss, losses.binary_dice_loss, losses.multiclass_generalized_dice_loss)
    ],
    "dice_loss: with apply_softmax=False predictions do not sum to 1 over the classes (of a single class: are not between 0 and 1)": [
        lambda: losses.dice_loss(3 * X, Y, apply_softmax=False), lambda: losses.dice_loss(3 * X[:, :1], Y[:, :1], apply_softmax=False),
    ],
    "dice_loss: class_weights have another shape": lambda: losses.dice_loss(X, Y, class_weights=jnp.ones(5)),
    "ctc_loss*: blank_id is no class": [
        lambda f=f, blank=blank: f(jnp.ones((2, 5, 4)), jnp.zeros((2, 5)), LABELS[:, None], jnp.zeros((2, 1)), blank_id=blank)
        for f in (losses.ctc_loss, losses.ctc_loss_with_forward_probs)
        for blank in (-1, 4)
    ],
    "projection_*: a leaf is complex": [
        lambda: projections.projection_non_negative(X.astype(complex)), lambda: projections.projection_simplex(X.astype(complex)),
        lambda: projections.projection_box(X.astype(complex), 0.0, 1.0), lambda: projections.projection_hypercube(X.astype(complex)),
    ],
    "projection_box: a bound does not broadcast to its leaf": lambda: projections.projection_box(X, 0.0, jnp.ones(5)),
    "projection_hypercube: the scale does not broadcast to its leaf": lambda: projections.projection_hypercube(X, jnp.ones(5)),
    "projection_linf_ball: the scale does not broadcast to a leaf": lambda: projections.projection_linf_ball(X, jnp.ones(5)),
    "projection_*: b is not one number": [
        lambda: projections.projection_halfspace(X, Y, jnp.ones(2)), lambda: projections.projection_hyperplane(X, Y, jnp.ones(2)),
    ],
    "projection_*: scale is not one number": [
        lambda f=f: f(jnp.ones(3), jnp.ones(2))
        for f in (
            projections.projection_l1_ball, projections.projection_l1_sphere, projections.projection_l2_ball,
            projections.projection_l2_sphere, projections.projection_simplex,
        )
    ],
    "*: a leaf has no first axis": [
        lambda: gx.per_example_global_norm_clip({"s": jnp.ones(())}, 1.0), lambda: gx.per_example_layer_norm_clip({"s": jnp.ones(())}, 1.0),
        lambda: update(gx.differentially_private_aggregate(**DP, key=0), jnp.ones(()), p=jnp.ones(())),
        lambda: update(gx.dpsgd(0.1, **DP, key=0), jnp.ones(()), p=jnp.ones(())),
    ],
    "*: one of another length": [
        lambda: gx.per_example_global_norm_clip({"s": jnp.ones(2), "t": jnp.ones(3)}, 1.0),
        lambda: gx.per_example_layer_norm_clip({"s": jnp.ones(2), "t": jnp.ones(3)}, 1.0),
        lambda: update(gx.dpsgd(0.1, **DP, key=0), {"s": jnp.ones(2), "t": jnp.ones(3)}, p={"s": jnp.ones(()), "t": jnp.ones(())}),
    ],
    "differentially_private_aggregate: an argument < 0": [
        lambda n=n: gx.differentially_private_aggregate(**{**DP, n: -1.0}, key=0) for n in DP
    ],
    "differentially_private_aggregate: a schedule": [
        lambda n=n: gx.differentially_private_aggregate(**{**DP, n: SCHEDULE}, key=0) for n in DP
    ],
    "*dog: an init_step of another kind": [
        lambda f=f, step=step: f(init_step=step) for f in (gx.dog, gx.scale_by_dog) for step in ("a", ("speed", 0.1), -1.0)
    ],
    "eval_params: what comes after the momentum does more than scale the updates": lambda: gx.eval_params(
        *after_a_round(gx.chain(NESTEROV, gx.clip(1.0))), P
    ),
    "eval_params: two members of a chain declare something": lambda: gx.eval_params(
        *after_a_round(twice_in_a_chain(gx.schedule_free_sgd, learning_rate=0.1)), P
    ),
    "flatten: not elementwise": lambda: gx.flatten(gx.lamb(0.1)),
    "flatten: the update of a parameter is None": lambda: update(gx.flatten(gx.adam(0.1)), {**P, "b": None}),
    "freeze: the mask does not fit the tree": lambda: update(gx.freeze({"w": True, "c": False})),
    "masked: the mask does not fit the tree": lambda: update(gx.masked(gx.sgd(0.1), {"w": True, "c": False})),
    "masked: is not True or False at some leaf": lambda: update(gx.masked(gx.sgd(0.1), {"w": True, "b": "no"})),
    "selective_transform: the mask does not fit the tree": lambda: update(
        gx.selective_transform(gx.sgd(0.1), freeze_mask={"w": True, "c": False})
    ),
    "selective_transform: is not True or False at some leaf": lambda: update(
        gx.selective_transform(gx.sgd(0.1), freeze_mask={"w": True, "b": "no"})
    ),
    "multi_transform: a leaf has no label": lambda: update(gx.multi_transform({"a": gx.sgd(0.1)}, {"w": "a"})),
    "multi_transform: one without a transformation": lambda: update(gx.multi_transform({"a": gx.sgd(0.1)}, {"w": "a", "b": "c"})),
    "inject_hyperparams: `static_args` names what is not an argument": lambda: gx.inject_hyperparams(gx.sgd, static_args="b3")(0.1),
    "join_schedules: a schedule is not callable": lambda: gx.join_schedules([SCHEDULE, 3.0], [5]),
    "join_schedules: a boundary is not a number": lambda: gx.join_schedules([SCHEDULE, SCHEDULE], ["a"]),
    "join_schedules: there are too many or too few": [
        lambda: gx.join_schedules([SCHEDULE, SCHEDULE], []), lambda: gx.join_schedules([SCHEDULE], [5]),
    ],
    "keep_params_in_box: a bound is not a number": lambda: gx.keep_params_in_box("a", 1.0),
    "keep_params_in_box: low > high": lambda: gx.keep_params_in_box(2.0, 1.0),
    "outer: not a transformation": lambda: gx.outer(gx.sgd(0.1), 3, 0.7),
    "lookahead: params is no LookaheadParams": lambda: gx.lookahead(gx.sgd(0.1), 3, 0.5).update(
        P, gx.lookahead(gx.sgd(0.1), 3, 0.5).init(gx.LookaheadParams.init_synced(P)), P
    ),
    "lookahead: no params": lambda: gx.lookahead(gx.sgd(0.1), 3, 0.5).update(
        P, gx.lookahead(gx.sgd(0.1), 3, 0.5).init(gx.LookaheadParams.init_synced(P))
    ),
    "master_weights: dtype is not float32 or wider": lambda: gx.master_weights(gx.sgd(0.1), jnp.bfloat16),
    "master_weights: fewer bits with another dtype than float32": lambda: gx.master_weights(gx.sgd(0.1), "float64", bits=16),
    "master_weights: 16 with a key": lambda: gx.master_weights(gx.sgd(0.1), key=0, bits=16),
    "master_weights: a state of bits below bfloat16 parameters beside other ones": lambda: gx.master_weights(gx.sgd(0.1), bits=8).update(
        P, gx.master_weights(gx.sgd(0.1), bits=8).init(jax.tree.map(lambda x: x.astype(jnp.bfloat16), P)), P
    ),
    "inverse_root: no such root": lambda: linear_algebra.inverse_root(jnp.eye(2), 0),
    "inverse_root: not by this method": [lambda p=p: linear_algebra.inverse_root(jnp.eye(2), p, "newton_db") for p in (1, 3)],
    "inverse_root: no such method": lambda: linear_algebra.inverse_root(jnp.eye(2), 2, "schur"),
    "matrix_inverse_pth_root: not a square matrix": lambda: linear_algebra.matrix_inverse_pth_root(X, 2),
    "matrix_inverse_pth_root: p is not a positive integer": [
        lambda p=p: linear_algebra.matrix_inverse_pth_root(jnp.eye(2), p) for p in (0, -1, 1.5, np.nan)
    ],
    "micro*: batch axes of several lengths": lambda: microbatching.microbatch(lambda x, y: x.sum() + y.sum(), (0, 1), 2)(
        jnp.ones(4), jnp.ones(6)
    ),
    "micro*: not divisible": [
        lambda: microbatching.microbatch(lambda x: x.sum(), 0, 3)(jnp.ones(4)),
        lambda: microbatching.micro_grad(lambda p, x: (p * x).sum(), microbatch_size=3)(1.0, jnp.ones(4)),
        lambda: microbatching.micro_vmap(lambda x: x, microbatch_size=3)(jnp.ones(4)),
    ],
    "micro*: a mean of whole numbers": lambda: microbatching.microbatch(
        lambda x: x.sum(), 0, 2, microbatching.AccumulationType.MEAN
    )(jnp.ones(4, int)),
    "reshape_batch_axis: the batch is not divisible by microbatch_size": lambda: microbatching.reshape_batch_axis(jnp.ones(4), 3),
    "micro_vmap: out_axes is not 0": lambda: microbatching.micro_vmap(lambda x: x, out_axes=1, microbatch_size=2)(jnp.ones((4, 2))),
    "minimize: fun does not return one real number": lambda: gx.minimize(lambda p: p, jnp.ones(2)),
    "monitor: a measure is neither a transformation nor a function": lambda: gx.monitor({"a": 3}),
    "monitor: the shape of a measurement changes": lambda: update(gx.monitor({"a": Growing()})),
    "snapshot: the shape of the measurement changes": lambda: update(gx.snapshot("a", Growing())),
    "nnls: shapes that do not fit": lambda: linear_algebra.nnls(X, jnp.ones(5), 3),
    "orthogonalize_via_newton_schulz: not a matrix, and no dimension numbers": lambda: gx.orthogonalize_via_newton_schulz(
        jnp.ones(3), (3.4445, -4.775, 2.0315)
    ),
    "piecewise_*_schedule: a step is not a number": [
        lambda: gx.piecewise_constant_schedule(1.0, {"a": 0.5}), lambda: gx.piecewise_interpolate_schedule("linear", 1.0, {"a": 0.5}),
    ],
    "piecewise_*_schedule: a scale is negative": [
        lambda: gx.piecewise_constant_schedule(1.0, {1: -0.5}), lambda: gx.piecewise_interpolate_schedule("linear", 1.0, {1: -0.5}),
    ],
    "piecewise_interpolate_schedule: interpolate_type is unknown": lambda: gx.piecewise_interpolate_schedule("cubic", 1.0, {1: 0.5}),
    "power_iteration: a function without v0": lambda: linear_algebra.power_iteration(lambda x: x),
    "power_iteration: not a square matrix": lambda: linear_algebra.power_iteration(X),
    "*: both key and seed": [
        lambda f=f, given=given: f(**given, key=0, seed=0)
        for f, given in (
            (gx.add_noise, {"eta": 0.1, "gamma": 0.1}), (gx.noisy_sgd, {"learning_rate": 0.1}),
            (gx.differentially_private_aggregate, DP), (gx.dpsgd, {"learning_rate": 0.1, **DP}),
        )
    ],
    "reduce_on_plateau: rtol and atol both 0": lambda: gx.reduce_on_plateau(rtol=0.0, atol=0.0),
    "reset_group: no partition in tx has that label": lambda: gx.reset_group(*after_a_round(gx.adam(0.1)), P, "a"),
    "reset_group: the state is not one of tx and these parameters": lambda: gx.reset_group(
        gx.partition({"a": gx.adam(0.1)}, {"w": "a", "b": "a"}), gx.adam(0.1).init(P), P, "a"
    ),
    "resume_at: the step ends within a round of `accumulate` or `sam`": lambda: gx.resume_at(
        *after_a_round(gx.sam(gx.sgd(0.1), gx.sgd(0.1))), 3
    ),
    "resume_at: clocks depend on more than the step": lambda: gx.resume_at(
        *after_a_round(gx.conditionally_transform(gx.adam(0.1), lambda step, **extra: True, forward_extra_args=True)), 4
    ),
    "safe_increment: count is neither whole nor floating-point": lambda: gx.safe_increment(jnp.array(1j)),
    "sam: no grad_fn in opaque_mode": lambda: update(gx.sam(gx.sgd(0.1), gx.sgd(0.1), opaque_mode=True)),
    "sam: not a transformation": [lambda: gx.sam(gx.sgd, gx.sgd(0.1)), lambda: gx.sam(gx.sgd(0.1), gx.sgd)],
    "scale_by_galore: axes that do not fit": lambda: update(
        gx.scale_by_galore(1, weight_dimension_numbers=gx.GaLoreDimensionNumbers(0, 0)), {"w": X}, p={"w": X}
    ),
    "scale_by_galore: base_optimizer needs the parameters": lambda: gx.scale_by_galore(2, base_optimizer=gx.lamb(0.1)).update(
        P, gx.scale_by_galore(2, base_optimizer=gx.lamb(0.1)).init(P)
    ),
    "scale_by_galore: scale not finite": lambda: gx.scale_by_galore(2, scale=np.nan),
    "scale_by_multiplier: a pattern matches no leaf": lambda: update(gx.scale_by_multiplier({"c": 2.0})),
    "scale_by_multiplier: a tree does not fit": lambda: update(gx.scale_by_multiplier({"w": {"x": 1.0}, "b": 2.0})),
    "scale_by_multiplier: a multiplier is not a number": lambda: update(gx.scale_by_multiplier({"w": "a", "b": 2.0})),
    "plan: `shardings` is not like params": lambda: gx.plan(gx.sgd(0.1), P, {"data": 2}, {"w": PartitionSpec()}),
    "plan: a leaf is split over an axis that the mesh lacks or that does not divide it": [
        lambda axis=axis: gx.plan(gx.sgd(0.1), X, {"data": 2, "tensor": 4}, PartitionSpec(axis)) for axis in ("fsdp", "tensor")
    ],
    "plan: an axis of no devices": lambda: gx.plan(gx.sgd(0.1), P, {"data": 0}),
    "plan: hardware of no known name": lambda: gx.plan(gx.sgd(0.1), P, {"data": 2}, hardware="H1000"),
    "plan: an axis of the mesh with none of the four names that `axes` does not explain": lambda: gx.plan(gx.sgd(0.1), P, {"dp": 2}),
    "plan: an axis in `axes` or `zero` that the mesh lacks": [
        lambda: gx.plan(gx.sgd(0.1), P, {"data": 2}, axes={"dp": "data"}), lambda: gx.plan(gx.sgd(0.1), P, {"data": 2}, zero="fsdp"),
    ],
    "plan: `spread` names such an axis": lambda: gx.plan(
        gx.contrib.scale_by_muon(spread="fsdp"), jax.ShapeDtypeStruct((4, 4), jnp.float32), {"data": 2}
    ),
    "*: an unknown phase": [
        *kronecker(phase="some"), lambda: gx.scale_by_psgd_kron(phase="some"), lambda: gx.psgd_kron(0.1, phase="some"),
        *(lambda f=f: f(phase="some") for f in APOLLO),
    ],
    "*: no such way to roots": kronecker("shampoo", "asgo", roots="schur"),
    "*: an exponent that is not positive": kronecker("shampoo", exponents=(0.5, -0.5)),
    "*: one that `roots` cannot make": [
        *kronecker("shampoo", exponents=(0.3, None), roots="newton"), *kronecker("shampoo", exponents=(1 / 6, None), roots="newton_db"),
    ],
    "*: a leaf that base_shapes lacks or has with other axes": [
        lambda call=call, base=base: call(base) for base in ({}, {"w": jnp.ones(2)})
        for call in (
            lambda base: gx.initial_scale({"w": X}, base),
            lambda base: update(gx.scale_by_width(gx.sgd(0.1), base), {"w": X}, p={"w": X}),
        )
    ],
    "*: roles that do not fit a leaf": [
        *kronecker(weight_dimension_numbers=TWICE),
        lambda: gx.initial_scale({"w": X}, {"w": X}, weight_dimension_numbers=TWICE),
        *(
            lambda tx=tx: update(tx(weight_dimension_numbers=TWICE), {"w": X}, p={"w": X})
            for tx in (
                gx.scale_by_psgd_kron, gx.scale_by_adamp, gx.scale_by_mars,
                *(functools.partial(f, 0.1) for f in (gx.psgd_kron, gx.adamp, gx.mars)),
                functools.partial(gx.scale_by_width, gx.sgd(0.1), {"w": X}),
            )
        ),
    ],
    "*: a leaf is not a matrix": [
        lambda: update(gx.scale_by_shape()), lambda: update(torch.muon()),
        *(lambda f=f: update(f()) for f in (*ORTHOGONAL_CORES, gx.scale_by_dion, gx.scale_by_dion2)),
    ],
    "*: no mesh for spread": [
        lambda f=f: update(f(spread="d"), {"w": X}, p={"w": X}) for f in SPREAD
    ],
    "*: spread names no axis of it": [
        lambda f=f: update(f(spread="fsdp"), on_a_mesh({"w": X}), p=on_a_mesh({"w": X})) for f in SPREAD
    ],
    "scale_by_muon: spread names an axis of shard_map": lambda: jax.shard_map(
        lambda x: update(gx.scale_by_muon(spread="d"), {"w": x}, p={"w": x})[0],
        mesh=jax.make_mesh((1,), ("d",)), in_specs=jax.sharding.PartitionSpec(), out_specs=jax.sharding.PartitionSpec(),
    )(X),
    "scale_by_muon: spread is no name": [lambda: gx.scale_by_muon(spread=1), lambda: gx.scale_by_muon(spread=())],
    "scale_by_muon: wire is not a real dtype": [lambda x=x: gx.scale_by_muon(wire=x) for x in (jnp.int8, "half a byte", jnp.complex64)],
    "*: no table of that name": [
        lambda: gx.orthogonalize_via_newton_schulz(X, "muon"), *(lambda f=f: f(ns_coeffs="muon") for f in ORTHOGONAL),
        *(lambda f=f: f(ns_coeffs="muon").init({"w": X}) for f in (*ORTHOGONAL_CORES, *BY_LMO, gx.scale_by_dion2)),
        lambda: gx.dion2(0.1, ns_coeffs="muon"),
        lambda: gx.muon(0.1, ns_coeffs="muon"), lambda: gx.scale_by_muon("muon").init({"w": X}),
        lambda: gx.mars(0.1, kind="muon", ns_coeffs="muon"), lambda: update(gx.scale_by_mars(kind="muon", ns_coeffs="muon")),
        lambda: gx.orthogonalize_via_newton_schulz(X, "muon"),
    ],
    "muon: muon_weight_dimension_numbers beside weight_dimension_numbers": lambda: gx.muon(
        0.1, muon_weight_dimension_numbers="flax", weight_dimension_numbers="flax"
    ),
    "*: ns_coeffs of another shape": [
        lambda f=f: f(ns_coeffs=(1.0,)).init({"w": X}) for f in (*ORTHOGONAL_CORES, *ORTHOGONAL, *BY_LMO, gx.scale_by_dion2)
    ],
    "clip_qk: no max_logits": lambda: update(gx.clip_qk({"w": 0})),
    "clip_qk: a leaf with heads has none": lambda: update(gx.clip_qk({"w": 0}), max_logits={"b": jnp.ones(3), "w": None}),
    "clip_qk: max_logits of another shape": lambda: update(gx.clip_qk({"w": 0}), max_logits=jnp.ones(3)),
    "clip_qk: an axis that a leaf lacks": lambda: update(gx.clip_qk({"w": 2}), max_logits=jnp.ones(3)),
    "clip_qk: a pattern matches no leaf": lambda: update(gx.clip_qk({"q": 0}), max_logits=jnp.ones(3)),
    "*: a norm of matrices for another leaf": [lambda f=f: update(f("sign")) for f in BY_LMO],
    "*: no norm of that name": [lambda f=f, x=x: f(x) for f in BY_LMO for x in ("nuclear", {"w": "nuclear"})],
    "*: a pattern matches no leaf": [
        lambda f=f, x=x: update(f(**x)) for f in BY_LMO for x in ({"norm": {"c": "sign"}}, {"radius": {"c": 2.0}})
    ],
    "*: a radius is not a number": [lambda f=f: update(f(radius={"w": "a"})) for f in BY_LMO],
    "scale_by_schedule: step_size_fn is not a number or schedule": lambda: gx.scale_by_schedule("a"),
    "scale_by_zoom_linesearch: a number is negative or NaN": [
        lambda n=n, x=x: gx.scale_by_zoom_linesearch(5, **{n: x})
        for n in ("tol", "increase_factor", "slope_rtol", "curv_rtol")
        for x in (-1.0, np.nan)
    ],
    "scale_by_backtracking_linesearch: a number is negative or NaN": [
        lambda n=n, x=x: gx.scale_by_backtracking_linesearch(5, **{n: x})
        for n in ("slope_rtol", "decrease_factor", "increase_factor", "atol")
        for x in (-1.0, np.nan)
    ],
    "scale_by_*_linesearch: value_fn returns no scalar": lambda: update(
        gx.scale_by_zoom_linesearch(5), value=jnp.ones(()), grad=P, value_fn=lambda p: p["b"]
    ),
    "schedule_free_eval_params: not the state of `schedule_free`": lambda: gx.schedule_free_eval_params((), P),
    "set_hyperparams: no hyperparameter has that name": lambda: gx.set_hyperparams(*after_a_round(gx.adam(0.1)), rate=0.1),
    "set_hyperparams: more than one has": [
        lambda: gx.set_hyperparams(*after_a_round(twice_in_a_chain(gx.trace, decay=0.9)), decay=0.1),
    ],
    "set_hyperparams: out of range": lambda: gx.set_hyperparams(*after_a_round(gx.adam(0.1)), b1=1.5),
    "set_hyperparams: a schedule that is kept in the state": lambda: gx.set_hyperparams(
        *after_a_round(gx.inject_hyperparams(gx.sgd)(0.1)), learning_rate=SCHEDULE
    ),
    "set_hyperparams: a larger array than is kept there": lambda: gx.set_hyperparams(
        *after_a_round(gx.inject_hyperparams(gx.adam)(0.1)), b1=HALF
    ),
    "set_hyperparams: a schedule where the state has no clock for it (`transfer_state` gives it one)": lambda: gx.set_hyperparams(
        *after_a_round(gx.sgd(0.1)), learning_rate=SCHEDULE
    ),
    "sgdr_schedule: there is no cycle": lambda: gx.sgdr_schedule([]),
    "sgdr_schedule: one's arguments do not fit": lambda: gx.sgdr_schedule([{"steps": 3}]),
    "smooth_labels: `where` does not fit": lambda: losses.smooth_labels(HALF, 0.1, where=ODD > 0),
    "softmax_cross_entropy_with_integer_labels: a dtype or a shape does not fit": [
        lambda: losses.softmax_cross_entropy_with_integer_labels(WHOLE, LABELS),
        lambda: losses.softmax_cross_entropy_with_integer_labels(X, jnp.ones(2)),
        lambda: losses.softmax_cross_entropy_with_integer_labels(X, jnp.zeros(5, int)),
    ],
    "softmax_cross_entropy_with_integer_labels: axis is not an int or a tuple": lambda: (
        losses.softmax_cross_entropy_with_integer_labels(X, LABELS, axis="a")
    ),
    "stochastic_round: x or dtype is not of floating point": [
        lambda: gx.stochastic_round(WHOLE, jnp.bfloat16, jax.random.key(0)), lambda: gx.stochastic_round(X, jnp.int8, jax.random.key(0)),
    ],
    "summary: state is not one of tx": lambda: gx.summary(gx.adam(0.1), P, gx.sgd(0.1).init(P)),
    "summary: clocks depend on more than the step": lambda: gx.summary(
        gx.conditionally_mask(gx.sgd(SCHEDULE), lambda step, value: value > 0, forward_extra_args=True), P, steps=9
    ),
    "transfer_state: old_state is not one of old_tx": lambda: gx.transfer_state(gx.adam(0.1), gx.sgd(0.1).init(P), gx.adam(0.1), P),
    "transfer_state: `fresh` names no stage": lambda: gx.transfer_state(*after_a_round(gx.adam(0.1)), gx.adam(0.1), P, fresh="trace"),
    "transfer_state: `mixed` is something else": lambda: gx.transfer_state(*after_a_round(gx.adam(0.1)), gx.adam(0.1), P, mixed="a"),
    "resume_at: step is not a whole number in [0, 2^31 - 1] (2.0 is one)": [
        lambda step=step: gx.resume_at(*after_a_round(gx.adam(0.1)), step) for step in (-5, 2.7, 2**31, "a")
    ],
    "resume_at: `clocks` is something else": lambda: gx.resume_at(*after_a_round(gx.adam(0.1)), 3, clocks="schedule"),
    "resume_at: state is not one of tx": lambda: gx.resume_at(gx.adam(0.1), gx.sgd(0.1).init(P), 3),
    "transfer_state: an array has another shape in the new state": lambda: gx.transfer_state(
        *after_a_round(gx.adam(0.1)), gx.adam(0.1), {**P, "b": jnp.ones(4)}
    ),
    "unitwise_clip: the shapes differ": lambda: gx.unitwise_clip(X, X, ODD),
    "unitwise_norm: more than 5 axes, and no `axis`": lambda: gx.unitwise_norm(six),
    "value_and_grad_from_state: the state has no value and gradient": lambda: gx.value_and_grad_from_state(lambda p: p["b"].sum())(
        P, state=gx.sgd(0.1).init(P)
    ),
    "value_and_grad_from_state: it has several": lambda: gx.value_and_grad_from_state(lambda p: p["b"].sum())(
        P, state=twice_in_a_chain(gx.scale_by_zoom_linesearch, max_linesearch_steps=5).init(P)
    ),
    "wsd_schedule: decay is unknown": lambda: gx.wsd_schedule(0.0, 1.0, 5, 5, 5, decay="cubic"),
    "projection_*: the trees have different structures": [
        lambda: projections.projection_box(P, NOT_A_TREE, 1.0), lambda: projections.projection_hypercube(P, NOT_A_TREE),
    ],
    "*hungarian_algorithm: not a matrix": [
        lambda: assignment.base_hungarian_algorithm(jnp.ones(3)), lambda: assignment.hungarian_algorithm(jnp.ones(3)),
    ],
    "create: no such name (it lists the nearest)": lambda: gx.create("adma"),
    "create: an argument that it does not take": lambda: gx.create("adam", learning_rate=0.1, rho=0.9),
    "check: a law does not hold (its text is the report)": lambda: testing.check(
        gx.GradientTransformation(lambda p: (), lambda g, s, p=None: (P, s))
    ),
    "scale_by_ss_quasi_newton: more than 20,000 elements": lambda: gx.ssbfgs().init(jax.ShapeDtypeStruct((20_001,), jnp.float32)),
    "*: value, grad or value_fn": [
        lambda n=n, make=make: update(make(), **{k: x for k, x in SEARCH.items() if k != n})
        for n in SEARCH for make in (gx.lbfgs, gx.ssbfgs, gx.ssbroyden)
    ],
    "scale_by_*_linesearch: value, grad, value_fn, an argument of value_fn": [
        *(lambda n=n: update(gx.scale_by_zoom_linesearch(5), **{k: x for k, x in SEARCH.items() if k != n}) for n in SEARCH),
        lambda: update(gx.scale_by_zoom_linesearch(5), **{**SEARCH, "value_fn": lambda p, batch: p["b"].sum()}),
    ],
    "keras.*: more than one clip argument": [
        lambda f=f, one=one, two=two: make(f, **{one: 1.0, two: 1.0})
        for f in (c.function for c in clauses() if c.phrase == "more than one clip argument")
        for one, two in (("clipnorm", "clipvalue"), ("clipvalue", "global_clipnorm"), ("clipnorm", "global_clipnorm"))
    ],
    "mxnet.*: lr_mult or wd_mult": [
        lambda f=f, n=n: update(make(f, wd=0.1, **{n: {"nothing": 2.0}}))
        for f in (c.function for c in clauses() if c.phrase == "lr_mult or wd_mult")
        for n in ("lr_mult", "wd_mult")
    ],
    "keras.ema_params: no such average is in the state": lambda: keras.ema_params(gx.adam(0.1).init(P)),
    "keras.ema_params: more than one": lambda: keras.ema_params(twice_in_a_chain(keras.adam, use_ema=True).init(P)),
    "mxnet.multi_factor_scheduler: `step` not increasing": lambda: mxnet.multi_factor_scheduler([5, 3]),
    "neon.gradient_descent_momentum: nesterov without momentum": lambda: neon.gradient_descent_momentum(0.1, 0.0, nesterov=True),
    "neon.multi_optimizer: no default": lambda: neon.multi_optimizer({"Bias": gx.sgd(0.1)}),
    "neon.multi_optimizer: a value is not a transformation": lambda: neon.multi_optimizer({"default": gx.sgd}),
    "neon.multi_optimizer: a key is in no path": lambda: update(neon.multi_optimizer({"default": gx.sgd(0.1), "nothing": gx.sgd(0.1)})),
    "neon.*schedule: step_config is not an increasing list": [
        lambda: neon.schedule(0.1, [5, 3], 0.5), lambda: neon.step_schedule(0.1, [5, 3], [0.5, 0.5]),
    ],
    "neon.step_schedule: change is not as long": lambda: neon.step_schedule(0.1, [3, 5], [0.5]),
    "torch.rprop: an eta out of range": [lambda e=e: torch.rprop(etas=e) for e in ((1.5, 1.2), (0.5, 0.9), (-0.1, 1.2), (0.5,))],
    "torch.rprop: a step size < 0": [lambda e=e: torch.rprop(step_sizes=e) for e in ((-1.0, 50.0), (1e-6, -1.0))],
    "torch.sgd: nesterov without momentum or with dampening": [
        lambda: torch.sgd(0.1, nesterov=True), lambda: torch.sgd(0.1, momentum=0.9, dampening=0.1, nesterov=True),
    ],
}  # fmt: skip


@functools.cache
def phrases():
    found = {}
    for clause in clauses():
        found.setdefault(clause.function, []).append(clause.phrase)
    return found


def calls_for(clause):
    """(what to call, whether it must raise) for a clause."""
    known = rule_for(clause, phrases()[clause.function])
    if known is not None:
        return known
    keys = [key for key in CALLS if fits(clause, key)]
    assert keys, f"nothing provokes the clause `{clause}`: add a row, or word it as the rules of `raises` know it"
    return [(call, True) for key in keys for call in ([CALLS[key]] if callable(CALLS[key]) else CALLS[key])]


def fits(clause, key):
    function, _, phrase = key.partition(": ")
    return fnmatch.fnmatchcase(clause.function, function) and phrase == clause.phrase


@pytest.mark.fast
@pytest.mark.filterwarnings("ignore:.*without a .key. it is 0:UserWarning", "ignore:optimistic_adam is:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*seed. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("clause", clauses(), ids=str)
def test_it_raises_what_it_says(clause):
    for call, must in calls_for(clause):
        if not must:
            call()
            continue
        with pytest.raises(Exception) as e:
            call()
        assert clause.error in [kind.__name__ for kind in type(e.value).__mro__], e.value


@pytest.mark.fast
def test_every_row_has_a_clause():
    assert not [key for key in CALLS if not any(fits(clause, key) for clause in clauses())]
