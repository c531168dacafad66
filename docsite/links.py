"""Links that hold both in the repository and on the site, where some pages and pictures have another place."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

_LINK = re.compile(r"(?P<head>!?\[[^\]]*\]\()(?P<target>[^)\s#]+)(?P<tail>[^)]*\))")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]*`)", re.DOTALL | re.MULTILINE)


def rewrite_links(markdown: str, source: str, page: str, places: Mapping[str, str]) -> str:
    """Turn links between files of the repository into links between pages.

    Args:
        markdown: the text.
        source: its path in the repository.
        page: its path on the site, below ``docs``.
        places: path in the repository -> path on the site. Files below ``docs`` stand where they are.

    Returns:
        The text. A link to a file that has no place on the site becomes the file's name as code.
    """
    parts = _CODE.split(markdown)
    return "".join(part if n % 2 else _rewritten(part, source, page, places) for n, part in enumerate(parts))


def _rewritten(text: str, source: str, page: str, places: Mapping[str, str]) -> str:
    def turn(found: re.Match[str]) -> str:
        target = found["target"]
        if re.match(r"[a-z]+:|/", target):
            return found[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = places.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
        if place is None:
            words = found["head"].lstrip("!")[1:-2]
            return words if words == wanted or f"`{wanted}`" in words else f"{words} (`{wanted}`)"
        return found["head"] + posixpath.relpath(place, posixpath.dirname(page) or ".") + found["tail"]

    return _LINK.sub(turn, text)
