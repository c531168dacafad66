"""The message with which a file or folder is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume


def refusal(path: Path, series: str | None = None) -> str:
    """What the user is told when ``path``, or its series ``series``, is refused; a failure of the test if it is read."""
    with pytest.raises(InputError) as caught:
        read_volume(path, series)
    return str(caught.value)
