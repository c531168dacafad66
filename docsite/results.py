"""Numbers of the documents, read from results files: scores of an evaluation, checks of a model, numbers noted by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

RESULTS = Path("training") / "results"
# Folder of the results files of commands that score no patients.
MEASURED = "measured"
MODELS = Path("KernelNormalization") / "Resources" / "Models"
SEVERE_EI = 5.0
# Measure -> heading of its column, and digits that are shown.
MEASURES = {
    "l1_image": ("L1, image (HU)", 1),
    "l1_body": ("L1, body (HU)", 1),
    "l1_lung": ("L1, lungs (HU)", 1),
    "abs_dei": ("abs. dEI (points)", 2),
    "dice": ("Dice", 2),
}
LESS_IS_BETTER = {"l1_image", "l1_body", "l1_lung", "abs_dei"}
METHOD_WORDS = {
    "study": "study (the direct UNet of the paper)",
    "oracle": "oracle (image before truncation)",
    "restored": "restored (no network)",
}
Score = dict[str, Any]


class ResultError(Exception):
    """A results file, or a number in it, that a page asks for is not there."""


@dataclass(frozen=True)
class Difference:
    """How much better one method is than another in the same patients.

    Attributes:
        gain: mean over patients, positive where the first method is better.
        p: of the paired two-sided t-test.
        n: patients.
    """

    gain: float
    p: float
    n: int


@dataclass(frozen=True)
class Evaluation:
    """Scores of one evaluation (``training/results/NAME/results.json``).

    Attributes:
        name: of its folder.
        scores: one entry a patient and method.
        provenance: command, commit, date.
    """

    name: str
    scores: tuple[Score, ...]
    provenance: dict[str, Any]

    @property
    def methods(self) -> list[str]:
        """In the order of the file."""
        return list(dict.fromkeys(str(s["method"]) for s in self.scores))

    def values(self, method: str, measure: str, severe: bool = False) -> list[float]:
        """Of every patient, or of those with a true EI above 5 %.

        Raises:
            ResultError: no such method or measure.
        """
        if method not in self.methods or measure not in MEASURES:
            raise ResultError(f"{RESULTS.as_posix()}/{self.name}/results.json has no {measure} of a method “{method}”.")
        chosen = (s for s in self.scores if s["method"] == method and (not severe or s["true_ei"] > SEVERE_EI))
        return [float(s[measure]) for s in chosen]

    def statistic(self, method: str, measure: str, what: str, severe: bool = False) -> str:
        """``mean``, ``median``, ``sd``, ``mean+-sd`` or ``n``, with the digits of the measure."""
        values, digits = self.values(method, measure, severe), MEASURES[measure][1]
        if what == "n":
            return str(len(values))
        if not values:
            return "-"
        if what == "mean+-sd" and len(values) > 1:
            return f"{mean(values):.{digits}f}\u00a0±\u00a0{stdev(values):.{digits}f}"
        of: dict[str, Callable[[list[float]], float]] = {"mean": mean, "median": median, "sd": stdev, "mean+-sd": mean}
        if what not in of:
            raise ResultError(f"There is no statistic “{what}”; choose one of n, {', '.join(of)}.")
        return f"{of[what](values):.{digits}f}"

    def table(self, measures: Sequence[str] = ("l1_image", "l1_lung", "abs_dei", "dice")) -> str:
        """Every method, all patients and, where there are any, those with EI above 5 %; mean and SD, as Markdown."""
        header = ["images", "n", *(MEASURES[measure][0] for measure in measures)]
        rows = [header, ["---"] * len(header)]
        for severe in (False, True):
            for method in self.methods:
                count = len(self.values(method, measures[0], severe))
                words = METHOD_WORDS.get(method, method) + (", EI > 5" if severe else "")
                cells = [self.statistic(method, measure, "mean+-sd", severe) for measure in measures]
                rows += [[words, str(count), *cells]] if count else []
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def difference(self, better: str, worse: str, measure: str) -> Difference:
        """By how much ``better`` is better than ``worse``, patient by patient."""
        pairs = zip(self.values(better, measure), self.values(worse, measure), strict=True)
        gains = [(b - a) * (1.0 if measure in LESS_IS_BETTER else -1.0) for a, b in pairs]
        return Difference(mean(gains), _paired_p(gains), len(gains))


def read_evaluation(root: Path, name: str) -> Evaluation:
    """The evaluation in ``training/results/NAME``.

    Raises:
        ResultError: it is not there, or holds no scores.
    """
    content = read_json(root / RESULTS / name / "results.json")
    scores = tuple(content.get("scores", ()))
    if not scores:
        raise ResultError(f"{RESULTS.as_posix()}/{name}/results.json holds no scores.")
    return Evaluation(name, scores, content.get("provenance", {}))


def read_json(path: Path) -> dict[str, Any]:
    """A results file.

    Raises:
        ResultError: it is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read ({error}); a page takes numbers from it.") from error
    if not isinstance(content, dict):
        raise ResultError(f"{path} is no JSON object; a page takes numbers from it.")
    return content


