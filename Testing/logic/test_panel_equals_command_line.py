"""Panel (on real MRML nodes) and command line (on files) measure the same, in whatever order two volumes are given."""

from __future__ import annotations

import csv
import html
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from ctkernel.cli import main
from EmphysemaQuantLib.core.indices.emphysema_mask import THRESHOLD_RANGE_HU
from EmphysemaQuantLib.core.indices.prediction_interval import ENSEMBLE_KEY, ENSEMBLE_SD_KEY
from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure
from EmphysemaQuantLib.core.results.wording import interval_sentences
from EmphysemaQuantLib.logic import EmphysemaLogic
from EmphysemaQuantLib.ui.headline import Headline
from EmphysemaQuantLib.ui.summary import asCsv, asText
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import provenance_path
from KernelNormalizationLib.core.io.writing import write_json, write_volume
from KernelNormalizationLib.core.methods.protocol import NormalizationResult
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import CTVolume
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.mrml.volumes import addSyntheticVolumeNode

ROOT = Path(__file__).resolve().parents[2]
RECORD = {"method": "unet", ENSEMBLE_KEY: {ENSEMBLE_SD_KEY: 0.4}}
OTHER_RECORD = {"method": "bands", ENSEMBLE_KEY: {ENSEMBLE_SD_KEY: 1.7}}


@dataclass
class Volumes:
    """The original and two synthetic volumes of one scan, as files with records and as volumes in memory."""

    original: CTVolume
    synthetic: CTVolume
    other: CTVolume
    folder: Path

    def path(self, volume: CTVolume) -> Path:
        return self.folder / f"{volume.name}.nrrd"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Volumes:
    sample = make_sample(3, (24, 208, 208), (10.0, 1.6, 1.6))
    original = sample.sharp.with_hu(sample.sharp.hu, name="sharp", synthetic=False)
    synthetic = original.with_hu(sample.smooth.hu, name="smooth synthetic", synthetic=True)
    other = original.with_hu(sample.smooth.hu - np.float32(15.0), name="other synthetic", synthetic=True)
    volumes = Volumes(original, synthetic, other, tmp_path_factory.mktemp("scan"))
    for volume, record in ((original, None), (synthetic, RECORD), (other, OTHER_RECORD)):
        write_volume(volume, volumes.path(volume))
        if record is not None:
            write_json(record, provenance_path(volumes.path(volume)))
    return volumes


def nodes_of(scan: Volumes) -> dict[CTVolume, Any]:
    """The three volumes as MRML nodes, made as the Kernel Normalization module makes them."""
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    original = slicer.util.addVolumeFromArray(
        scan.original.hu, ijkToRAS=lps_to_ras @ scan.original.geometry.ijk_to_lps, name=scan.original.name
    )
    original.CreateDefaultDisplayNodes()
    original.SetAttribute(provenance.KERNEL, scan.original.acquisition.kernel)
    original.SetAttribute(provenance.MANUFACTURER, scan.original.acquisition.manufacturer)
    found = {scan.original: original}
    for volume, record in ((scan.synthetic, RECORD), (scan.other, OTHER_RECORD)):
        found[volume] = addSyntheticVolumeNode(NormalizationResult(volume, dict(record)), original)
        found[volume].SetName(volume.name)
    return found


def by_panel(scan: Volumes, first: CTVolume, second: CTVolume) -> Any:
    nodes = nodes_of(scan)
    return EmphysemaLogic().quantify(nodes[first], nodes[second])[0]


@pytest.fixture(scope="module")
def by_command(scan: Volumes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[CTVolume, CTVolume], Path]:
    """Results folder of the command line, with the report, for two volumes in the given order; each pair is measured once."""

    @cache
    def folder_of(first: CTVolume, second: CTVolume) -> Path:
        out = tmp_path_factory.mktemp("command")
        arguments = ["quantify", str(scan.path(first)), "--compare", str(scan.path(second)), "--out", str(out), "--report"]
        assert main(arguments) == 0
        return out

    return folder_of


