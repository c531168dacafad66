"""``ctkernel review``: the review page, served to the browser on this computer."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import webbrowser
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.reading import read_volume

from ..console import print_json, print_lines
from ..options import require_no_series

MEGABYTE = 1_000_000


def add_review(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``review`` to the commands of ``ctkernel``."""
    parser = commands.add_parser(
        "review",
        parents=[common],
        help="a page in the browser: normalize, compare and measure a scan without Slicer",
        description="Serve a page to the browser on this computer: a scan beside its synthetic smooth volume, with the numbers "
        "of ctkernel quantify. Only this computer can reach it, and only with the address that is printed. Ctrl+C ends it and "
        "removes what it stored.",
    )
    parser.add_argument("scan", type=Path, nargs="?", help="scan to open at once; the page can open others")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--sessions", type=int, default=4, metavar="N", help="browsers served at once (default 4)")
    parser.add_argument("--upload-limit", type=float, default=2000.0, metavar="MB", help="largest upload (default 2000)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.set_defaults(command=review)


def review(options: argparse.Namespace) -> None:
    """``ctkernel review``."""
    try:
        from ..web.private_folder import private_folder
        from ..web.uploads import UploadLimits
        from .server import Settings
    except ImportError as error:
        raise InputError(f"The page needs {error.name}; install it with: pip install 'ctkernelnormalization[web]'") from error
    if options.scan is None:
        require_no_series(options.series)
    elif not options.scan.exists():
        raise InputError(f"{options.scan} does not exist; give a DICOM folder or a NRRD, NIfTI or MHA file.")
    if not 0 <= options.port <= 65535 or options.sessions < 1 or not 0 < options.upload_limit < 1e6:
        raise InputError(
            f"--port {options.port}, --sessions {options.sessions} and --upload-limit {options.upload_limit:g} MB cannot all "
            "be used: give a port from 0 to 65535, at least one session, and a limit above 0 and below 1,000,000 MB."
        )
    if options.scan is not None:
        read_volume(options.scan, options.series)  # one that cannot be opened is told here, not only in the page
    sent = round(options.upload_limit * MEGABYTE)
    limits = UploadLimits(sent_bytes=sent, unpacked_bytes=2 * sent)
    with private_folder() as folder:
        asyncio.run(_serve(folder, Settings(options.scan, options.series, options.sessions, limits), options))


async def _serve(folder: Path, settings: Any, options: argparse.Namespace) -> None:
    from aiohttp import web

    from ..web.access import LOOPBACK, Access
    from .server import ReviewServer

    # the form around the files takes some bytes too
    access = Access(largest_request=settings.limits.sent_bytes + MEGABYTE)
    runner = web.AppRunner(ReviewServer(folder, settings).application(access), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    # whoever reads the ready line may send the signal at once
    stop = _stop_by_signal()
    try:
        await web.TCPSite(runner, LOOPBACK, options.port).start()
        address = access.address(runner.addresses[0][1])
        if options.json:
            print_json({"address": address, "use": RESEARCH_USE})
        else:
            print_lines(
                [f"Review page: {address}", "Open this address in the browser on this computer. Ctrl+C ends.", RESEARCH_USE]
            )
        sys.stdout.flush()
        if options.open:
            webbrowser.open(address)
        await stop.wait()
    finally:
        await runner.cleanup()


def _stop_by_signal() -> asyncio.Event:
    """An event that Ctrl+C, a termination signal or a closed terminal sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    closed_terminal = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
    for number in (signal.SIGINT, signal.SIGTERM, *closed_terminal):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows has no such handlers; there Ctrl+C ends asyncio.run itself
            continue
    return stop
