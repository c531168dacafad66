"""Nobody without the token, no harm by an upload, no crash by a crowd, nothing left behind."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from web.zips import zipped

from Testing.web.chromium import PATIENCE_SECONDS

from .conftest import COMPLAINTS, ROOT, Serve, Served, command_line

pytestmark = pytest.mark.slow

ROUTES = [
    ("GET", "/"),
    ("GET", "/static/main.js"),
    ("GET", "/static/../server.py"),
    ("GET", "/api/review"),
    ("GET", "/api/hu/0/0-8"),
    ("GET", "/api/lungs/0-8"),
    ("GET", "/api/download/volume"),
    ("POST", "/api/open"),
    ("POST", "/api/upload"),
    ("POST", "/api/normalize"),
    ("POST", "/api/cancel"),
    ("POST", "/api/threshold"),
    ("POST", "/api/leave"),
    ("GET", "/no-such-page"),
]
TIMEOUT = aiohttp.ClientTimeout(PATIENCE_SECONDS)
Visit = Callable[[aiohttp.ClientSession], Awaitable[Any]]


def as_visitor(served: Served, visit: Visit) -> Any:
    """Do ``visit`` with the cookies of one browser."""

    async def run() -> Any:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(served.origin, cookie_jar=jar, timeout=TIMEOUT) as client:
            return await visit(client)

    return asyncio.run(run())


def let_in(served: Served, visit: Visit) -> Any:
    """Do ``visit`` with a session of its own, which is left afterwards."""

    async def inside(client: aiohttp.ClientSession) -> Any:
        assert (await client.get("/", params={"token": served.token})).status == 200
        try:
            return await visit(client)
        finally:
            await client.post("/api/leave")

    return as_visitor(served, inside)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve("--upload-limit", "1")


def private_files(served: Served) -> list[Path]:
    return [path for path in served.temporary.rglob("*") if path.is_file() and path.name not in (".in-use", COMPLAINTS)]


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("guess", 403)])
def test_without_the_token_no_route_and_no_socket_answers(served: Served, token: str | None, status: int) -> None:
    async def visit(client: aiohttp.ClientSession) -> None:
        given = {} if token is None else {"token": token}
        for method, path in ROUTES:
            answer = await client.request(method, path, params=given, allow_redirects=False)
            assert answer.status == status, path
            assert "Content-Security-Policy" in answer.headers
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/api/events", params=given)
        assert refused.value.status == status

    as_visitor(served, visit)


def test_the_server_is_reached_from_this_computer_only(served: Served) -> None:
    assert served.address.startswith("http://127.0.0.1:")


def test_paths_lead_to_no_other_files(served: Served) -> None:
    async def visit(client: aiohttp.ClientSession) -> None:
        for path in (
            "/static/..%2fserver.py",
            "/static/%2e%2e/server.py",
            "/static//etc/passwd",
            "/api/download/..%2f..%2fetc",
        ):
            answer = await client.get(path)
            assert answer.status in (400, 403, 404), path
            assert b"import" not in await answer.read()

    let_in(served, visit)


def _huge_nifti() -> bytes:
    """A packed NIfTI header of 1500 x 1500 x 1500 voxels; with its zeros it would unpack from 7 MB to 7 GB."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 1500, 1500, 1500, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(1000))


UPLOADS = {
    "traversal": ("a.zip", zipped(("../../../outside.dcm", b"1"))),
    "bomb": ("a.zip", zipped(("bomb.dcm", bytes(50_000_000)))),
    "damaged zip": ("a.zip", b"PK\x03\x04 no zip"),
    "too large": ("a.nrrd", bytes(1_500_000)),
    "far too large": ("a.nrrd", bytes(3_000_000)),
    "a page": ("page.html", b"<script>alert(1)</script>"),
    "damaged NRRD": ("Doe^Jane.nrrd", b"NRRD0004\ntype: short\ndimension: 3\nsizes: 9 9 9\n\n1"),
    "damaged NIfTI": ("a.nii.gz", b"\x1f\x8b nothing"),
    "damaged DICOM": ("a.dcm", bytes(128) + b"DICM" + b"nonsense"),
    "empty": ("a.nrrd", b""),
    "packed bomb": ("a.nii.gz", _huge_nifti()),
}


