"""Pictures inside a page, so that the page is one file and loads nothing."""

from __future__ import annotations

import base64


def embedded(png: bytes) -> str:
    """A picture (PNG) as a data URL, which contains the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
