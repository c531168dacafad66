from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from emphysema.reports import made, made_pair

from ctkernel.quantification_files import json_record
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient
from EmphysemaQuantLib.core.results.measurement import Measurement, measure
from EmphysemaQuantLib.core.results.table import measurement_rows
from EmphysemaQuantLib.core.results.wording import interval_sentences
from EmphysemaQuantLib.report.figures import cut, worst_levels
from EmphysemaQuantLib.report.html import page as page_with_title
from EmphysemaQuantLib.report.tables import printed_whole
from EmphysemaQuantLib.report.text import headline, verdicts
from EmphysemaQuantLib.report.writing import write_report
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256

pytestmark = pytest.mark.slow


def page(measurement: Measurement, title: str | None = None) -> str:
    return page_with_title(measurement, title or measurement.volume.name)


@pytest.fixture(scope="module")
def pair():
    return made_pair()


@pytest.fixture(scope="module")
def report(pair):
    raw, smooth, mask = pair
    return measure([raw, smooth], mask, provenance={smooth: {"method": "unet", "model_sha256": "ab12", "warnings": ["Thick."]}})


def test_page_and_web_page_are_written_and_say_research_use(report, tmp_path):
    paths = write_report(report, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"report.pdf", "report.html"}
    assert paths["pdf"].read_bytes().startswith(b"%PDF")
    assert paths["html"].read_text(encoding="utf-8").count(RESEARCH_USE) >= 2


def test_a_missing_folder_is_refused(report, tmp_path):
    with pytest.raises(InputError, match="absent"):
        write_report(report, tmp_path / "absent")


def test_a_dangerous_volume_name_is_disarmed_in_csv_and_html(pair):
    raw, _, mask = pair
    evil = made(replace(raw, name='=HYPERLINK("http://x")<script>alert(1)</script>'), mask)
    assert str(measurement_rows(evil)[0]["volume"]).startswith("'=")
    html = page(evil)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_words_of_the_provenance_and_the_mask_are_escaped_too(pair):
    raw, smooth, mask = pair
    record = {"method": "<img src=x onerror=alert(1)>", "warnings": ["<b>bold</b> & more"]}
    doubted = replace(mask, quality=MaskQuality("look", ("<script>alert(2)</script>",)))
    html = page(measure([raw, smooth], doubted, provenance={smooth: record}), "<i>title</i>")
    assert not any(tag in html for tag in ("<img src=x", "<b>", "<script", "<i>"))
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in html
    assert "{{" not in html
    assert "{%" not in html


def test_the_web_page_loads_nothing_from_outside(report):
    html = page(report)
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert "default-src 'none'" in html
    assert "url(" not in html


def test_the_heading_is_the_callers_label_or_the_volume_name(pair):
    raw, _, mask = pair
    assert "chest 7" in page(made(raw, mask))
    assert "Study 4" in page(made(raw, mask), "Study 4")


def test_json_holds_every_result_and_no_nan(report):
    record = json_record(report)
    text = json.dumps(record, allow_nan=False)
    raw, normalized = record["volumes"]
    assert (raw["kind"], normalized["synthetic"]) == ("raw", True)
    assert len(raw["regions"]) == 8
    assert record["agreement"]["dice"] == report.agreement.dice
    assert "ab12" in text


@pytest.mark.parametrize("word", ["(EI)", "(EV)", "(TLV)", "Perc15 is", "MLD the mean", "rind is", "D is the exponent"])
def test_every_abbreviation_of_the_tables_is_explained_on_the_page(report, word):
    assert word in page(report)


def test_the_percentile_at_the_predicted_volume_is_shown_for_both_volumes(pair):
    raw, smooth, mask = pair
    described = made(raw, mask, smooth, patient=Patient("female", 165, 60))
    _, rows = printed_whole(described)
    shown = next(row for row in rows if row[0].startswith("Perc15 at predicted TLV"))
    assert shown[1:] == [f"{volume.perc15_adjusted_hu:.0f}" for volume in described.volumes]
    assert json_record(described)["volumes"][1]["perc15_adjusted_hu"] == described.volumes[1].perc15_adjusted_hu
    assert "Perc15 at predicted TLV" not in page(made(raw, mask))


def test_a_sharp_raw_scan_alone_is_called_too_high(pair):
    raw, _, mask = pair
    assert any("too high" in line for line in verdicts(made(raw, mask)))


def test_a_low_index_is_called_unreliable_in_place(report):
    assert report.volumes[1].whole.ei_percent < 5
    assert any("Location unreliable" in line for line in verdicts(report))


def test_doubts_about_the_mask_come_first(pair):
    raw, smooth, mask = pair
    doubted = replace(mask, quality=MaskQuality("look", ("The apex is cut.",)))
    lines = verdicts(made(raw, doubted, smooth))
    assert lines[0] == "Lung mask: look at it. The apex is cut."


def test_pictures_stand_upright_whatever_the_stored_order(pair):
    raw, _, mask = pair
    levels = worst_levels(raw, mask.mask, -950.0)
    upright = cut(raw, mask.mask, levels, -950.0, "coronal")
    direction = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    turned = replace(
        raw,
        hu=np.ascontiguousarray(raw.hu[::-1, :, ::-1]),
        geometry=replace(raw.geometry, direction=direction),
    )
    lungs = np.ascontiguousarray(mask.mask[::-1, :, ::-1])
    assert worst_levels(turned, lungs, -950.0) == levels
    assert np.array_equal(cut(turned, lungs, levels, -950.0, "coronal").hu, upright.hu)
    # the head is up: the trachea's air lies in the upper rows
    assert upright.plane == "coronal"


def test_the_normalized_index_without_a_known_error_says_so(report):
    assert report.volumes[1].interval is None
    assert "without an interval" in interval_sentences(report.volumes)[0]
    assert interval_sentences(report.volumes)[0] in verdicts(report)


def test_another_real_reconstruction_is_never_called_normalized(pair):
    raw, smooth, mask = pair
    both = made(raw, mask, replace(smooth, name="chest 7 B20f", synthetic=False))
    assert [volume.kind for volume in both.volumes] == ["raw", "compared"]
    assert "normalized" not in page(both)
    assert "compared" in headline(both)
    assert interval_sentences(both.volumes) == []


def test_a_normalized_volume_alone_is_called_normalized(pair):
    _, smooth, mask = pair
    alone = made(smooth, mask)
    assert [volume.kind for volume in alone.volumes] == ["normalized"]
    assert "synthetic B20f" in headline(alone)
    assert measurement_rows(alone)[0]["kind"] == "normalized"


def test_the_report_names_the_voxels_that_it_is_about(pair):
    raw, smooth, mask = pair
    record = {"method": "linear", "input": {"voxels_sha256": "a" * 64}, "output": {"voxels_sha256": voxels_sha256(smooth.hu)}}
    shown = page(measure([raw, smooth], mask, provenance={smooth: record}))
    assert f"Record: voxels SHA-256 {voxels_sha256(smooth.hu)[:12]}, made from voxels aaaaaaaaaaaa;" in shown
