"""Every message that a user can get is explained in the documents, and nothing is explained that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from docsite.messages import find_messages
from docsite.troubleshooting import Table, make_table, page, read_table

ROOT = Path(__file__).resolve().parents[2]
CODE = '''
"""A module."""
import logging


class InputError(CTKernelError):
    pass


class Narrower(InputError):
    pass


def check(name, slices, reasons):
    """Raise this is a long docstring that nobody is shown."""
    if slices < 3:
        raise Narrower(f"{name} has {slices} slices; at least 3 are needed.")
    logging.warning("The cache could not be used for this volume.")
    reasons.append("The slices are thick; " f"{name} is not comparable.")
    parser.add_argument("--kernel", help="The kernel of the scan, if you know it better.")
    raise InputError(_("“{name}” is no CT").format(name=name))
'''


def explained(folder: Path, *patterns: str) -> Table:
    """The table of CODE with these patterns explained."""
    (folder / "ctkernel").mkdir(exist_ok=True)
    (folder / "ctkernel" / "reading.py").write_text(CODE, encoding="utf-8")
    listed = ", ".join(f'"{pattern}"' for pattern in patterns)
    topic = f'title = "Reading"\nabout = "First."\n[[group]]\nmessages = [{listed}]\nmeans = "Too <few>."\n'
    topic += 'do = "Give `--series *` or choose *All*."\n'
    (folder / "10_reading.toml").write_text(topic, encoding="utf-8")
    return make_table(find_messages(folder), folder)


@pytest.mark.slow
def test_every_message_of_the_product_is_explained() -> None:
    assert read_table(ROOT).faults == []


def test_errors_and_sentences_are_found_and_docstrings_log_lines_and_help_are_not(tmp_path: Path) -> None:
    explained(tmp_path, "*")
    found = {message.text: message.error for message in find_messages(tmp_path)}
    assert found == {
        "… has … slices; at least 3 are needed.": "Narrower",
        "The slices are thick; … is not comparable.": "",
        "“…” is no CT": "InputError",
    }


def test_a_missing_explanation_is_named_with_its_place_and_where_to_add_it(tmp_path: Path) -> None:
    faults = explained(tmp_path, "*slices; at least*", "The slices are thick*").faults
    assert len(faults) == 1
    assert "ctkernel/reading.py:21 InputError has no explanation: ““…” is no CT”" in faults[0]
    assert "docs/troubleshooting/*.toml" in faults[0]


def test_an_explanation_of_a_message_that_is_gone_is_named(tmp_path: Path) -> None:
    faults = explained(tmp_path, "*", "The tube is cold.").faults
    assert faults == [
        "docs/troubleshooting/10_reading.toml: no message in the code fits the pattern “The tube is cold.”. "
        "Correct it, or take it out."
    ]


def test_the_page_has_a_row_with_message_meaning_and_remedy(tmp_path: Path) -> None:
    text = page(explained(tmp_path, "*"))
    assert "## Reading" in text
    assert '<td data-head="What it means">Too &lt;few&gt;.</td>' in text
    assert '<td data-head="What to do">Give <code>--series *</code> or choose <em>All</em>.</td>' in text
    assert "<p>“…” is no CT</p>" in text
    assert text.startswith("# Every message")
