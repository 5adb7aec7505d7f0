"""Optimizers transcribed from their papers, in float64 NumPy: the truth that the library's numbers are compared against.

`ORACLES[name](**hyperparameters)` takes the public function's arguments and returns `step(g, w) -> u`: lists of arrays in, the
list of updates that are to be added to the parameters out (for a primitive: the transformed update). A step keeps its own state;
where an oracle has an extra argument (`delayed_params` of dcasgd, `noise` of sgld) it is passed as `step(g, w, noise=[...])`.

A file holds what the file of that name in `gradxform` (optimizers, transforms, wrappers, distributed) makes, `dialects` the other
systems' forms. Every file is collected.

Nothing here imports JAX or the library. Each transcription is a coroutine whose local variables are the optimizer's state and
whose loop is the paper's: `g, w = yield u` hands out the last update and takes the next gradient and parameter.
"""

import importlib
import pkgutil

from oracles._collect import ORACLES as ORACLES

for _module in pkgutil.walk_packages(__path__, "oracles."):
    importlib.import_module(_module.name)
