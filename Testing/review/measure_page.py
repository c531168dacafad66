"""The page on a scan in a real browser: pictures of it at two sizes, seconds, pictures a second while scrolling, memory.

``.venv/bin/python -m Testing.review.measure_page SCAN FOLDER [--method unet]``; stands by until the machine has done the work.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD, METHODS
from Testing.web.chromium import chromium, open_window, wait_drawn

from .conftest import command_line

SIZES = ((1280, 800), (1920, 1080))
# Wheel events as fast as the browser draws, up and down through the volume, for three seconds.
SCROLL = """async () => {
    const view = document.querySelector('[data-view="axial-0"]');
    const start = performance.now(), before = Number(document.body.dataset.draws);
    let direction = 1;
    while (performance.now() - start < 3000) {
        view.dispatchEvent(new WheelEvent('wheel', { deltaY: direction * 120, bubbles: true, cancelable: true }));
        const now = Number(view.getAttribute('aria-valuenow'));
        if (now <= 2) direction = -1;
        if (now >= Number(view.getAttribute('aria-valuemax')) - 1) direction = 1;
        await new Promise(requestAnimationFrame);
    }
    return (Number(document.body.dataset.draws) - before) / ((performance.now() - start) / 1000);
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0]"
LOADED = "fetch('/api/review').then(a => a.json()).then(r => document.body.dataset.loaded === String(r.drawn))"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("folder", type=Path, help="for the pictures")
    parser.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        page = open_window(browser, {"width": SIZES[0][0], "height": SIZES[0][1]})
        page.set_default_timeout(3_600_000)
        begun = time.monotonic()
        process = command_line("review", options.scan, temporary=Path(temporary))
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            _say(f"ready line after {time.monotonic() - begun:.1f} s")
            _work(page, address, process, options)
        finally:
            process.terminate()
            process.wait()
        left = list(Path(temporary).glob("ctkernel-private-*"))
        _say(f"left behind: {len(left)} folders; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def _work(page: Any, address: str, process: subprocess.Popen[str], options: argparse.Namespace) -> None:
    begun = time.monotonic()
    page.goto(address)
    while page.evaluate(PAINT) is None:
        page.wait_for_timeout(100)
    _say(f"first paint {page.evaluate(PAINT) / 1000:.2f} s after the address was opened")
    page.wait_for_selector("body[data-loaded]")
    _say(f"all slices there after {time.monotonic() - begun:.1f} s")
    page.wait_for_selector("#indices .index")
    _say(f"measured after {time.monotonic() - begun:.1f} s")
    page.select_option("#method", options.method)
    begun = time.monotonic()
    page.click("#normalize button")
    page.wait_for_timeout(3000)
    page.screenshot(path=options.folder / "ReviewRunning.png")
    page.wait_for_selector("#indices .is-synthetic")
    _say(f"normalized and measured in {time.monotonic() - begun:.1f} s")
    while not page.evaluate(LOADED):
        page.wait_for_timeout(200)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for what, name in (("difference", "Difference"), ("synthetic", "Pair")):
            page.select_option("#second", what)
            wait_drawn(page)
            page.screenshot(path=options.folder / f"Review{name}{width}.png")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        busy, a_second = _scrolled(page)
        _say(f"scrolling at {width} x {height}: {a_second:.0f} pictures a second, {busy:.1f} ms of the page's thread for each")
    numbers = page.locator(".index").all_inner_texts()
    _say("; ".join(" ".join(text.split()) for text in numbers))
    status = Path(f"/proc/{process.pid}/status").read_text()
    now, most = (int(re.findall(rf"{key}:\s+(\d+)", status)[0]) * 1024 / 1e9 for key in ("VmRSS", "VmHWM"))
    _say(f"server memory {now:.2f} GB, at most {most:.2f} GB")


def _scrolled(page: Any) -> tuple[float, float]:
    """Processor milliseconds of the page's thread for a picture (both rows of it), and pictures a second."""
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})

    def so_far() -> tuple[float, int]:
        metrics = {metric["name"]: metric["value"] for metric in client.send("Performance.getMetrics")["metrics"]}
        return metrics["TaskDuration"], int(page.get_attribute("body", "data-draws"))

    busy, drawn = so_far()
    a_second = float(page.evaluate(SCROLL))
    busy_then, drawn_then = so_far()
    client.detach()
    return 1000.0 * (busy_then - busy) / max(1, drawn_then - drawn), a_second


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
