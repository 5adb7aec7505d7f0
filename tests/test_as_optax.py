"""`gradxform.as_optax`: gradxform under Optax's name, in interpreters of their own."""

import os
import pathlib
import sys

import children
import optax
import pytest

from gradxform._optax_names import MATCHED

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parents[1]


def python(code, *flags, path=""):
    """What an interpreter of its own prints, with gradxform on its path."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), str(path)]))}
    return children.run(sys.executable, *flags, "-c", code, env=environment)


SERVED = """
import gradxform.as_optax
import importlib.metadata, importlib.util, pickle
import gradxform, optax, optax.tree, optax._src.linesearch as linesearch
from optax import *
from optax import contrib
from optax._src import alias, base
from optax._src.base import GradientTransformation
from optax._src.wrappers import MultiSteps
from optax.contrib import _sam
from optax.losses._classification import convex_kl_divergence
from optax.schedules import constant_schedule

assert adam is optax.adam is alias.adam is gradxform.adam
assert base.GradientTransformation is GradientTransformation is gradxform.GradientTransformation
assert contrib.sam is _sam.sam is gradxform.sam and MultiSteps is gradxform.MultiSteps
assert constant_schedule is gradxform.constant_schedule and optax.tree.norm is gradxform.tree.norm
assert convex_kl_divergence is gradxform.losses.convex_kl_divergence
assert linesearch.scale_by_zoom_linesearch is gradxform.scale_by_zoom_linesearch
assert importlib.util.find_spec("optax").name == "optax" and importlib.util.find_spec("optax.nothing") is None
assert pickle.loads(pickle.dumps(optax.adam(0.1))) == gradxform.adam(0.1)
assert "adamw" in dir(optax) and "sam" in dir(contrib) and not hasattr(optax, "__file__")
print(optax.__version__, importlib.metadata.version("optax"))
for statement in (
    "import optax.nothing", "import optax._src.nothing", "from optax import nothing", "from optax._src.alias import _private",
    "import optax.experimental", "optax.contrib._sam.nothing",
):
    try:
        exec(statement)
    except (ImportError, AttributeError) as e:
        assert "nothing" in str(e) or "_private" in str(e) or "experimental" in str(e), e
    else:
        raise AssertionError(statement)
"""


def test_the_names_of_optax_are_ours():
    assert python(SERVED).split() == [MATCHED, optax.__version__]


def test_without_optax(tmp_path):
    """The packages of this environment, without Optax and what says that it is installed."""
    import jax

    site = pathlib.Path(jax.__file__).parents[1]
    for entry in site.iterdir():
        if entry.suffix != ".pth" and not entry.name.lower().startswith(("optax", "gradxform")):
            (tmp_path / entry.name).symlink_to(entry)
    absent = "import importlib.util; assert importlib.util.find_spec('optax') is None\n"
    assert python(absent + SERVED, "-S", path=tmp_path).split() == [MATCHED, MATCHED]


def test_it_ends_with_the_block():
    python("""
import gradxform, gradxform.as_optax, sys
with gradxform.as_optax:
    assert sum(type(x).__module__ == "gradxform._optax_alias" for x in sys.meta_path) == 2, "of modules, and of what is installed"
    import optax
    from optax._src import base
    assert optax.adam is gradxform.adam
assert not [name for name in sys.modules if name.partition(".")[0] == "optax"]
import optax as real
assert "site-packages" in real.__file__ and real.adam is not gradxform.adam
assert optax.sgd is gradxform.sgd and base.EmptyState is gradxform.EmptyState
try:
    with gradxform.as_optax:
        pass
except ImportError as e:
    assert "Optax is loaded already, and __main__ holds it" in str(e)
else:
    raise AssertionError("Optax is loaded")
""")


def test_optax_is_loaded_already(tmp_path):
    (tmp_path / "holder.py").write_text("from optax import adam")
    python(
        """
import holder
try:
    import gradxform.as_optax
except ImportError as e:
    assert "Optax is loaded already, and holder holds it. Import gradxform.as_optax before that" in str(e), e
else:
    raise AssertionError("Optax is loaded")
""",
        path=tmp_path,
    )


def test_the_optax_that_is_matched_is_the_one_that_the_tests_compare_with():
    assert optax.__version__ == MATCHED
