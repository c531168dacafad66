"""Equations without network or script: ``$…$`` and ``$$…$$`` in a page become MathML, which browsers draw themselves.

The replacement has two steps, because Markdown would read ``_`` and ``*`` inside an equation: before Markdown a mark stands
for each equation; in the finished HTML the mark becomes MathML.
"""

from __future__ import annotations

import re

# Code comes first, so that a dollar sign in it is left alone.
_PARTS = re.compile(r"(?P<code>^```.*?^```|`[^`\n]*`)|\$\$(?P<block>.+?)\$\$|\$(?P<line>[^$\n]+?)\$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"(?:<p>)?⟦(block|line) ([0-9a-f]*)⟧(?:</p>)?")


def mark_equations(markdown: str) -> str:
    """``markdown`` with a mark in place of each equation."""

    def mark(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        kind = "block" if found["block"] else "line"
        coded = found[kind].strip().encode("utf-8").hex()
        return f"\n\n⟦{kind} {coded}⟧\n\n" if kind == "block" else f"⟦{kind} {coded}⟧"

    return _PARTS.sub(mark, markdown)


def draw_equations(html: str) -> str:
    """``html`` with MathML in place of each mark."""
    from latex2mathml.converter import convert

    def draw(found: re.Match[str]) -> str:
        kind, latex = found[1], bytes.fromhex(found[2]).decode("utf-8")
        if kind == "block":
            return f'<div class="equation">{convert(latex, display="block")}</div>'
        # Text before or after an equation of its own line keeps the paragraph's tags.
        opening, closing = ("<p>" * found[0].startswith("<p>"), "</p>" * found[0].endswith("</p>"))
        return f"{opening}{convert(latex)}{closing}"

    return _MARK.sub(draw, html)
