"""A session tells its pages of every change."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ctkernel.review.session import Session


def test_a_change_while_the_page_is_being_told_of_another_is_told_too(tmp_path: Path) -> None:
    async def run() -> None:
        session = Session(tmp_path / "session", asyncio.Lock())
        seen = session.changes
        session.tell()  # while the page is being sent the state before
        for _ in range(10):
            await asyncio.sleep(0)
        told = asyncio.create_task(session.changed(seen, 3600.0))
        again = asyncio.create_task(session.changed(session.changes, 3600.0))
        for _ in range(10):
            await asyncio.sleep(0)
        assert told.done()
        assert not again.done(), "there was no other change"
        session.tell()
        await again
        await session.close()

    asyncio.run(run())
