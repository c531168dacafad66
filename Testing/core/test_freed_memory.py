"""What was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Small pieces, so that the C library keeps them instead of returning each at once; the last one stays in use on top of them.
CODE = """
import re
from pathlib import Path
from KernelNormalizationLib.core.freed_memory import give_back_memory, share_pools

def held_mb():
    return int(re.findall(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[0]) / 1024

share_pools()
pieces = [bytearray(40_000) for _ in range(5_000)]
last = bytearray(40_000)
before = held_mb()
pieces.clear()
give_back_memory()
print(before - held_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's C library keeps freed memory so")
def test_freed_memory_is_given_back_although_something_above_it_is_in_use() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 150.0  # of 200 MB
