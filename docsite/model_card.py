"""The model card as a page, from the model's ``card.json`` and the results files."""

from __future__ import annotations

from typing import Any

from .macros import failed_list
from .results import Evaluation

# Measures of a card in words.
MEASURE_WORDS = {
    "abs_delta_ei_points": "abs. dEI (points)",
    "dice": "Dice",
    "l1_image_hu": "L1, image (HU)",
    "l1_lung_hu": "L1, lungs (HU)",
}
# Said of every model that ships, unless its card says it itself under these keys.
INTENDED_USE = (
    "Research on emphysema in chest CT: turning a scan reconstructed with a sharp Siemens kernel (B50f to B80f) into what the "
    "smooth kernel B20f would have shown, so that EI, Perc15 and mean density can be compared with scans of that kernel."
)
NOT_FOR = (
    "Diagnosis, treatment or screening of patients; iterative or deep-learning reconstructions; detecting nodules or anything "
    "else that needs the fine detail of the sharp kernel; other body regions."
)
LIMITS = (
    "No real B20f image of sharp scans was used to train it; its results are of simulated patients and a few real scans.",
    "Kernels of other makers and slices thicker than 1.5 mm are accepted with a warning; only single scans were tested.",
    "The 95 % interval of EI can be too narrow on scanners unlike those simulated.",
    "At EI up to 5 % the place of emphysema is unreliable, on original smooth scans too.",
)


def card_page(card: dict[str, Any], evaluation: Evaluation, checks: dict[str, Any], weights_place: str) -> str:
    """The page as Markdown.

    Args:
        card: the model's card.
        evaluation: of the population that its errors come from.
        checks: content of ``checks.json``.
        weights_place: folder of the model in the repository.
    """
    pair, training = card["kernel_pair"], card.get("training", {})
    parts = [
        f"# Model card: {card['id']}",
        f"*{card['use']}* {card['label']}; from {pair[0]} to {pair[1]}; licence {card['licence']}. This page is made from the "
        f"model's `card.json` (in `{weights_place}`) and the results files each time these pages are built.",
        "## Intended use",
        str(card.get("intended_use", INTENDED_USE)),
        f"**Not for:** {card.get('not_for', NOT_FOR)}",
        "## Data",
        str(card["training_data"]),
        f"How patients are simulated, and what is not real in them: [data statement](simulator.md). {_training(training)}",
        "## Results",
        _metrics(card["metrics"]),
        "## Results by stratum of EI",
        "Error of EI (normalized minus true) of patients that the network never saw, by the normalized EI. The interval of EI "
        "that panel, command line and report show is made from this table.",
        _strata(card.get("ei_error_strata", [])),
        f"All methods in the same {len(evaluation.values(evaluation.methods[0], 'l1_image'))} patients:",
        evaluation.table(),
        "## Limits",
        "\n".join(f"- {line}" for line in card.get("limits", LIMITS)),
        "## Known failures",
        _failures(card, checks),
        "## Files",
        _files(card),
    ]
    return "\n\n".join(parts) + "\n"


def _training(training: dict[str, Any]) -> str:
    if not training:
        return ""
    names = ("steps", "epochs", "batch", "patch", "learning_rate", "schedule", "seed")
    settings = ", ".join(f"{name.replace('_', ' ')} {training[name]}" for name in names if training.get(name))
    without = training.get("sources", {}).get("without", [])
    left_out = f" Left out of training, so that they can be tested on: {', '.join(without)}." if without else ""
    return f"Training: {settings}.{left_out}"


def _metrics(metrics: dict[str, Any]) -> str:
    """Each population: a table where methods are compared, a line where single values are given."""
    parts = []
    for population, measures in metrics.items():
        parts.append(f"{population[:1].upper()}{population[1:]}:")
        if not all(isinstance(value, dict) for value in measures.values()):
            parts.append("\n".join(f"- {_words(name)}: {value}" for name, value in measures.items()))
            continue
        methods = list(dict.fromkeys(method for values in measures.values() for method in values))
        rows = [["", *methods], ["---"] * (1 + len(methods))]
        rows += [[_words(name), *(_spread(values.get(m)) for m in methods)] for name, values in measures.items()]
        parts.append(_markdown(rows))
    return "\n\n".join(parts)


def _words(measure: str) -> str:
    return MEASURE_WORDS.get(measure, measure.replace("_", " "))


def _spread(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{float(value[0]):.2f}\u00a0±\u00a0{float(value[1]):.2f}"
    return "-" if value is None else str(value)


def _strata(strata: list[dict[str, Any]]) -> str:
    if not strata:
        return "The card holds no errors of EI, so results of this model carry no interval."
    rows = [["EI (%)", "patients", "mean error (points)", "SD (points)", "who"], ["---"] * 5]
    for s in strata:
        numbers = [str(s["patients"]), f"{s.get('bias_points', 0.0):+.2f}", f"{s['error_sd_points']:.2f}"]
        rows.append([f"{s['ei_from']:g} to {s['ei_to']:g}", *numbers, str(s.get("population", "patients"))])
    return _markdown(rows)


def _failures(card: dict[str, Any], checks: dict[str, Any]) -> str:
    """What the card lists, and the checks that did not keep their limits."""
    listed = [f"- {line}" for line in card.get("known_failures", ())]
    outcomes = [o for o in checks["outcomes"] if o["method"] == "model"]
    failed = [o for o in outcomes if not o["passed"]]
    weights = checks["provenance"].get("data", {}).get("weights_sha256")
    if weights is None:
        note = " They are those of the restoration without a network, which this model starts from."
    else:
        note = "" if weights in card["sha256"].values() else " They were made with other weights than these."
    head = f"{len(failed)} of {len(outcomes)} checks do not keep their limits (`python -m training.checks`).{note}"
    return "\n\n".join([*(["\n".join(listed)] if listed else []), head, failed_list(failed)])


def _files(card: dict[str, Any]) -> str:
    return _markdown([["file", "SHA-256"], ["---"] * 2, *([name, f"`{sha}`"] for name, sha in card["sha256"].items())])


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
