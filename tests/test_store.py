"""`store`: where stored state is decoded and encoded, what it goes through, and what is refused."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from oracle import optax

import gradxform as gx
from gradxform.precision import Bfloat16, Float8, Int8, bound, float8, int8
from gradxform.testing import examine

pytestmark = pytest.mark.filterwarnings("ignore:.*look turned:UserWarning")  # its `b` is as long as `w` has rows
P = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(3, 4), "b": jnp.ones(3, jnp.bfloat16), "s": jnp.float32(2.0), "hole": None}
G = jax.tree.map(lambda x: 0.1 * x + 0.01, P)
IS_ENTRY = {"is_leaf": lambda x: hasattr(x, "encode") or x is None}


def forms(tree):
    return jax.tree.structure(tree), [(x.shape, x.dtype, getattr(x, "weak_type", False)) for x in jax.tree.leaves(tree)]


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def run(tx, state=None, steps=3, params=P, grads=G):
    state = tx.init(params) if state is None else state
    for _ in range(steps):
        updates, state = tx.update(grads, state, params)
    return updates, state


def storage(tx, params=P):
    """The names of the classes of all entries."""
    return {type(x).__name__ for x in jax.tree.leaves(tx.init(params), **IS_ENTRY) if hasattr(x, "encode")}


def every_other(n):
    return n % 2 == 0


ADAM = {"Int8", "Float8"}
COMPOSED = {
    "a chain": (lambda: gx.store(gx.adamw(0.01)), ADAM),
    "16bit": (lambda: gx.store(gx.adamw(0.01), "16bit"), {"Bfloat16"}),
    "by field": (lambda: gx.store(gx.adamw(0.01), {"mu": "bfloat16", "nu": "float8"}), {"Bfloat16", "Float8"}),
    "a codec": (lambda: gx.store(gx.sgd(0.01, 0.9), Bfloat16), {"Bfloat16"}),
    "beside a plain partner": (lambda: gx.store(gx.adam(0.01), {"mu": "int8", "nu": "float32"}), {"Int8"}),
    "settings": (lambda: gx.store(gx.adam(0.01), {"mu": int8(9.0), "nu": float8(low=-48)}), ADAM),
    "matrices": (lambda: gx.store(gx.adamw(0.01), where=gx.by_ndim(2)), ADAM),
    "paths": (lambda: gx.store(gx.adamw(0.01), where={"b": True, "default": False}), ADAM),
    "in a chain": (lambda: gx.chain(gx.clip_by_global_norm(1.0), gx.store(gx.adamw(gx.linear_schedule(0.1, 0.0, 9)))), ADAM),
    "a partition": (
        lambda: gx.store(gx.partition({"a": gx.adam(0.01), "b": gx.lion(0.01)}, {"b": "b", "default": "a"})),
        ADAM | {"Bfloat16"},
    ),
    "a group": (lambda: gx.partition({"a": gx.store(gx.adam(0.01)), "b": gx.sgd(0.1)}, {"b": "b", "default": "a"}), ADAM),
    "a mask": (lambda: gx.store(gx.masked(gx.adam(0.01), {"b": False, "default": True})), ADAM),
    "injected": (lambda: gx.store(gx.inject_hyperparams(gx.adamw)(learning_rate=0.01)), ADAM),
    "accumulate": (lambda: gx.store(gx.accumulate(gx.adam(0.01), 2)), ADAM),
    "its mean": (lambda: gx.store(gx.accumulate(gx.adam(0.01), 2), {"acc_grads": "bfloat16"}), {"Bfloat16"}),
    "MultiSteps": (lambda: gx.store(gx.MultiSteps(gx.adam(0.01), 2).gradient_transformation()), ADAM),
    "apply_if_finite": (lambda: gx.store(gx.apply_if_finite(gx.adam(0.01), 3)), ADAM),
    "conditional": (lambda: gx.store(gx.conditionally_transform(gx.adam(0.01), every_other)), ADAM),
    "schedule_free": (lambda: gx.store(gx.schedule_free_adamw(0.01), {"z": "bfloat16", "nu": "float8"}), {"Bfloat16", "Float8"}),
    "mechanize": (lambda: gx.store(gx.mechanize(gx.adam(0.01)), {"x0": "bfloat16", "nu": "float8"}), {"Bfloat16", "Float8"}),
    "sam": (lambda: gx.store(gx.sam(gx.adam(0.01), gx.sgd(0.01, 0.9)), {"cache": "bfloat16", "trace": "bfloat16"}), {"Bfloat16"}),
    "master_weights": (lambda: gx.master_weights(gx.store(gx.adam(0.01))), ADAM),
    "around it": (
        lambda: gx.store(gx.master_weights(gx.adam(0.01)), {"master": "bfloat16", "nu": "float8"}),
        {"Bfloat16", "Float8"},
    ),
    "flatten": (lambda: gx.store(gx.flatten(gx.adam(0.01))), ADAM),
    "muon": (lambda: gx.store(gx.muon(0.01)), ADAM | {"Bfloat16"}),
    "a whole-tree kernel": (
        lambda: gx.store(gx.chain(gx.scale_by_lbfgs(2), gx.scale(-0.1)), {"updates": "bfloat16"}),
        {"Bfloat16"},
    ),
    "sums over the tree": (lambda: gx.store(gx.dadapt_adamw(1.0)), {"Bfloat16"}),
    "Optax's": (lambda: gx.store(optax.adam(0.01), {"mu": "bfloat16", "nu": "float8"}), {"Bfloat16", "Float8"}),
    "with Optax's inside": (lambda: gx.store(gx.chain(optax.trace(0.9), gx.scale_by_adam()), {"trace": "bfloat16"}), {"Bfloat16"}),
    "in Optax's chain": (lambda: optax.chain(optax.clip(1.0), gx.store(gx.adam(0.01))), ADAM),
}


@pytest.mark.parametrize("kind", COMPOSED)
def test_a_state_is_a_fixed_point_and_compiles_once(kind):
    """Un-jitted and compiled from the same first state to the same bits; resumed from a file, the same again."""
    make, classes = COMPOSED[kind]
    tx = make()
    assert storage(tx) == classes
    first = tx.init(P)
    updates, state = run(tx)
    assert forms(state) == forms(first)
    assert forms(updates) == forms(G) or kind in ("master_weights", "around it")
    assert equal(jax.jit(tx.init)(P), first)
    step = jax.jit(tx.update)
    compiled = first
    for _ in range(3):
        _, compiled = step(G, compiled, P)
    assert step._cache_size() == 1
    assert forms(compiled) == forms(first)
    resumed = run(tx, pickle.loads(pickle.dumps(run(tx, steps=2)[1])), 1)
    assert equal(resumed, (updates, state))
    if "Optax" not in kind:  # its own are closures
        assert pickle.loads(pickle.dumps(tx)) == tx == make()


@pytest.mark.parametrize("kind", COMPOSED)
def test_plain_states_run_as_such_and_go_back(kind):
    tx = COMPOSED[kind][0]()
    state = run(tx)[1]
    plain = gx.decode_state(state)
    wide = [x.dtype for x in jax.tree.leaves(plain, **IS_ENTRY) if x is not None]
    assert not any(hasattr(x, "encode") for x in jax.tree.leaves(plain, **IS_ENTRY))
    assert jnp.int8 not in wide
    assert jnp.uint8 not in wide
    again = gx.encode_state(plain, like=state)
    assert forms(again) == forms(state)
    assert equal(gx.decode_state(again), plain)
    assert forms(run(tx, plain, 1)[1]) == forms(plain)


def test_decoded_states_go_on_in_optax():
    state = gx.decode_state(run(gx.store(gx.adamw(0.01)))[1])
    theirs, ours = optax.adamw(0.01), gx.adamw(0.01)
    assert jax.tree.structure(ours.init(P)) == jax.tree.structure(state)
    assert {x.dtype for x in jax.tree.leaves((state[0].mu, state[0].nu))} == {jnp.dtype(jnp.float32)}
    of = lambda s: optax.tree.map_params(theirs, lambda x: x, (type(theirs.init(P)[0])(*s[0]), *theirs.init(P)[1:]))
    u, _ = theirs.update(G, of(state), P)
    ours_u, _ = ours.update(G, state, P)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-2 if x.dtype == jnp.bfloat16 else 2e-5), ours_u, u)


def test_a_state_of_optax_is_encoded():
    _, theirs = run(optax.adamw(0.01))
    tx = gx.store(gx.adamw(0.01))
    state = gx.encode_state(theirs, like=tx.init(P))
    assert forms(state) == forms(tx.init(P))
    w = gx.decode_state(state)[0]
    np.testing.assert_allclose(w.mu["w"], theirs[0].mu["w"], atol=2e-3)
    np.testing.assert_allclose(w.nu["w"], theirs[0].nu["w"], rtol=0.26)
    assert int(state[0].count) == 3
    with pytest.raises(gx.StructureError, match="encode_state"):
        gx.encode_state(theirs[0].mu, like=tx.init(P))


def test_the_laws_of_a_transformation():
    report = examine(gx.store(gx.adamw(0.01), "16bit"), laws=[1, 2, 4, 6, 9, 10, 11, 12, 13, 19, 20, 21])
    assert report.ok, str(report)


def test_it_is_a_value():
    storage = {"mu": int8(8.0), "nu": float8(low=-48)}
    tx = gx.store(gx.adam(0.1), storage, where=gx.by_ndim(2), seed=3)
    assert repr(tx).endswith("{'mu': int8(limit=8.0), 'nu': float8(low=-48)}, where=by_ndim(2), seed=3)")
    assert tx == gx.store(gx.adam(0.1), storage, gx.by_ndim(2), 3) != gx.store(gx.adam(0.1), storage, gx.by_ndim(2), 4)
    assert gx.store(gx.adam(0.1), Bfloat16) == gx.store(gx.adam(0.1), "bfloat16")
    assert repr(gx.store(gx.lion(0.1), Bfloat16)).endswith(", 'bfloat16')")


def test_memory_of_adamw():
    p = {"w": jnp.zeros((256, 256))}
    size = lambda tx: sum(x.nbytes for x in jax.tree.leaves(tx.init(p))) / 256**2
    measured = [size(tx) for tx in (gx.adamw(1e-3), gx.store(gx.adamw(1e-3), "16bit"), gx.store(gx.adamw(1e-3)))]
    np.testing.assert_allclose(measured, [8, 4, 2], atol=1e-3)


def test_what_stays_wide():
    p = {"z": jnp.ones(4, jnp.complex64), "s": jnp.float32(1.0), "n": jnp.arange(3), "w": jnp.ones((2, 2))}
    state = gx.store(gx.adam(0.1)).init(p)[0]
    assert isinstance(state.mu["w"], Int8)
    assert isinstance(state.nu["w"], Float8)
    assert not any(hasattr(x[k], "encode") for x in state[1:] for k in "zsn")
    g = jax.tree.map(jnp.ones_like, p)
    u, new = gx.store(gx.adam(0.1)).update(g, gx.store(gx.adam(0.1)).init(p), p)
    expected, _ = gx.adam(0.1).update(g, gx.adam(0.1).init(p), p)
    jax.tree.map(np.testing.assert_array_equal, u, expected)
    assert forms(new[0]) == forms(state)


def test_limits_and_partners():
    """mu is written against nu as it is stored, so that what is read is bounded by it."""
    _, (state, *_) = run(gx.store(gx.adam(0.1, b1=0.8, b2=0.99)))
    np.testing.assert_allclose(state.mu["w"].limit, 1.2 * bound(0.8, 0.99), rtol=1e-6)
    mu, nu = state.mu["w"].decode(state.nu["w"].decode()), state.nu["w"].decode()
    np.testing.assert_allclose(mu, gx.decode_state(state).mu["w"])
    m = 0.0
    for _ in range(3):
        m = 0.8 * m + 0.2 * np.asarray(G["w"])
    np.testing.assert_allclose(mu, m, atol=0.02 * float(jnp.max(jnp.sqrt(nu)) * state.mu["w"].limit))


REFUSED = {
    "float8 of what can be negative": (
        lambda: gx.store(gx.adam(0.1), {"mu": "float8"}),
        "scale_by_adam keeps `mu`, which can be negative",
    ),
    "float8 of everything": (lambda: gx.store(gx.adam(0.1), "float8"), "keeps `mu`, which can be negative"),
    "int8 without a partner": (lambda: gx.store(gx.lion(0.1), {"mu": "int8"}), "which no other field bounds"),
    "int8 of adabelief": (lambda: gx.store(gx.adabelief(0.1), {"mu": "int8"}), "which no other field bounds"),
    "int8 of adan": (lambda: gx.store(gx.adan(0.1), {"m": "int8"}), "which no other field bounds"),
    "int8 with decays that do not fit": (lambda: gx.store(gx.adam(0.1, b1=0.99, b2=0.95)), r"0.99\^2 < 0.95"),
    "int8 with a scheduled decay": (lambda: gx.store(gx.scale_by_adam(gx.linear_schedule(0.9, 0.5, 9))), "scheduled or traced"),
    "nearest of a slow mean": (lambda: gx.store(gx.adam(0.1), {"nu": "bfloat16:nearest"}), "such a mean stands still"),
    "nearest of a sum": (lambda: gx.store(gx.adagrad(0.1), {"sum_of_squares": "bfloat16:nearest"}), "small terms are lost|a sum"),
    "a sum": (lambda: gx.store(gx.adagrad(0.1)), r"keeps no running mean.*sum_of_squares.*by name"),
    "a maximum": (lambda: gx.store(gx.maxaprop(0.1)), "keeps no running mean"),
    "no state": (lambda: gx.store(gx.scale(0.1)), "no fields like the parameters"),
    "an unknown field": (lambda: gx.store(gx.adam(0.1), {"m": "bfloat16"}), r"field 'm'.*There are mu, nu"),
    "other axes": (lambda: gx.store(gx.sm3(0.1), {"mu": "bfloat16"}), "other axes than the parameter's"),
    "stored already by a dtype": (lambda: gx.store(gx.adam(0.1, mu_dtype=jnp.bfloat16)), "as its `mu_dtype` says, in bfloat16"),
    "stored twice": (lambda: gx.store(gx.chain(gx.clip(1.0), gx.store(gx.adam(0.1)))), "stored already"),
    "a partner of another library": (lambda: gx.store(optax.adam(0.1), {"mu": "int8"}), "another library"),
    "no transformation": (lambda: gx.store(jnp.ones(2)), "expected a GradientTransformation"),
    "no storage": (lambda: gx.store(gx.adam(0.1), 8), "a storage is a name"),
    "4 bits": (lambda: gx.store(gx.adam(0.1), "4bit"), "no codec of 4 bits"),
    "torchao's 4 bits": (lambda: gx.store(gx.adam(0.1), "torchao:4bit"), "no codec of 4 bits"),
    "a linear scale": (lambda: gx.store(gx.adam(0.1), "linear:8bit"), "rounds to 0"),
    "COAT": (lambda: gx.store(gx.adam(0.1), "coat"), "a power of each element"),
    "a name": (lambda: gx.store(gx.adam(0.1), "bfloat"), "Did you mean 'bfloat16'"),
    "a seed": (lambda: gx.store(gx.adam(0.1), seed=0.5), "`seed` must be a whole number"),
    "a label": (lambda: gx.store(gx.adam(0.1), where=lambda path, leaf: path), "must be True or False"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_name_the_field_and_what_to_do(kind):
    make, message = REFUSED[kind]
    with pytest.raises(gx.GradxformError, match=message):
        make().init(P)


def test_what_is_allowed_by_name():
    assert gx.store(gx.adam(0.1), {"mu": "bfloat16:nearest"}).init(P)[0].mu["w"].dtype == jnp.bfloat16
    assert storage(gx.store(gx.adagrad(0.1), {"sum_of_squares": "bfloat16"})) == {"Bfloat16"}
    assert storage(gx.store(gx.scale_by_adam(gx.linear_schedule(0.9, 0.5, 9)), {"mu": int8(9.0), "nu": "float8"})) == ADAM
    assert storage(gx.store(gx.adam(0.1, b1=0.99, b2=0.95), "16bit")) == {"Bfloat16"}
    state = gx.store(gx.adagrad(0.1, 0.5), {"sum_of_squares": "bfloat16"}).init(P)[0]
    np.testing.assert_array_equal(state.sum_of_squares["w"].decode(), np.full((3, 4), 0.5))


@pytest.mark.parametrize("engine", ["leaf", "stacked", "tree", "plain"])
def test_engines_agree(engine):
    """Codes differ by a step at most, in few elements: the arithmetic between them may be fused otherwise."""
    rng = np.random.default_rng(0)
    p = {f"w{i}": jnp.asarray(rng.normal(size=(16, 32)), jnp.float32) for i in range(3)}
    g = jax.tree.map(lambda x: 0.1 * x, p)
    for tx in (gx.store(gx.adamw(0.01)), gx.store(gx.lion(0.01))):
        expected = run(tx, steps=2, params=p, grads=g)[1]
        with gx.engine(engine):
            found = run(tx, steps=2, params=p, grads=g)[1]
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            codes = lambda z: np.asarray(z).view(np.int16) if z.dtype == jnp.bfloat16 else np.asarray(z)
            off = np.abs(codes(x).astype(np.int64) - codes(y).astype(np.int64))
            assert off.max() <= 1
            assert np.mean(off > 0) <= 0.01


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_codes_lie_as_the_parameter_does(kind):
    """Any length along the mesh, and the bits of one device."""
    axis = getattr(jax.sharding.AxisType, kind)
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"), axis_types=(axis, axis))
    rng = np.random.default_rng(0)
    p = {"w": jnp.asarray(rng.normal(size=(8, 6)), jnp.float32), "v": jnp.asarray(rng.normal(size=(12, 5)), jnp.float32)}
    g = jax.tree.map(lambda x: 0.1 * x, p)
    specs = {"w": PartitionSpec("data", "model"), "v": PartitionSpec("data")}
    put = lambda tree: {k: jax.device_put(x, NamedSharding(mesh, specs[k])) for k, x in tree.items()}
    tx = gx.store(gx.scale_by_adam())
    step = jax.jit(tx.update)
    with jax.set_mesh(mesh):
        q, h = put(p), put(g)
        state = tx.init(q)
        assert state.nu["w"].codes.sharding.is_equivalent_to(NamedSharding(mesh, specs["w"]), 2)
        for _ in range(2):
            _, state = step(h, state, q)
        assert state.mu["v"].codes.sharding.is_equivalent_to(NamedSharding(mesh, specs["v"]), 2)
    alone = tx.init(p)
    for _ in range(2):
        _, alone = step(g, alone, p)
    assert equal(jax.tree.map(np.asarray, state), jax.tree.map(np.asarray, alone))


def test_each_member_of_a_batch_has_its_own_bits():
    p = {"w": jnp.full(256, 0.3)}
    seeds = jnp.arange(3)
    states = jax.vmap(lambda seed: gx.store(gx.adam(0.1), "16bit", seed=seed).init(p))(seeds)
    step = jax.vmap(lambda state: gx.store(gx.adam(0.1), "16bit").update(p, state, p)[1])
    nu = step(states)[0].nu["w"].rounded
    assert not any(np.array_equal(nu[i], nu[j]) for i, j in [(0, 1), (1, 2), (0, 2)])
    alone = gx.store(gx.adam(0.1), "16bit", seed=2)
    assert np.array_equal(run(alone, steps=1, params=p, grads=p)[1][0].nu["w"].rounded, nu[2])


def test_leaves_and_fields_have_their_own_bits():
    p = {"a": jnp.ones(64), "b": jnp.ones(64)}
    state = gx.store(gx.chain(gx.scale_by_adam(), gx.scale_by_adam())).init(p)
    seeds = [int(x.seed) for x in jax.tree.leaves(state, **IS_ENTRY) if hasattr(x, "seed")]
    assert len(set(seeds)) == len(seeds) == 8
    assert int(gx.store(gx.adam(0.1), seed=1).init(p)[0].nu["a"].seed) not in seeds


def test_leaves_of_float64(x64):
    """Read as float64, and rounded once when written."""
    p = {"w": jnp.linspace(1.0, 2.0, 64, dtype=jnp.float64).reshape(8, 8)}
    for given in ("16bit", "8bit"):
        tx = gx.store(gx.adam(0.1), given)
        u, state = run(tx, params=p, grads=p)
        assert u["w"].dtype == jnp.float64
        assert forms(state) == forms(tx.init(p))
    wide, _ = run(gx.adam(0.1), params=p, grads=p)
    np.testing.assert_allclose(u["w"], wide["w"], rtol=0.3)


def test_scan_and_donation():
    tx = gx.store(gx.adamw(0.01))

    def step(carry, _):
        p, state = carry
        u, state = tx.update(p, state, p)
        return (gx.apply_updates(p, u), state), None

    train = jax.jit(lambda *carry: jax.lax.scan(step, carry, None, 3)[0])

    p = {"w": jnp.ones((4, 4))}
    q, state = p, tx.init(p)
    for _ in range(3):
        u, state = tx.update(q, state, q)
        q = gx.apply_updates(q, u)
    scanned = train(p, tx.init(p))
    np.testing.assert_allclose(scanned[0]["w"], q["w"], rtol=1e-5)
    donating = jax.jit(tx.update, donate_argnums=(1,))
    state = tx.init(p)
    new = donating(p, state, p)[1]
    assert state[0].nu["w"].codes.is_deleted()
    assert forms(donating(p, new, p)[1]) == forms(tx.init(p))
