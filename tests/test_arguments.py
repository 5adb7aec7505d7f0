"""Every public function explains its arguments, and those that share one say the same of it."""

import inspect

import arguments
import pytest

pytestmark = pytest.mark.fast

PUBLIC = arguments.public()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_explained(name):
    assert [p for p in inspect.signature(PUBLIC[name]).parameters if p not in arguments.explained(PUBLIC[name])] == []


def test_shared_lines_are_those_of_the_table():
    wrong = [(f, a) for f, a, line in arguments.shared() if arguments.explained(PUBLIC[f]).get(a) != line]
    assert wrong == [], "python -m tests.arguments writes them"


def test_the_table_is_read_whole():
    rows = list(arguments.shared())
    assert len(rows) > 400
    assert len({(f, a) for f, a, _ in rows}) == len(rows)


def test_a_line_is_replaced_where_it_stands():
    source = 'def f(a, b):\n    """Do.\n\n    Args:\n      a: one\n        thing.\n      b: other.\n    """\n    return a\n'
    new = arguments._replaced(source, "f", "a", "new.")
    assert new == source.replace("one\n        thing.", "new.")
