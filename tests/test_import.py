"""What `import gradxform` loads, and that everything is where users, type checkers, pickles and Optax's callers look for it."""

import ast
import doctest
import importlib
import pathlib
import pickle
import sys

import children
import jax.numpy as jnp
import optax
import pytest

import gradxform as gx
from gradxform import _lazy, kernels

pytestmark = pytest.mark.fast

PACKAGE = pathlib.Path(gx.__file__).parent
LAZY = [p for p in sorted(PACKAGE.rglob("*.py")) if "\nelse:\n" in p.read_text() and " = attach(" in p.read_text()]


def dotted(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def child(code, *args):
    """Run code in a process that has imported nothing."""
    return children.run(sys.executable, "-c", code, *args, cwd=PACKAGE.parent).split()


def typed(path):
    """What a type checker sees: the rooms whose names are taken over, and the place of every other name."""
    [block] = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    rooms, places = set(), {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            explicit = [a.name for a in node.names if a.name == a.asname]  # a plain import is not part of the package
            places |= {name: (node.module, name) for name in explicit}
            rooms |= {node.module for a in node.names if a.name == "*"}
        elif isinstance(node, ast.Assign):
            places |= {target.id: ("gradxform.core", ast.unparse(node.value)) for target in node.targets}
    return rooms, places


@pytest.mark.parametrize("path", [p for p in LAZY if p.stem not in ("contrib", "tree_utils")], ids=dotted)
def test_the_table_of_a_package_is_what_type_checkers_see(path):
    package = dotted(path)
    module = importlib.import_module(package)
    places = _lazy.places_in(module.TABLE) | _lazy.places_in(getattr(module, "UNLISTED", {}))
    absolute = lambda room: package if room == "." else importlib.util.resolve_name(room, package)
    rooms = set(map(absolute, getattr(module, "ROOMS", "").split()))
    assert (rooms, {name: (absolute(room), theirs) for name, (room, theirs) in places.items()}) == typed(path)


@pytest.mark.parametrize("path", LAZY, ids=dotted)
def test_every_name_of_a_table_loads(path):
    module = importlib.import_module(dotted(path))
    names = _lazy.places_in(module.TABLE) | _lazy.places_in(getattr(module, "UNLISTED", {}))
    assert names
    assert all(getattr(module, name) is not None for name in names)
    assert set(_lazy.places_in(module.TABLE)) <= set(dir(module))


def test_the_tables_of_optax_addresses():
    rooms, _ = typed(PACKAGE / "contrib.py")
    assert set(gx.contrib.TABLE) == rooms
    assert {n for n in dir(optax.contrib) if n[0] != "_"} <= set(dir(gx.contrib))
    older = {name: getattr(gx.tree_utils, f"tree_{name}") for name in gx.tree.__all__ if name != "NamedTupleKey"}
    assert older == {name: getattr(gx.tree, name) for name in older}


def test_importing_loads_nothing_else():
    loaded = child("import sys, gradxform; print(*(m for m in sys.modules if m.partition('.')[0] in ('gradxform', 'jax')))")
    assert set(loaded) == {"gradxform", "gradxform._lazy"}


EVERYTHING = """
import importlib, pkgutil, sys
import jax
from jax._src import xla_bridge
traced = []
jax.monitoring.register_event_duration_secs_listener(lambda event, *args, **kwargs: traced.append(event))
import gradxform
for found in pkgutil.walk_packages(gradxform.__path__, "gradxform."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
assert not xla_bridge.backends_are_initialized(), "a module makes an array when it is imported"
assert not traced, traced
jax.jit(lambda x: x + 1)(1)
assert traced and xla_bridge.backends_are_initialized()  # both would have been seen
"""


def test_nothing_is_computed_or_traced_while_modules_are_imported():
    child(EVERYTHING)


def decorators(path):
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    return [f"@{ast.unparse(d).partition('(')[0]}(" for n in nodes for d in n.decorator_list]


def test_the_registry_sees_every_file_that_registers():
    registering = [p for p in PACKAGE.rglob("*.py") if any(line in ("@optimizer(", "@transform(") for line in decorators(p))]
    rooms = {p.relative_to(PACKAGE).parts[0] for p in registering}
    assert rooms == set(gx.registry.ROOMS)
    loaded = child("import sys, gradxform; print(len(gradxform.names())); print(*sys.modules)")
    assert int(loaded[0]) == len(gx.names()) > 50
    assert {dotted(p) for p in registering} <= set(loaded)


OWN_FIRST = """
import warnings
import gradxform as gx
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    @gx.register
    def adam(learning_rate):
        return gx.sgd(learning_rate)
assert len(caught) == 1 and "replaced" in str(caught[0].message), caught
gx.names()
assert gx.create("adam", learning_rate=1.0) == gx.sgd(1.0)
"""


def test_a_name_of_ours_that_is_loaded_later_does_not_replace_a_users():
    child(OWN_FIRST)


UNPICKLE = """
import pickle, sys
tx, state, *parts = pickle.load(open(sys.argv[1], "rb"))
print(tx, state)
import gradxform as gx
assert parts == [gx.scale_by_adam, gx.ScaleByAdamState, gx.GradientTransformation, gx.contrib.MuonState]
"""


def test_pickles_load_their_modules(tmp_path):
    tx = gx.chain(gx.clip(1.0), gx.lookahead(gx.adam(gx.cosine_decay_schedule(0.1, 9)), 3, 0.5), gx.contrib.mechanize(gx.sgd(0.1)))
    state = gx.adam(0.1).init(jnp.ones(2))
    parts = gx.scale_by_adam, gx.ScaleByAdamState, gx.GradientTransformation, gx.contrib.MuonState
    (tmp_path / "pickle").write_bytes(pickle.dumps((tx, state, *parts)))
    assert child(UNPICKLE, str(tmp_path / "pickle")) == f"{tx} {state}".split()


@pytest.mark.parametrize("name", ["core._holes.MaskedNode", "optimizers._hutchinson.HutchinsonState"])
def test_pickles_from_before_a_class_moved_load(name):
    module, _, name = name.rpartition(".")
    assert pickle.loads(f"cgradxform.{module}\n{name}\n.".encode()) is getattr(gx, name)


def test_star_import_gives_everything_listed():
    names = {}
    exec("from gradxform import *", names)
    assert set(gx.__all__) <= set(names)
    assert not [n for n in gx.__all__ if names[n] is not getattr(gx, n)]
    assert {n for n in dir(optax) if n[0] != "_"} - {"experimental", "perturbations", "second_order"} <= set(dir(gx))


FIRST_USES = """
import sys
for use in USES.strip().split(chr(10)):
    for module in [m for m in sys.modules if m.partition(".")[0] == "gradxform"]:
        del sys.modules[module]
    exec(use, {})
"""
USES = """
import gradxform; gradxform.testing.check, gradxform.dialects.torch.adamw, gradxform.race.Problem, gradxform.linear_algebra.nnls
import gradxform as optax; optax.contrib.muon, optax.transforms.freeze, optax.tree_utils.tree_get, optax.tree.norm
from gradxform.contrib import muon, sam
from gradxform.transforms import MultiSteps, ScaleState
import gradxform.contrib as contrib; contrib.schedule_free_adamw
from gradxform import tree_utils, schedules; tree_utils.tree_add, schedules.constant_schedule
from gradxform.tree_utils import tree_l2_norm, tree_add_scalar_mul
from gradxform.core import incremental_update
import gradxform; assert gradxform.create("ADAMW", learning_rate=0.1) == gradxform.adamw(0.1)
from gradxform import dialects; assert {e.system for e in dialects.entries()} == {"keras", "mxnet", "neon", "torch"}
from gradxform.kernels import elementwise; from gradxform import SharedLaw
"""


def test_every_way_in_can_be_the_first():
    child(f"USES = {USES!r}{FIRST_USES}")


def test_what_authors_need_is_at_one_door_and_not_among_the_users_names():
    assert gx.elementwise is kernels.elementwise
    assert gx.Shared is kernels.Shared
    words = {n for n, x in vars(kernels).items() if n[0] != "_"}
    both = {"MaskedNode", "OptState", "Params", "Updates"}  # Optax's users know them too
    assert words & set(dir(gx)) == both
    assert set(_lazy.places_in(gx.UNLISTED)) & set(dir(gx)) == set()
    assert {"adam", "GradientTransformation", "ScaleByAdamState", "Schedule", "kernels", "testing", "race"} <= set(dir(gx))


def test_the_page_on_kernels_runs(monkeypatch):
    gx.names("*.*")  # what the library registers is there before what the page does
    monkeypatch.setattr(gx.registry, "_ENTRIES", dict(gx.registry._ENTRIES))
    done = doctest.testmod(kernels)
    assert done.attempted > 5
    assert not done.failed


@pytest.mark.parametrize(
    ("module", "name", "near"),
    [
        (gx, "Adam", "gradxform has no 'Adam'. Did you mean 'adam'?"),
        (gx, "clip_grad_norm", "Did you mean 'clip_by_norm' or 'clip_by_global_norm'?"),
        (gx, "cosine_schedule", "'cosine_decay_schedule'"),
        (gx.dialects.torch, "AdamW", "gradxform.dialects.torch has no 'AdamW'. Did you mean 'adamw'?"),
        (gx, "quicksort", "gradxform has no 'quicksort'."),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(module, name, near):
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert near in str(caught.value)
    assert not hasattr(module, name)
    assert caught.value.obj is None  # so that Python adds no suggestion of its own
