"""What a transformation computes of parameters that are split over devices: one sentence for each kind, in the source of all of that kind.

    python -m tests.sharded    writes the sentences into the docstrings, as the part `Sharded`

An elementwise one computes the same, and says nothing. `tests/test_shard_map.py` computes what the sentences say.
"""

from __future__ import annotations

import importlib
import pathlib
import re
import textwrap
from collections.abc import Iterator

import gradxform as gx
from gradxform._docs import section
from tests.arguments import WIDTH, docstring_changed

PART = "Sharded"

KINDS = """
inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
  | cautious clip_by_block_rms clip_by_norm floor_by_param_norm fromage graft hyperball lamb lans lars novograd
  | scale_by_distance_over_gradients scale_by_lans scale_by_novograd scale_by_param_block_norm scale_by_param_block_rms
  | scale_by_stable_adam scale_by_trust_ratio stable_adamw keras.lamb mxnet.lamb mxnet.lans mxnet.lars
inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole axis.
  | adaptive_grad_clip centralize group_adagrad scale_by_row_rss scale_by_sm3 sm3 mxnet.group_adagrad
inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it is factored; under
    `jit` those of the whole leaf.
  | adafactor came scale_by_came scale_by_factored_rms keras.adafactor torch.adafactor
inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
  | adam_mini adamp adamuon apollo apollo_mini dion2 galore mars muon normuon scale_by_adam_mini scale_by_adamp
  | scale_by_adamuon scale_by_apollo scale_by_dion2 scale_by_galore scale_by_mars scale_by_muon scale_by_normuon
  | scale_by_shape torch.muon
inside `shard_map` the device's own part of a leaf counts as the leaf; under `jit` the whole does.
  | scale_by_lmo scale_by_width scion
inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does. With spread a
    matrix is updated on one device, with its state. Where the devices divide the number of matrices in a leaf, as of scanned
    layers or with stacked, the state rests there, as `state_shardings` places it, split by no other axis of the mesh, and only
    gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the parameters have in float32. Those of
    other leaves are filled up to as many of a shape for each device, and their state travels there and back: several times as much.
    On an automatic mesh leave the axis in front whole in the parameters.
  | scale_by_asgo scale_by_dion scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron scale_by_shampoo scale_by_soap scale_by_splus
inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does. With spread a
    matrix is updated on one device, with its state, which rests there where the devices divide the number of matrices in a leaf, or
    of those stacked, and else travels there and back.
  | asgo dion kl_shampoo kl_soap psgd_kron shampoo soap splus
inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under `jit` over all.
  | clip_by_global_norm dadapt_adamw dog dowg mechanize momo momo_adam normalize normalize_by_update_norm polyak_sgd prodigy
  | scale_by_dog scale_by_dowg scale_by_lbfgs scale_by_polyak scale_by_ss_quasi_newton neon.adagrad neon.adam neon.rmsprop
inside `shard_map` a device searches along its own parts, by what `value_fn` returns for these, and takes a step of its own; under `jit`
    there is one search.
  | lbfgs scale_by_backtracking_linesearch scale_by_zoom_linesearch ssbfgs ssbroyden
inside `shard_map` a device looks at its own parts only, and may skip an update that others take; under `jit` at all.
  | apply_if_finite loss_scale
inside `shard_map` parts of one shape get the same noise where the key is the same on every device; under `jit` the noise is that of the
    whole leaf.
  | add_noise noisy_sgd sgld mxnet.sgld
inside `shard_map` `obj_fn` is given the device's own parts, and where the key is the same on every device parts of one shape are probed
    along the same directions; under `jit` the whole is.
  | adahessian hutchinson_estimator_diag_hessian scale_by_adahessian scale_by_sophia sophia
inside `shard_map` the devices along `axis_name` have gradients of the same leaves; of a leaf that is split over another axis, each part is
    compressed by itself.
  | compressed_mean error_feedback
inside `shard_map` as unsharded, where functions of leaves return for the device's own part what they return for the whole.
  | add_regularizer scale_by_multiplier snapshot neon.multi_optimizer
inside `shard_map` as unsharded; what the state says of a leaf, it says of the device's own part.
  | zero_nans
inside `shard_map` max_logits are those of the device's own heads; under `jit` those of all.
  | clip_qk
"""


def kinds() -> dict[str, list[str]]:
    """The sentences, each with the full names of its entries."""
    rows = re.findall(r"^(\w.*(?:\n    .*)*)((?:\n  \| .*)+)", KINDS, re.MULTILINE)
    return {" ".join(text.split()): names.replace("|", " ").split() for text, names in rows}


def sentences() -> Iterator[tuple[str, str]]:
    """(full name of an entry, its sentence)."""
    for text, names in kinds().items():
        for name in names:
            yield name, text


def write() -> None:
    """Put the sentences into the docstrings that say something else, below `Shapes`."""
    for name, text in sentences():
        make = gx.entry(name).make
        if section(make, PART) != text:
            path = pathlib.Path(importlib.import_module(make.__module__).__file__ or "")
            lines = textwrap.wrap(f"{PART}  {text}", WIDTH - 4, subsequent_indent=" " * 9)
            part = textwrap.indent("\n".join(lines), " " * 4)
            changed = docstring_changed(path.read_text(encoding="utf-8"), make.__name__, lambda doc, part=part: _with(doc, part))
            path.write_text(changed, encoding="utf-8")
            print(name)


def _with(doc: str, part: str) -> str:
    """The lines of a docstring with this part."""
    old = rf"^ {{4}}{PART} .*(?:\n {{13}}.*)*"
    if re.search(old, doc, re.MULTILINE):
        return re.sub(old, lambda _: part, doc, count=1, flags=re.MULTILINE)
    changed, count = re.subn(r"^ {4}Shapes .*(?:\n {13}.*)*", lambda m: f"{m[0]}\n{part}", doc, count=1, flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"there is no `Shapes` above which to write:\n{part}")
    return changed


if __name__ == "__main__":
    write()
