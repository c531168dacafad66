"""Scans without a usable kernel tag, of other makers, and with a kernel that the user names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from core.chests import make_chest
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import Choices, normalize_file
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.kernels.ge_kernels import ge_kernel, ge_transfer, published_spectra, transfer_of_noise
from KernelNormalizationLib.core.kernels.mtf import KERNELS, KernelModel, gain_to_b20f, measured_gain
from KernelNormalizationLib.core.kernels.noise_fit import fit_family, fit_free, gain_of
from KernelNormalizationLib.core.kernels.noise_spectrum import (
    NoiseSpectrum,
    Transfer,
    aliased_noise_power,
    measure_noise_spectrum,
)
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.kernels.transfer import find_transfer
from KernelNormalizationLib.core.suitability import assess
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry
from training.checking.published_kernels import siemens_spectra

FREQUENCY = np.arange(0.0, 7.0, 0.25)
# Passes less than any B kernel at 2 to 3 lp/cm and ends at 6 lp/cm, as a Philips L does.
FOREIGN = KernelModel(0, 5.6, 5.4, 1.78, 5.4)


def noise_of(
    kernel: KernelModel | Transfer, slices: int = 12, side: int = 192, pixel_mm: float = 0.7, sd: float = 60.0
) -> NDArray[np.float32]:
    """Noise (slices, side, side) with the spectrum of ``kernel``, HU."""
    transfer = kernel.mtf if isinstance(kernel, KernelModel) else kernel
    amplitude = np.sqrt(aliased_noise_power(transfer, pixel_mm, side))
    white = np.random.default_rng(4).normal(size=(slices, side, side))
    noise = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    return np.asarray(noise * sd / noise.std(), np.float32)


def spectrum_of(hu: NDArray[np.float32], pixel_mm: float = 0.7) -> NoiseSpectrum:
    spectrum = measure_noise_spectrum(hu[:-1], hu[1:], np.ones(hu[1:].shape, bool), pixel_mm)
    assert spectrum is not None
    return spectrum


def tissue(kernel: KernelModel | Transfer, acquisition: Acquisition | None = None) -> CTVolume:
    """Soft tissue beside a strip of air, without lungs."""
    hu = 40.0 + noise_of(kernel)
    hu[:, :40] -= 1040.0
    return CTVolume(np.rint(hu), Geometry((1.0, 0.7, 0.7)), acquisition or Acquisition())


class TestNoiseSpectrum:
    """The measured spectrum is that of the noise, not of the patient."""

    @pytest.mark.slow
    def test_anatomy_that_goes_on_from_slice_to_slice_does_not_count(self) -> None:
        noise = noise_of(KERNELS[70])
        anatomy = 60.0 * noise_of(KERNELS[20], slices=1, sd=1.0)
        plain, with_anatomy = spectrum_of(noise), spectrum_of(noise + anatomy)
        np.testing.assert_allclose(with_anatomy.power, plain.power, rtol=0.25)

    def test_slices_that_share_their_noise_are_not_subtracted(self) -> None:
        same = np.repeat(noise_of(KERNELS[70], slices=4), 2, axis=0)
        spectrum = measure_noise_spectrum(same[::2], same[1::2], np.ones((4, 192, 192), bool), 0.7)
        assert spectrum is not None
        assert not spectrum.from_differences
        assert fit_family(spectrum).published == 70.0

    def test_truncated_or_padded_patches_are_left_out(self) -> None:
        hu = noise_of(KERNELS[70])
        hu[:, 20:] = -1024.0
        assert measure_noise_spectrum(hu[:-1], hu[1:], np.ones(hu[1:].shape, bool), 0.7) is None

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [30, 45, 50, 60, 70, 80])
    @pytest.mark.parametrize("pixel_mm", [0.56, 0.85])
    def test_every_published_kernel_is_recognised(self, number: int, pixel_mm: float) -> None:
        fit = fit_family(spectrum_of(noise_of(KERNELS[number], pixel_mm=pixel_mm), pixel_mm))
        assert fit.published == number
        assert fit.is_good

    def test_another_makers_spectrum_is_not_taken_for_a_b_kernel(self) -> None:
        assert not fit_family(spectrum_of(noise_of(FOREIGN))).is_good

    def test_a_free_fit_gives_the_gain_of_the_kernel_that_made_the_noise(self) -> None:
        fit = fit_free(spectrum_of(noise_of(FOREIGN)))
        assert fit.is_good
        np.testing.assert_allclose(gain_of(fit.model.mtf)(FREQUENCY), gain_of(FOREIGN.mtf)(FREQUENCY), atol=0.06)

    def test_no_gain_amplifies_and_all_end_at_nothing(self) -> None:
        for kernel in (FOREIGN.mtf, KERNELS[10].mtf, KERNELS[80].mtf, *map(ge_transfer, published_spectra())):
            gain = gain_of(kernel)(np.arange(0.0, 20.0, 0.1))
            assert gain[0] == pytest.approx(1.0)
            assert gain.max() <= 1.08
            assert gain[-1] < 0.01


class TestOtherMakers:
    """Which filter a scan gets whose kernel is not of the Siemens B family."""

    def test_without_a_tag_the_noise_names_the_kernel(self) -> None:
        found = find_transfer(tissue(KERNELS[80]))
        assert found.origin == "noise like a B kernel"
        np.testing.assert_allclose(found.gain(FREQUENCY), gain_to_b20f(80, FREQUENCY), atol=1e-9)
        assert found.record["noise_misfit"] < 1.0

    @pytest.mark.slow
    def test_a_spectrum_of_no_b_kernel_is_followed_as_it_is(self) -> None:
        found = find_transfer(tissue(FOREIGN, Acquisition("L", "Philips")))
        assert found.origin == "noise spectrum"
        np.testing.assert_allclose(found.gain(FREQUENCY), gain_of(FOREIGN.mtf)(FREQUENCY), atol=0.06)

    @pytest.mark.slow
    def test_another_makers_kernel_is_not_called_a_b_kernel_though_it_looks_like_one(self) -> None:
        assert find_transfer(tissue(KERNELS[60], Acquisition("FC51", "TOSHIBA"))).origin == "noise spectrum"

    def test_a_ge_kernel_follows_its_published_spectrum(self) -> None:
        found = find_transfer(tissue(ge_transfer("lung"), Acquisition("LUNG", "GE MEDICAL SYSTEMS")))
        assert found.origin == "published spectrum"
        assert found.record["source_kernel"] == "GE lung"
        np.testing.assert_allclose(found.gain(FREQUENCY), gain_of(ge_transfer("lung"))(FREQUENCY), atol=1e-9)

    @pytest.mark.slow
    def test_a_ge_tag_that_the_noise_contradicts_is_not_followed(self) -> None:
        found = find_transfer(tissue(ge_transfer("lung"), Acquisition("DETAIL", "GE MEDICAL SYSTEMS")))
        assert found.origin == "noise spectrum"

    def test_a_ge_name_means_nothing_on_another_scanner(self) -> None:
        assert ge_kernel(Acquisition("LUNG", "TOSHIBA")) is None
        assert ge_kernel(Acquisition("LUNG", "GE MEDICAL SYSTEMS")) == "lung"

    def test_a_ge_name_is_read_abbreviated_and_with_its_iterative_reconstruction(self) -> None:
        assert ge_kernel(Acquisition("CHST", "GE MEDICAL SYSTEMS")) == "chest"
        assert ge_kernel(Acquisition("BONE\\ASiR 40", "GE MEDICAL SYSTEMS")) == "bone"

    @pytest.mark.parametrize("kernel", ["B50f", "B70f"])
    def test_noise_spectra_give_the_gains_that_were_measured_on_real_pairs(self, kernel: str) -> None:
        f = np.arange(1.0, 6.01, 0.25)
        measured = 0.5 * (measured_gain(kernel, "B10f", f) + measured_gain(kernel, "B30f", f))
        found = gain_of(transfer_of_noise(*siemens_spectra()[kernel.lower()]))(f)
        assert np.sqrt(np.mean((found - measured) ** 2)) < 0.03

    @pytest.mark.parametrize("name", ["soft", "standard", "chest", "detail", "lung", "bone", "boneplus", "edge"])
    def test_the_published_ge_spectra_are_described(self, name: str) -> None:
        frequency, power = published_spectra()[name]
        used = frequency > 1.3
        modelled = frequency * ge_transfer(name)(frequency) ** 2
        modelled *= (modelled * power)[used].sum() / (modelled**2)[used].sum()
        assert np.sqrt(np.mean((modelled - power)[used] ** 2)) < 0.01 * power.max()


class TestToldKernel:
    """The user knows the kernel better than the header."""

    def test_the_named_kernel_is_followed_and_recorded(self) -> None:
        volume = with_told_kernel(make_chest(kernel=None, number=70.0).volume, " b70F ")
        found = find_transfer(volume)
        assert found.origin == "told by the user"
        assert found.record == {"source_kernel_from": "told by the user", "source_kernel_number": 70.0}
        np.testing.assert_allclose(found.gain(FREQUENCY), gain_to_b20f(70, FREQUENCY), atol=1e-12)

    def test_the_noise_is_followed_on_request_though_there_is_a_tag(self) -> None:
        volume = with_told_kernel(tissue(KERNELS[80], Acquisition("B50f", "SIEMENS")), "noise")
        found = find_transfer(volume)
        assert (found.origin, found.record["source_kernel_number"]) == ("noise like a B kernel", 80.0)

    @pytest.mark.parametrize("text", [None, "", "header"])
    def test_the_header_is_the_default(self, text: str | None) -> None:
        assert find_transfer(with_told_kernel(make_chest(kernel="B60f").volume, text)).origin == "tag"

    @pytest.mark.parametrize("text", ["B85f", "B7", "sharp", "70", "FC51", "B70f3"])
    def test_an_unknown_name_is_refused_with_the_choices(self, text: str) -> None:
        with pytest.raises(InputError, match=rf"“{text}” is not known.*B10f to B80f.*noise or header"):
            with_told_kernel(make_chest().volume, text)

    def test_a_contradiction_with_the_noise_is_said_in_the_verdict(self) -> None:
        chest = make_chest(slices=8, slice_mm=100.0, kernel="B70f", number=70.0).volume
        assert "You named B45f, but the noise looks like B" in " ".join(assess(with_told_kernel(chest, "B45f")).reasons)
        assert "You named" not in " ".join(assess(with_told_kernel(chest, "B70f")).reasons)

    def test_a_contradiction_is_said_before_the_file_is_written(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_volume(make_chest(kernel="B70f", number=70.0).volume, tmp_path / "in.nrrd")
        record = normalize_file(
            tmp_path / "in.nrrd", tmp_path / "out.nrrd", "linear", Choices(kernel="B40f", override_gate=True)
        )
        assert "You named B40f, but the noise looks like B" in caplog.text
        assert record["source_kernel_from"] == "told by the user"
        assert (record["input"]["kernel"], record["input"]["kernel_told_by_user"]) == ("B70f", "B40f")

    def test_a_bad_name_ends_before_anything_is_read(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="B99f"):
            normalize_file(tmp_path / "absent.nrrd", tmp_path / "out.nrrd", "linear", Choices(kernel="B99f"))


class TestRealScans:
    """Scans whose header is lost."""

    def test_the_b70f_chest_is_known_by_its_noise(self, siemens_b70f: CTVolume) -> None:
        found = find_transfer(replace(siemens_b70f, acquisition=Acquisition()))
        assert found.origin == "noise like a B kernel"
        # so that image and EI are those of the tagged scan
        np.testing.assert_allclose(found.gain(FREQUENCY), gain_to_b20f(70, FREQUENCY), atol=0.02)

    def test_the_philips_gain_lies_near_the_one_measured_on_its_pair(self, philips_sharp: CTVolume) -> None:
        gain = find_transfer(philips_sharp).gain(np.array([0.5, 1.5, 2.5, 3.5, 4.5, 5.5]))
        # of cross-spectra L to B; B is not B20f, but its noise reads B28f
        np.testing.assert_allclose(gain, [0.918, 0.548, 0.305, 0.178, 0.110, 0.069], atol=0.03)
