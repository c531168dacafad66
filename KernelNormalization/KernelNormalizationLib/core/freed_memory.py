"""Memory that was freed goes back to the system, so that a process holds what it uses and little more (Linux).

Nothing happens on other systems, or with a C library that has no such calls.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Parameters of mallopt(3).
_M_ARENA_MAX, _M_TRIM_THRESHOLD = -8, -1


def share_pools() -> None:
    """Let threads share two pools of memory: with one each, 36 slices of 512 x 512 took 0.77 GB instead of 0.54."""
    library = _c_library()
    if hasattr(library, "mallopt"):
        library.mallopt(_M_ARENA_MAX, 2)
        library.mallopt(_M_TRIM_THRESHOLD, 1 << 16)


def give_back_memory() -> None:
    """Hand freed memory to the system: the C library keeps what threads freed, which is as good as used."""
    library = _c_library()
    if hasattr(library, "malloc_trim"):  # not in every C library
        library.malloc_trim(0)


def _c_library() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
