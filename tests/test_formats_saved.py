"""States that bitsandbytes, torchao and FlashOptim saved (`golden/make_formats.py`), read into ours."""

import doctest
import pathlib
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from formats_cases import FORMATS, by_format, drawn, golden, saved, values_of
from golden.formats_problem import SHAPES, STEPS, first, gradients

import gradxform as gx
from gradxform.precision import encode_state, store
from gradxform.precision.formats import bitsandbytes, flash, torchao

NAMES = {"w": 0, "flat": 1, "odd": 2, "b": 3}  # as torch numbers the parameters


def begun(name, stored=True):
    """A state of ours for the parameters of the problem."""
    params = {k: jnp.asarray(v) for k, v in first().items()}
    return (store(gx.adamw(1e-2), name) if stored else gx.adamw(1e-2)).init(params)


def codes_and_scales(name, number, field):
    """What is saved of a parameter's field, by the library's names."""
    own, wrapped = saved(name), "__bnb_optimizer_quant_state__/"
    exp = {"mu": "exp_avg", "nu": "exp_avg_sq"}[field]
    which = {"mu": 1, "nu": 2}[field]
    parts = {
        "bitsandbytes:8bit": (f"{wrapped}state{which}", f"{wrapped}absmax{which}"),
        "flash:8bit": (f"{exp}::quantized", f"{exp}::scales"),
    }.get(name, (f"{exp}/codes", f"{exp}/scale"))
    return [own[f"state/{number}/{part}"] for part in parts]


@by_format
def test_saved_states_are_read(name):
    read, signed, unsigned = FORMATS[name]
    state = read(saved(name), begun(name), NAMES)[0]
    assert (int(state.count), state.count.dtype) == (STEPS, jnp.int32)
    for field, cls in (("mu", signed), ("nu", unsigned)):
        entries = getattr(state, field)
        assert isinstance(entries["w"], cls)
        codes, scales = codes_and_scales(name, 0, field)
        np.testing.assert_array_equal(entries["w"][0], codes, strict=True)
        np.testing.assert_array_equal(np.asarray(entries["w"][1]).reshape(-1), scales, strict=True)
        np.testing.assert_array_equal(values_of(entries["flat"]), golden()[f"values/{name}/{field}"], strict=True)
        assert isinstance(entries["flat"], cls if name == "flash:8bit" else jax.Array)  # else its blocks cross its rows
        assert isinstance(entries["odd"], jax.Array)  # the last block is not full
        assert entries["odd"].shape == SHAPES["odd"]


@by_format
def test_small_and_odd_leaves_have_the_values_of_a_plain_run(name):
    """AdamW's moments do not depend on the parameters: what is 8-bit is near float32's, what is float32 equal to it."""
    state = FORMATS[name][0](saved(name), begun(name), NAMES)[0]
    tx = gx.adamw(1e-2)
    _, states = drawn(tx, first(), gradients, STEPS)
    for k in ("odd", "b"):
        wide = np.asarray(states[-1][0].mu[k])
        exact = (k == "b" and name != "flash:8bit") or (k == "odd" and name.startswith("torchao"))
        np.testing.assert_allclose(values_of(state.mu[k]), wide, rtol=0, atol=(1e-6 if exact else 0.05) * np.abs(wide).max())


@by_format
def test_a_read_state_goes_on_and_is_decoded_on_request(name):
    tx, params = store(gx.adamw(1e-2), name), {k: jnp.asarray(v) for k, v in first().items()}
    state = FORMATS[name][0](saved(name), tx.init(params), NAMES)
    _, new = tx.update({k: jnp.asarray(v) for k, v in gradients(STEPS).items()}, state, params)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert int(new[0].count) == STEPS + 1
    plain = FORMATS[name][0](saved(name), begun(name, stored=False), NAMES, decoded=True)
    assert jax.tree.structure(plain) == jax.tree.structure(gx.adamw(1e-2).init(params))
    np.testing.assert_array_equal(plain[0].nu["w"], state[0].nu["w"].decode())
    again = encode_state(plain, like=tx.init(params))
    np.testing.assert_array_equal(again[0].nu["w"][0], state[0].nu["w"][0])


@by_format
def test_axes_can_be_the_reverse_of_those_saved(name):
    params = {k: jnp.asarray(v) for k, v in first().items()}
    state = store(gx.adamw(1e-2), name).init({**params, "w": params["w"].T})
    read = FORMATS[name][0]
    turned = read(saved(name), state, NAMES, transposed={"w": True, "flat": False, "odd": False, "b": False})[0].mu["w"]
    straight = read(saved(name), begun(name), NAMES)[0].mu["w"]
    assert type(turned) is type(straight)
    np.testing.assert_array_equal(turned.decode(), straight.decode().T)
    with pytest.raises(gx.StructureError, match=r"\['w'\] is saved with the shape \(8, 512\).*`transposed=` reverses"):
        read(saved(name), state, NAMES)


def nested(flat):
    """As `torch.load` gives it: numbers for parameters, dictionaries within dictionaries."""
    found = {}
    for path, x in flat.items():
        *boxes, last = path.split("/")
        box = found
        for key in boxes:
            box = box.setdefault(int(key) if key.isdigit() else key, {})
        box[last] = x
    return found


