"""What is trained alike by one process and by several: a small network, its batch spread over a mesh of eight devices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import gradxform as gx
from gradxform import registry
from tests.varying import varying

AXIS, STEPS, CLOSE = "data", 3, 1e-6
Specs = Mapping[str, PartitionSpec]
SHAPES = {"b": (8,), "s": (), "v": (8, 24), "w": (16, 8)}
SHARDED: Specs = {"b": PartitionSpec(AXIS), "s": PartitionSpec(), "v": PartitionSpec(None, AXIS), "w": PartitionSpec(AXIS)}
WHOLE: Specs = dict.fromkeys(SHAPES, PartitionSpec())
ROWS = PartitionSpec(AXIS)
COPIES = 3  # of the network: so many that devices of each of two processes have matrices


class Trained(NamedTuple):
    """What comes out of a run."""

    params: Any
    state: Any
    losses: Any = ()


class Case(NamedTuple):
    """A run, and how far sums in another order may move a number of it, relative to the largest of its array.

    `why` it is more than `CLOSE`; `codes` says that the state keeps some, rounded at random, where a last digit may tip the scales.
    """

    run: Callable[[], Trained]
    error: float = CLOSE
    why: str = ""
    codes: bool = False


OF_CODES = {
    "error": 1e-3,
    "why": "a code that was rounded to its neighbour moves a step of 0.01 by a hundredth or so",
    "codes": True,
}
OF_WIRE = {
    "error": 1.2e-4,
    "why": "what travels is rounded to bfloat16: where a last digit tips the scales, by 2^-8 of itself; three steps of 0.01 of that",
}
OF_ROOTS = {"error": 5e-4, "why": "inverse roots of factors whose small eigenvalues are differences of large numbers"}


def mesh_of(kind: AxisType = AxisType.Auto) -> Mesh:
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(kind,))


def placed(mesh: Mesh, array: np.ndarray, spec: PartitionSpec) -> jax.Array:
    """An array that lies on all processes, of which each has the whole in its memory."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])


def network(mesh: Mesh, specs: Specs = SHARDED, seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {name: placed(mesh, rng.normal(size=shape).astype(np.float32), specs[name]) for name, shape in SHAPES.items()}


def batches(mesh: Mesh) -> list[tuple[jax.Array, jax.Array]]:
    """Sixty-four examples for each step, some on each device."""
    rng = np.random.default_rng(1)
    draw = lambda width: placed(mesh, rng.normal(size=(64, width)).astype(np.float32), ROWS)
    return [(draw(16), draw(24)) for _ in range(STEPS)]


def loss(params, x, y):
    params = {name: x.astype(jnp.float32) for name, x in params.items()}
    hidden = jnp.tanh(x @ params["w"] + params["b"][None])
    return jnp.mean((params["s"] * hidden @ params["v"] - y) ** 2)


def mean_gradient(params, x, y):
    return jax.value_and_grad(loss)(params, x, y)


def gradient_of_each(params, x, y):
    """The gradients of single examples, as differential privacy wants them."""
    one = lambda x, y: jax.grad(loss)(params, x[None], y[None])
    return loss(params, x, y), jax.vmap(one)(x, y)


def spoiled_gradient(params, x, y):
    """One device of one process overflows at one step or two: where its last example starts with a negative number."""
    value, grads = mean_gradient(params, x, y)
    return value, {**grads, "w": grads["w"].at[0, 0].multiply(jnp.where(x[-1, 0] < 0, jnp.inf, 1.0))}


def stepper(tx, gradient=mean_gradient, apply=gx.apply_updates):
    tx = gx.with_extra_args_support(tx)

    def step(params, state, x, y):
        value, grads = gradient(params, x, y)
        of = functools.partial(loss, x=x, y=y)
        updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=of, obj_fn=of)
        return apply(params, updates), state, value

    return step


def walk(step, params, state, mesh: Mesh) -> Trained:
    losses = []
    for x, y in batches(mesh):
        params, state, value = step(params, state, x, y)
        losses.append(value)
    return Trained(params, state, losses)


def trained(tx, gradient=mean_gradient, specs: Specs = SHARDED, jit: Callable = jax.jit, dtype=None) -> Trained:
    """Some steps from a state that is made where the parameters are."""
    mesh = mesh_of()
    params = network(mesh, specs)
    if dtype is not None:
        params = jax.jit(lambda tree: jax.tree.map(lambda x: x.astype(dtype), tree), out_shardings=shardings(mesh, specs))(params)
    return walk(jit(stepper(tx, gradient)), params, tx.init(params), mesh)


def shardings(mesh: Mesh, specs: Specs) -> dict[str, NamedSharding]:
    return {name: NamedSharding(mesh, spec) for name, spec in specs.items()}


