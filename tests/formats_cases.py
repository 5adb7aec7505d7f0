"""The formats of others beside their readers and codecs, what the libraries saved, and runs of ours."""

import functools
import pathlib

import jax
import numpy as np
import pytest

import gradxform as gx
from gradxform.precision import formats
from gradxform.precision.formats import bitsandbytes, flash, torchao
from gradxform.tree._leafwise import is_encoded

FORMATS = {
    "bitsandbytes:8bit": (bitsandbytes.read, formats.BitsandbytesSigned, formats.BitsandbytesUnsigned),
    "torchao:8bit": (torchao.read, formats.TorchaoSigned, formats.TorchaoUnsigned),
    "torchao:fp8": (torchao.read, formats.TorchaoFp8, formats.TorchaoFp8),
    "flash:8bit": (flash.read, formats.FlashSigned, formats.FlashUnsigned),
}
by_format = pytest.mark.parametrize("name", FORMATS)


@functools.cache
def golden():
    with np.load(pathlib.Path(__file__).parent / "golden" / "formats.npz") as file:
        return dict(file)


def saved(name):
    """An optimizer's `state_dict` as the library saved it, in a flat mapping."""
    prefix = f"saved/{name}/"
    return {k.removeprefix(prefix): v for k, v in golden().items() if k.startswith(prefix)}


def values_of(x):
    return np.asarray(x.decode() if is_encoded(x) else x)


def drawn(tx, params, grads, steps):
    """The parameters after some steps, and the states after each."""
    step = jax.jit(lambda g, s, p: (lambda u, s: (gx.apply_updates(p, u), s))(*tx.update(g, s, p)))
    state, states = tx.init(params), []
    for i in range(steps):
        params, state = step(grads(i), state, params)
        states.append(state)
    return params, states
