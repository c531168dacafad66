"""Extension of griffe, which reads docstrings for the reference: a doctest without a heading of its own is an example.

Google style has its examples under ``Examples:``; ours follow the text. Unmarked, ``>>>`` would be shown as quotations.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"\n\n(?P<code>>>> .*)\Z", re.DOTALL)


class DoctestExamples(griffe.Extension):
    """Puts ``Examples:`` before the doctest that ends a docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = headed(obj.docstring.value)


def headed(docstring: str) -> str:
    """``docstring`` (without its indentation) with a heading before the doctest at its end."""

    def head(found: re.Match[str]) -> str:
        return "\n\nExamples:\n" + "\n".join(f"    {line}".rstrip() for line in found["code"].splitlines())

    return _DOCTEST.sub(head, docstring)
