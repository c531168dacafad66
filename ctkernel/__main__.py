"""Start of the program ``ctkernel``: Ctrl+C ends it cleanly even while its packages are still being loaded."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

# of :mod:`.console`, which is not loaded yet
CANCELLED = 3
MESSAGE = "Cancelled with Ctrl+C."


def main(arguments: list[str] | None = None) -> int:
    """Load the command line and run it; returns the exit code, 3 for Ctrl+C at any moment."""
    _open_closed_streams()
    # An exception would be lost or turned into an ImportError inside compiled modules, so the handler ends the process.
    # Nothing has been written yet.
    previous = signal.signal(signal.SIGINT, _end_at_once)
    try:
        from .cli import main as run
    finally:
        signal.signal(signal.SIGINT, previous)
    try:
        return run(arguments)
    except KeyboardInterrupt:
        return _say_cancelled()


def _open_closed_streams() -> None:
    """Let a program whose output or error stream the caller has closed (``>&-``) do its work; what it prints is lost."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _end_at_once(*_: Any) -> None:
    os._exit(_say_cancelled())


def _say_cancelled() -> int:
    sys.stderr.write(f"ctkernel: {MESSAGE}\n")
    sys.stderr.flush()
    if "--json" in sys.argv:
        sys.stdout.write(f'{{"error": "{MESSAGE}", "exit_code": {CANCELLED}, "kind": "cancelled"}}\n')
        sys.stdout.flush()
    return CANCELLED


if __name__ == "__main__":
    sys.exit(main())
