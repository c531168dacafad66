"""The Qt stand-in for the widget tests; an exception in any slot fails the test that caused it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slicerhost import application, strict


@pytest.fixture
def app() -> Iterator[application.Application]:
    """The running application with an empty scene."""
    running = application.start()
    running.host.clear()
    running.settings.clear()
    strict.slot_errors.clear()
    yield running
    running.host.clear()
    running.qapplication.processEvents()
    errors = list(strict.slot_errors)
    strict.slot_errors.clear()
    assert not errors, f"An exception was raised in a slot: {errors[0]!r}"