@by_format
def test_files_and_nested_mappings_are_read_alike(name, tmp_path):
    read = FORMATS[name][0]
    wanted = jax.tree.leaves(read(saved(name), begun(name), NAMES))
    np.savez(tmp_path / "saved.npz", **saved(name))
    for source in (tmp_path / "saved.npz", str(tmp_path / "saved.npz"), nested(saved(name))):
        for a, b in zip(jax.tree.leaves(read(source, begun(name), NAMES)), wanted, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
@by_format
def test_files_of_torch_and_safetensors(name, kind, tmp_path):
    path = tmp_path / f"saved.{kind}"
    if kind == "pt":
        torch = pytest.importorskip("torch")
        torch.save(jax.tree.map(torch.as_tensor, nested(saved(name))), path)
    else:
        safetensors.numpy.save_file(saved(name), path)
    read, wanted = FORMATS[name][0], jax.tree.leaves(FORMATS[name][0](saved(name), begun(name), NAMES))
    for a, b in zip(jax.tree.leaves(read(path, begun(name), NAMES)), wanted, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


class Code:
    """What a pickle runs when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@pytest.mark.fast
@pytest.mark.parametrize("kind", ["pt", "npz", "safetensors", "pkl"])
def test_code_in_a_file_is_not_run(kind, tmp_path):
    ran, path = tmp_path / "ran", tmp_path / f"saved.{kind}"
    if kind == "npz":
        np.savez(path, **{"state/0/step": np.array(Code(ran), dtype=object)}, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps({"state": {0: Code(ran)}}))
    with pytest.raises(Exception):
        torchao.read(path, begun("torchao:8bit"), NAMES)
    assert not ran.exists()
    pickle.loads(pickle.dumps(Code(ran)))
    assert ran.exists()


def test_what_is_not_named_stays_and_names_may_be_strings():
    name = "torchao:8bit"
    renamed = {k.replace("state/0/", "state/layer.weight/"): v for k, v in saved(name).items()}
    before = begun(name)
    state = torchao.read(renamed, before, {"w": "layer.weight", "flat": None, "odd": None, "b": None})[0]
    assert np.any(state.mu["w"].decode())
    for k in ("flat", "odd", "b"):
        assert state.mu[k] is before[0].mu[k]


def test_older_and_other_layouts():
    """bitsandbytes once saved its arrays beside the step; FlashOptim saves the bits of its scales as bfloat16 beside such parameters."""
    flat = {k.replace("__bnb_optimizer_quant_state__/", ""): v for k, v in saved("bitsandbytes:8bit").items()}
    cases = [("bitsandbytes:8bit", flat)]
    bits = {k: v.view(jnp.bfloat16) if k.endswith("::scales") else v for k, v in saved("flash:8bit").items()}
    cases.append(("flash:8bit", bits))
    for name, other in cases:
        found, wanted = (FORMATS[name][0](x, begun(name), NAMES) for x in (other, saved(name)))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def test_one_moment_has_the_field_that_is_named():
    own = {k: v for k, v in saved("bitsandbytes:8bit").items() if not k.endswith("2")}
    params = {k: jnp.asarray(v) for k, v in first().items()}
    state = bitsandbytes.read(own, gx.sgd(0.1, momentum=0.9).init(params), NAMES, fields={"state1": "trace"})
    np.testing.assert_array_equal(values_of(state[0].trace["flat"]), golden()["values/bitsandbytes:8bit/mu"])


def test_a_map_of_ones_own_is_read_as_values():
    own = dict(saved("bitsandbytes:8bit"))
    key = "state/0/__bnb_optimizer_quant_state__/"
    own[f"{key}qmap1"] = np.linspace(-1, 1, 256, dtype=np.float32)
    found = bitsandbytes.read(own, begun("bitsandbytes:8bit"), NAMES)[0].mu["w"]
    wanted = own[f"{key}qmap1"][own[f"{key}state1"]] * np.repeat(own[f"{key}absmax1"], 256).reshape(8, 512)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        ({}, {**NAMES, "b": 7}, r"nothing is saved of 7, for \['b'\]; there are 0, 1, 2, 3"),
        ({"state/3/step": np.float32(7)}, NAMES, r"updated \[7, 40\] times"),
        ({"state/0/error_bits": np.zeros((8, 512))}, NAMES, r"of \['w'\] there is also error_bits"),
        ({"state/0/exp_avg/qmap": np.zeros(16)}, NAMES, "4 bits"),
        ({}, {**NAMES, "b": 0}, r"\['b'\] is saved with the shape \(8, 512\), but here it is shape \(64,\)"),
    ],
)
def test_what_does_not_fit_is_named(change, names, message):
    with pytest.raises(gx.StructureError, match=message):
        torchao.read({**saved("torchao:8bit"), **change}, begun("torchao:8bit"), names)


@pytest.mark.fast
def test_states_and_files_that_are_not_such(tmp_path, monkeypatch):
    with pytest.raises(gx.StructureError, match="expected an optimizer's `state_dict` with `state`, but it has weight"):
        flash.read({"weight": np.zeros(3)}, begun("flash:8bit"), NAMES)
    with pytest.raises(gx.StructureError, match="one field 'nu'"):
        flash.read(saved("flash:8bit"), gx.lion(1e-3).init({k: jnp.asarray(v) for k, v in first().items()}), NAMES)
    (tmp_path / "saved.json").write_text("[1, 2]")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(gx.MissingArgumentError, match=r"saved\.json' is no file of NumPy or safetensors"):
        flash.read(tmp_path / "saved.json", begun("flash:8bit"), NAMES)


@pytest.mark.fast
@pytest.mark.parametrize("room", [bitsandbytes, flash, torchao], ids=lambda room: room.__name__.rpartition(".")[2])
def test_examples_run(room):
    params = {"w": jnp.ones((2, 2)), "b": jnp.zeros(2)}
    found = doctest.DocTestFinder().find(room.read, globs={"gx": gx, "jnp": jnp, "params": params})
    assert doctest.DocTestRunner().run(found[0]) == (0, 3)