@pytest.mark.parametrize("what", UPLOADS)
def test_a_bad_upload_is_refused_in_words_and_leaves_nothing(served: Served, what: str) -> None:
    name, content = UPLOADS[what]

    async def visit(client: aiohttp.ClientSession) -> str:
        form = aiohttp.FormData()
        form.add_field("files", content, filename=name)
        try:
            answer = await client.post("/api/upload", data=form)
        except aiohttp.ClientError:  # refused while the client was still sending
            return "larger"
        if answer.status in (400, 413):
            return await answer.text()
        assert answer.status == 200
        async with client.ws_connect("/api/events") as socket:
            while True:
                state = await socket.receive_json()
                if "start" not in state and state["step"] is None:
                    assert not state["open"]
                    return str(state["message"])

    message = let_in(served, visit)
    assert message
    assert "Traceback" not in message
    assert "unforeseen" not in message
    assert what != "packed bomb" or "3.38e+09 voxels" in message
    assert "Doe" not in "".join(path.name for path in served.temporary.rglob("*"))
    assert private_files(served) == []
    assert list(ROOT.parent.glob("outside*")) == []


REQUESTS: list[tuple[str, Any]] = [
    ("/api/open", b"no json"),
    ("/api/open", b"[1]"),
    ("/api/open", b"{}"),
    ("/api/open", b'{"path": "\\u0000"}'),
    ("/api/open", b'{"path": "x", "kernel": "Q1"}'),
    ("/api/open", b"\xff\xfe"),
    ("/api/normalize", b'{"method": "none"}'),
    ("/api/normalize", b'{"method": ["unet"]}'),
    ("/api/threshold", b'{"threshold_hu": NaN}'),
    ("/api/threshold", b'{"threshold_hu": "-950"}'),
    ("/api/threshold", b'{"threshold_hu": 1e300}'),
    ("/api/upload", b"no form"),
]


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_a_malformed_request_is_answered_in_words(served: Served, path: str, body: bytes) -> None:
    async def visit(client: aiohttp.ClientSession) -> None:
        answer = await client.post(path, data=body)
        if answer.status == 200:  # the path is tried, and found wanting
            async with client.ws_connect("/api/events") as socket:
                while "start" in (state := await socket.receive_json()) or state["step"] is not None:
                    pass
            assert "unforeseen" not in state["message"]
        else:
            assert answer.status == 400
            assert (await answer.json())["error"]

    let_in(served, visit)


def test_twenty_browsers_at_once_are_served_or_refused(serve: Serve, scan: Path) -> None:
    served = serve(scan, "--sessions", "3")

    async def browser(_: int) -> int:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(served.origin, cookie_jar=jar, timeout=TIMEOUT) as client:
            status = (await client.get("/", params={"token": served.token})).status
            if status == 200:
                async with client.ws_connect("/api/events") as socket:
                    while not (await socket.receive_json()).get("open"):
                        pass
                assert (await client.get("/api/hu/0/0-8")).status == 200
            return status

    async def crowd() -> Counter[int]:
        return Counter(await asyncio.gather(*map(browser, range(20))))

    counts = asyncio.run(crowd())
    sys.stderr.write(f"20 browsers at once: {counts[200]} served, {counts[503]} refused\n")
    assert counts == {200: 3, 503: 17}
    assert served.process.poll() is None


def test_one_session_never_sees_anothers(serve: Serve, scan: Path) -> None:
    served = serve()

    async def visit(first: aiohttp.ClientSession) -> None:
        await first.post("/api/open", json={"path": str(scan)})
        async with first.ws_connect("/api/events") as socket:
            while not (await socket.receive_json()).get("open"):
                pass
        assert (await first.get("/api/review")).status == 200
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(served.origin, cookie_jar=jar) as second:
            await second.get("/", params={"token": served.token})
            for path in ("/api/review", "/api/hu/0/0-8", "/api/lungs/0-8", "/api/download/report"):
                assert (await second.get(path)).status == 400, path
            async with second.ws_connect("/api/events") as socket:
                await socket.receive_json()
                assert not (await socket.receive_json())["open"]

    let_in(served, visit)


def _ready(process: Any) -> None:
    line = process.stdout.readline()
    assert line.startswith("Review page: ")


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
def test_nothing_is_left_after_the_end_nor_after_a_kill_and_a_new_start(tmp_path: Path) -> None:
    killed = command_line("review", temporary=tmp_path)
    _ready(killed)
    assert len(list(tmp_path.glob("ctkernel-private-*"))) == 1
    killed.kill()
    killed.wait(PATIENCE_SECONDS)
    assert len(list(tmp_path.glob("ctkernel-private-*"))) == 1
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        ended = command_line("review", temporary=tmp_path)
        _ready(ended)
        ended.send_signal(number)
        assert ended.wait(PATIENCE_SECONDS) == 0
        assert list(tmp_path.glob("ctkernel-private-*")) == []
        ended.stdout.close()
    killed.stdout.close()
