"""The page that a reader sees, on this computer only: one case at a time, and nothing that tells what it is.

Slices go out as plain 16-bit values, always as many bytes as rows x columns x 2, never packed, under their position in the
reader's order; no identifier, name or tag leaves the server.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from KernelNormalizationLib.core.errors import InputError

from ..web.access import LOOPBACK, Access, protect
from .sittings import NotYetError, ReadingRoom, Sitting, TakenOverError

PAGE = Path(__file__).with_name("page")
SITTING_HEADER = "X-Sitting"
# Every JSON answer is filled up with spaces to this size, so that no size tells anything.
JSON_BYTES = 1024
LARGEST_REQUEST = 4096
# Which status an error has; the page acts on 409.
STATUS: tuple[tuple[type[InputError], int], ...] = ((TakenOverError, 409), (NotYetError, 403), (InputError, 400))

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reader_keys(readers: tuple[str, ...]) -> dict[str, str]:
    """A random key for each reader, by key: who has the address of one reader cannot score as another."""
    return {secrets.token_urlsafe(16): reader for reader in readers}


def build_app(room: ReadingRoom, keys: Mapping[str, str], access: Access) -> web.Application:
    """The server of a study.

    Args:
        room: where scores go and images come from.
        keys: reader by key.
        access: who may see anything.
    """
    routes = _Routes(room, keys)
    app = web.Application(client_max_size=LARGEST_REQUEST)
    base = "/read/{key}"
    app.add_routes(
        [
            web.get(base + "/", routes.page),
            web.get("/page/{name}", _asset),
            web.post(base + "/sitting", routes.open_sitting),
            web.get(base + "/state", routes.state),
            web.get(base + "/case/{position:[0-9]{1,5}}", routes.case),
            web.get(base + "/case/{position:[0-9]{1,5}}/{k:[0-9]{1,5}}", routes.slice),
            web.post(base + "/case/{position:[0-9]{1,5}}/score", routes.score),
        ]
    )
    app.middlewares.append(_errors_in_words)
    protect(app, access)
    return app


def addresses(keys: Mapping[str, str], access: Access, port: int) -> dict[str, str]:
    """What each reader opens in a browser."""
    return {reader: access.address(port, f"/read/{key}/") for key, reader in keys.items()}


async def serve(app: web.Application, port: int, ready: Callable[[int], None]) -> None:
    """Serve on the loopback address until Ctrl+C or a termination signal.

    Args:
        app: what is served.
        port: 0 for any free one.
        ready: told the port as soon as the page can be opened.

    Raises:
        OSError: the port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError):  # Windows, or another thread than the main one
            loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        ready(runner.addresses[0][1])
        await stop.wait()
    finally:
        await runner.cleanup()


class _Routes:
    """Requests of readers."""

    def __init__(self, room: ReadingRoom, keys: Mapping[str, str]) -> None:
        self._room, self._keys = room, keys

    async def page(self, request: web.Request) -> web.StreamResponse:
        self._reader(request)
        return web.FileResponse(PAGE / "page.html")

    async def open_sitting(self, request: web.Request) -> web.StreamResponse:
        reader = self._reader(request)
        identifier = self._room.open(reader)
        return _json({"sitting": identifier, **self._room.state(reader)})

    async def state(self, request: web.Request) -> web.StreamResponse:
        reader, _ = self._sitting(request)
        return _json(self._room.state(reader))

    async def case(self, request: web.Request) -> web.StreamResponse:
        reader, sitting = self._sitting(request)
        return _json(self._room.open_case(reader, sitting, _number(request, "position")))

    async def slice(self, request: web.Request) -> web.StreamResponse:
        reader, _ = self._sitting(request)
        image = self._room.slice_of(reader, _number(request, "position"), _number(request, "k"))
        return web.Response(body=image.tobytes(), content_type="application/octet-stream")

    async def score(self, request: web.Request) -> web.StreamResponse:
        reader, sitting = self._sitting(request)
        try:
            content = await request.json()
            value = content["score"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError('The request holds no score; send JSON such as {"score": 3}.') from error
        self._room.score(reader, sitting, _number(request, "position"), value)
        return _json(self._room.state(reader))

    def _reader(self, request: web.Request) -> str:
        reader = self._keys.get(request.match_info["key"])
        if reader is None:
            raise web.HTTPForbidden(text="Open the whole address that was printed for you; it changes with every start.\n")
        return reader

    def _sitting(self, request: web.Request) -> tuple[str, Sitting]:
        reader = self._reader(request)
        return reader, self._room.require_open(reader, request.headers.get(SITTING_HEADER, ""))


def _number(request: web.Request, name: str) -> int:
    return int(request.match_info[name])


async def _asset(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in {path.name for path in PAGE.iterdir() if path.suffix in (".js", ".css")}:
        raise web.HTTPNotFound
    return web.FileResponse(PAGE / name)


@web.middleware
async def _errors_in_words(request: web.Request, handler: Answer) -> web.StreamResponse:
    try:
        return await handler(request)
    except InputError as error:
        status = next(status for kind, status in STATUS if isinstance(error, kind))
        return _json({"error": str(error)}, status)


def _json(content: Mapping[str, Any], status: int = 200) -> web.Response:
    text = json.dumps(content).ljust(JSON_BYTES)
    return web.Response(text=text, status=status, content_type="application/json")
