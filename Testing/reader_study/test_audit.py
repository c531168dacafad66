"""The audit trail: added to, never changed; and what opening the labels ends."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from reader_study.studies import Prepared

from ctkernel.reader_study.audit import AuditTrail, line_hash, open_audit, receipt_of
from ctkernel.reader_study.report import report_study
from ctkernel.reader_study.sittings import NotYetError, ReadingRoom, TakenOverError, readings_of
from ctkernel.reader_study.study import AUDIT_FILE
from KernelNormalizationLib.core.errors import InputError


def opened(prepared: Prepared):  # type: ignore[no-untyped-def]
    return open_audit(prepared.study)


def read_all(prepared: Prepared, readers: tuple[str, ...] = ("radiologist", "scientist"), score: int = 4) -> None:
    """Every reader gives every case the same score."""
    with opened(prepared) as audit:
        room = ReadingRoom(prepared.study, audit)
        for reader in readers:
            sitting = room.require_open(reader, room.open(reader))
            for position in range(len(prepared.study.cases)):
                room.open_case(reader, sitting, position)
                room.score(reader, sitting, position, score)


def lines_of(prepared: Prepared) -> list[str]:
    return (prepared.study.folder / AUDIT_FILE).read_text().splitlines()


def write_lines(prepared: Prepared, lines: list[str]) -> None:
    (prepared.study.folder / AUDIT_FILE).write_text("".join(line + "\n" for line in lines))


def with_score(line: str, score: int, new_hash: bool) -> str:
    event = json.loads(line)
    event["score"] = score
    if new_hash:
        event["hash"] = line_hash(event)
    return json.dumps(event, sort_keys=True)


@pytest.mark.parametrize(
    "how", ["changed", "changed with a new hash", "removed", "doubled", "exchanged", "not JSON", "first removed"]
)
def test_a_tampered_trail_is_refused_and_the_line_is_named(how: str, prepared: Prepared, tmp_path: Path) -> None:
    read_all(prepared)
    lines = lines_of(prepared)
    at = 5
    damaged = {
        "changed": [*lines[:at], with_score(lines[at], 1, new_hash=False), *lines[at + 1 :]],
        "changed with a new hash": [*lines[:at], with_score(lines[at], 1, new_hash=True), *lines[at + 1 :]],
        "removed": [*lines[:at], *lines[at + 1 :]],
        "doubled": [*lines[: at + 1], *lines[at:]],
        "exchanged": [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        "not JSON": [*lines[:at], "{", *lines[at + 1 :]],
        "first removed": lines[1:],
    }[how]
    write_lines(prepared, damaged)
    named = {"changed": 6, "changed with a new hash": 7, "removed": 6, "doubled": 7, "exchanged": 6, "not JSON": 6}.get(how, 1)
    with pytest.raises(InputError, match=rf"line {named} was changed"):
        report_study(prepared.study.folder, prepared.seal_path, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_scores_cut_off_at_the_end_show_in_the_reader_s_receipt(prepared: Prepared) -> None:
    """Taking lines from the end leaves a whole chain; the receipt that the reader wrote down is what tells."""
    read_all(prepared)
    with opened(prepared) as audit:
        receipt = receipt_of(audit.events[-1])
    write_lines(prepared, lines_of(prepared)[:-1])
    with opened(prepared) as audit:
        assert receipt_of(audit.events[-1]) != receipt


def test_a_line_that_a_power_cut_left_unfinished_is_dropped_and_the_rest_goes_on(prepared: Prepared) -> None:
    path = prepared.study.folder / AUDIT_FILE
    read_all(prepared, readers=("radiologist",))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n": 99, "event": "sco')
    with opened(prepared) as audit:
        audit.add("opened", {"reader": "scientist"})
    assert path.read_bytes().startswith(whole)
    with opened(prepared) as audit:
        assert audit.events[-1]["reader"] == "scientist"


def test_a_trail_of_another_study_is_refused(prepared: Prepared) -> None:
    path = prepared.study.folder / AUDIT_FILE
    path.unlink()
    AuditTrail.create(path, dataclasses.replace(prepared.study, commitment="0" * 64))
    with pytest.raises(InputError, match="do not belong together"), opened(prepared):
        pass


@pytest.mark.parametrize("change", ["a reader more", "a case less", "another commitment", "another hash of an image"])
def test_a_changed_study_file_is_refused(change: str, prepared: Prepared, tmp_path: Path) -> None:
    read_all(prepared)
    path = prepared.study.folder / "study.json"
    record = json.loads(path.read_text())
    if change == "a reader more":
        record["readers"].append("third")
    elif change == "a case less":
        record["cases"].pop()
    elif change == "another commitment":
        record["commitment"] = "0" * 64
    else:
        record["cases"][0]["sha256"] = record["cases"][1]["sha256"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"study\.json was changed"):
        report_study(prepared.study.folder, prepared.seal_path, tmp_path / "report")


def test_two_programs_never_write_the_same_trail(prepared: Prepared) -> None:
    with opened(prepared), pytest.raises(InputError, match="being used by another"), opened(prepared):
        pass
    with opened(prepared):
        pass


@pytest.mark.slow
def test_labels_stay_sealed_until_all_have_read_and_nothing_can_be_scored_after(prepared: Prepared, tmp_path: Path) -> None:
    read_all(prepared, readers=("radiologist",))
    with pytest.raises(InputError, match="scientist has scored 0 of 8"):
        report_study(prepared.study.folder, prepared.seal_path, tmp_path / "report")
    with opened(prepared) as audit:
        assert not audit.is_unsealed
    read_all(prepared, readers=("scientist",))
    report_study(prepared.study.folder, prepared.seal_path, tmp_path / "report")
    with opened(prepared) as audit, pytest.raises(InputError, match="labels of this study were opened"):
        ReadingRoom(prepared.study, audit)
    # the report can be made again
    again = report_study(prepared.study.folder, prepared.seal_path, tmp_path / "again")
    assert not again.unfinished
    assert sum("unsealed" in line for line in lines_of(prepared)) == 1


@pytest.mark.slow
def test_a_study_can_be_ended_early_and_the_report_says_so(prepared: Prepared, tmp_path: Path) -> None:
    read_all(prepared, readers=("radiologist",))
    found = report_study(prepared.study.folder, prepared.seal_path, tmp_path / "report", allow_unfinished=True)
    assert found.unfinished
    assert "opened before all readers" in (tmp_path / "report" / "report.html").read_text()
    with opened(prepared) as audit, pytest.raises(InputError):
        ReadingRoom(prepared.study, audit)


def test_a_wrong_seal_opens_nothing(prepared: Prepared, tmp_path: Path) -> None:
    read_all(prepared)
    prepared.seal_path.write_text(prepared.seal_path.read_text().replace('"seed": 4', '"seed": 5'))
    with pytest.raises(InputError, match="changed after the study was prepared"):
        report_study(prepared.study.folder, prepared.seal_path, tmp_path / "report")
    with pytest.raises(InputError, match="does not exist"):
        report_study(prepared.study.folder, tmp_path / "nothing.json", tmp_path / "report")
    with opened(prepared) as audit:
        assert not audit.is_unsealed


def test_the_last_score_counts_and_the_earlier_ones_stay_in_the_trail(prepared: Prepared) -> None:
    with opened(prepared) as audit:
        room = ReadingRoom(prepared.study, audit)
        sitting = room.require_open("scientist", room.open("scientist"))
        room.open_case("scientist", sitting, 0)
        for score in (1, 1, 5):
            room.score("scientist", sitting, 0, score)
        assert [event["score"] for event in audit.events if event["event"] == "scored"] == [1, 5]
        (reading,) = readings_of(prepared.study, audit, prepared.seal)
        assert (reading.score, reading.changes) == (5, 1)


def test_a_second_browser_takes_over_and_the_first_can_score_no_more(prepared: Prepared) -> None:
    with opened(prepared) as audit:
        room = ReadingRoom(prepared.study, audit)
        first = room.open("scientist")
        held = room.require_open("scientist", first)
        room.open_case("scientist", held, 0)
        second = room.open("scientist")
        with pytest.raises(TakenOverError):
            room.require_open("scientist", first)
        assert room.require_open("scientist", second)
        # the other reader is not disturbed
        other = room.open("radiologist")
        room.open("scientist")
        assert room.require_open("radiologist", other)


def test_later_cases_stay_closed_and_unseen_cases_get_no_score(prepared: Prepared) -> None:
    with opened(prepared) as audit:
        room = ReadingRoom(prepared.study, audit)
        sitting = room.require_open("scientist", room.open("scientist"))
        with pytest.raises(NotYetError):
            room.open_case("scientist", sitting, 1)
        with pytest.raises(NotYetError):
            room.slice_of("scientist", 1, 0)
        with pytest.raises(InputError, match="not opened"):
            room.score("scientist", sitting, 0, 3)
        with pytest.raises(InputError, match="There is no case 9"):
            room.open_case("scientist", sitting, 8)
        with pytest.raises(InputError, match="There is no slice 8"):
            room.slice_of("scientist", 0, 8)
