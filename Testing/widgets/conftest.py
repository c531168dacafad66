"""The Qt stand-in for the widget tests; an exception in any slot fails the test that caused it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


from slicerhost import application, strict


@pytest.fixture
def app() -> Iterator[application.Application]:
    """The running application with an empty scene."""
    running = application.start()
    running.host.clear()
    running.settings.clear()
    running.at_startup.clear()
    strict.slot_errors.clear()
    running.host.complaints.clear()
    yield running
    running.delete_pending()
    running.host.clear()
    running.qapplication.processEvents()
    errors = list(strict.slot_errors)
    strict.slot_errors.clear()
    assert not running.host.complaints, f"Slicer would log: {running.host.complaints[0]}"
    assert not errors, f"An exception was raised in a slot: {errors[0]!r}"
