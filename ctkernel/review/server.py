"""The routes of the review page."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from KernelNormalizationLib.core.arrays import EMPHYSEMA_THRESHOLD_HU
from KernelNormalizationLib.core.errors import RESEARCH_USE, CTKernelError, InputError
from KernelNormalizationLib.core.freed_memory import share_pools
from KernelNormalizationLib.core.kernels.told_kernel import parse_told_kernel
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD

from ..web.access import Access, protect
from ..web.uploads import UploadLimits, save_upload
from .answers import review_facts, start_facts
from .downloads import write_file
from .pictures import hu_block, mask_block
from .session import Session
from .sessions import Sessions
from .steps import Source, known_method, normalized, open_scan, scan_among, whole_threshold

STATIC = Path(__file__).with_name("static")
LARGEST_JSON = 1 << 16
SENT_AT_ONCE = 1 << 18
# Of an uploaded volume file: 512 x 512 x 2048, which takes 2 GB as float32.
MOST_VOXELS = 1 << 29
# A page that hears nothing for so long is told the state again, which also shows whether it is still there.
TELL_SECONDS = 20.0
FULL = f"""All places of this review page are taken. Close one of the other pages, or try again in a minute.
{RESEARCH_USE}
"""

SessionHandler = Callable[[web.Request, Session], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Settings:
    """How the page is served.

    Attributes:
        scan: opened in every new session; ``None`` for none.
        series: which series of its folder.
        most_sessions: how many browsers at once.
        limits: of uploads.
    """

    scan: Path | None = None
    series: str | None = None
    most_sessions: int = 4
    limits: UploadLimits = field(default_factory=UploadLimits)


class ReviewServer:
    """The application behind the page.

    Args:
        folder: private; what is uploaded or written lies in it.
        settings: how the page is served.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        share_pools()
        self._settings = settings
        self._sessions = Sessions(folder, settings.most_sessions, self._open_first)
        self._sockets: set[web.WebSocketResponse] = set()
        self._cookie = "ctkernel-review"

    def application(self, access: Access) -> web.Application:
        """The routes, all behind ``access``."""
        self._cookie = access.cookie + "-session"
        app = web.Application(client_max_size=LARGEST_JSON)
        app.add_routes(
            [
                web.get("/", self._page),
                web.static("/static", STATIC),
                web.get("/api/events", self._for_session(self._events)),
                web.get("/api/review", self._for_session(self._review)),
                web.get(r"/api/hu/{number:[01]}/{first:\d{1,5}}-{last:\d{1,5}}", self._for_session(self._hu)),
                web.get(r"/api/lungs/{first:\d{1,5}}-{last:\d{1,5}}", self._for_session(self._lungs)),
                web.get(r"/api/download/{what:\w+}", self._for_session(self._download)),
                web.post("/api/open", self._for_session(self._open)),
                web.post("/api/upload", self._for_session(self._upload)),
                web.post("/api/normalize", self._for_session(self._normalize)),
                web.post("/api/cancel", self._for_session(self._cancel)),
                web.post("/api/threshold", self._for_session(self._threshold)),
                web.post("/api/leave", self._for_session(self._leave)),
            ]
        )
        protect(app, access)
        app.on_shutdown.append(self._close)
        return app

    def _open_first(self, session: Session) -> None:
        scan, series = self._settings.scan, self._settings.series
        if scan is not None:
            source = Source(scan, series)
            session.start("Opening the scan", lambda progress: open_scan(source, session.show, progress))

    def _for_session(self, handler: SessionHandler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            session = self._sessions.find(request.cookies.get(self._cookie))
            if session is None:
                return _answer({"error": "This session has ended; load the page again."}, 410)
            try:
                return await handler(request, session)
            except CTKernelError as error:
                return _answer({"error": str(error)}, 400)

        return handle

    async def _page(self, request: web.Request) -> web.StreamResponse:
        session = self._sessions.find(request.cookies.get(self._cookie)) or await self._sessions.admit()
        if session is None:
            return web.Response(status=503, text=FULL, headers={"Retry-After": "60"})
        response = web.Response(body=(STATIC / "index.html").read_bytes(), content_type="text/html", charset="utf-8")
        response.set_cookie(self._cookie, session.identifier, httponly=True, samesite="Strict", path="/")
        return response

    async def _events(self, request: web.Request, session: Session) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=TELL_SECONDS, max_msg_size=1024)
        await socket.prepare(request)
        self._sockets.add(socket)
        session.sockets += 1
        listening = asyncio.create_task(_until_closed(socket))
        # a page that is closed is let go at once
        listening.add_done_callback(lambda _: session.tell())
        try:
            await socket.send_json({"start": start_facts()})
            while not socket.closed and not listening.done():
                seen = session.changes
                await socket.send_json(session.state())
                await session.changed(seen, TELL_SECONDS)
        except ConnectionError:
            pass  # the reader closed the page
        finally:
            listening.cancel()
            self._sockets.discard(socket)
            session.sockets -= 1
        return socket

    async def _review(self, request: web.Request, session: Session) -> web.StreamResponse:
        review, version = session.require_review(), session.version
        return _answer({"version": version, **await asyncio.to_thread(review_facts, review)})

    async def _hu(self, request: web.Request, session: Session) -> web.StreamResponse:
        volumes = session.require_review().volumes
        number = int(request.match_info["number"])
        if number >= len(volumes):
            raise InputError("There is no synthetic volume yet; normalize first.")
        return _binary(await asyncio.to_thread(hu_block, volumes[number], *_slices(request)))

    async def _lungs(self, request: web.Request, session: Session) -> web.StreamResponse:
        review = session.require_review()
        if review.measurement is None:
            raise InputError("There is no lung mask.")
        mask = review.measurement.lung_mask.mask
        return _binary(await asyncio.to_thread(mask_block, mask, review.original, *_slices(request)))

    async def _download(self, request: web.Request, session: Session) -> web.StreamResponse:
        review = session.require_review()
        folder = session.new_folder()
        try:
            path = await asyncio.to_thread(write_file, request.match_info["what"], review, folder)
            return await _sent(path, request)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _open(self, request: web.Request, session: Session) -> web.StreamResponse:
        told = await _told(request)
        session.require_idle()
        path, series, kernel = (str(told.get(key) or "").strip() for key in ("path", "series", "kernel"))
        if not path:
            raise InputError("Give the path of a DICOM folder, or of a NRRD, NIfTI or MHA file, on this computer.")
        parse_told_kernel(kernel or None)
        source = Source(Path(path).expanduser(), series or None, kernel or None)
        session.start("Opening the scan", lambda progress: open_scan(source, session.show, progress))
        return _answer(session.state())

    async def _upload(self, request: web.Request, session: Session) -> web.StreamResponse:
        session.require_idle()
        folder = session.new_folder()
        try:
            files = await save_upload(request, folder, self._settings.limits)
            scan = scan_among(files, folder)
            kernel = request.query.get("kernel", "").strip() or None
            series = request.query.get("series", "").strip() or None
            parse_told_kernel(kernel)
            source = Source(scan, series, kernel, MOST_VOXELS)
            session.start(
                "Opening the scan",
                lambda progress: open_scan(source, session.show, progress),
                lambda: shutil.rmtree(folder, ignore_errors=True),
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _answer(session.state())

    async def _normalize(self, request: web.Request, session: Session) -> web.StreamResponse:
        method = known_method(str((await _told(request)).get("method", DEFAULT_METHOD)))
        review = session.require_review()
        if review.original.synthetic:
            raise InputError("This volume is a synthetic one already; open the scan that it was made from.")
        threshold = EMPHYSEMA_THRESHOLD_HU if review.measurement is None else review.measurement.threshold_hu
        session.start("Normalizing", lambda progress: normalized(review, method, threshold, progress))
        return _answer(session.state())

    async def _cancel(self, request: web.Request, session: Session) -> web.StreamResponse:
        session.cancel()
        return _answer(session.state())

    async def _threshold(self, request: web.Request, session: Session) -> web.StreamResponse:
        told = (await _told(request)).get("threshold_hu")
        if isinstance(told, bool) or not isinstance(told, int | float):
            raise InputError("Give the threshold as a number of HU.")
        session.require_review()
        session.set_threshold(whole_threshold(float(told)))
        return _answer(session.state())

    async def _leave(self, request: web.Request, session: Session) -> web.StreamResponse:
        await self._sessions.leave(session)
        return _answer({"left": True})

    async def _close(self, _app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close()
        await self._sessions.close()


async def _until_closed(socket: web.WebSocketResponse) -> None:
    """Read what the page says, which is nothing, until it is gone."""
    async for message in socket:
        if message.type == WSMsgType.ERROR:
            return


async def _told(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request; :class:`InputError` if there is none."""
    try:
        told = json.loads(await request.text())
    except ValueError as error:
        raise InputError("The request is not JSON.") from error
    if not isinstance(told, dict):
        raise InputError("The request is not a JSON object.")
    return told


def _slices(request: web.Request) -> tuple[int, int]:
    return int(request.match_info["first"]), int(request.match_info["last"])


def _answer(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(content, status=status)


async def _sent(path: Path, request: web.Request) -> web.StreamResponse:
    """Send a file entirely, so that it may be removed afterwards."""
    response = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{path.name}"'})
    response.content_type = "application/octet-stream"
    response.content_length = path.stat().st_size
    await response.prepare(request)
    with path.open("rb") as file:
        while block := file.read(SENT_AT_ONCE):
            await response.write(block)
    await response.write_eof()
    return response


def _binary(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="application/octet-stream")
