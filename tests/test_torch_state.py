"""A run of PyTorch's is carried over in its middle: real files, made by `golden/make_torch_training.py`."""

import importlib.util
import json
import pathlib
import pickle
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import training
from golden.compiling import as_compiled
from golden.problem import KEPT, STEPS, TORCH, problem, schedule, shapes_for

import gradxform as gx
from gradxform.dialects import torch
from gradxform.dialects.torch.lr_scheduler import LambdaLR

HERE = pathlib.Path(__file__).parent / "golden"
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
FILES = [pytest.param("torch_adamw.pt", marks=needs_torch), "torch_adamw.safetensors"]


@pytest.fixture(scope="module")
def states():
    with np.load(HERE / "torch_states.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def trajectories():
    with np.load(HERE / "torch.npz") as file:
        return {k: file[k] for k in file if "/float64/" in k}


# Every optimizer ----------------------------------------------------------------------------------------------------------------

NO_PLACE = {"asgd": {"mu"}}  # what is not a state here, because it follows from the step
NO_STEP = {"sgd", "muon"}


@pytest.mark.parametrize(("name", "setting", "arguments"), [as_compiled(s, s[0], "-".join(s[:2])) for s in TORCH])
def test_every_optimizer_goes_on_as_theirs(name, setting, arguments, states, trajectories, tmp_path):
    """Loaded after the fourth kept update, it is at the fifth where PyTorch is."""
    prefix, names = f"{name}/{setting}/", {k: k for k in shapes_for(name)}
    np.savez(tmp_path / "state.npz", **{k.removeprefix(prefix): x for k, x in states.items() if k.startswith(prefix)})
    kept = {k: trajectories[f"{prefix}float64/{k}"] for k in names}
    step = KEPT[3] + 1 if name in NO_STEP else None
    with jax.enable_x64(True):
        tx = getattr(torch, name)(**{k: schedule if v == "schedule" else v for k, v in arguments.items()})
        params = {k: jnp.asarray(x[3]) for k, x in kept.items()}
        loaded = torch.load_torch_state(tx, params, tmp_path / "state.npz", names, step=step)
        assert {x.partition(".")[2] for x in loaded.dropped} == NO_PLACE.get(name, set())
        assert bool(loaded.carried) == ((name, setting) != ("sgd", "plain"))  # which keeps nothing
        assert all(x.startswith(("torch_adafactor_step.v", "chain")) for x in loaded.fresh), loaded.fresh
        state, update = loaded.state, jax.jit(tx.update)
        for i in range(KEPT[3] + 1, STEPS):
            g = problem("float64", shapes_for(name))[1](i, params, arguments.get("maximize", False))
            updates, state = update(g, state, params)
            params = gx.apply_updates(params, updates)
        for k, x in kept.items():
            np.testing.assert_allclose(params[k], x[4], rtol=0, atol=1e-11 * max(1, np.max(np.abs(x[4]))))


# A script -----------------------------------------------------------------------------------------------------------------------

PLACES = {
    "0.weight": ("hidden/kernel", (1, 0)), "2.weight": ("out/kernel", (1, 0)), "0.bias": "hidden/bias", "2.bias": "out/bias",
}  # fmt: skip


def from_torch(weights):
    """PyTorch's weights as parameters here: kernels are (in, out)."""
    w = {k: jnp.asarray(x) for k, x in weights.items()}
    return {"hidden": {"kernel": w["0.weight"].T, "bias": w["0.bias"]}, "out": {"kernel": w["2.weight"].T, "bias": w["2.bias"]}}


def loss_fn(params, x, y):
    hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
    return jnp.mean((hidden @ params["out"]["kernel"] + params["out"]["bias"][None] - y) ** 2)


def carried_over():
    """The optimizer of the script: clipped, accumulated, with two groups and a LambdaLR."""
    rate = LambdaLR(training.LR, gx.tabulate(training.warm_cosine, training.STEPS))
    groups = {"decay": torch.adamw(rate, weight_decay=training.WEIGHT_DECAY), "plain": torch.adamw(rate, weight_decay=0.0)}
    inner = gx.chain(torch.clip_grad_norm(training.MAX_NORM), gx.partition(groups, {"*/kernel": "decay", "*/bias": "plain"}))
    return gx.accumulate(inner, training.ACCUMULATED)


@jax.jit
def averaged(average, params):
    """There is no transformation that averages parameters: this is what `get_ema_multi_avg_fn` computes."""
    return gx.incremental_update(params, average, 1 - training.EMA)


def train(tx, params, average, state, begin):
    """The losses from that step on, and the parameters and their average at half and at the end."""

    @jax.jit
    def step(params, state, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, loss

    (x, y), losses, kept = training.batches(), [], {}
    for i in range(begin, training.STEPS):
        row = []
        for j in range(training.ACCUMULATED):
            params, state, loss = step(params, state, x[i, j], y[i, j])
            row.append(float(loss))
        average = params if average is None else averaged(average, params)
        losses.append(row)
        kept[i + 1] = params, average
    return losses, kept


@pytest.fixture(scope="module")
def theirs():
    with np.load(HERE / "torch_training.npz") as file:
        return dict(file)


def weights(theirs, kind, step):
    return {n: theirs[f"{kind}/{step}/{n}"] for n in training.NAMES}


def close(params, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), params, from_torch(wanted))


def test_a_script_has_the_same_losses(theirs):
    """Groups, clipping, accumulation, LambdaLR and a moving average: fifty steps from the start."""
    tx, params = carried_over(), from_torch(training.first_weights())
    losses, kept = train(tx, params, None, tx.init(params), 0)
    np.testing.assert_allclose(losses, theirs["losses"], rtol=1e-5)
    for step in (training.HALF, training.STEPS):
        close(kept[step][0], weights(theirs, "weights", step))
        close(kept[step][1], weights(theirs, "average", step))


@pytest.mark.parametrize("file", FILES)
def test_a_script_goes_on_from_its_state_dict(file, theirs):
    tx, half = carried_over(), training.HALF
    params, average = from_torch(weights(theirs, "weights", half)), from_torch(weights(theirs, "average", half))
    loaded = gx.load_torch_state(tx, params, HERE / file, PLACES, step=training.ACCUMULATED * half)
    assert loaded.dropped == ()
    assert all(x.startswith("accumulate.") for x in loaded.fresh)
    assert {x.rpartition(".")[2] for x in loaded.carried} == {"mu", "nu"}
    losses, kept = train(tx, params, average, loaded.state, half)
    np.testing.assert_allclose(losses, theirs["losses"][half:], rtol=1e-5)
    close(kept[training.STEPS][0], weights(theirs, "weights", training.STEPS))
    close(kept[training.STEPS][1], weights(theirs, "average", training.STEPS))


def test_a_fresh_state_would_not_do(theirs):
    tx, params = carried_over(), from_torch(weights(theirs, "weights", training.HALF))
    losses, _ = train(tx, params, params, tx.init(params), training.HALF)
    assert np.max(np.abs(losses - theirs["losses"][training.HALF :])) > 1e-3


# The file and the names ---------------------------------------------------------------------------------------------------------

PARAMS = from_torch(training.first_weights())
SAFE = HERE / "torch_adamw.safetensors"


@pytest.mark.fast
@pytest.mark.parametrize("file", FILES)
def test_groups_become_labels(file):
    labels, groups = torch.torch_groups(HERE / file, PLACES)
    assert labels == {"hidden/kernel": "0", "out/kernel": "0", "hidden/bias": "1", "out/bias": "1"}
    assert [g["weight_decay"] for g in groups.values()] == [training.WEIGHT_DECAY, 0.0]
    assert {k: v for k, v in groups["0"].items() if k in ("initial_lr", "eps")} == {"initial_lr": training.LR, "eps": 1e-8}
    each = {k: torch.adamw(g["lr"], tuple(g["betas"]), weight_decay=g["weight_decay"]) for k, g in groups.items()}
    tx = gx.partition(each, labels)
    loaded = gx.load_torch_state(tx, PARAMS, HERE / file, PLACES)
    assert loaded.fresh == loaded.dropped == ()
    assert loaded.carried == tuple(f"{i}.torch_adam.{f}" for i in (0, 1) for f in ("mu", "nu"))
    assert str(loaded).splitlines()[2] == "dropped  -"


@pytest.mark.fast
def test_moments_are_where_they_belong():
    tx = gx.adamw(1e-3)
    state = gx.load_torch_state(tx, PARAMS, SAFE, PLACES).state
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))
    raw = safetensors(SAFE)
    assert int(gx.tree.get(state, "count")) == raw["state.0.step"] == training.HALF
    np.testing.assert_array_equal(gx.tree.get(state, "mu")["hidden"]["kernel"], raw["state.0.exp_avg"].T)
    np.testing.assert_array_equal(gx.tree.get(state, "nu")["out"]["bias"], raw["state.3.exp_avg_sq"])


def safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    begin_end = {k: v["data_offsets"] for k, v in header.items() if k != "__metadata__"}
    return {k: np.frombuffer(body[a:b], np.float32).reshape(header[k]["shape"]) for k, (a, b) in begin_end.items()}


def as_dict(**changes):
    """The `state_dict` itself, as it comes from `torch.load`, with other arrays."""
    found = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}, {"lr": 0.2, "params": [2, 3]}]}
    for key, x in {**safetensors(SAFE), **changes}.items():
        _, i, name = key.split(".", 2)
        found["state"].setdefault(int(i), {})[name] = x
    return found


@pytest.mark.fast
def test_what_has_no_place_or_no_source_is_listed():
    names = {**PLACES, "2.bias": None}
    found = as_dict(**{"state.0.max_exp_avg_sq": np.ones((12, 8), np.float32)})
    del found["state"][1]
    loaded = gx.load_torch_state(gx.chain(gx.clip(1.0), gx.adam(gx.linear_schedule(1.0, 0.0, 9))), PARAMS, found, names)
    assert loaded.dropped == ("0.weight.max_exp_avg_sq", "2.bias.exp_avg", "2.bias.exp_avg_sq")
    assert loaded.fresh == tuple(f"adam.{f} at {p!r}" for f in ("mu", "nu") for p in ("out/bias", "out/kernel"))
    assert not np.any(gx.tree.get(loaded.state, "mu")["out"]["bias"])
    assert gx.get_hyperparams(gx.chain(gx.clip(1.0), gx.adam(gx.linear_schedule(1.0, 0.0, 99))), loaded.state)["learning_rate"] < 1


