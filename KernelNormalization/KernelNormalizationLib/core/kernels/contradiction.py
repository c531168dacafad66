"""Checks whether the noise of a scan contradicts the kernel that the header or the user names."""

from __future__ import annotations

from ..volume import CTVolume
from .kernel_names import KernelName, SharpnessClass, kernel_name
from .mtf import kernel_mtf, kernel_number
from .noise_fit import misfit_of
from .noise_sharpness import SMOOTH_NUMBER, Sharpness
from .told_kernel import kernel_in_use

# Named kernel and noise contradict each other if they differ by more kernel numbers than this. With a noise spectrum that fits
# the B family, real B70f were estimated as 72, simulated B80f as 78 to 80, and simulated B50f to B70f of randomised shape were
# off by up to 6. Without a spectrum the tolerance is wider: the autocorrelation cannot distinguish B60f from B80f.
TAG_TOLERANCE, TAG_TOLERANCE_WITHOUT_SPECTRUM = 15.0, 20.0
# From this number on the autocorrelation of the noise is ambiguous: it estimates simulated B80f as 54.
AMBIGUOUS_FROM = 50.0
# A number is not contradicted while its published spectrum describes the noise (misfit up to 1, the expected error), or does
# so nearly as well as the best: in thick slices with little noise, anatomy that is left makes the noise of B80f look like that
# of B50f, and that of B30f or B40f like that of B10f. Misfits of the true kernel were up to 1.32 times the best in such
# simulated scans; those of B30f on noise of B50f were 1.49 times the best and at least 2.6, of other lies more.
DESCRIBES, NEARLY_AS_GOOD = 1.0, 1.35
# Siemens I70f is B70f with iterative reconstruction, which takes noise away: it may look smoother than its number, not sharper.
_SAFIRE_OF_B = "I"
# Kernels whose published noise spectrum is that of another number, which is then expected as well as their own.
_NOISE_NUMBER = {75: 60.0}
# Range of B numbers, without tolerance, that noise may have for each sharpness class. Measured: Philips B 28, L 46; published
# noise of GE soft 39, standard 42, chest 50, lung 79, bone, boneplus and edge 60; Canon FC13 48, FC51 79. The ranges are wide,
# because most classes rest on the name of the kernel alone.
_NUMBERS_OF_CLASS: dict[SharpnessClass, tuple[float, float]] = {
    "smooth": (10.0, 45.0),
    "medium": (30.0, 50.0),
    "sharp": (46.0, 80.0),
    "very sharp": (60.0, 80.0),
}


def kernel_contradiction(volume: CTVolume, sharpness: Sharpness | None) -> str | None:
    """Message for the user if the noise contradicts the kernel that the user or the header names; else ``None``.

    Args:
        volume: the scan.
        sharpness: its measured noise, if it could be measured.
    """
    if sharpness is None or not sharpness.is_telling or volume.synthetic:
        return None
    name = kernel_name(volume.acquisition)
    expected = _expected_numbers(volume, name)
    if expected is None:
        return None
    by_class = kernel_number(kernel_in_use(volume.acquisition)) is None
    tolerance = TAG_TOLERANCE_WITHOUT_SPECTRUM if by_class else _tolerance(sharpness)
    low, high = expected[0] - tolerance, expected[1] + tolerance
    read = sharpness.kernel_number
    if sharpness.family is None:
        low = min(low, AMBIGUOUS_FROM)
    # iterative reconstruction removes fine noise whatever the kernel, so smooth noise is then no contradiction
    too_smooth = read < low and name.reconstruction in (None, "filtered back-projection")
    if (not too_smooth and read <= high) or (not by_class and _describes(kernel_in_use(volume.acquisition), sharpness)):
        return None
    told = volume.acquisition.told_kernel is not None
    said = kernel_in_use(volume.acquisition) if not by_class else name.in_words()
    return f"{'You named' if told else 'The header says'} {said}, but the noise looks like B{read:.0f}f."


def _describes(kernel: str | None, sharpness: Sharpness) -> bool:
    """Whether the published spectrum of this Siemens B kernel describes the noise, or nearly as well as the best."""
    number = kernel_number(kernel)
    if number is None or sharpness.spectrum is None or sharpness.family is None:
        return False
    misfit = misfit_of(sharpness.spectrum, lambda f: kernel_mtf(number, f))
    return misfit <= max(DESCRIBES, NEARLY_AS_GOOD * sharpness.family.misfit)


def lies_smooth(volume: CTVolume, sharpness: Sharpness | None) -> bool:
    """Whether the header names a smooth Siemens B kernel (up to B32f) although the noise is that of a sharp one.

    Such a scan must be refused, because it would be left unchanged and measured as if it were smooth. A kernel that the user
    named is accepted.
    """
    number = kernel_number(kernel_in_use(volume.acquisition))
    if number is None or number > SMOOTH_NUMBER or volume.acquisition.told_kernel is not None or sharpness is None:
        return False
    return sharpness.kernel_number > number and kernel_contradiction(volume, sharpness) is not None


def _expected_numbers(volume: CTVolume, name: KernelName) -> tuple[float, float] | None:
    number = kernel_number(kernel_in_use(volume.acquisition))
    if number is not None:
        noise = _NOISE_NUMBER.get(number, float(number))
        return min(noise, float(number)), max(noise, float(number))
    if name.maker == "Siemens" and name.family == _SAFIRE_OF_B and name.number is not None:
        return min(_NUMBERS_OF_CLASS["smooth"][0], float(name.number)), float(name.number)
    return None if name.sharpness is None else _NUMBERS_OF_CLASS[name.sharpness]


def _tolerance(sharpness: Sharpness) -> float:
    return TAG_TOLERANCE if sharpness.family is not None else TAG_TOLERANCE_WITHOUT_SPECTRUM
