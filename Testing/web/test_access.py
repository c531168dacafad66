"""Nobody without the token sees anything, whatever the route; uploads and folders keep to themselves."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer
from web.zips import zipped

from ctkernel.web.access import Access, protect
from ctkernel.web.private_folder import PREFIX, private_folder, remove_abandoned
from ctkernel.web.uploads import UploadLimits, extract_zip, save_upload
from KernelNormalizationLib.core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


async def _page(request: web.Request) -> web.Response:
    return web.Response(text="the scan")


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("the scan")
    await socket.close()
    return socket


def run_client(test: Callable[[TestClient, Access], Awaitable[None]], tmp_path: Path) -> None:
    """Run ``test`` against a protected server with a page, a socket, an upload and static files."""
    access = Access(largest_request=100_000)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "app.js").write_text("1")

    async def upload(request: web.Request) -> web.Response:
        folder = tmp_path / "uploads"
        folder.mkdir(exist_ok=True)
        try:
            files = await save_upload(request, folder, UploadLimits(sent_bytes=50_000, unpacked_bytes=50_000, files=3))
        except InputError as error:
            return web.Response(status=400, text=str(error))
        return web.json_response([path.name for path in files])

    async def run() -> None:
        app = web.Application(client_max_size=100_000)
        app.add_routes([web.get("/", _page), web.get("/ws", _socket), web.post("/upload", upload)])
        app.add_routes([web.static("/static", tmp_path / "static")])
        protect(app, access)
        async with TestClient(TestServer(app), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            await test(client, access)

    asyncio.run(run())


ROUTES = [
    ("GET", "/"),
    ("GET", "/static/app.js"),
    ("POST", "/upload"),
    ("GET", "/nothing-here"),
    ("DELETE", "/"),
    ("HEAD", "/ws"),
]


def test_without_the_token_every_route_answers_401_and_with_a_wrong_one_403(tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        for method, path in ROUTES:
            assert (await client.request(method, path)).status == 401, path
            assert (await client.request(method, path, params={"token": "guess"})).status == 403, path
            assert (await client.request(method, path, cookies={access.cookie: "guess"})).status == 403, path
            client.session.cookie_jar.clear()

    run_client(test, tmp_path)


def test_without_the_token_the_web_socket_is_refused(tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        for path, status in (("/ws", 401), ("/ws?token=guess", 403)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(path)
            assert refused.value.status == status
        socket = await client.ws_connect(f"/ws?token={access.token}")
        assert (await socket.receive_str()) == "the scan"

    run_client(test, tmp_path)


def test_the_token_moves_from_the_address_into_a_cookie_that_scripts_cannot_read(tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        first = await client.get("/", params={"token": access.token, "kept": "1"}, allow_redirects=False)
        assert (first.status, first.headers["Location"]) == (302, "/?kept=1")
        assert "HttpOnly" in first.headers["Set-Cookie"]
        assert "SameSite=Strict" in first.headers["Set-Cookie"]
        assert await (await client.get("/")).text() == "the scan"

    run_client(test, tmp_path)


def test_an_address_of_two_strokes_leads_nowhere_else(tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(f"GET //evil.example/x?token={access.token} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        assert "Location: //" not in answer
        assert "Location: http" not in answer

    run_client(test, tmp_path)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "[::1"}, {"Origin": "http://evil.example"}])
def test_pages_from_elsewhere_are_refused_even_with_the_token(headers: dict[str, str], tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        assert (await client.get("/", params={"token": access.token}, headers=headers)).status == 403

    run_client(test, tmp_path)


def test_every_answer_forbids_foreign_content(tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        for path in ("/", "/nothing-here", f"/static/app.js?token={access.token}"):
            headers = (await client.get(path)).headers
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")

    run_client(test, tmp_path)


def _form(*files: tuple[str, bytes]) -> FormData:
    form = FormData()
    for name, content in files:
        form.add_field("files", content, filename=name)
    return form


def test_uploads_get_numbers_for_names_and_limits_hold(tmp_path: Path) -> None:
    async def test(client: TestClient, access: Access) -> None:
        async def send(*files: tuple[str, bytes]) -> tuple[int, str]:
            answer = await client.post("/upload", data=_form(*files), params={"token": access.token})
            for path in (tmp_path / "uploads").rglob("*"):
                path.unlink() if path.is_file() else None
            return answer.status, await answer.text()

        assert await send(("Doe^Jane.nii.gz", b"1"), ("../../etc/passwd", b"2")) == (200, '["00000.nii.gz", "00001.dcm"]')
        assert (await send(*[(f"{n}.dcm", b"1") for n in range(4)]))[0] == 400
        assert "larger than" in (await send(("big.nrrd", bytes(60_000))))[1]
        assert (await send(("huge.nrrd", bytes(200_000))))[0] == 413
        assert (await client.post("/upload", data=b"no form", params={"token": access.token})).status == 400
        broken = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await client.post("/upload", data=b"--x\r\nnonsense", headers=broken, params={"token": access.token})
        assert answer.status == 400

    run_client(test, tmp_path)


def extract(tmp_path: Path, content: bytes) -> list[Path]:
    (tmp_path / "a.zip").write_bytes(content)
    (tmp_path / "in").mkdir()
    return extract_zip(tmp_path / "a.zip", tmp_path / "in", UploadLimits(unpacked_bytes=100_000, files=10))


def test_a_zip_is_unpacked_under_numbers(tmp_path: Path) -> None:
    files = extract(tmp_path, zipped(("DOE/IM1", b"one"), ("DOE/IM2.dcm", b"two"), ("DOE/", b"")))
    assert [(path.name, path.read_bytes()) for path in files] == [("00000.dcm", b"one"), ("00001.dcm", b"two")]


BAD_ZIPS = {
    "leads outside": zipped(("../../outside", b"1")),
    "leads outside too": zipped(("/etc/outside", b"1")),
    "leads outside as well": zipped(("C:\\outside", b"1"), ("..\\outside", b"1")),
    "empty": zipped(),
    "files; at most": zipped(*[(str(n), b"1") for n in range(11)]),
    "larger than": zipped(("bomb", bytes(5_000_000))),
    "cannot be unpacked": zipped(("a", bytes(1000)))[:60],
}


@pytest.mark.parametrize("reason", BAD_ZIPS)
def test_a_zip_that_could_do_harm_is_refused(reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason.replace(" too", "").replace(" as well", "")):
        extract(tmp_path, BAD_ZIPS[reason])
    assert sorted(path.name for path in tmp_path.rglob("*outside*")) == []


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    honest = zipped(("bomb", bytes(5_000_000)))
    size = (5_000_000).to_bytes(4, "little")
    with pytest.raises(InputError, match=r"cannot be unpacked|larger than"):
        extract(tmp_path, honest.replace(size, (10).to_bytes(4, "little")))
    assert sum(path.stat().st_size for path in (tmp_path / "in").iterdir()) <= 100_000


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="link"):
        extract(tmp_path, buffer.getvalue())


def test_a_private_folder_is_for_this_user_and_gone_afterwards(tmp_path: Path) -> None:
    with private_folder(tmp_path) as folder:
        (folder / "scan").write_text("1")
        if os.name == "posix":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert remove_abandoned(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_what_a_killed_program_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\nfrom ctkernel.web.private_folder import private_folder\n"
        "with private_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'scan').write_text('1'); print('ready', flush=True); time.sleep(3600)"
    )
    paths = os.pathsep.join(str(ROOT / name) for name in ("KernelNormalization", "EmphysemaQuant", "."))
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert remove_abandoned(tmp_path) == 0
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert len(list(tmp_path.glob(PREFIX + "*"))) == 1
    with private_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
