"""Start of the program ``ctkernel``: Ctrl+C and SIGTERM end it cleanly even while its packages are still being loaded."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

# of :mod:`.console`, which is not loaded yet
CANCELLED = 3
MESSAGE = "Cancelled with Ctrl+C."


def main(arguments: list[str] | None = None) -> int:
    """Load the command line and run it; returns the exit code, 3 for Ctrl+C or a termination signal at any moment."""
    _open_closed_streams()
    # An exception would be lost or turned into an ImportError inside compiled modules, so the handler ends the process.
    # Nothing has been written yet; the command has handlers of its own.
    previous = {number: signal.signal(number, _end_at_once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        from .cli import main as run

        return run(arguments)
    except KeyboardInterrupt:
        return _say_cancelled()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
