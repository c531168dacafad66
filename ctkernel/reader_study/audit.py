"""What happened in a study, one line an event, each with the hash of the line before: lines are added, never changed.

A line that is changed, taken out, added in the middle or moved breaks the chain, and everything refuses the file. Somebody who
can write the file could make a whole new chain; against that each reader gets a receipt (the hash of the last line), which the
report prints again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from KernelNormalizationLib.core.errors import InputError

from ..file_lock import try_to_lock
from .seal import canonical_json
from .study import AUDIT_FILE, Study, record_hash

START = "0" * 64
RECEIPT_LENGTH = 12
LARGEST_BYTES = 64 << 20
PREPARED, OPENED, SCORED, UNSEALED = "prepared", "opened", "scored", "unsealed"

Event = dict[str, Any]


class AuditTrail:
    """The events of a study; held by one program at a time.

    Attributes:
        events: as written, each with ``n``, ``time`` (UTC), ``event``, ``before`` and ``hash``.
    """

    def __init__(self, file: IO[bytes], events: list[Event]) -> None:
        self._file = file
        self.events = events

    @staticmethod
    def create(path: Path, study: Study) -> None:
        """Write a new trail with the event ``prepared``."""
        with path.open("xb") as file:
            facts = {"study": study.identifier, "commitment": study.commitment, "record": record_hash(study)}
            AuditTrail(file, []).add(PREPARED, facts)

    @property
    def is_unsealed(self) -> bool:
        """Whether the labels were opened, which ends the study."""
        return any(event["event"] == UNSEALED for event in self.events)

    @property
    def receipt(self) -> str:
        """The first characters of the last line's hash."""
        return receipt_of(self.events[-1])

    def add(self, event: str, facts: Event) -> Event:
        """Write one more line and wait until it is on the disk.

        Args:
            event: what happened.
            facts: JSON-serializable details.
        """
        before = self.events[-1]["hash"] if self.events else START
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line: Event = {"n": len(self.events), "time": time, "event": event, "before": before, **facts}
        line["hash"] = line_hash(line)
        self._file.write(json.dumps(line, sort_keys=True).encode("utf-8") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.events.append(line)
        return line


def receipt_of(event: Event) -> str:
    """The receipt that a reader gets for an event."""
    return str(event["hash"])[:RECEIPT_LENGTH]


def line_hash(line: Event) -> str:
    """SHA-256 of a line without its own hash, hexadecimal."""
    return hashlib.sha256(canonical_json({key: value for key, value in line.items() if key != "hash"})).hexdigest()


@contextmanager
def open_audit(study: Study) -> Iterator[AuditTrail]:
    """Check the whole trail of a study and hold it, so that no other program adds to it meanwhile.

    Args:
        study: its first line must hold the hash of this study's record.

    Raises:
        InputError: missing, in use, of another study, or changed afterwards; the message says in which line.
    """
    path = study.folder / AUDIT_FILE
    try:
        file = path.open("r+b")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; copy the study folder again.") from error
    with file:
        # the locked byte lies far behind the end, so that Windows lets others read the trail
        if not try_to_lock(file, LARGEST_BYTES):
            raise InputError(f"{path.parent} is being used by another ctkernel; stop that one first (Ctrl+C).")
        content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise InputError(f"{path} is larger than {LARGEST_BYTES >> 20} MB, too large for a file of a study; copy it again.")
        events, whole = read_events(content, path)
        if events[0].get("record") != record_hash(study):
            raise InputError(
                f"{path} and study.json do not belong together, or study.json was changed; copy the study folder again."
            )
        # a line without its end was never confirmed to anybody: the power failed while it was written
        file.truncate(whole)
        file.seek(whole)
        yield AuditTrail(file, events)


def read_events(content: bytes, path: Path) -> tuple[list[Event], int]:
    """Events of a file whose chain is whole, and the number of bytes up to the end of the last complete line.

    Raises:
        InputError: a line was changed, removed, added or moved.
    """
    whole = content.rfind(b"\n") + 1
    events: list[Event] = []
    before = START
    for number, text in enumerate(content[:whole].splitlines()):
        try:
            line = json.loads(text)
            sound = line["hash"] == line_hash(line) and line["before"] == before and line["n"] == number
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise InputError(
                f"{path}: line {number + 1} was changed, removed or put in afterwards (its hash does not fit). The scores "
                "cannot be trusted; use an unchanged copy."
            )
        events.append(line)
        before = line["hash"]
    if not events or events[0]["event"] != PREPARED:
        raise InputError(f"{path} does not begin with the preparation of a study; use an unchanged copy.")
    return events, whole
