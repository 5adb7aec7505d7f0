"""The site's reference has a page for every public name, with its equation in a block of its own."""

import types

import pytest

import gradxform as gx
from notebooks.site import reference

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    reference.write(folder)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.md")}


def test_every_public_name_has_a_page(pages):
    every = reference.things()
    known = {name for thing in every for name in [thing.name, *thing.others]}
    values = {name: getattr(gx, name) for name in gx.__all__}
    assert {name for name, x in values.items() if not isinstance(x, types.ModuleType)} <= known
    assert {"kernels.update_if", "kernels.elementwise", "kernels.Field", "testing.check", "testing.LAWS"} <= known
    assert [thing.name for thing in every if f"{thing.page}.md" not in pages] == []
    assert len(every) > 450


def test_every_page_stands_in_one_room(pages):
    for thing in reference.things():
        rooms = [name for name, text in pages.items() if name.startswith("room-") and f"]({thing.page}.md)" in text]
        assert len(rooms) >= 1, thing.name


def test_equations_arguments_and_examples_are_blocks(pages):
    page = pages["adamw.md"]
    assert "```text\nmu = b1 mu + (1 - b1) g\n" in page
    assert "`weight_decay`\n: decoupled decay" in page
    assert "```python\n>>> tx = gx.adamw(" in page
    assert "[`by_ndim(2)`](by_ndim.md)" in page
    assert "**State**\n: (ScaleByAdamState" in page


def test_links_prefer_ours_to_a_dialects(pages):
    assert "the state of [`adamw`](adamw.md)" in pages["muon.md"]
    assert "[`dialects.torch.adamw`](dialects/torch/adamw.md)" in pages["room-dialects-torch.md"]


def test_what_stands_far_to_the_right_of_an_equation_stands_below_it(pages):
    assert "weight_decay p)\n    x^ = x / (1 - b^t)\n```" in pages["adamw.md"]


def test_functions_come_before_their_states(pages):
    page = pages["room-optimizers.md"]
    assert page.index("](yogi.md)") < page.index("](COCOBState.md)")