@dataclass(frozen=True)
class Noted:
    """A number of a command that scores no patients.

    Attributes:
        value: as a page shows it.
        what: what it is, with its unit.
        command: that measured it.
        date: when.
    """

    value: str
    what: str
    command: str
    date: str


def read_noted(root: Path) -> dict[str, Noted]:
    """Numbers by their keys: of the results files of commands (``training/results/measured``), and those written down by hand.

    Raises:
        ResultError: a file cannot be read, or a key stands in two of them.
    """
    by_hand = read_json(root / RESULTS / "noted.json")
    found = {key: Noted(e["value"], e["what"], e["command"], e["date"]) for key, e in by_hand.items()}
    for path in sorted((root / RESULTS / MEASURED).glob("*.json")):
        content = read_json(path)
        command, date = (str(content["provenance"][key]) for key in ("command", "date"))
        for key, entry in content["numbers"].items():
            if key in found:
                raise ResultError(f"“{key}” stands in {path.name} and in another file; take the older one out.")
            found[key] = Noted(f"{entry['value']:.{entry['decimals']}f}", entry["what"], command, date)
    return found


def shipped_card(root: Path) -> dict[str, Any]:
    """Card of the model that is used unless another is asked for."""
    return read_json(root / MODELS / str(read_json(root / MODELS / "default.json")["model"]) / "card.json")


def network_verdict(evaluation: Evaluation) -> str:
    """What the network adds to the method it starts from, in a sentence that follows the numbers."""
    parts = []
    for measure, words in (("abs_dei", "points of abs. dEI"), ("dice", "in Dice"), ("l1_image", "HU of L1 in the image")):
        found = evaluation.difference("unet", "restored", measure)
        digits = 3 if measure == "dice" else 2
        clear = "" if found.p < 0.05 else ", not significant"
        better = "better" if found.gain > 0 else "worse"
        parts.append(f"{better} by {abs(found.gain):.{digits}f} {words} (paired t-test, p {_shown_p(found.p)}{clear})")
    index = evaluation.difference("unet", "restored", "abs_dei")
    if index.p >= 0.05:
        verdict = "The network changes the index neither for better nor for worse"
    else:
        verdict = "The network improves the index" if index.gain > 0 else "The network makes the index worse"
    return f"**{verdict}.** Compared with *restored*, from which it starts, it is {', '.join(parts)}; n = {index.n}."


def _paired_p(gains: Sequence[float]) -> float:
    """Two-sided p of a paired t-test; 1 where it cannot be computed."""
    if len(gains) < 2 or stdev(gains) == 0.0:
        return 1.0
    from scipy.stats import t

    statistic = mean(gains) / (stdev(gains) / math.sqrt(len(gains)))
    return float(2.0 * t.sf(abs(statistic), len(gains) - 1))


def _shown_p(p: float) -> str:
    return "&lt; .001" if p < 0.001 else f"= {p:.3f}".replace("= 0", "= ")
