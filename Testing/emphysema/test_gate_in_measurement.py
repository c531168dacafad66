"""What the gate says of a scan stands beside its numbers: in the sheet, in words, in files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ctkernel.quantification_files import json_record, result_lines
from EmphysemaQuantLib.core.results.acquisition_sheet import gate_item, sharp_kernel_warning
from EmphysemaQuantLib.core.results.measurement import measure, with_provenance
from EmphysemaQuantLib.core.results.wording import gate_sentences
from KernelNormalizationLib.core.simulated_chest import SamplePair, make_sample


@pytest.fixture(scope="module")
def sample() -> SamplePair:
    return make_sample(3, (24, 208, 208), (10.0, 1.6, 1.6))


@pytest.mark.slow
def test_the_verdict_stands_in_sheet_words_and_files(sample: SamplePair) -> None:
    measured = measure([sample.sharp])
    item = next(item for item in measured.volume.sheet if item.name == "Verdict")
    assert (item.value, item.status) == ("untested", "doubt")
    assert "1.60 mm" in item.remark
    (sentence,) = gate_sentences(measured.volumes)
    assert sentence.startswith("Verdict: untested. ")
    assert sentence in result_lines(measured)
    assert json_record(measured)["volumes"][0]["gate"]["verdict"] == "untested"
    assert measured.volume.suitability is not None
    assert measured.volume.suitability.region is None


@pytest.mark.slow
def test_a_synthetic_volume_shows_what_was_said_of_its_scan(sample: SamplePair) -> None:
    drawn = replace(sample.smooth, synthetic=True)
    measured = with_provenance(
        measure([sample.sharp, drawn]),
        {drawn: {"input": {"verdict": "refuse"}, "gate": {"verdict": "refuse", "overridden": True}}},
    )
    scan, made = (next(item for item in volume.sheet if item.name == "Verdict") for volume in measured.volumes)
    assert scan.value == "untested"
    assert (made.value, made.status) == ("scan: refuse", "doubt")
    assert "the user overrode the refusal" in made.remark
    assert len(gate_sentences(measured.volumes)) == 1


def test_a_synthetic_volume_without_a_record_says_so() -> None:
    assert gate_item(None, {}).value == "not stated"


@pytest.mark.slow
def test_a_smooth_name_on_sharp_noise_does_not_hide_that_the_index_is_too_high(sample: SamplePair) -> None:
    lying = replace(sample.sharp, acquisition=replace(sample.sharp.acquisition, kernel="B20f"))
    warning = sharp_kernel_warning(lying)
    assert warning is not None
    assert "Kernel B20f, noise as sharp as that of B" in warning
    assert sharp_kernel_warning(sample.smooth) is None
