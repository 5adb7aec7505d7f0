"""Real libraries with gradxform in Optax's place: each client's own training entry point, on a problem whose answer is known.

A scenario is what a user writes (`import optax`, `import numpyro`, ...). It runs twice, each time in a new interpreter: with Optax, and
with every `import optax`, the client's own included, answered by gradxform. Both runs must pass the scenario's `check`; the second must
load no file of Optax; and their results must agree within the scenario's ERROR, relative to the largest element of each result or to 1.

    pip install -e '.[test,clients]' && pytest -n 2 tests/clients
"""

import importlib.util
import os
import pathlib
import sys

import children
import numpy as np
import pytest
from clients import _names

pytestmark = pytest.mark.clients

HERE = pathlib.Path(__file__).parent
CLIENTS = {
    "blackjax_lbfgs": "blackjax",
    "blackjax_vi": "blackjax",
    "deepxde_function": "deepxde",
    "distrax_mixture": "distrax",
    "dynamax_sgd": "dynamax",
    "equinox_loop": "equinox",
    "flax_linen": "flax",
    "flax_nnx": "flax",
    "flowjax_fit": "flowjax",
    "gpjax_fit": "gpjax",
    "haiku_loop": "haiku",
    "jaxopt_solver": "jaxopt",
    "jinns_ode": "jinns",
    "netket_vmc": "netket",
    "numpyro_svi": "numpyro",
    "optimistix_minimiser": "optimistix",
    "orbax_manager": "orbax",
    "ott_transport": "ott",
}


def python(*arguments):
    """A new interpreter, with the user's warnings, one device, and no flags of this test-suite."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parents[1])}
    return children.run(sys.executable, *arguments, env=environment)


def results(library, scenario, folder):
    file = folder / f"{library}.npz"
    python(HERE / "_run.py", library, scenario, file)
    return np.load(file)


def test_every_scenario_is_run():
    assert {path.stem for path in (HERE / "scenarios").glob("*.py")} == set(CLIENTS)


@pytest.mark.parametrize("scenario", CLIENTS)
def test_client(scenario, tmp_path):
    if importlib.util.find_spec(CLIENTS[scenario]) is None:
        pytest.skip(f"{CLIENTS[scenario]} is not installed: pip install -e '.[clients]'")
    expected = results("optax", scenario, tmp_path)
    ours = results("gradxform", scenario, tmp_path)
    assert sorted(ours) == sorted(expected)
    for name in set(expected) - {"ERROR"}:
        error = expected["ERROR"] * np.max(np.abs(expected[name]), initial=1.0)
        np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=error, err_msg=name)


LOOK_UP = """
import operator, sys, gradxform.as_optax, optax
for name in sys.argv[1:]:
    try: operator.attrgetter(name)(optax)
    except AttributeError: print(name)
"""


def test_names_that_clients_use():
    """Those on paths that no scenario takes, too."""
    installed = sorted(filter(importlib.util.find_spec, set(CLIENTS.values())))
    used = {name: package for package in installed for name in _names.names_used(package) if name}
    missing = python("-c", LOOK_UP, *used).split()
    assert not missing, [f"optax.{name}, which {used[name]} uses" for name in missing]
