"""The commands of training that hide the product's notices give them back to the process they ran in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from training import checks, coverage, evaluate
from training.running.command_line import PRODUCT, without_notices

LOGS = [logging.getLogger(f"{name}.core") for name in PRODUCT]


@pytest.mark.parametrize("log", LOGS, ids=PRODUCT)
def test_notices_are_hidden_while_a_command_runs(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    def speak(when: str) -> None:
        log.warning("a notice %s", when)
        log.error("an error %s", when)

    @without_notices()
    def command() -> None:
        speak("inside")
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        command()
    speak("after")
    assert caplog.messages == ["an error inside", "a notice after", "an error after"]


@pytest.mark.parametrize("main", [checks.main, coverage.main, evaluate.main], ids=["checks", "coverage", "evaluate"])
def test_a_refused_command_leaves_the_log_as_it_was(
    main: Callable[[list[str]], int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["--model", "no-such-model"] if main is checks.main else [str(tmp_path)]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    caplog.clear()
    for log in LOGS:
        log.warning("a notice")
    assert caplog.messages == ["a notice"] * len(LOGS)
