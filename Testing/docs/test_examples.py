"""The example notebooks run, give what their pages show, and are made from the scripts beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from docsite import notebooks

EXAMPLES = Path(__file__).resolve().parents[2] / notebooks.EXAMPLES
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def stored(name: str) -> object:
    return notebooks.read(EXAMPLES / f"{name}.ipynb")


def test_both_examples_are_there() -> None:
    assert NAMES == ["one_scan", "own_pairs"]


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_that_of_its_script(name: str) -> None:
    fresh = notebooks.notebook_of((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    cells = [(cell.cell_type, cell.source) for cell in stored(name).cells]  # type: ignore[attr-defined]
    assert cells == [(cell.cell_type, cell.source) for cell in fresh.cells], "run python -m docsite.notebooks"


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_outputs_and_every_picture_exists(name: str) -> None:
    page, pictures = notebooks.page_of(stored(name), name)
    assert "Research use only" in page
    assert "CC BY 4.0" in page
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
    assert shown
    assert sorted(shown) == sorted(pictures)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs_and_prints_what_its_page_shows(name: str) -> None:
    """The same words, and numbers within 2 % and 0.05: thirty steps of training differ a little between processors."""
    fresh, shown = notebooks.texts_of(notebooks.execute(EXAMPLES / f"{name}.py")), notebooks.texts_of(stored(name))
    # Columns grow with their numbers, so spaces do not count.
    words = [re.sub(r"\s+", " ", _NUMBER.sub("#", text)) for text in (fresh, shown)]
    assert words[0] == words[1]
    numbers = [[float(n) for n in _NUMBER.findall(text)] for text in (fresh, shown)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.05)


@pytest.mark.slow
def test_an_output_that_names_a_place_on_the_machine_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "place.py"
    script.write_text("# %%\nprint('/home/somebody/scan')\n", encoding="utf-8")
    with pytest.raises(notebooks.ExampleError, match="a place on this machine"):
        notebooks.execute(script)


@pytest.mark.slow
def test_a_cell_that_fails_is_named(tmp_path: Path) -> None:
    script = tmp_path / "failing.py"
    script.write_text("# %% [markdown]\n# # Title\n\n# %%\n1 / 0\n", encoding="utf-8")
    with pytest.raises(notebooks.ExampleError, match=r"failing\.py: (?s:.*)ZeroDivisionError"):
        notebooks.execute(script)
