"""The gate: a verdict with reasons, from kernel name, noise, geometry, maker and reconstruction, against the model's card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import InputError, ModelError
from KernelNormalizationLib.core.io.file_conversion import Choices, normalize_file
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.methods.gate import normalize_gated
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.network.model_domain import Domain
from KernelNormalizationLib.core.network.model_folder import CARD, list_models, load_model, models_folder, shipped_domain
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.suitability import Suitability, assess
from KernelNormalizationLib.core.volume import Acquisition, CTVolume
from training.export import DOMAIN
from training.simulate.presets import DIVERSE_PIXELS

from .chests import coloured_noise, make_chest

# Eight small slices hold the air of a chest only if they are far apart; the header states thin ones.
THICK = 100.0


def chest(**how: Any) -> CTVolume:
    """A chest of adult lung volume with thin slices in its header; ``facts`` are more of the header."""
    facts = {"slice_thickness_mm": 1.0, **how.pop("facts", {})}
    volume = make_chest(slices=8, slice_mm=THICK, **how).volume
    return replace(volume, acquisition=replace(volume.acquisition, **facts))


def said(found: Suitability) -> str:
    return " ".join(found.reasons)


class TestHeadersRebuilt:
    """Headers as other scanners write them, on simulated pixels."""

    def test_a_siemens_flash_sharp_chest_is_in_domain(self) -> None:
        facts = {"scanner_model": "SOMATOM Definition Flash", "image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI")}
        found = assess(chest(kernel="B70f", number=70.0, facts={**facts, "tube_voltage_kv": 120.0}))
        assert (found.verdict, found.reasons) == ("in domain", ())
        assert found.name.in_words() == "Siemens B70f, very sharp, filtered back-projection"

    @pytest.mark.parametrize("kernel", ["I70f\\3", "I50f\\2"])
    def test_a_siemens_flash_iterative_chest_is_untested(self, kernel: str) -> None:
        found = assess(chest(kernel=kernel, number=70.0, facts={"scanner_model": "SOMATOM Definition Flash"}))
        assert found.verdict == "untested"
        assert "iterative (SAFIRE" in said(found)

    @pytest.mark.parametrize("kernel", ["Br59d", "Bl57d\\3", "Qr40d\\3"])
    def test_kernels_of_later_siemens_scanners_are_untested(self, kernel: str) -> None:
        assert assess(chest(kernel=kernel, number=55.0, manufacturer="Siemens Healthineers")).verdict == "untested"

    @pytest.mark.parametrize(("kernel", "number"), [("B19f", 19.0), ("B20f", 20.0), ("B26f", 24.0), ("B31f", 28.0)])
    def test_a_siemens_smooth_kernel_is_smooth_already(self, kernel: str, number: float) -> None:
        found = assess(chest(kernel=kernel, number=number, noise_hu=15.0))
        assert found.verdict == "already smooth"
        assert kernel in found.reasons[0]
        # what the method was made for does not matter where nothing is normalized
        assert "the method was made for" not in said(found)

    def test_a_canon_smooth_kernel_is_smooth_already_and_only_what_bears_on_its_index_is_said(self) -> None:
        facts = {"reconstruction": "AIDR 3D STD", "slice_thickness_mm": 8.0}
        found = assess(chest(kernel="FC08", number=20.0, noise_hu=15.0, manufacturer="TOSHIBA", facts=facts))
        assert found.verdict == "already smooth"
        assert "the method was made for" not in said(found)
        assert "iterative (AIDR 3D)" in said(found)
        assert "8.0 mm thick" in said(found)

    def test_an_honest_b75f_is_in_domain_though_its_published_noise_is_that_of_b60f(self) -> None:
        assert assess(chest(kernel="B75f", number=59.0)).verdict == "in domain"

    @pytest.mark.parametrize(("kernel", "number"), [("LUNG", 78.0), ("BONE", 60.0), ("BONEPLUS", 60.0)])
    def test_a_ge_sharp_kernel_is_untested(self, kernel: str, number: float) -> None:
        found = assess(chest(kernel=kernel, number=number, manufacturer="GE MEDICAL SYSTEMS", padding=-2048.0))
        assert found.verdict == "untested"
        assert found.contradiction is None
        assert "The scanner is from GE MEDICAL SYSTEMS; the method was made for Siemens." in found.reasons

    def test_a_ge_scan_with_deep_learning_reconstruction_is_said_to_be(self) -> None:
        facts = {"reconstruction": "DLIR-M"}
        found = assess(chest(kernel="LUNG", number=70.0, manufacturer="GE MEDICAL SYSTEMS", facts=facts))
        assert found.verdict == "untested"
        assert "deep learning (TrueFidelity)" in said(found)

    @pytest.mark.parametrize("maker", ["TOSHIBA", "Canon Medical Systems"])
    def test_a_canon_lung_kernel_is_untested(self, maker: str) -> None:
        found = assess(chest(kernel="FC51", number=78.0, manufacturer=maker, floor=None))
        assert found.verdict == "untested"
        assert found.contradiction is None
        assert "The HU floor is -" in said(found)

    @pytest.mark.parametrize(
        ("facts", "how", "reason"),
        [
            ({"slice_thickness_mm": 8.0}, {}, "8.0 mm thick; 0.5 to 5 mm were tested"),
            ({}, {"pixel_mm": 1.2}, "The pixels are 1.20 mm"),
            (
                {"modality": "CT", "kernel": "B40f"},
                {"number": 41.0},
                "Kernel B40f is outside the range that the method was made for (B50 to B80).",
            ),
        ],
    )
    def test_what_the_card_does_not_cover_is_untested_with_its_value(
        self, facts: dict[str, Any], how: dict[str, Any], reason: str
    ) -> None:
        found = assess(chest(facts=facts, **how))
        assert found.verdict == "untested"
        assert reason in said(found)

    def test_another_models_domain_decides_otherwise(self) -> None:
        scan = chest(kernel="B40f", number=41.0)
        assert assess(scan, Domain(kernel_numbers=(30.0, 80.0))).verdict == "in domain"


class TestLyingTag:
    """Noise of one kernel under the name of another."""

    def test_sharp_noise_under_a_smooth_name_is_refused_until_the_user_names_the_kernel(self) -> None:
        scan = chest(kernel="B20f", number=70.0)
        found = assess(scan)
        assert found.verdict == "refuse"
        assert found.reasons[0].startswith("The header says B20f, but the noise looks like B")
        assert assess(with_told_kernel(scan, "B70f")).verdict == "untested"
        assert assess(with_told_kernel(scan, "noise")).verdict == "untested"

    def test_smooth_noise_under_a_sharp_name_is_said_and_left_as_it_is(self) -> None:
        scan = chest(kernel="B70f", number=20.0, noise_hu=15.0)
        found = assess(scan)
        assert found.verdict == "already smooth"
        assert found.reasons[0].startswith("The header says B70f, but the noise looks like B")
        result = normalize_gated(create_normalizer("linear"), scan, ProgressTracker())
        np.testing.assert_array_equal(result.volume.hu, scan.hu)

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(2))
    @pytest.mark.parametrize("noise_hu", [30.0, 90.0])
    def test_an_honest_name_is_not_doubted(self, seed: int, noise_hu: float) -> None:
        for kernel, number in (("B50f", 50.0), ("B70f", 70.0), ("B80f", 80.0)):
            assert assess(chest(kernel=kernel, number=number, noise_hu=noise_hu, seed=seed)).contradiction is None, kernel

    def test_iterative_reconstruction_makes_no_kernel_sharper_than_its_number(self) -> None:
        found = assess(chest(kernel="I31f\\3", number=60.0))
        assert found.verdict == "untested"
        assert found.reasons[0].startswith("The header says Siemens I31f, smooth, iterative (SAFIRE 3), but the noise looks")
        for honest in ("I31f\\3", "I50f\\3"):
            assert assess(chest(kernel=honest, number=30.0, noise_hu=15.0)).contradiction is None, honest

    def test_noise_between_smooth_and_sharp_is_not_said_to_agree_with_a_smooth_name(self) -> None:
        found = assess(chest(kernel="B31f", number=42.0))
        assert found.verdict == "already smooth"
        assert "the noise agrees" not in found.reasons[0]
        assert "the noise looks a little sharper (about B4" in found.reasons[0]
        quiet = assess(chest(kernel="B31f", number=42.0, noise_hu=2.0))
        assert "too little noise to tell" in quiet.reasons[0]

    def test_anatomy_that_is_left_in_the_noise_makes_no_liar_of_b80f_and_hides_no_lie(self) -> None:
        scan = chest(kernel="B80f", number=80.0, noise_hu=30.0, side=320)
        anatomy = coloured_noise(15.0, scan.shape, 0.7, 12.0, seed=7)
        scan = replace(scan, hu=np.maximum(np.rint(scan.hu + anatomy), -1024.0).astype(np.float32))
        found = assess(scan)
        assert found.sharpness is not None
        assert found.sharpness.kernel_number < 60.0
        assert found.contradiction is None
        for lie in ("B20f", "B31f"):
            assert assess(replace(scan, acquisition=replace(scan.acquisition, kernel=lie))).verdict == "refuse", lie

    def test_hardly_any_noise_contradicts_nothing(self) -> None:
        assert assess(chest(kernel="B70f", number=20.0, noise_hu=2.0)).verdict == "in domain"

    @pytest.mark.parametrize(("maker", "lie", "honest"), [("GE MEDICAL SYSTEMS", "LUNG", "SOFT"), ("TOSHIBA", "FC51", "FC08")])
    def test_another_makers_sharp_name_on_smooth_noise_is_said_and_an_honest_one_is_not_doubted(
        self, maker: str, lie: str, honest: str
    ) -> None:
        scan = chest(kernel=lie, number=20.0, manufacturer=maker, noise_hu=15.0)
        found = assess(scan)
        assert found.verdict == "already smooth"
        assert "very sharp, but the noise looks like B" in found.reasons[0]
        assert assess(replace(scan, acquisition=replace(scan.acquisition, kernel=honest))).contradiction is None

    @pytest.mark.slow
    def test_another_makers_smooth_name_on_sharp_noise_is_said(self) -> None:
        found = assess(chest(kernel="STANDARD", number=79.0, manufacturer="GE MEDICAL SYSTEMS", side=320))
        assert found.verdict == "untested"
        assert found.reasons[0].startswith("The header says GE STANDARD, medium, but the noise looks like B")


class TestSmoothStays:
    """What is smooth already does not change, by whatever it is known to be."""

    @pytest.mark.parametrize(
        ("kernel", "number"), [("B10f", 12.0), ("B20f", 20.0), ("B30f", 27.0), ("B31f", 30.0), (None, 20.0), ("FC03", 22.0)]
    )
    def test_not_a_voxel_changes(self, kernel: str | None, number: float) -> None:
        scan = chest(kernel=kernel, number=number, noise_hu=14.0)
        assert assess(scan).verdict == "already smooth"
        for method in ("linear", "restored", "bands", "heuristic"):
            result = normalize_gated(create_normalizer(method), scan, ProgressTracker())  # type: ignore[arg-type]
            np.testing.assert_array_equal(result.volume.hu, scan.hu)
            assert not result.volume.synthetic

    @pytest.mark.slow
    def test_a_synthetic_volume_fed_back_in_is_known_with_and_without_its_mark(self, tmp_path: Path) -> None:
        made = normalize_gated(create_normalizer("linear"), chest(), ProgressTracker()).volume
        write_volume(made, tmp_path / "made.nrrd")
        again = read_volume(tmp_path / "made.nrrd")
        assert "synthetic" in assess(again).reasons[0]
        bare = CTVolume(again.hu, again.geometry, Acquisition())
        for volume in (again, bare):
            assert assess(volume).verdict == "already smooth"
            result = normalize_gated(create_normalizer("linear"), volume, ProgressTracker())
            np.testing.assert_array_equal(result.volume.hu, volume.hu)


class TestRefusal:
    """What is refused is not normalized, unless the user overrides that on record."""

    def test_air_in_place_of_lung_is_a_phantom(self) -> None:
        volume = chest()
        hollow = np.where(volume.hu < -500.0, np.minimum(volume.hu, -1000.0), volume.hu).astype(np.float32)
        found = assess(replace(volume, hu=hollow))
        assert found.verdict == "refuse"
        assert "not lung tissue" in found.reasons[0]

    def test_an_abdomen_without_lung_is_refused(self) -> None:
        # gas in the bowel: two bubbles of 4 mL a slice
        volume = chest()
        hu = np.where(volume.hu < -500.0, -1000.0, volume.hu)
        body = make_chest(slices=8, slice_mm=THICK).body
        hu = np.where(body, 40.0 + coloured_noise(70.0, volume.shape, 0.7, 40.0), hu)
        hu[:, 60:80, 60:72] = -1000.0
        found = assess(replace(volume, hu=hu.astype(np.float32)))
        assert found.verdict == "refuse"
        assert "aerated lung" in found.reasons[0]

    def test_an_mr_is_refused_by_its_modality_and_by_its_values(self) -> None:
        volume = chest()
        found = assess(replace(volume, acquisition=replace(volume.acquisition, modality="MR")))
        assert (found.verdict, found.reasons) == ("refuse", ("The series is MR, not CT.",))
        signal = np.abs(np.random.default_rng(1).normal(300.0, 200.0, volume.shape)).astype(np.float32)
        with pytest.raises(InputError, match="not Hounsfield units"):
            replace(volume, hu=signal)

    def test_a_refused_file_is_not_written_unless_overridden_and_that_goes_on_record(self, tmp_path: Path) -> None:
        scan, out = tmp_path / "scan.nrrd", tmp_path / "out.nrrd"
        write_volume(make_chest(slices=8).volume, scan)
        with pytest.raises(InputError, match=r"refused: Only \d+ mL.*--override-gate"):
            normalize_file(scan, out, "linear")
        assert not out.exists()
        record = normalize_file(scan, out, "linear", Choices(override_gate=True))
        assert record["gate"] == {"verdict": "refuse", "overridden": True}
        assert "overridden by the user" in record["warnings"][0]
        assert json.loads((tmp_path / "out.provenance.json").read_text())["gate"]["overridden"]

    def test_an_override_is_not_on_record_where_nothing_was_refused(self) -> None:
        result = normalize_gated(create_normalizer("linear"), chest(), ProgressTracker(), override=True)
        assert result.record["gate"] == {"verdict": "in domain", "overridden": False}


class TestShortBlock:
    """A few slices through the lungs are a chest, and are said to be a block."""

    @pytest.mark.slow
    def test_it_passes_with_a_word(self) -> None:
        block = make_chest(slices=8, slice_mm=1.0, side=400).volume
        found = assess(block)
        assert found.lung_ml < 400.0
        assert found.verdict == "in domain"
        assert "short block" in said(found)


class TestDomainOfTheCard:
    """The card's section, and that export, shipped models and simulation agree on it."""

    def test_the_shipped_models_state_what_the_export_writes(self) -> None:
        for name in list_models():
            card = json.loads((models_folder() / name / CARD).read_text())
            assert card["domain"] == json.loads(json.dumps(DOMAIN.as_card())), name
            assert load_model(name).domain == DOMAIN
        assert shipped_domain() == DOMAIN

    def test_pixels_are_those_of_the_simulated_population(self) -> None:
        assert DOMAIN.pixel_mm == DIVERSE_PIXELS

    def test_it_survives_the_card(self) -> None:
        other = Domain(("GE",), "", (0.0, 0.0), (0.4, 1.0), (0.6, 2.5), ("iterative",))
        assert Domain.from_card(json.loads(json.dumps(other.as_card()))) == other

    @pytest.mark.parametrize(
        "damage", [{"pixel_mm": [0.9, 0.5]}, {"makers": "Siemens"}, {"slice_mm": 3}, {"kernel_numbers": None}]
    )
    def test_a_damaged_section_is_refused(self, damage: dict[str, Any]) -> None:
        with pytest.raises(ModelError, match="domain"):
            Domain.from_card({**DOMAIN.as_card(), **damage})
