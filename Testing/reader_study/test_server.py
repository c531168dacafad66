"""The server answers readers only, one case at a time, and refuses everything else in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from reader_study.studies import Prepared

from ctkernel.reader_study.audit import AuditTrail, open_audit
from ctkernel.reader_study.server import SITTING_HEADER, addresses, build_app
from ctkernel.reader_study.sittings import ReadingRoom
from ctkernel.web.access import Access

BASE = "/read/key-of-scientist"
KEYS = {"key-of-scientist": "scientist", "key-of-radiologist": "radiologist"}


def run_client(prepared: Prepared, test: Callable[[TestClient, AuditTrail], Awaitable[None]], token: bool = True) -> None:
    """Run ``test`` against the server of a study, with the token in the cookie unless told otherwise."""
    study = prepared.study

    async def run() -> None:
        with open_audit(study) as audit:
            access = Access()
            app = build_app(ReadingRoom(study, audit), KEYS, access)
            async with TestClient(TestServer(app), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
                if token:
                    await client.get(BASE + "/", params={"token": access.token})
                await test(client, audit)

    asyncio.run(run())


async def sit(client: TestClient) -> dict[str, str]:
    answer = await (await client.post(BASE + "/sitting")).json()
    return {SITTING_HEADER: answer["sitting"]}


def test_without_the_token_nothing_is_seen(prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        for path in (BASE + "/", BASE + "/state", BASE + "/case/0/0", "/page/page.js", "/study.json", "/"):
            assert (await client.get(path)).status == 401, path
        assert (await client.post(BASE + "/sitting")).status == 401
        assert len(audit.events) == 1

    run_client(prepared, test, token=False)


def test_a_reader_needs_the_own_key_and_files_of_the_study_are_not_served(prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        assert (await client.get("/read/scientist/")).status == 403
        assert (await client.post("/read/guess/sitting")).status == 403
        for path in ("/study.json", "/audit.jsonl", "/page/page.html", "/page/..%2fserver.py", "/page/../server.py", "/page/"):
            assert (await client.get(path)).status == 404, path

    run_client(prepared, test)


def test_addresses_hold_the_key_of_one_reader_each() -> None:
    access = Access()
    links = addresses(KEYS, access, 81)
    assert links["scientist"] == f"http://127.0.0.1:81/read/key-of-scientist/?token={access.token}"
    assert "scientist" not in links["radiologist"]


def test_slices_come_as_plain_16_bit_values_of_the_stored_image(prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        headers = await sit(client)
        facts = await (await client.get(BASE + "/case/0", headers=headers)).json()
        case = prepared.study.reading_order("scientist")[0]
        assert facts == {"shape": [8, 64, 64], "spacing_mm": [1.25, 0.7, 0.7], "score": -1}
        asked = headers | {"Accept-Encoding": "gzip, deflate, br, zstd"}
        answer = await client.get(BASE + "/case/0/3", headers=asked)
        assert "Content-Encoding" not in answer.headers
        assert "ETag" not in answer.headers
        assert "Last-Modified" not in answer.headers
        assert np.array_equal(np.frombuffer(await answer.read(), "<i2").reshape(64, 64), prepared.study.voxels(case)[3])

    run_client(prepared, test)


@pytest.mark.parametrize(
    "body", [b'{"score": 6}', b'{"score": -1}', b'{"score": 2.5}', b'{"score": "3"}', b'{"score": true}', b'{"score": null}',
             b'{"score": NaN}', b"{}", b"[]", b"3", b"", b"{", b"[" * 3000, b"\xff\xfe"]
)  # fmt: skip
def test_wrong_scores_are_refused_in_words_and_leave_no_trace(body: bytes, prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        headers = await sit(client)
        await client.get(BASE + "/case/0", headers=headers)
        before = len(audit.events)
        answer = await client.post(BASE + "/case/0/score", headers=headers, data=body)
        assert answer.status == 400
        assert "score" in (await answer.json())["error"]
        assert len(audit.events) == before

    run_client(prepared, test)


def test_an_oversized_request_is_refused(prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        headers = await sit(client)
        await client.get(BASE + "/case/0", headers=headers)
        assert (await client.post(BASE + "/case/0/score", headers=headers, data=b" " * 100_000)).status == 413

    run_client(prepared, test)


def test_statuses_tell_the_page_what_happened(prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        first = await sit(client)
        assert (await client.get(BASE + "/case/0", headers=first)).status == 200
        assert (await client.get(BASE + "/case/1", headers=first)).status == 403
        assert (await client.get(BASE + "/case/1/0", headers=first)).status == 403
        assert (await client.get(BASE + "/case/0/8", headers=first)).status == 400
        assert (await client.get(BASE + "/case/999", headers=first)).status == 400
        assert (await client.get(BASE + "/case/-1", headers=first)).status == 404
        assert (await client.get(BASE + "/case/0")).status == 409
        await sit(client)
        for answer in (
            await client.get(BASE + "/case/0", headers=first),
            await client.get(BASE + "/case/0/0", headers=first),
            await client.post(BASE + "/case/0/score", headers=first, json={"score": 3}),
        ):
            assert answer.status == 409
            assert "another window" in (await answer.json())["error"]

    run_client(prepared, test)


def test_a_saved_score_moves_on_and_twenty_double_clicks_are_one_score(prepared: Prepared) -> None:
    async def test(client: TestClient, audit: AuditTrail) -> None:
        headers = await sit(client)
        await client.get(BASE + "/case/0", headers=headers)

        async def save() -> dict[str, Any]:
            answer = await client.post(BASE + "/case/0/score", headers=headers, json={"score": 2})
            content: dict[str, Any] = await answer.json()
            return content

        states = await asyncio.gather(*(save() for _ in range(20)))
        assert all(state["next"] == 1 for state in states)
        assert sum(event["event"] == "scored" for event in audit.events) == 1

    run_client(prepared, test)
