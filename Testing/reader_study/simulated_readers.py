"""Readers of known skill in a real browser, and what the browser saw meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from reader_study.studies import Prepared

from Testing.web.chromium import PATIENCE_SECONDS, wait_drawn

ROOT = Path(__file__).resolve().parents[2]
# Differs from answer to answer whatever they hold.
ANY_TIME = ("date",)


@dataclass
class Seen:
    """What a browser saw: for each position the answers (address, status, headers, bytes) and the page's text."""

    answers: dict[int, list[tuple[str, int, str, int]]] = field(default_factory=dict)
    pages: dict[int, str] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)


def command_line(*words: str) -> list[str]:
    return [sys.executable, "-m", "ctkernel", "reader-study", *words]


def environment() -> dict[str, str]:
    parts = [str(ROOT / "KernelNormalization"), str(ROOT / "EmphysemaQuant"), str(ROOT)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(parts)}


@contextmanager
def serving(folder: Path) -> Iterator[Mapping[str, str]]:
    """``ctkernel reader-study run``: the address of each reader."""
    run = subprocess.Popen(command_line("run", str(folder), "--json"), stdout=subprocess.PIPE, text=True, env=environment())
    try:
        assert run.stdout is not None
        text = ""
        for line in run.stdout:
            text += line
            if line == "}\n":
                break
        yield json.loads(text)["addresses"]
    finally:
        run.terminate()
        assert run.wait(timeout=PATIENCE_SECONDS) == 0


def scores_of_skill(prepared: Prepared, reader: str, correct: int, seed: int) -> list[int]:
    """Scores, in the reader's order, of which exactly ``correct`` are right, in both groups alike.

    Nobody is certain, as in the paper: a reader is "rather" and "probably" of an opinion in turns.

    Args:
        prepared: the study; these readers are told the truth.
        reader: whose order.
        correct: how many answers are right.
        seed: which ones.
    """
    rng = np.random.default_rng(seed)
    order = [prepared.seal.groups[case.identifier] for case in prepared.study.reading_order(reader)]
    scores = [0] * len(order)
    hits = {"original": round(correct * order.count("original") / len(order))}
    hits["normalized"] = correct - hits["original"]
    for group, sides in (("original", ((3, 4), (2, 1))), ("normalized", ((2, 1), (3, 4)))):
        own = [position for position, shown in enumerate(order) if shown == group]
        rng.shuffle(own)
        for n, position in enumerate(own):
            scores[position] = sides[0 if n < hits[group] else 1][n % 2]
    return scores


def read_cases(page: Any, address: str, scores: list[int], first: int, last: int, seen: Seen) -> None:
    """Open the reading and score the cases ``first`` to ``last`` (exclusive) by keyboard."""
    came: list[Any] = []

    def keep(response: Any) -> None:
        came.append(response)

    page.on("response", keep)
    page.goto(address)
    if first == 0:
        page.get_by_role("button", name="Start").click()
    for position in range(first, last):
        wait_for_case(page, position)
        seen.pages[position] = _without_position(page.content(), position)
        page.keyboard.press("ArrowUp")
        page.keyboard.press(str(scores[position]))
        page.keyboard.press("Enter")
    if last == len(scores):
        page.wait_for_selector("#cover:not([hidden])")
    else:
        wait_for_case(page, last)
    page.remove_listener("response", keep)
    for response in came:
        _note(response, seen)


def wait_for_case(page: Any, position: int) -> None:
    """Wait until the case is on the screen with all its slices."""
    page.get_by_role("heading", name=f"Case {position + 1} of").wait_for()
    page.wait_for_selector("#loading-text:empty", state="attached")
    page.wait_for_selector("#view[data-drawn]")
    wait_drawn(page)


def _note(response: Any, seen: Seen) -> None:
    headers = {key: value for key, value in response.headers.items() if key not in ANY_TIME}
    found = re.search(r"/case/(\d+)(.*)", response.url)
    if found is None:
        seen.other.append(response.url)
        return
    entry = (found[2], response.status, json.dumps(headers, sort_keys=True), len(response.body()))
    seen.answers.setdefault(int(found[1]), []).append(entry)


def _without_position(content: str, position: int) -> str:
    content = content.replace(f'id="number">{position + 1}<', 'id="number">N<')
    return re.sub(r' value="\d+"( aria-label="Cases scored")', r"\1", content)
