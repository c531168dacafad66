"""What the kernel's name and the header tell, maker by maker; what no source tells stays unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from KernelNormalizationLib.core.io.dicom_series import acquisition_of
from KernelNormalizationLib.core.io.dicom_tags import HEADER_TAGS
from KernelNormalizationLib.core.kernels.ge_kernels import published_spectra
from KernelNormalizationLib.core.kernels.kernel_names import CLASS_MEAN_LP_PER_CM, kernel_name, maker_of, named_kernels
from KernelNormalizationLib.core.kernels.mtf import KERNELS
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.volume import Acquisition

from .chests import make_chest


@pytest.mark.parametrize(
    ("kernel", "maker", "words"),
    [
        ("B70f", "SIEMENS", "Siemens B70f, very sharp, filtered back-projection"),
        ("B19f", "SIEMENS", "Siemens B19f, smooth, filtered back-projection"),
        ("D30f", "SIEMENS", "Siemens D30f, smooth, filtered back-projection"),
        ("I70f\\3", "SIEMENS", "Siemens I70f, very sharp, iterative (SAFIRE 3)"),
        ("Q34f\\2", "SIEMENS", "Siemens Q34f, smooth, iterative (SAFIRE 2)"),
        ("Br40d\\3", "Siemens Healthineers", "Siemens Br40d, medium, iterative (ADMIRE 3)"),
        ("Br40d3", "Siemens Healthineers", "Siemens Br40d, medium, iterative (ADMIRE 3)"),
        ("Bl57d", "SIEMENS", "Siemens Bl57d, sharp"),
        ("Hr60f", "SIEMENS", "Siemens Hr60f, very sharp"),
        ("SOFT", "GE MEDICAL SYSTEMS", "GE SOFT, smooth"),
        ("STANDARD", "GE MEDICAL SYSTEMS", "GE STANDARD, medium"),
        ("LUNG", "GE MEDICAL SYSTEMS", "GE LUNG, very sharp"),
        ("BONEPLUS", "GE MEDICAL SYSTEMS", "GE BONEPLUS, very sharp"),
        ("HD LUNG", "GE MEDICAL SYSTEMS", "GE HD LUNG, very sharp"),
        ("STANDARD\\ASiR-V 40", "GE MEDICAL SYSTEMS", "GE STANDARD, medium, iterative (ASiR-V)"),
        ("B", "Philips", "Philips B, smooth"),
        ("L", "Philips", "Philips L, sharp"),
        ("YA", "Philips Medical Systems", "Philips YA, very sharp"),
        ("IMR1,Routine", "Philips", "Philips IMR1,Routine, iterative (IMR)"),
        ("FC51", "TOSHIBA", "Canon FC51, very sharp"),
        ("FC18", "Canon Medical Systems", "Canon FC18, smooth"),
        ("FC13-H", "TOSHIBA", "Canon FC13-H, medium"),
        ("Body Sharp\\AiCE", "CANON", "Canon Body Sharp, deep learning (AiCE)"),
    ],
)
def test_a_known_name_is_read(kernel: str, maker: str, words: str) -> None:
    assert kernel_name(Acquisition(kernel=kernel, manufacturer=maker)).in_words() == words


@pytest.mark.parametrize(
    ("kernel", "maker"),
    [("C", "Philips"), ("FL03", "TOSHIBA"), ("LUNG", "Philips"), ("B70f", "UIH"), ("B", None), (None, None)],
)
def test_what_no_source_tells_stays_unknown(kernel: str | None, maker: str | None) -> None:
    found = kernel_name(Acquisition(kernel=kernel, manufacturer=maker))
    assert found.sharpness is None
    assert found.reconstruction is None
    assert found.name == kernel


def test_the_strength_on_a_photon_counting_scanner_is_that_of_qir() -> None:
    facts = Acquisition(kernel="Bl56\\3", manufacturer="Siemens Healthineers", scanner_model="NAEOTOM Alpha")
    assert kernel_name(facts).in_words() == "Siemens Bl56, sharp, iterative (QIR 3)"


def test_the_same_letter_means_another_kernel_at_another_maker() -> None:
    assert kernel_name(Acquisition(kernel="B", manufacturer="Philips")).sharpness == "smooth"
    assert kernel_name(Acquisition(kernel="B", manufacturer="SIEMENS")).sharpness is None


def test_without_a_maker_only_names_of_one_maker_are_read() -> None:
    assert kernel_name(Acquisition(kernel="B70f")).maker == "Siemens"
    assert kernel_name(Acquisition(kernel="FC51")).maker == "Canon"
    assert kernel_name(Acquisition(kernel="BONEPLUS")).maker == "GE"


@pytest.mark.parametrize(
    ("text", "maker"),
    [("SIEMENS (simulated)", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"), ("TOSHIBA", "Canon"), ("Siegelberg", None)],
)
def test_makers(text: str, maker: str | None) -> None:
    assert maker_of(text) == maker


def test_the_kernel_that_the_user_names_is_the_one_described() -> None:
    told = with_told_kernel(make_chest(kernel="B20f").volume, "B70f")
    assert kernel_name(told.acquisition).number == 70


def test_classes_are_those_of_the_published_noise_spectra() -> None:
    def class_of(mean: float) -> str:
        return next((name for end, name in CLASS_MEAN_LP_PER_CM if mean < end), "very sharp")

    for name, (frequency, power) in published_spectra().items():
        mean = float((frequency * frequency * power).sum() / (frequency * power).sum())
        assert named_kernels()["GE", name.upper()][0] == class_of(mean), name
    f = np.linspace(0.0, 14.0, 281)
    for number in KERNELS:
        noise = f * KERNELS[number].mtf(f) ** 2
        mean = float((f * f * noise).sum() / (f * noise).sum())
        assert kernel_name(Acquisition(kernel=f"B{number}f", manufacturer="SIEMENS")).sharpness == class_of(mean), number


def test_every_named_kernel_has_a_source() -> None:
    assert all(source for _, source in named_kernels().values())
    assert {maker for maker, _ in named_kernels()} == {"GE", "Philips", "Canon"}


class TestHeader:
    """Iterative and deep-learning reconstruction in the header beside the kernel."""

    @pytest.mark.parametrize(
        ("owner", "element", "value", "expected"),
        [
            ("GEHC_CT_ADVAPP_001", 0x00531043, "ASIR-V 40", ("iterative", "ASiR-V")),
            ("GEHC_CT_ADVAPP_001", 0x00531042, "SS40:Slice", ("iterative", "ASiR")),
            ("GEHC_CT_ADVAPP_001", 0x00531040, "DLIR-M", ("deep learning", "TrueFidelity")),
            ("GEHC_CT_ADVAPP_001", 0x00531043, "40", ("iterative", "ASiR")),
            ("GEHC_CT_ADVAPP_001", 0x00531043, "0", (None, None)),
            ("SOMEONE ELSE", 0x00531043, "AR40", (None, None)),
        ],
    )
    def test_ge(self, tmp_path: Path, owner: str, element: int, value: str, expected: tuple[str | None, str | None]) -> None:
        header = _header("LUNG", "GE MEDICAL SYSTEMS")
        header.add_new(0x00530010, "LO", owner)
        header.add_new(element, "LO", value)
        found = kernel_name(_stored(header, tmp_path))
        assert (found.reconstruction, found.algorithm) == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("AIDR 3D STD", ("iterative", "AIDR 3D")),
            ("AiCE LUNG", ("deep learning", "AiCE")),
            ("ORG", (None, None)),
            ("QDS+", (None, None)),
        ],
    )
    def test_canon(self, tmp_path: Path, value: str, expected: tuple[str | None, str | None]) -> None:
        header = _header("FC51", "TOSHIBA")
        header.add_new(0x70050010, "LO", "TOSHIBA_MEC_CT3")
        header.add_new(0x7005100B, "SH", value)
        found = kernel_name(_stored(header, tmp_path))
        assert (found.sharpness, found.reconstruction, found.algorithm) == ("very sharp", *expected)

    @pytest.mark.parametrize(("value", "expected"), [("4", "iterative"), ("None", None)])
    def test_philips(self, tmp_path: Path, value: str, expected: str | None) -> None:
        header = _header("B", "Philips")
        header.add_new(0x01F70010, "LO", "ELSCINT1")
        header.add_new(0x01F7109B, "LO", value)
        assert kernel_name(_stored(header, tmp_path)).reconstruction == expected

    @pytest.mark.parametrize(
        ("value", "expected"), [("FILTER_BACK_PROJ", "filtered back-projection"), ("ITERATIVE", "iterative")]
    )
    def test_the_standards_own_tag(self, tmp_path: Path, value: str, expected: str) -> None:
        header = _header("Br40", "SIEMENS")
        header.ReconstructionAlgorithm = value
        assert kernel_name(_stored(header, tmp_path)).reconstruction == expected


def _header(kernel: str, maker: str) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    header.Modality, header.ConvolutionKernel, header.Manufacturer = "CT", kernel, maker
    return header


def _stored(header: pydicom.Dataset, folder: Path) -> Acquisition:
    """What is read of the header of a file, private tags included."""
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    path = folder / "image.dcm"
    header.save_as(path, enforce_file_format=True)
    return acquisition_of(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS)))