def explicit(tx, copies: int = 1) -> Trained:
    """Where each array's type says how it is sharded; the parameters are the gradient, since they are sharded as one."""
    params = networks(mesh_of(AxisType.Explicit), copies)
    state = tx.init(params)
    step = jax.jit(lambda p, s: (lambda u, s: (gx.apply_updates(p, u), s))(*tx.update(p, s, p)))
    for _ in range(STEPS):
        params, state = step(params, state)
    return Trained(params, state)


def networks(mesh: Mesh, copies: int) -> list[dict[str, jax.Array]]:
    return [network(mesh, seed=seed) for seed in range(copies)]


def dealt(tx, copies: int = COPIES) -> Trained:
    """Two matrices of each copy dealt out over the eight devices of the mesh that is set, where no type says that a leaf is on one."""
    mesh = mesh_of()
    params = networks(mesh, copies)
    gradient = jax.value_and_grad(lambda params, x, y: sum(loss(p, x, y) for p in params))
    with jax.set_mesh(mesh):
        return walk(jax.jit(stepper(tx, gradient)), params, tx.init(params), mesh)


def zero(tx) -> Trained:
    """ZeRO-1: every device has all parameters, and a part of the state."""
    mesh = mesh_of()
    params, rows = network(mesh, WHOLE), NamedSharding(mesh, ROWS)
    places, parts = shardings(mesh, WHOLE), gx.state_shardings(tx, params, zero=AXIS)
    assert not all(place.is_fully_replicated for place in jax.tree.leaves(parts))
    step = jax.jit(
        stepper(tx), in_shardings=(places, parts, rows, rows), out_shardings=(places, parts, None), donate_argnums=(0, 1)
    )
    run = walk(step, params, gx.init_sharded(tx, params, zero=AXIS), mesh)
    assert jax.tree.map(lambda x: x.sharding, run.state) == parts
    return run


def compressed(tx) -> Trained:
    """Each device has a gradient of its own, and hands on what is left of it."""
    mesh = mesh_of()
    params, everywhere = network(mesh, WHOLE), PartitionSpec()
    specs = gx.per_device_specs(jax.eval_shape(tx.init, params), AXIS)
    state = jax.jit(jax.shard_map(tx.init, mesh=mesh, in_specs=everywhere, out_specs=specs))(params)

    def step(params, state, x, y):
        value, grads = mean_gradient(varying(params, AXIS), x, y)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, jax.lax.pmean(value, AXIS)

    into, out = (everywhere, specs, ROWS, ROWS), (everywhere, specs, everywhere)
    return walk(jax.jit(jax.shard_map(step, mesh=mesh, in_specs=into, out_specs=out)), params, state, mesh)


def keyed(seed: int):
    return jax.random.key(seed, impl="rbg")


