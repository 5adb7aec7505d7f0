"""Checkpoints of Orbax, whole ones on other numbers of devices, and spoiled ones: what it hands back is right, or is refused by name."""

import gc
import pathlib
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from oracle import optax

import gradxform as gx

pytestmark = [
    pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU"),
    pytest.mark.usefixtures("all_in_use"),
]

OPTIMIZERS = {
    "adamw": gx.adamw(0.1),
    "stored": gx.store(gx.adamw(0.1)),
    "muon": gx.muon(0.1),
    "noise": gx.chain(gx.add_noise(0.1, 0.5, key=0), gx.sgd(0.1, 0.9)),
    "lbfgs": gx.scale_by_lbfgs(3),
    "narrow": gx.adam(0.1, mu_dtype=jnp.bfloat16),
    "accumulate": gx.accumulate(gx.store(gx.adam(0.1), "bfloat16"), 2),
}
SPECS = {"b": ("d",), "w": ("d", None), "v": (None, "d")}
DRAW = np.random.default_rng(0)
VALUES = {"b": DRAW.standard_normal(8), "w": DRAW.standard_normal((128, 64)), "v": DRAW.standard_normal((64, 128))}


def parameters(devices, kind=AxisType.Auto):
    """On the last of the devices, split over them."""
    mesh = Mesh(np.array(jax.devices()[-devices:]), ("d",), axis_types=(kind,))
    place = lambda k: NamedSharding(mesh, PartitionSpec(*SPECS[k]))
    return {k: jax.device_put(x.astype(np.float32), place(k)) for k, x in VALUES.items()}


def after(tx, params, steps=3):
    """Parameters and state after some steps."""
    state, step = tx.init(params), jax.jit(tx.update)
    for _ in range(steps):
        updates, state = step(params, state, params)
        params = gx.apply_updates(params, updates)
    return params, state


class Saved(NamedTuple):
    """A checkpoint with a digest beside it, as the docstring of `digest` has it."""

    path: pathlib.Path
    tx: Any
    tree: Any


def manager(path):
    ocp = pytest.importorskip("orbax.checkpoint")
    return ocp, ocp.CheckpointManager(path)


def save(path, tx, tree):
    ocp, m = manager(path)
    with m:
        m.save(3, args=ocp.args.Composite(state=ocp.args.StandardSave(tree), digest=ocp.args.JsonSave(gx.digest(tree))))
    return Saved(path, tx, tree)


def restore(path, like=None):
    """What is in the last checkpoint, and its digest."""
    ocp, m = manager(path)
    with m:
        target = ocp.args.StandardRestore(like) if like is not None else ocp.args.StandardRestore()
        found = m.restore(m.latest_step(), args=ocp.args.Composite(state=target, digest=ocp.args.JsonRestore()))
    return found.state, found.digest


def target(tx, params):
    """Shapes, dtypes and places of parameters and state; a count of Optax's begins on one device, and goes to all."""
    everywhere = NamedSharding(params["w"].sharding.mesh, PartitionSpec())
    place = lambda x: x.sharding if isinstance(x.sharding, NamedSharding) else everywhere
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place(x)), (params, tx.init(params)))