@pytest.mark.fast
def test_a_parameter_that_is_younger_is_listed():
    loaded = gx.load_torch_state(gx.adam(1e-3), PARAMS, as_dict(**{"state.3.step": np.float32(7)}), PLACES)
    assert loaded.dropped == ("2.bias.step",)
    assert gx.tree.get(loaded.state, "count") == training.HALF


@pytest.mark.fast
def test_names_of_the_file_decide_the_order():
    found = as_dict()
    for group, own in zip(found["param_groups"], (training.NAMES[:2], training.NAMES[2:]), strict=True):
        group["param_names"] = own
    backwards = dict(reversed(PLACES.items()))
    state = gx.load_torch_state(gx.adam(1e-3), PARAMS, found, backwards).state
    straight = gx.load_torch_state(gx.adam(1e-3), PARAMS, as_dict(), PLACES).state
    jax.tree.map(np.testing.assert_array_equal, state, straight)
    with pytest.raises(gx.LabelError, match=r"the names in the file differ in '2.bias', '9.bias'"):
        gx.load_torch_state(gx.adam(1e-3), PARAMS, found, {**{k: v for k, v in PLACES.items() if k != "2.bias"}, "9.bias": None})


@pytest.mark.fast
@pytest.mark.parametrize(
    ("error", "names", "text"),
    [
        (gx.LabelError, {"0.weight": "hidden/kernel"}, "the file has 4 parameters, but `names` has 1: 0.weight"),
        (gx.LabelError, {**PLACES, "2.bias": "out/bais"}, "no such leaf. Did you mean 'out/bias'?"),
        (
            gx.StructureError,
            {**PLACES, "0.weight": "hidden/kernel"},
            "`exp_avg` of '0.weight' has shape (12, 8), but at 'hidden/kernel' the state has (8, 12). If PyTorch has its axes the "
            "other way round, write ('hidden/kernel', (1, 0))",
        ),
        (gx.StructureError, {**PLACES, "0.bias": "out/bias", "2.bias": "hidden/bias"}, "Say with `names` which parameter is which"),
    ],
)
def test_mistakes(error, names, text):
    with pytest.raises(error) as info:
        gx.load_torch_state(gx.adam(1e-3), PARAMS, SAFE, names)
    assert text in str(info.value)


