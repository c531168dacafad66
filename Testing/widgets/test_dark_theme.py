"""Both panels drawn in a dark theme: nothing paints its own background, and the text stands out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slicerhost import application

application.start()  # the modules' widgets import qt, which exists from here on

import EmphysemaQuant  # noqa: E402
import KernelNormalization  # noqa: E402

WIDGETS = {
    "KernelNormalization": KernelNormalization.KernelNormalizationWidget,
    "EmphysemaQuant": EmphysemaQuant.EmphysemaQuantWidget,
}


@pytest.fixture
def dark(app: Any) -> Iterator[Any]:
    app.use_dark_theme()
    yield app
    app.use_dark_theme(False)


@pytest.mark.parametrize("module", list(WIDGETS))
def test_panel_is_dark_with_light_text(dark: Any, module: str, tmp_path: Path) -> None:
    widget = WIDGETS[module]()
    widget.setup()
    widget.panel.ui.statusLabel.text = "Done."
    dark.grab(widget.panel.widget, str(tmp_path / "panel.png"))
    grey = np.asarray(Image.open(tmp_path / "panel.png").convert("L"))
    assert np.median(grey) < 70
    bright = np.count_nonzero(grey > 160) / grey.size
    assert 0.002 < bright < 0.08, f"{100 * bright:.1f} % of the panel is bright"
    widget.cleanup()
    widget.parent.deleteLater()


@pytest.mark.parametrize("module", list(WIDGETS))
def test_no_control_has_colours_of_its_own(module: str) -> None:
    root = Path(__file__).resolve().parents[2] / module
    ui = (root / "Resources" / "UI" / f"{module}.ui").read_text(encoding="utf-8")
    assert "styleSheet" not in ui
    assert "palette" not in ui
