"""Make `averages.npz`: what PyTorch's `AveragedModel` and Keras's `use_ema` average on `problem.py`. Run it as `make_torch_keras.py`:

    /tmp/golden/bin/python tests/golden/make_averages.py

An array is named `system/setting/dtype/leaf`, and holds the averages after the updates in `problem.KEPT`; those before the first of a
setting are the first parameters, as both libraries begin with a copy of them.
"""

import pathlib

import numpy as np
from make_torch_keras import keras, torch
from problem import AVERAGES, KEPT, STEPS, problem, shapes_for
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

HERE = pathlib.Path(__file__).parent


def run_torch(dtype, decay, start=0, every=1, **_):
    """The averages after each kept update."""
    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    first, gradients = problem(dtype, shapes_for("adam"))
    model = torch.nn.ParameterDict({k: torch.nn.Parameter(torch.from_numpy(v.copy())) for k, v in first.items()})
    averaged = AveragedModel(model, multi_avg_fn=None if decay is None else get_ema_multi_avg_fn(decay))
    optimizer = torch.optim.Adam(model.values(), lr=0.02)
    kept = {k: [] for k in first}
    for step in range(STEPS):
        g = gradients(step, {k: v.detach().numpy() for k, v in model.items()})
        for k, v in model.items():
            v.grad = torch.from_numpy(g[k])
        optimizer.step()
        after = step + 1 - start
        if after > 0 and after % every == 0:
            averaged.update_parameters(model)
        if step in KEPT:
            for k, v in averaged.module.items():
                kept[k].append(v.detach().numpy().copy())
    return kept


def run_keras(dtype, decay, **_):
    """The averages after each kept update."""
    keras.config.set_floatx(dtype)
    first, gradients = problem(dtype, shapes_for("adam"))
    params = {k: keras.Variable(v, dtype=dtype, name=k) for k, v in first.items()}
    optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=decay)
    kept = {k: [] for k in params}
    for step in range(STEPS):
        g = gradients(step, {k: np.asarray(v.value) for k, v in params.items()})
        optimizer.apply([keras.ops.convert_to_tensor(g[k], dtype) for k in params], list(params.values()))
        if step in KEPT:
            for k, a in zip(params, optimizer._model_variables_moving_average, strict=True):
                kept[k].append(np.asarray(a.value))
    return kept


if __name__ == "__main__":
    arrays = {}
    for system, setting, arguments in AVERAGES:
        for dtype in ("float32", "float64"):
            for leaf, values in {"torch": run_torch, "keras": run_keras}[system](dtype, **arguments).items():
                array = np.stack(values)
                assert array.dtype == dtype
                arrays[f"{system}/{setting}/{dtype}/{leaf}"] = array
    np.savez_compressed(HERE / "averages.npz", **arrays)
