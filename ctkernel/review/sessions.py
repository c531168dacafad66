"""All sessions of one server: each browser gets its own, up to a number that the memory allows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from .session import Session

# A reader whose browser is gone this long will not come back; with every place taken, a shorter absence is enough.
GONE_SECONDS, GONE_WHEN_FULL_SECONDS = 900.0, 30.0


class Sessions:
    """The open sessions.

    Args:
        folder: private folder in which each gets its own.
        most: how many at once.
        on_new: called with each new session.
    """

    def __init__(self, folder: Path, most: int, on_new: Callable[[Session], None]) -> None:
        self._folder, self._most, self._on_new = folder, most, on_new
        self._open: dict[str, Session] = {}
        self._turn = asyncio.Lock()
        self._made = 0

    def find(self, identifier: str | None) -> Session | None:
        """The session of that identifier."""
        session = self._open.get(identifier or "")
        if session is not None:
            session.last_seen = time.monotonic()
        return session

    async def admit(self) -> Session | None:
        """A new session, or ``None`` when every place is taken."""
        await self._remove_gone()
        if len(self._open) >= self._most:
            return None
        self._made += 1
        session = Session(self._folder / f"session-{self._made:04d}", self._turn)
        self._open[session.identifier] = session
        self._on_new(session)
        return session

    async def leave(self, session: Session) -> None:
        """End a session: its step is stopped, its files are removed."""
        self._open.pop(session.identifier, None)
        await session.close()

    async def close(self) -> None:
        """End all sessions."""
        for session in list(self._open.values()):
            await self.leave(session)

    async def _remove_gone(self) -> None:
        allowed = GONE_WHEN_FULL_SECONDS if len(self._open) >= self._most else GONE_SECONDS
        now = time.monotonic()
        for session in list(self._open.values()):
            if session.sockets == 0 and now - session.last_seen > allowed:
                await self.leave(session)
