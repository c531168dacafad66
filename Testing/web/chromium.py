"""Chromium for the tests: without a window, a GPU or calls to other computers; and how tests wait for what they read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Shared machines compute slowly. Nothing is judged by this time: it only ends a test that waits for what never comes.
PATIENCE_SECONDS = 600
PATIENCE_MS = 1000 * PATIENCE_SECONDS

# Two frames: what was asked to be drawn before the first is drawn in it, and a mouse move that waited for it has been told.
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none. ``expect`` of Playwright waits as long as everything else."""
    api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path is not None), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    api.expect.set_options(timeout=PATIENCE_MS)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


def open_window(browser: Any, viewport: Mapping[str, int]) -> Any:
    """A page with cookies of its own, as another browser would have."""
    page = browser.new_context(viewport=dict(viewport)).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.set_default_navigation_timeout(PATIENCE_MS)
    return page


def wait_drawn(page: Any) -> None:
    """Wait until what the page was told so far is drawn."""
    page.evaluate(TWO_FRAMES)
