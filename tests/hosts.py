"""What two processes that share a mesh, as hosts do, make of a random key in a state.

`python hosts.py FOLDER` is one of them, and leaves its report in FOLDER/RANK.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gradxform as gx
from tests.processes import launch

W = np.linspace(-1, 1, 4, dtype=np.float32)


def with_keys():
    return {
        "noisy_sgd": gx.noisy_sgd(0.1, key=0),
        "inside": gx.masked(gx.chain(gx.sgd(0.1), gx.add_noise(0.1, 0.5, key=jax.random.key(3, impl="rbg"))), {"w": True}),
        "raw": gx.hutchinson_estimator_diag_hessian(2),
    }


def report(params):
    """A line for each transformation: the keys after an update, and the update, digit by digit."""
    for name, tx in with_keys().items():
        state, extra = tx.init(params), {"obj_fn": cubic} if name == "raw" else {}
        assert all(x.sharding.device_set == params["w"].sharding.device_set for x in jax.tree.leaves(state)), name
        step = jax.jit(lambda g, s, p, tx=tx, extra=extra: tx.update(g, s, p, **extra))
        updates, state = step(params, state, params)
        keys = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(state)]
        yield f"{name}: {' '.join(np.asarray(x).tobytes().hex() for x in (*keys, updates['w']))}"


def cubic(params):
    return jnp.sum(params["w"] ** 3)


def is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


if __name__ == "__main__":
    rank = launch.join()
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("d",)), PartitionSpec())
    params = {"w": jax.make_array_from_callback(W.shape, everywhere, lambda index: W[index])}
    (pathlib.Path(sys.argv[1]) / str(rank)).write_text("\n".join(report(params)))  # on the standard output, JAX speaks too
