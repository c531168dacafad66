"""Names and messages from outside in Slicer's panels: Qt guesses markup where nobody says what a label shows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import slicer
from normalizationpanel import PanelMaker, make_panel

__all__ = ["make_panel"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", ["KernelNormalization", "EmphysemaQuant"])
def test_every_label_that_is_filled_later_says_whether_it_shows_markup(module: str) -> None:
    tree = ElementTree.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui")
    filled, untold = 0, []
    for label in tree.iter("widget"):
        if label.get("class") != "QLabel":
            continue
        properties = {item.get("name"): item for item in label.findall("property")}
        if "wordWrap" in properties and not (properties["text"].findtext("string") or "").strip():
            filled += 1
            if "textFormat" not in properties:
                untold.append(label.get("name"))
    assert filled >= 2
    assert untold == []


def test_an_error_box_shows_a_name_that_looks_like_markup_as_text(
    make_panel: PanelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: boxes.append(text))
    panel = make_panel()
    panel.setStatus("The scan <img src=x> is damaged.", error=True)
    assert boxes == ["The scan ‹img src=x> is damaged."]
    assert panel.ui.statusLabel.text == "The scan <img src=x> is damaged."
