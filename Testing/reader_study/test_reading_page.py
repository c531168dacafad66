"""Two readers of known skill read a study of the paper's size in Chromium: their skills come back, nothing tells a group."""

from __future__ import annotations

import csv
import http.client
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from reader_study.simulated_readers import (
    Seen,
    command_line,
    environment,
    read_cases,
    scores_of_skill,
    serving,
    wait_for_case,
)
from reader_study.studies import PAPER_CASES, PAPER_RIGHT, PAPER_SEED, Prepared, make_folders, prepare

from ctkernel.reader_study.audit import open_audit
from Testing.web.chromium import PATIENCE_SECONDS, chromium, open_window

pytestmark = pytest.mark.slow

expect = pytest.importorskip("playwright.sync_api").expect

STOPPED_AT = 17
ROUNDS = 4
VIEWPORT = {"width": 800, "height": 600}


@dataclass
class Finished:
    """A study that both readers have read."""

    prepared: Prepared
    seen: dict[str, Seen]
    receipts: dict[str, str]
    times: dict[str, list[float]]
    resumed_text: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("paper")
    prepared = prepare(make_folders(root, PAPER_CASES), root, seed=PAPER_SEED)
    seen = {reader: Seen() for reader in PAPER_RIGHT}
    receipts: dict[str, str] = {}
    scores = {reader: scores_of_skill(prepared, reader, right, seed=n) for n, (reader, right) in enumerate(PAPER_RIGHT.items())}
    with chromium() as browser:
        with serving(prepared.study.folder) as links:
            page = open_window(browser, VIEWPORT)
            read_cases(page, links["radiologist"], scores["radiologist"], 0, STOPPED_AT, seen["radiologist"])
            page.keyboard.press("0")  # chosen, not saved: must not count
            page.context.close()
        # another day: the program was stopped too
        with serving(prepared.study.folder) as links:
            page = open_window(browser, VIEWPORT)
            page.goto(links["radiologist"])
            page.wait_for_selector("#view[data-drawn]")
            # the page is opened once more below, and answers that come meanwhile would be lost
            page.wait_for_selector("#loading-text:empty", state="attached")
            resumed = page.locator("h1").inner_text()
            read_cases(page, links["radiologist"], scores["radiologist"], STOPPED_AT, PAPER_CASES, seen["radiologist"])
            receipts["radiologist"] = page.locator("#receipt").inner_text()
            other = open_window(browser, VIEWPORT)
            read_cases(other, links["scientist"], scores["scientist"], 0, PAPER_CASES, seen["scientist"])
            receipts["scientist"] = other.locator("#receipt").inner_text()
            times = answer_times(prepared, links["scientist"])
    return Finished(prepared, seen, receipts, times, resumed)


