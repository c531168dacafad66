"""Conversion of text from headers, file names and model cards for terminals, web pages and tables."""

from __future__ import annotations

import html
import re
import unicodedata

# Longer text is cut.
LONGEST = 200
LONGEST_NAME = 30
# First characters that make a spreadsheet read a cell as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def plain(text: object, longest: int = LONGEST) -> str:
    """One line without control, direction or unassigned characters, so that no text controls a terminal or reorders a line.

    Args:
        text: any object; its ``str`` is used.
        longest: longer text ends in "…".
    """
    kept = "".join(_printable(character) for character in str(text))
    line = " ".join(kept.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _printable(character: str) -> str:
    if character in "\t\n\r\v\f":
        return " "
    # Cc control, Cf format (direction marks), Cs surrogates of names that are not UTF-8, Co private, Cn unassigned
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character


def quoted(text: object, longest: int = 40) -> str:
    """:func:`plain` in quotation marks, for messages."""
    return f"“{plain(text, longest)}”"


def for_html(text: object) -> str:
    """Safe in the text and in the quoted attributes of a web page or a rich-text widget."""
    return html.escape(printable_lines(text), quote=True)


def for_csv(text: object, longest: int = LONGEST) -> str:
    """Safe as a cell of a table: a spreadsheet reads no text as a formula; longer text than ``longest`` ends in "…"."""
    line = plain(text, longest)
    return "'" + line if line.startswith(_FORMULA) and not _NUMBER.fullmatch(line) else line


def for_terminal(text: object, encoding: str | None) -> str:
    """Safe for a terminal: no control characters but line ends, and only what its encoding can show.

    Args:
        text: one or several lines.
        encoding: the stream's, such as ``"cp1252"``; ``None`` is taken for ASCII.
    """
    return printable_lines(text).encode(encoding or "ascii", "replace").decode(encoding or "ascii", "replace")


def printable_lines(text: object) -> str:
    """One or several lines without control, direction or unassigned characters."""
    return "\n".join("".join(_printable(character) for character in line) for line in str(text).split("\n"))


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """``name`` in at most ``longest`` characters, with the middle left out, since series names differ at both ends."""
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}…{name[-end:]}"


def one_letter_apart(key: str, known: str) -> bool:
    """Whether ``key`` is no known word, but becomes ``known`` by exchanging, adding or leaving out one letter."""
    if len(key) == len(known):
        return sum(a != b for a, b in zip(key, known, strict=True)) == 1
    longer, shorter = sorted((key, known), key=len, reverse=True)
    return len(longer) == len(shorter) + 1 and any(longer[:n] + longer[n + 1 :] == shorter for n in range(len(longer)))