def bits(tree):
    """Everything in a tree, byte for byte."""
    bare = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(bare(x)).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_restored_bitwise_on_other_numbers_of_devices(name, tmp_path):
    tx = OPTIMIZERS[name]
    saved = save(tmp_path / "run", tx, after(tx, parameters(8)))
    for devices, kind in ((8, AxisType.Auto), (4, AxisType.Auto), (4, AxisType.Explicit), (1, AxisType.Auto)):
        on = parameters(devices, kind)
        (params, state), digest = restore(saved.path, target(tx, on))
        gx.check_restored(tx, params, state, digest)
        assert jax.tree.structure((params, state)) == jax.tree.structure(saved.tree)
        assert bits((params, state)) == bits(saved.tree)
        assert all(len(x.sharding.device_set) == devices for x in jax.tree.leaves((params, state)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    tx = OPTIMIZERS["adamw"]
    return save(tmp_path_factory.mktemp("saved") / "run", tx, after(tx, parameters(8)))


def data_files(run):
    """The files of numbers, the largest first."""
    files = [f for f in (run / "3" / "state").rglob("*") if f.is_file() and f.parent.name == "d"]
    return sorted(files, key=lambda f: -f.stat().st_size)


def flip(at):
    def spoil(file):
        raw = bytearray(file.read_bytes())
        raw[int(at * len(raw))] ^= 0x10
        file.write_bytes(bytes(raw))

    return spoil


def blank(file):
    """A page of zeros in the middle, as after a power cut."""
    raw = bytearray(file.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 4096] = bytes(min(4096, len(raw) - middle))
    file.write_bytes(bytes(raw))


SPOILED = {f"a bit at {at}": flip(at) for at in (0.03, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.97)} | {
    "a page of zeros": blank,
    "truncated to half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "truncated by a byte": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "empty": lambda file: file.write_bytes(b""),
    "missing": lambda file: file.unlink(),
}
unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Orbax leaves of reads that failed


def outcome(saved, run, how, nth):
    """What becomes of a spoiled checkpoint: `refused` by the store, `right` after all, or `caught`: wrong without a word from the store."""
    shutil.copytree(saved.path, run)
    SPOILED[how](data_files(run)[nth])
    try:
        found = restore(run, target(saved.tx, parameters(8)))
    except Exception:  # of many classes, all of the store's
        found = None
    if found is None:
        gc.collect()  # reads that failed are told of here, where the test is deaf to them, and not in a later test
        return "refused"
    (params, state), digest = found
    pairs = zip(gx.digest(saved.tree), bits((params, state)), bits(saved.tree), strict=True)
    differ = [name for name, is_now, was in pairs if is_now != was]
    if not differ:
        gx.check_restored(saved.tx, params, state, digest)
        return "right"
    with pytest.raises(gx.StructureError, match="what was restored is not what was saved") as e:
        gx.check_restored(saved.tx, params, state, digest)
    of, _, path = differ[0].partition("/")
    assert f"`{path}` of {('the parameters', 'the state')[int(of)]} was" in str(e.value)
    assert f"({len(differ)} of {len(bits(saved.tree))} leaves differ)" in str(e.value)
    return "caught"


@unraisable
@pytest.mark.parametrize("nth", [0, 1], ids=["the largest file", "the second"])
@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_file(how, nth, saved, tmp_path):
    """Either the store refuses it, or what it hands back has its digest, or `check_restored` names the first leaf that differs."""
    found = outcome(saved, tmp_path / "run", how, nth)
    gc.collect()  # what the store leaves behind complains here, and not in a test that comes later
    if how in ("truncated to half", "empty", "missing"):
        assert found in ("refused", "caught")


@unraisable
def test_the_store_alone_says_nothing_of_most_flipped_bits(saved, tmp_path):
    """Else nobody would need a digest."""
    flips = [how for how in SPOILED if how.startswith("a bit")]
    found = [outcome(saved, tmp_path / how, how, 0) for how in flips]
    gc.collect()
    assert found.count("caught") >= len(flips) // 2, found


OTHERS = {
    "another optimizer": (gx.lion(0.1), "is of another optimizer"),
    "another storage": (gx.store(gx.adamw(0.1)), "is stored otherwise"),
    "Optax's": (optax.adamw(0.1), "has lost its classes"),
    "the same": (OPTIMIZERS["adamw"], "has lost its classes"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore:Sharding info not provided:UserWarning")
def test_what_a_checkpoint_is_of(name, saved):
    """Orbax refuses another target, and says how the paths differ; restored without a target, it is told what was saved."""
    tx, says = OTHERS[name]
    params = parameters(8)
    if "another" in name:
        with pytest.raises(ValueError, match="do not match"):
            restore(saved.path, target(tx, params))
    (_, bare), digest = restore(saved.path)
    with pytest.raises(gx.StructureError, match=says):
        gx.check_restored(tx, params, bare, digest)


def test_a_checkpoint_of_another_tree(saved):
    (_, bare), _ = restore(saved.path)
    with pytest.raises(gx.StructureError, match=r"of other parameters, or of another mask: at `0/mu/c` should be"):
        gx.check_restored(saved.tx, {**parameters(8), "c": jnp.ones(2)}, bare)


def test_a_checkpoint_of_optax(tmp_path):
    """It is read into Optax's classes, named as such, and put into ours."""
    theirs = save(tmp_path / "run", optax.adamw(0.1), after(optax.adamw(0.1), parameters(8)))
    (params, state), digest = restore(theirs.path, target(theirs.tx, parameters(8)))
    for tx in (gx.adamw(0.1), gx.store(gx.adamw(0.1))):
        with pytest.raises(gx.StructureError, match=r"other classes with the same fields|is stored otherwise"):
            gx.check_restored(tx, params, state, digest)
        gx.check_restored(tx, params, gx.encode_state(state, like=tx.init(params)))
    gx.check_restored(theirs.tx, params, state, digest)


def test_a_target_that_puts_counts_on_one_device():
    """As Optax's `init` does, from where JAX may move them; from where a target puts them it may not."""
    params = parameters(8)
    state = optax.adamw(0.1).init(params)
    gx.check_restored(optax.adamw(0.1), params, state)
    put = jax.tree.map(lambda x: jax.device_put(x, x.sharding), state)
    with pytest.raises(gx.StructureError, match=r"on other devices than the parameters: `0/count` is on 1, they are on 8"):
        gx.check_restored(optax.adamw(0.1), params, put)


def test_a_leaf_that_is_left_out_on_purpose(saved):
    """Orbax leaves its placeholder there."""
    ocp = pytest.importorskip("orbax.checkpoint")
    params, state = target(saved.tx, parameters(8))
    state = (state[0]._replace(nu={**state[0].nu, "v": ocp.PLACEHOLDER}), *state[1:])
    with ocp.PyTreeCheckpointer() as checkpointer:
        places = ocp.checkpoint_utils.construct_restore_args((params, state))
        args = ocp.args.PyTreeRestore((params, state), restore_args=places)
        params, state = checkpointer.restore(saved.path / "3" / "state", args=args)
    with pytest.raises(gx.StructureError, match=r"is half restored: at `0/nu/v` should be float32.64, 128., but is Ellipsis"):
        gx.check_restored(saved.tx, params, state)


def test_dtypes_that_the_store_converts_without_a_word(saved):
    """Orbax rounds to the dtype of the target; the digest knows of the one that was saved."""
    narrow = gx.adamw(0.1, mu_dtype=jnp.bfloat16)
    (params, state), digest = restore(saved.path, target(narrow, parameters(8)))
    gx.check_restored(narrow, params, state)
    with pytest.raises(gx.StructureError, match=r"`0/mu/b` of the state was float32.* is bfloat16.*converted in between"):
        gx.check_restored(narrow, params, state, digest)