@pytest.mark.fast
def test_steps_that_do_not_fit_are_told():
    tx = gx.accumulate(gx.adam(1e-3), 2)
    with pytest.raises(gx.StructureError, match=r"25 updates end within a round of accumulate.*k times that of the inner"):
        gx.load_torch_state(tx, PARAMS, SAFE, PLACES)
    with pytest.raises(gx.StructureError, match=r"the file is of step 25, but after 26 updates .*adam has made 13. Give `step`"):
        gx.load_torch_state(tx, PARAMS, SAFE, PLACES, step=26)


@pytest.mark.fast
def test_files_that_are_something_else(tmp_path):
    with pytest.raises(gx.StructureError, match=r"expected an optimizer's `state_dict`.* found 'model', 'epoch'"):
        gx.load_torch_state(gx.adam(1e-3), PARAMS, {"model": {}, "epoch": 3}, PLACES)
    np.savez(tmp_path / "weights.npz", w=np.ones(3))
    with pytest.raises(gx.StructureError, match=r"the array 'w' is not called `state\.INDEX\.NAME`"):
        gx.load_torch_state(gx.adam(1e-3), PARAMS, tmp_path / "weights.npz", PLACES)


@pytest.mark.fast
@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_without_pytorch_it_says_how_to_convert():
    with pytest.raises(gx.MissingArgumentError, match=r"read with PyTorch, which is not installed here(.|\n)*save_file"):
        gx.load_torch_state(gx.adam(1e-3), PARAMS, HERE / "torch_adamw.pt", PLACES)


class Tensor:
    """What is asked of PyTorch's."""

    def __init__(self, x, dtype="torch.float32"):
        self.x, self.dtype = x, dtype

    detach = cpu = lambda self: self
    float = lambda self: Tensor(np.asarray(self.x, np.float32))
    numpy = lambda self: self.x


@pytest.mark.fast
def test_pytorch_is_asked_for_arrays_alone(monkeypatch):
    """`torch.load` in the way in which PyTorch executes nothing; a bfloat16 tensor, which NumPy does not have, becomes float32."""
    found, asked = as_dict(), []
    halves = {k: Tensor(jnp.asarray(x, jnp.bfloat16), "torch.bfloat16") for k, x in found["state"][0].items()}
    whole = {i: {k: Tensor(x) for k, x in own.items()} for i, own in found["state"].items()}
    load = lambda file, **options: asked.append(options) or {**found, "state": {**whole, 0: halves}}
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    state = gx.load_torch_state(gx.adam(1e-3), PARAMS, HERE / "torch_adamw.pt", PLACES).state
    assert asked == [{"map_location": "cpu", "weights_only": True}]
    same = gx.load_torch_state(gx.adam(1e-3), PARAMS, SAFE, PLACES).state
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2), state, same)


class Evil:
    def __reduce__(self):
        return open, ("evil", "w")


@pytest.mark.fast
def test_code_in_a_file_is_never_run(tmp_path, monkeypatch):
    """The file would write `evil`, and does if it is unpickled; neither with PyTorch nor without it does reading it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((gx.StructureError, gx.MissingArgumentError), match="no file of NumPy or safetensors"):
        gx.load_torch_state(gx.adam(1e-3), PARAMS, HERE / "torch_evil.pt", PLACES)
    np.savez("state.npz", **{"state.0.exp_avg": np.array([Evil()], object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        gx.load_torch_state(gx.adam(1e-3), PARAMS, tmp_path / "state.npz", PLACES)
    assert not pathlib.Path("evil").exists()
    with pickle.loads((HERE / "torch_evil.pt").read_bytes())["state"][0]:
        assert pathlib.Path("evil").exists()
