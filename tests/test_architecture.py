"""What the code promises about itself: import layers, sizes, the length of Adam, one file and one line per optimizer."""

import ast
import functools
import graphlib
import importlib.util
import inspect
import os
import pathlib
import re
import shutil
import sys

import children
import pytest

import gradxform
from gradxform._lazy import places_in
from gradxform._optax_names import ONCE_WRAPPERS, TRANSFORMS

pytestmark = pytest.mark.fast

PACKAGE = pathlib.Path(gradxform.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = [
    ["_lazy", "_optax_names", "_types", "_parameters", "_declare", "_errors", "_messages", "_numerics", "_docs", "_files"],
    ["tree", "tree_utils", "linear_algebra", "numerics"],
    ["core"],
    ["registry"],
    ["transforms", "schedules", "linesearch"],
    ["optimizers"],
    ["wrappers", "precision", "distributed", "losses", "projections", "assignment", "microbatching"],
    ["surgery"],
    ["contrib", "dialects", "kernels", "planning", "testing"],
    ["race"],
    ["_optax_alias"],
    ["as_optax"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def component(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def tree(path):
    """Its syntax tree, without docstrings."""
    parsed = ast.parse(path.read_text())
    for node in ast.walk(parsed):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return parsed


def imports(nodes):
    """Line, module and name of every import of ours among the nodes; the module is that in which the name stands."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names if alias.name.startswith("gradxform."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gradxform":
            yield from ((node.lineno, home(node.module, alias.name), alias.name) for alias in node.names)


def home(package, name):
    """The module that `from package import name` loads."""
    if any((PACKAGE.parent / package.replace(".", "/") / f).exists() for f in (name, f"{name}.py")):
        return f"{package}.{name}"
    table = getattr(importlib.import_module(package), "TABLE", {})
    module, theirs = places_in(table).get(name, ("", name))
    return home(importlib.util.resolve_name(module, package), theirs) if module else package


# These names are for users alone: an address of Optax's, or an older one of ours, stands lower here than they do.
ADDRESSES = {"transforms/__init__.py": set(places_in(TRANSFORMS)), "wrappers/__init__.py": set(places_in(ONCE_WRAPPERS))}


@pytest.mark.parametrize("path", [f for f in FILES if component(f) in RANK], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    where = str(path.relative_to(PACKAGE))
    upward = [
        f"{where}:{line} imports {module}"
        for line, module, name in imports(ast.walk(ast.parse(path.read_text())))
        if RANK.get(component_of(module), -1) > RANK[component(path)] and name not in ADDRESSES.get(where, ())
    ]
    assert not upward, "\n".join(upward)


def test_the_check_reads_every_kind_of_import():
    code = "import gradxform.race\ndef f():\n    import gradxform.wrappers\n    from gradxform.transforms import MultiSteps\n"
    modules = [module for _, module, _ in imports(ast.walk(ast.parse(code)))]
    assert modules == ["gradxform.race", "gradxform.wrappers", "gradxform.wrappers._multi_steps"]


def component_of(module):
    return module.split(".")[1] if "." in module else ""


def test_imports_have_no_circle():
    """Packages load a file when it is asked for, so each file must be able to come first."""
    files = {dotted(f): ast.parse(f.read_text()).body for f in FILES if f.name != "__init__.py"}
    graphlib.TopologicalSorter({name: {m for _, m, _ in imports(body)} for name, body in files.items()}).prepare()


def dotted(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_modules_that_are_imported_by_a_computed_name():
    dynamic = {str(f.relative_to(PACKAGE)) for f in FILES if "import_module(" in f.read_text()}
    assert dynamic == {
        "_files.py", "_lazy.py", "_optax_alias.py", "race/_extras.py", "race/_imported.py", "race/_problem.py",
    }  # fmt: skip


def test_every_component_has_a_layer():
    found = {component(f) for f in FILES} - {"__init__", "__main__"}
    assert found == set(RANK)


def code_lines(node):
    """Lines of code: no comments, no blank lines, no docstrings."""
    return len(ast.unparse(node).splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) < 400
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert code_lines(node) <= 40, f"{path.name}: {node.name}"


def test_adam_is_short():
    """State, kernel and alias as they stand in the file, the docstrings and the registry's facts left out."""
    source = (PACKAGE / "optimizers" / "_adam.py").read_text()
    nodes = {n.name: n for n in ast.parse(source).body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    total = 0
    for name in ("ScaleByAdamState", "scale_by_adam", "adam"):
        node = nodes[name]
        lines = set(range(node.lineno, node.end_lineno + 1))
        lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))  # the docstring
        lift = [d.lineno for d in node.decorator_list if ast.unparse(d).startswith("elementwise")]
        total += len(lift) + sum(bool(source.splitlines()[i - 1].strip()) for i in lines)
    assert total <= 20, total


PAGE = (PACKAGE.parent / ".github" / "CONTRIBUTING.md").read_text()
NEW_FILE, EXPORT, ORACLE = re.findall(
    r"```python\n(.*?)```", PAGE.partition("## Add an optimizer")[2].partition("## Write a wrapper")[0], re.DOTALL
)
USE = """
import gradxform as gx
from gradxform.testing import examine
import averaged_oracle
assert "averaged" in gx.names() and gx.create("averaged", learning_rate=0.1) == gx.averaged(0.1)
report = examine("averaged", reference=averaged_oracle.averaged, laws=[1, 2, 4, 7, 8, 14, 15, 18])
print(report)
assert all(finding.outcome == "holds" for finding in report.findings)
"""


def test_an_optimizer_is_one_file_and_its_export(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "gradxform", ignore=shutil.ignore_patterns("__pycache__"))
    optimizers = tmp_path / "gradxform" / "optimizers"
    (optimizers / "_averaged.py").write_text(NEW_FILE)
    room = (optimizers / "__init__.py").read_text()
    for above, line in re.findall(r"(if .*\n|    TABLE .*\n)(.*\n)", EXPORT):
        assert above in room
        room = room.replace(above, above + line)
    (optimizers / "__init__.py").write_text(room)
    (tmp_path / "averaged_oracle.py").write_text(ORACLE)
    children.run(sys.executable, "-c", USE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent)})


def test_public_functions_are_documented():
    public = {n: getattr(gradxform, n) for n in dir(gradxform)}
    missing = [n for n, x in public.items() if not n.startswith("_") and inspect.isfunction(x) and not x.__doc__]
    assert not missing


def test_signatures_read_well():
    assert str(inspect.signature(gradxform.scale_by_rss)).startswith("(initial_accumulator_value:")
    assert not hasattr(gradxform.scale_by_rss, "__wrapped__")


WORDS = {"Params", "Updates", "OptState", "Tree"}  # any tree of arrays, and which


def annotations(nodes):
    """Every annotation of an argument, a result or a field, but those of a kernel's own arguments."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            a = node.args
            arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            is_kernel = [x.arg for x in arguments[:4]] == ["g", "s", "p", "c"]
            yield from (x.annotation for x in arguments if x.annotation is not None and not is_kernel)
            yield from filter(None, [node.returns])
        elif isinstance(node, ast.AnnAssign):
            yield node.annotation


def is_bare(node, anything):
    """Whether a type, as an annotation or under another name, is `Any`, or that or None."""
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
    members = {x.removeprefix("typing.") for x in text.split(" | ")} - {"None"}
    return bool(members) and members <= anything


def aliases_of_any(modules):
    """The names at the top of a module that stand for `Any` and say no more, the four words apart."""
    assigned = [n for module in modules for n in module.body if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)]
    found = {"Any"}
    while more := {n.targets[0].id for n in assigned if is_bare(n.value, found | WORDS)} - found - WORDS:
        found |= more
    return found


def test_annotations_say_something():
    """Fewer than 5 % of them are a bare `Any`."""
    anything = aliases_of_any(map(tree, FILES))
    bare = {f: [is_bare(a, anything) for a in annotations(ast.walk(tree(f)))] for f in FILES}
    worst = sorted(FILES, key=lambda f: -sum(bare[f]))[:5]
    total, count = sum(map(len, bare.values())), sum(map(sum, bare.values()))
    assert total > 1000
    assert count < 0.05 * total, f"{count} of {total} say nothing: " + ", ".join(
        f"{f.relative_to(PACKAGE)} {sum(bare[f])}" for f in worst
    )


def test_the_count_sees_every_kind_of_any():
    code = ast.parse("""
Anything = Any
Loose = Anything
Words = Tree
def f(a: Any, b: typing.Any | None, c: "Any", *d: Loose, e: Words, ok: Tree, fine: Callable[..., Any]) -> Any: ...
def kernel(g, s, p, c, rate: Any) -> int: ...
x: Any = 1
""")
    anything = aliases_of_any([code])
    assert anything == {"Any", "Anything", "Loose", "Words"}
    assert [is_bare(a, anything) for a in annotations(ast.walk(code))].count(True) == 7