@pytest.mark.slow
@pytest.mark.parametrize("synthetic_first", [False, True])
def test_original_and_synthetic_measure_alike_everywhere_in_either_order(
    scan: Volumes, scene: Any, by_command: Callable[[CTVolume, CTVolume], Path], synthetic_first: bool
) -> None:
    pair = (scan.synthetic, scan.original) if synthetic_first else (scan.original, scan.synthetic)
    panel = by_panel(scan, *pair)
    np.testing.assert_array_equal(panel.lung_mask.labels, segment_lungs(scan.original, smooth=scan.synthetic).labels)
    reference = measure((scan.original, scan.synthetic), provenance={scan.synthetic: RECORD})
    assert [volume.name for volume in panel.volumes] == ["sharp", "smooth synthetic"]
    assert panel.agreement == reference.agreement
    command = by_command(*pair)
    assert asCsv(panel) == (command / "metrics.csv").read_text(encoding="utf-8") == asCsv(reference)
    record = json.loads((command / "metrics.json").read_text())
    assert record["agreement"]["delta_ei_points"] == reference.agreement.delta_ei_points < 0.0
    (sentence,) = interval_sentences(reference.volumes)
    assert sentence in asText(panel)
    assert sentence in html.unescape((command / "report.html").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("swapped", [False, True])
def test_each_of_two_synthetic_volumes_has_its_own_interval_and_provenance(
    scan: Volumes, scene: Any, by_command: Callable[[CTVolume, CTVolume], Path], swapped: bool
) -> None:
    pair = (scan.other, scan.synthetic) if swapped else (scan.synthetic, scan.other)
    command = by_command(*pair)
    of_command = (command / "metrics.csv").read_text(encoding="utf-8")
    assert asCsv(by_panel(scan, *pair)) == of_command
    widths = {
        row["volume"]: float(row["EI high [%]"]) - float(row["EI low [%]"])
        for row in csv.DictReader(of_command.splitlines())
        if row["region"] == "whole"
    }
    # 2 x 1.96 x the spread of each one's own ensemble
    assert widths == pytest.approx({"smooth synthetic": 3.92 * 0.4, "other synthetic": 3.92 * 1.7}, rel=1e-3)
    volumes = json.loads((command / "metrics.json").read_text())["volumes"]
    assert {volume["name"]: volume["provenance"]["method"] for volume in volumes} == {
        "smooth synthetic": "unet",
        "other synthetic": "bands",
    }
    html = (command / "report.html").read_text()
    assert "method: unet" in html
    assert "method: bands" in html
    assert "ensemble spread 0.40 points" in html
    assert "ensemble spread 1.70 points" in html


COMMANDS = {
    "quantify": ["quantify", "absent.nrrd", "--out", "absent"],
    "change": ["change", "absent.nrrd", "later.nrrd"],
    "export": ["export", "absent", "absent.nrrd", "--segmentation", "--out", "absent"],
    "cohort": ["cohort", "absent", "--dry-run", "--out", "absent"],
}


def test_panel_and_command_line_accept_the_same_thresholds(capsys: pytest.CaptureFixture[str]) -> None:
    ui = ElementTree.parse(ROOT / "EmphysemaQuant" / "Resources" / "UI" / "EmphysemaQuant.ui")
    (slider,) = (widget for widget in ui.iter("widget") if widget.get("name") == "thresholdSlider")
    limits = tuple(float(slider.find(f"property[@name='{name}']/double").text) for name in ("minimum", "maximum"))
    assert limits == THRESHOLD_RANGE_HU
    for refused in (-1000.5, -799.5, float("nan")):
        with pytest.raises(InputError, match="choose one from -1000 to -800 HU"):
            MeasurementSettings(refused)
        for name, command in COMMANDS.items():
            assert main([*command, "--threshold", str(refused)]) == 2
            assert "choose one from -1000 to -800 HU" in capsys.readouterr().err, name


@pytest.mark.slow
def test_people_see_one_decimal_of_the_index_and_whole_millilitres(scan: Volumes, scene: Any) -> None:
    panel = by_panel(scan, scan.original, scan.synthetic)
    whole = panel.volume.whole
    assert f"EI {whole.ei_percent:.1f} %" in Headline.of(panel).lines
    (row,) = (line for line in asText(panel).splitlines()[3:6] if line.strip().startswith("whole"))
    assert row.split()[1:4] == [f"{whole.ei_percent:.1f}", f"{whole.ev_ml:.0f}", f"{whole.tlv_ml:.0f}"]


@pytest.mark.slow
def test_the_panel_writes_the_report_of_the_command_line(
    scan: Volumes, scene: Any, by_command: Callable[[CTVolume, CTVolume], Path], tmp_path: Path
) -> None:
    panel = by_panel(scan, scan.original, scan.synthetic)
    written = EmphysemaLogic().writeReport(panel, tmp_path)
    command = by_command(scan.original, scan.synthetic)
    assert (command / "metrics.csv").read_text(encoding="utf-8") == asCsv(panel)
    assert written["pdf"].read_bytes().startswith(b"%PDF")
    assert without_series(written["html"]) == without_series(command / "report.html")
    with pytest.raises(InputError, match="absent does not exist"):
        EmphysemaLogic().writeReport(panel, tmp_path / "absent")


def without_series(page: Path) -> list[str]:
    """The page's lines; a series UID of the made node is no part of the file."""
    return [line for line in page.read_text(encoding="utf-8").splitlines() if "Series " not in line]


@pytest.mark.slow
def test_a_missing_package_of_the_report_is_named(
    scan: Volumes, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = by_panel(scan, scan.original, scan.synthetic)
    assert EmphysemaLogic.missingForReport() == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jinja2" else object())
    with pytest.raises(InputError, match="Python packages Jinja2; install"):
        EmphysemaLogic().writeReport(panel, tmp_path)
