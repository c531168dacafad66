"""``{{ name argument … }}`` in a page becomes a number, a sentence or a table from a results file."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from . import code_tables, results, results_tables
from .results import RESULTS, Evaluation, ResultError

_MACRO = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


class Macros:
    """The macros of one build; every file is read once, when a page first asks for it.

    ``score NAME METHOD MEASURE STATISTIC [severe]``: of ``training/results/NAME/results.json``; statistics: mean, median, sd,
    mean+-sd, n.
    ``table NAME``: all methods. ``network NAME``: whether the network is better than what it starts from.
    ``made NAME``: the command, commit and date of an evaluation or of the checks.
    ``checks kept``, ``checks total``, ``checks failed``: of ``training/results/checks/checks.json``.
    ``json FILE KEY.KEY… [FORMAT]``: any value of a file below ``training/results``; ``card KEY.KEY… [FORMAT]``: of the shipped
    model's card. FORMAT is a number of decimals.
    ``part FILE N``: the N-th table of a Markdown file below ``training/results``; ``part FILE made``: how that file was made.
    ``outside WHAT``: of ``training/results/outside/coverage.csv`` (names in ``results_tables.outside_range``).
    ``noted KEY``: a number of a command that scores no patients, from ``training/results/measured/*.json``, or written down by
    hand in ``training/results/noted.json``; ``noted_table``: all of them.
    ``kernels``, ``presets``: tables of constants of the code.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._evaluations: dict[str, Evaluation] = {}
        self._macros: dict[str, Callable[..., str]] = {
            "score": self._score,
            "table": lambda name: self.evaluation(name).table(),
            "network": lambda name: results.network_verdict(self.evaluation(name)),
            "made": self._made,
            "checks": self._checks,
            "json": self._json,
            "card": lambda key, decimals="": _shown(_at(self.card, key, "card.json"), decimals),
            "part": self._part,
            "outside": self._outside,
            "noted": self._noted,
            "noted_table": self._noted_table,
            "kernels": code_tables.kernels,
            "presets": code_tables.populations,
        }

    def expand(self, text: str) -> str:
        """``text`` with all macros replaced.

        Raises:
            ResultError: a macro is unknown, has the wrong number of arguments, or asks for what is not there.
        """
        return _MACRO.sub(lambda found: self._call(found.group(1)), text)

    def evaluation(self, name: str) -> Evaluation:
        """The evaluation of that name."""
        if name not in self._evaluations:
            self._evaluations[name] = results.read_evaluation(self.root, name)
        return self._evaluations[name]

    @cached_property
    def card(self) -> dict[str, Any]:
        """The shipped model's card."""
        return results.shipped_card(self.root)

    @cached_property
    def checks(self) -> dict[str, Any]:
        """The checks of the shipped model."""
        return results.read_json(self.root / RESULTS / "checks" / "checks.json")

    @cached_property
    def noted(self) -> dict[str, results.Noted]:
        """Numbers of commands, by their keys."""
        return results.read_noted(self.root)

    def failed_checks(self) -> list[dict[str, Any]]:
        """The model's outcomes that do not keep their limits."""
        return [o for o in self.checks["outcomes"] if o["method"] == "model" and not o["passed"]]

    def _call(self, text: str) -> str:
        name, *arguments = text.split()
        if name not in self._macros:
            raise ResultError(f"There is no macro “{name}” (in {{{{ {text} }}}}); there are: {', '.join(self._macros)}.")
        try:
            return self._macros[name](*arguments)
        except TypeError as error:
            raise ResultError(f"{{{{ {text} }}}} has the wrong arguments ({error}).") from error

    def _score(self, name: str, method: str, measure: str, what: str, group: str = "") -> str:
        return self.evaluation(name).statistic(method, measure, what, group == "severe")

    def _made(self, name: str) -> str:
        provenance = self.checks["provenance"] if name == "checks" else self.evaluation(name).provenance
        command, commit, date = (str(provenance.get(key, "not stated")) for key in ("command", "commit", "date"))
        return f"Made by `{command.strip('`')}` on {date}, commit {commit[:10]}."

    def _checks(self, what: str) -> str:
        outcomes = [o for o in self.checks["outcomes"] if o["method"] == "model"]
        if what == "total":
            return str(len(outcomes))
        if what == "kept":
            return str(sum(bool(o["passed"]) for o in outcomes))
        if what == "failed":
            return failed_list(self.failed_checks())
        raise ResultError(f"There is no “checks {what}”; choose kept, total or failed.")

    def _json(self, file: str, key: str, decimals: str = "") -> str:
        return _shown(_at(results.read_json(self.root / RESULTS / file), key, file), decimals)

    def _part(self, file: str, which: str) -> str:
        if which == "made":
            return results_tables.made_line(self.root, file)
        if not which.isdigit():
            raise ResultError(f"“part {file} {which}” asks for no table; give its number, from 1, or “made”.")
        return results_tables.table_of(self.root, file, int(which))

    def _outside(self, what: str) -> str:
        found = results_tables.outside_range(self.root)
        if what not in found:
            raise ResultError(f"There is no “outside {what}”; choose one of {', '.join(found)}.")
        return found[what]

    def _noted(self, key: str) -> str:
        if key not in self.noted:
            raise ResultError(f"No results file below {RESULTS.as_posix()}/{results.MEASURED} has “{key}”, nor has noted.json.")
        return self.noted[key].value

    def _noted_table(self) -> str:
        rows = [("what", "value", "command", "date"), ("---",) * 4]
        rows += [(e.what, e.value, f"`{e.command}`", e.date) for e in self.noted.values()]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def failed_list(outcomes: list[dict[str, Any]]) -> str:
    """Outcomes that do not keep their limits, as a Markdown list; check and case, value and limit."""
    lines = [
        f"- {o['check']}: {o['case']}: {float(o['value']):.3g} {o['unit']} ({o['rule']} {float(o['limit']):g} {o['unit']})"
        for o in outcomes
    ]
    return "\n".join(lines) or "None."


def _at(content: Any, path: str, file: str) -> Any:
    for key in path.split("."):
        try:
            content = content[int(key)] if isinstance(content, list) else content[key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ResultError(f"{file} has no “{path}” (at “{key}”).") from error
    return content


def _shown(value: Any, decimals: str) -> str:
    if value is None:
        return "-"
    return f"{float(value):.{int(decimals)}f}" if decimals else str(value)