def answer_times(prepared: Prepared, address: str) -> dict[str, list[float]]:
    """Seconds until the last byte of every slice of every case, by group, in a random order."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    answer.read()
    headers = {"Cookie": (answer.getheader("Set-Cookie") or "").split(";")[0]}
    connection.request("POST", f"{parts.path}sitting", headers=headers)
    headers["X-Sitting"] = json.loads(connection.getresponse().read())["sitting"]
    order = prepared.study.reading_order("scientist")
    asked = [(n, k) for n, case in enumerate(order) for k in range(case.shape[0])] * ROUNDS
    np.random.default_rng(2).shuffle(asked)
    times: dict[str, list[float]] = {"original": [], "normalized": []}
    for n, k in asked:
        start = time.perf_counter()
        connection.request("GET", f"{parts.path}case/{n}/{k}", headers=headers)
        connection.getresponse().read()
        times[prepared.seal.groups[order[n].identifier]].append(time.perf_counter() - start)
    connection.close()
    return times


@pytest.fixture(scope="module")
def report(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report"
    words = command_line("report", str(finished.prepared.study.folder), "--out", str(out))
    run = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "radiologist put 27 of 36 images (75 %" in run.stdout
    assert "scientist put 21 of 36 images (58 %" in run.stdout
    return out


def by_group(finished: Finished, what: dict[int, Any], reader: str) -> tuple[list[Any], list[Any]]:
    """Values by position, split into those of originals and those of normalized images."""
    order = finished.prepared.study.reading_order(reader)
    groups = finished.prepared.seal.groups
    original, normalized = (
        [what[n] for n, c in enumerate(order) if groups[c.identifier] == g] for g in ("original", "normalized")
    )
    return original, normalized


def test_the_skills_of_both_readers_come_back_as_the_paper_s_table(finished: Finished, report: Path) -> None:
    found = json.loads((report / "statistics.json").read_text())
    assert found["cases"] == {"original": 16, "normalized": 20}
    for entry in found["readers"]:
        assert entry["correct"]["hits"] == PAPER_RIGHT[entry["reader"]]
        assert entry["certain"] == 0
        assert [g["group"] for g in entry["groups"]] == ["original", "normalized"]
        assert entry["groups"][0]["mean"] > entry["groups"][1]["mean"]
    # the scores that were pressed, computed once more from them alone
    for n, (reader, right) in enumerate(PAPER_RIGHT.items()):
        scores = np.array(scores_of_skill(finished.prepared, reader, right, seed=n))
        truth = np.array([finished.prepared.seal.groups[c.identifier] for c in finished.prepared.study.reading_order(reader)])
        entry = next(e for e in found["readers"] if e["reader"] == reader)
        for group in entry["groups"]:
            own = scores[truth == group["group"]]
            assert (group["count"], group["mean"], group["sd"]) == pytest.approx((own.size, own.mean(), own.std(ddof=1)))
        high, low = scores[truth == "original"], scores[truth == "normalized"]
        area = np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low))
        assert found["areas"][reader]["area"] == pytest.approx(area)
    radiologist, scientist = found["readers"]
    assert radiologist["p_guessing"] < 0.05 < scientist["p_guessing"]
    assert found["areas"]["radiologist"]["low"] > 0.5


def test_a_browser_closed_half_way_goes_on_where_the_scores_end(finished: Finished, report: Path) -> None:
    assert finished.resumed_text == f"Case {STOPPED_AT + 1} of {PAPER_CASES}"
    found = json.loads((report / "statistics.json").read_text())
    traced = {entry["reader"]: entry for entry in found["readers_traced"]}
    assert traced["radiologist"]["scored"] == PAPER_CASES
    assert traced["radiologist"]["sittings"] >= 2
    assert {reader: entry["receipt"] for reader, entry in traced.items()} == finished.receipts


def test_answers_of_both_groups_are_alike_in_address_status_headers_and_size(finished: Finished) -> None:
    """Every case has the same set of answers, to the last header and byte count; only the date differs."""
    kinds = {reader: {n: frozenset(answers) for n, answers in seen.answers.items()} for reader, seen in finished.seen.items()}
    for reader, of_reader in kinds.items():
        original, normalized = by_group(finished, of_reader, reader)
        assert min(len(original), len(normalized)) >= 9
        assert set(original) == set(normalized)
        assert len(set(original)) == 1
        sizes = {address: size for address, _, _, size in original[0]}
        assert sizes == {f"/{k}": 64 * 64 * 2 for k in range(8)} | {"": 1024, "/score": 1024}
    assert len({kind for of_reader in kinds.values() for kind in of_reader.values()}) == 1


def test_the_page_of_every_case_is_the_same_text(finished: Finished) -> None:
    for reader, seen in finished.seen.items():
        assert len(seen.pages) == PAPER_CASES
        assert len({text for n, text in seen.pages.items() if n > 0}) == 1, reader


def test_no_address_names_a_case_a_group_or_another_computer(finished: Finished) -> None:
    identifiers = [case.identifier for case in finished.prepared.study.cases]
    for seen in finished.seen.values():
        for url in seen.other:
            assert url.startswith("http://127.0.0.1:")
            assert not any(word in url.lower() for word in ("original", "normal", "synth", "meier", *identifiers)), url


def test_answers_take_as_long_for_one_group_as_for_the_other(finished: Finished) -> None:
    """Guessing the group of a slice from the time of its answer is guessing: area under the ROC curve 0.5."""
    original, normalized = (np.array(finished.times[group]) for group in ("original", "normalized"))
    assert original.size + normalized.size == PAPER_CASES * 8 * ROUNDS
    area = np.mean((original[:, None] > normalized) + 0.5 * (original[:, None] == normalized))
    # standard deviation of the area without any difference, sqrt((m + n + 1) / (12 m n)), is 0.017; four of them
    assert abs(area - 0.5) < 4.0 * np.sqrt((original.size + normalized.size + 1) / (12 * original.size * normalized.size))
    # The same for the medians. They were asked for in a random order, so whatever else this machine does, the difference is one
    # of those that groups drawn at random from the same times have.
    both, drawn = np.concatenate([original, normalized]), np.random.default_rng(3)
    differences = []
    for _ in range(4000):
        drawn.shuffle(both)
        differences.append(abs(np.median(both[: original.size]) - np.median(both[original.size :])))
    assert abs(np.median(original) - np.median(normalized)) <= max(differences)


def test_the_report_loads_nothing_and_says_research_only(report: Path) -> None:
    text = (report / "report.html").read_text()
    assert "default-src 'none'" in text
    assert "Research use only" in text
    assert not [word for word in ("http://", "https://", "<script", "@import", "Meier") if word in text]
    for path in report.iterdir():
        assert b"Meier" not in path.read_bytes()


def test_the_tables_hold_every_score_and_the_use_line(finished: Finished, report: Path) -> None:
    rows = list(csv.reader((report / "scores.csv").open()))
    assert len(rows) == 2 * PAPER_CASES + 2
    assert rows[-1] == ["Research use only. Not for diagnosis."]
    right = {reader: sum(row[0] == reader and row[5] == "1" for row in rows) for reader in PAPER_RIGHT}
    assert right == PAPER_RIGHT
    names = {row[1] for row in csv.reader((report / "statistics.csv").open()) if len(row) > 1}
    assert {
        "mean score of original",
        "correct, %",
        "ROC area (DeLong)",
        "kappa of answers",
        "images normalized with score 2",
    } <= names


def test_a_closed_study_is_not_opened_again(finished: Finished, report: Path) -> None:
    words = command_line("run", str(finished.prepared.study.folder))
    run = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert run.returncode == 2
    assert "labels of this study were opened" in run.stderr


def test_two_browsers_of_one_reader_and_free_scrolling_and_windowing(prepared: Prepared) -> None:
    """The newer browser goes on; the older says so and saves nothing. Mouse and keys change slice and window."""
    problems: list[str] = []
    with serving(prepared.study.folder) as links, chromium() as browser:
        older, newer = (open_window(browser, VIEWPORT) for _ in range(2))
        newer.on("pageerror", lambda error: problems.append(str(error)))
        newer.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        for page in (older, newer):
            page.goto(links["radiologist"])
            page.locator("#cover").get_by_text("8 chest CT images").wait_for()
            page.get_by_role("button", name="Start").click()
            wait_for_case(page, 0)
        older.keyboard.press("5")
        older.keyboard.press("Enter")
        older.get_by_role("heading", name="Opened in another window").wait_for()
        for side in ("R", "L"):
            expect(newer.get_by_text(side, exact=True)).to_be_visible()
        shown = newer.locator("#slice-text")
        expect(shown).to_have_text("slice 5 of 8")
        newer.keyboard.press("ArrowDown")
        expect(shown).to_have_text("slice 4 of 8")
        newer.mouse.move(200, 200)
        newer.mouse.wheel(0, -100)
        expect(shown).to_have_text("slice 5 of 8")
        newer.keyboard.press("w")
        window = newer.locator("#window-text")
        expect(window).to_contain_text("W 400 HU")
        newer.mouse.down()
        newer.mouse.move(260, 240, steps=4)
        newer.mouse.up()
        expect(window).to_have_text("C −810  W 460 HU")
        expect(newer.get_by_role("button", name="Save and next")).to_be_disabled()
        newer.keyboard.press("2")
        newer.keyboard.press("Enter")
        wait_for_case(newer, 1)
        newer.keyboard.press("b")
        newer.get_by_text("a new one replaces it").wait_for()
        expect(newer.get_by_label("rather synthetic")).to_be_checked()
        expect(newer.locator(".use")).to_contain_text("Research use only")
    with open_audit(prepared.study) as audit:
        assert [event["score"] for event in audit.events if event["event"] == "scored"] == [2]
    assert problems == []