CASES: dict[str, Case] = {
    "adamw": Case(lambda: trained(gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(gx.cosine_decay_schedule(0.1, 10))))),
    "adamw, whole": Case(lambda: trained(gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)), specs=WHOLE)),
    "adamw, explicit axes": Case(lambda: explicit(gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)))),
    "adamw, not compiled": Case(lambda: trained(gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)), jit=lambda step: step)),
    "adamw, ZeRO-1": Case(lambda: zero(gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)))),
    "store, ZeRO-1": Case(
        lambda: zero(gx.chain(gx.clip_by_global_norm(0.5), gx.store(gx.adamw(0.01), "8bit", seed=6))), **OF_CODES
    ),
    "lamb": Case(lambda: trained(gx.lamb(0.1))),
    "adafactor": Case(lambda: trained(gx.adafactor(0.1, min_dim_size_to_factor=4))),
    "muon": Case(lambda: trained(gx.muon(0.01))),
    "muon, spread": Case(lambda: dealt(gx.muon(0.01, spread=AXIS)), **OF_WIRE),
    "muon, spread, float32 wire": Case(lambda: dealt(gx.muon(0.01, spread=AXIS, wire=jnp.float32))),
    "muon, spread, explicit axes": Case(lambda: explicit(gx.muon(0.01, spread=AXIS), COPIES), **OF_WIRE),
    "muon, spread, explicit axes, float32 wire": Case(lambda: explicit(gx.muon(0.01, spread=AXIS, wire=jnp.float32), COPIES)),
    "shampoo, spread, stacked": Case(
        lambda: dealt(gx.shampoo(0.01, b2=0.99, eps=1e-6, graft="adam", spread=AXIS, wire=jnp.float32, stacked=8), 6), **OF_ROOTS
    ),
    "noisy_sgd": Case(lambda: trained(gx.noisy_sgd(0.1, key=0))),
    "sgld": Case(lambda: trained(gx.sgld(1e-3, 0.1, preconditioner_decay=0.9, key=1))),
    "dpsgd": Case(
        lambda: trained(gx.contrib.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=0.5, key=2, momentum=0.9), gradient_of_each)
    ),
    "add_noise, rbg": Case(
        lambda: trained(gx.chain(gx.add_noise(0.1, 0.5, key=keyed(3)), gx.sgd(0.1))), 5e-6,
        "a number is what is left of steps that cancel: a last place of theirs is 1.3e-6 of it",
    ),
    "sophia": Case(lambda: trained(gx.contrib.sophia(0.1, update_interval=2))),
    "polyak_sgd": Case(lambda: trained(gx.polyak_sgd(0.5))),
    "backtracking": Case(lambda: trained(gx.chain(gx.sgd(1.0), gx.scale_by_backtracking_linesearch(15)))),
    "lbfgs": Case(
        lambda: trained(gx.lbfgs(memory_size=3)), 5e-5,
        "the line search interpolates: it divides by differences of losses that are nearly equal, which keep few digits",
    ),
    "accumulate": Case(lambda: trained(gx.accumulate(gx.adamw(0.1), 2))),
    "MultiSteps": Case(lambda: trained(gx.MultiSteps(gx.adamw(0.1), 2))),
    "apply_if_finite": Case(lambda: trained(gx.apply_if_finite(gx.adam(0.1), 3), spoiled_gradient)),
    "partition": Case(lambda: trained(gx.partition({1: gx.adam(0.1), 2: gx.lion(0.01)}, lambda p: {k: 1 + (k == "w") for k in p}))),
    "schedule_free": Case(lambda: trained(gx.contrib.schedule_free_adamw(0.1))),
    "master_weights": Case(lambda: trained(gx.master_weights(gx.adamw(0.01), key=4, bits=8), dtype=jnp.bfloat16), **OF_CODES),
    "store": Case(lambda: trained(gx.store(gx.adamw(0.01), "8bit", seed=5)), **OF_CODES),
    "mean_over": Case(lambda: compressed(gx.chain(gx.mean_over(AXIS), gx.adam(0.1)))),
    "compressed_mean": Case(lambda: compressed(gx.chain(gx.compressed_mean(gx.two_bit(0.5), AXIS), gx.sgd(0.1, 0.9)))),
    "error_feedback, two_bit": Case(
        lambda: compressed(gx.chain(gx.error_feedback(gx.two_bit(0.5), AXIS), gx.sgd(0.1, 0.9)))
    ),
    "error_feedback, scaled_sign": Case(lambda: compressed(gx.chain(gx.error_feedback(gx.scaled_sign(), AXIS), gx.adam(0.1)))),
    "majority_vote": Case(
        lambda: compressed(gx.chain(gx.per_device(gx.ema(0.9, debias=False), AXIS), gx.majority_vote(AXIS), gx.scale(-0.1)))
    ),
}  # fmt: skip
SEARCHED = (
    "the line search interpolates, as that of lbfgs, and the matrix learns from differences of gradients that are nearly equal"
)
MAGNIFY = {
    "adan": (5e-6, "one of its means is of differences of neighbouring gradients, which are nearly equal and keep few digits"),
    "adamuon": (1e-5, "signs are orthogonalized: what their sums leave of numbers that cancel is squared and divided by"),
    "asgo": (2e-5, "inverse roots of factors whose small eigenvalues are differences of large numbers"),
    "dion": (5e-5, "orthonormal factors of matrices with small singular values turn by rounding over these"),
    "shampoo": (5e-4, "inverse roots of factors whose small eigenvalues are differences of large numbers"),
    "ssbfgs": (5e-5, SEARCHED),
    "ssbroyden": (5e-5, SEARCHED),
    "adopt": (
        1e-5,
        "a gradient over the root of the second moment before it: where that is small, a quotient of neighbouring gradients",
    ),
    "cocob": (
        1e-5,
        "a reward adds up products with how far a parameter went: a difference of numbers that are nearly equal, which keeps few digits",
    ),
    "galore": (
        1e-4,
        "moments are kept along singular vectors, which turn by the rounding of a matrix over the gap of its singular values",
    ),
}


def registered(name: str) -> Case:
    """An optimizer of the registry with its arguments there."""
    entry = registry.entry(name)
    return Case(lambda: trained(entry.make(**entry.example)), *MAGNIFY.get(name, ()))


def alike(name: str) -> bool:
    """Whether runs on other devices go the same way: not where eigenvectors of singular factors are whatever rounding makes of them."""
    return name not in CASES and not registry.entry(name).null_space


EVERY = CASES | {name: registered(name) for name in registry.names("*", kind="optimizer") if alike(name)}


def values(run: Trained) -> dict[str, np.ndarray]:
    """What came out, gathered from all processes: keys as their data, narrow floats as the whole numbers that stand for them."""
    place = jax.tree.leaves(run.params)[0].sharding
    everywhere = NamedSharding(place.mesh, PartitionSpec())
    bare = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    whole = jax.jit(lambda tree: jax.tree.map(lambda x: code(bare(x)), tree), out_shardings=everywhere)
    parts = {"params": run.params, "state": run.state, "losses": list(run.losses)}
    leaves = jax.tree_util.tree_leaves_with_path(whole(parts))
    return {jax.tree_util.keystr(path): np.asarray(x.addressable_data(0)) for path, x in leaves}


def code(x: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4:
        return jax.lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
    return x
