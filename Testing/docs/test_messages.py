"""Every message that a user can get is explained in the documents, and nothing is explained that does not exist."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from ctkernel.cli import _parser, main
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
    logging.getLogger(__name__).info("The cache was used for this volume; nothing was read.")
    logger.warning("No room for %d slices of %s", slices, name)
    try:
        raise ValueError("a row too short")
    except ValueError as error:
        return f"{name} is not the file on record: its bytes differ" + ("." if error else ", though not by much.")
    raise argparse.ArgumentTypeError("must be even")
    faulty_file(name, f"cannot be used ({name})")
    found.differs("files", f"{name} is missing.")
    reasons.append("The slices are thick; " f"{name} is not comparable.")
    parser.add_argument("--kernel", help="The kernel of the scan, if you know it better.")
    raise InputError(_("“{name}” is no CT").format(name=name))
'''

SCRIPT = """
// Say "this comment is never shown to anyone who looks at the page."
say(`The server refused this (${status}).`);
text = "The files could not be sent; " +
  'they may be too large for the server.';
list.className = "left part of it";
"""


def explained(folder: Path, *patterns: str) -> Table:
    """The table of CODE with these patterns explained."""
    (folder / "ctkernel").mkdir(exist_ok=True)
    (folder / "ctkernel" / "reading.py").write_text(CODE, encoding="utf-8")
    (folder / "ctkernel" / "page.js").write_text(SCRIPT, encoding="utf-8")
    listed = ", ".join(f'"{pattern}"' for pattern in patterns)
    topic = f'title = "Reading"\nabout = "First."\n[[group]]\nmessages = [{listed}]\nmeans = "Too <few>."\n'
    topic += 'do = "Give `--series *` or choose *All*."\n'
    (folder / "10_reading.toml").write_text(topic, encoding="utf-8")
    return make_table(find_messages(folder), folder)


@pytest.fixture(scope="module")
def table() -> Table:
    return read_table(ROOT)


@pytest.mark.slow
def test_every_message_of_the_product_is_explained(table: Table) -> None:
    assert table.faults == []


def test_errors_warnings_and_sentences_are_found_and_docstrings_and_help_are_not(tmp_path: Path) -> None:
    explained(tmp_path, "*")
    found = {message.text: message.error for message in find_messages(tmp_path)}
    assert found == {
        "… has … slices; at least 3 are needed.": "Narrower",
        "No room for … slices of …": "",
        "a row too short": "ValueError",
        "… is not the file on record: its bytes differ…": "",
        "must be even": "",
        "cannot be used (…)": "",
        "… is missing.": "",
        "The slices are thick; … is not comparable.": "",
        "“…” is no CT": "InputError",
        "The server refused this (…).": "",
        "The files could not be sent; they may be too large for the server.": "",
    }


def test_a_missing_explanation_is_named_with_its_place_and_where_to_add_it(tmp_path: Path) -> None:
    known = [m.text for m in find_messages(tmp_path)] if explained(tmp_path, "*") else []
    faults = explained(tmp_path, *(text for text in known if "is no CT" not in text)).faults
    assert len(faults) == 1
    assert "ctkernel/reading.py:29 InputError has no explanation: ““…” is no CT”" in faults[0]
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


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: …"),
        (["info"], "the following arguments are required: …"),
        (["quantify", "scan", "--out"], "argument …: expected one argument"),
        (["normalise"], "argument …: invalid choice: … (choose from …)"),
        (["quantify", "scan", "--out", "results", "--threshold=-950,0"], "argument …: invalid float value: …"),
        (["quantify", "scan", "--out", "results", "--treshold", "-950"], "unrecognized arguments: …"),
        (["quantify", "scan", "--out", "results", "--threshold", "-950,0"], "argument …: expected one argument"),
    ],
)
def test_what_the_command_line_itself_refuses_is_in_the_table(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], table: Table
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(re.escape(text).replace("…", ".+"), said)
    assert text in {shown for topic in table.topics for group in topic.groups for shown in group.texts}


def test_every_option_and_command_that_the_table_names_exists(table: Table) -> None:
    options, commands = set[str](), set[str]()
    parsers = [_parser()]
    while parsers:
        for action in parsers.pop()._actions:
            options.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                commands.update(action.choices)
                parsers += action.choices.values()
    for topic in table.topics:
        for group in topic.groups:
            for text in (group.means, group.do, *group.texts):
                assert set(re.findall(r"--[a-z][a-z-]+", text)) <= options, text
                assert set(re.findall(r"`ctkernel ([a-z][a-z-]*)", text)) <= commands, text
