"""Names, notes and table cells from outside in labels that show markup: they are shown as they are written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from emphysemapanel import BoxLogic, EmphysemaPanel, chest, compute, panel, partner

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.ui.headline import Headline, legend
from EmphysemaQuantLib.ui.saved_results import savedHeadline
from KernelNormalizationLib.ui.scan_card import ScanCard, errorCard

__all__ = ["chest", "panel", "partner"]
MARKUP, SHOWN = "<img src=x>", "&lt;img src=x&gt;"


def texts(headline: Headline) -> str:
    return f"{headline.lines} {headline.table} {headline.details}"


@pytest.mark.parametrize(
    "card", [ScanCard("", "untested", (f"Kernel {MARKUP} is unknown.",)), errorCard(f"“{MARKUP}” is no CT")]
)
def test_the_card_of_a_scan(card: ScanCard) -> None:
    assert SHOWN in card.html
    assert MARKUP not in card.html


def test_the_names_of_volumes(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    chest.SetName(MARKUP)
    assert "Done" in compute(panel)
    labels = (panel.ui.indexLabel, panel.ui.figuresLabel, panel.ui.detailsLabel, panel.ui.legendLabel)
    assert SHOWN in panel.ui.indexLabel.text
    assert not [label.text for label in labels if MARKUP in label.text]


def test_the_names_of_segments_in_the_legend(chest: Any, partner: Any) -> None:
    for compared in (None, partner):
        result, nodes = BoxLogic().quantify(chest, compared)
        segments = nodes.segmentation.GetSegmentation()
        for number in range(segments.GetNumberOfSegments()):
            segments.GetNthSegment(number).SetName(MARKUP)
        for change in (False, True):
            shown = legend(nodes.segmentation, Headline.of(result), change)
            assert SHOWN in shown
            assert MARKUP not in shown


@pytest.mark.parametrize(
    "entry", [{"lines": 3}, {"table": None}, {"details": ["x"]}, {"millilitres": [1]}, {"millilitres": {"a": "x"}}]
)
def test_a_headline_of_a_scene_with_entries_of_another_kind_is_none(entry: dict[str, Any]) -> None:
    whole = Headline("EI", "table", "details", {"emphysema": 3.0})
    assert Headline.fromLine(whole.asLine()) == whole
    assert Headline.fromLine(json.dumps({**json.loads(whole.asLine()), **entry})) is None


def test_notes_on_the_mask_and_the_cells_of_a_saved_table(chest: Any) -> None:
    result, nodes = BoxLogic().quantify(chest)
    noted = replace(result, lung_mask=replace(result.lung_mask, notes=(MARKUP,)))
    assert SHOWN in texts(Headline.of(noted))
    assert MARKUP not in texts(Headline.of(noted))
    (volume,) = result.volumes
    assert volume.suitability is not None
    judged = replace(volume, suitability=replace(volume.suitability, reasons=(MARKUP,)))
    assert SHOWN in texts(Headline.of(replace(result, volumes=(judged,))))
    assert MARKUP not in texts(Headline.of(replace(result, volumes=(judged,))))
    doubtful = replace(result, lung_mask=replace(result.lung_mask, quality=MaskQuality("look", (MARKUP,))))
    assert MARKUP not in texts(Headline.of(doubtful))
    table = nodes.table.GetTable()
    for name in ("volume", "lung mask"):
        column = table.GetColumnByName(name)
        for row in range(column.GetNumberOfValues()):
            column.SetValue(row, MARKUP)
    saved = savedHeadline(nodes.table)
    assert saved is not None
    assert texts(saved).count(SHOWN) == 3  # volume, and twice the verdict
    assert MARKUP not in texts(saved)
