"""Zip files made in memory."""

from __future__ import annotations

import io
import zipfile


def zipped(*entries: tuple[str, bytes]) -> bytes:
    """A zip with these (name, content) entries, packed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()
