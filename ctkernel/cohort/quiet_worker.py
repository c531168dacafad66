"""Loaded by the workers that a run starts here: Ctrl+C in the terminal is for the run, which ends its workers itself."""

from __future__ import annotations

import signal
import threading

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
