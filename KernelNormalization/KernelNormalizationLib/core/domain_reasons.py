"""Why a scan is outside what a model was made for: sentences for the user, from kernel, maker, reconstruction and geometry."""

from __future__ import annotations

import numpy as np

from .arrays import LOWEST_STORED_HU
from .imaging.reconstruction_plane import SQUARE
from .kernels.contradiction import kernel_contradiction
from .kernels.kernel_names import KernelName
from .kernels.mtf import kernel_number
from .kernels.noise_sharpness import Sharpness
from .kernels.told_kernel import kernel_in_use
from .network.model_domain import Domain
from .truncation.hu_floor import HUFloor
from .volume import CTVolume

# Emphysema indices were related to pathology and lung function on thin slices.
THICK_SLICE_MM = 1.5
FLOOR_SHARE_LIMIT = 0.35


def outside_domain(
    volume: CTVolume, name: KernelName, sharpness: Sharpness | None, lost_share: float, domain: Domain
) -> tuple[str, ...]:
    """What keeps a scan from being one that the model was made for, most important first; empty if nothing does.

    Args:
        volume: the scan, in the plane of its reconstruction.
        name: its kernel by name.
        sharpness: its noise colour, if it could be read.
        lost_share: share (0 to 1) of lung voxels stored at the HU floor.
        domain: what the model was made for.
    """
    kernel = [*_kernel(volume, name, sharpness, domain), *_told(volume), *_maker(volume, name, domain)]
    return (*kernel, *_whatever_the_kernel(volume, name, lost_share, domain))


def worth_knowing_of_smooth(volume: CTVolume, name: KernelName, lost_share: float, domain: Domain) -> tuple[str, ...]:
    """What :func:`outside_domain` says apart from kernel and maker, which do not matter where nothing is normalized."""
    return (*_told(volume), *_whatever_the_kernel(volume, name, lost_share, domain))


def _whatever_the_kernel(volume: CTVolume, name: KernelName, lost_share: float, domain: Domain) -> list[str]:
    # whatever happened to the files is outside what the method was tested on
    reasons = [*_reconstruction(name, domain), *volume.acquisition.reading_notes, *_geometry(volume, domain)]
    if lost_share > FLOOR_SHARE_LIMIT:
        reasons.append(
            f"{100 * lost_share:.0f} % of the lung is stored at the HU floor; its true density can only be estimated."
        )
    return reasons


def _told(volume: CTVolume) -> list[str]:
    facts, kernel = volume.acquisition, kernel_in_use(volume.acquisition)
    if facts.told_kernel is None or facts.kernel is None or facts.kernel == kernel:
        return []
    return [f"The header names the kernel {facts.kernel}; as you asked, it is not used."]


def worth_knowing(volume: CTVolume, floor: HUFloor, domain: Domain) -> tuple[str, ...]:
    """What does not put a scan outside the domain, and bears on its numbers all the same."""
    reasons = []
    thickness = _thickness(volume)
    if THICK_SLICE_MM < thickness <= domain.slice_mm[1]:
        reasons.append(
            f"The slices are {thickness:.1f} mm thick; the usual limits of EI are for thin ones (up to {THICK_SLICE_MM:g} mm)."
        )
    rows, columns = volume.geometry.spacing[1:]
    if abs(rows / columns - 1.0) > SQUARE:
        reasons.append(
            f"The pixels are {rows:.3g} x {columns:.3g} mm, and scanners make square ones: the image was resampled, or one "
            "length is wrong, and the volumes with it."
        )
    if floor.kind == "none":
        reasons.append(f"No values were cut off at an HU floor (lowest value {floor.value:.0f} HU).")
    elif floor.value != LOWEST_STORED_HU:
        reasons.append(f"The HU floor is {floor.value:.0f} HU instead of the usual -1024 HU.")
    return tuple(reasons)


def _kernel(volume: CTVolume, name: KernelName, sharpness: Sharpness | None, domain: Domain) -> list[str]:
    facts, reasons = volume.acquisition, []
    kernel = kernel_in_use(facts)
    number = kernel_number(kernel)
    by_noise = f"its noise is as sharp as that of B{sharpness.kernel_number:.0f}f" if sharpness else "its noise cannot be read"
    low, high = domain.kernel_numbers
    made_for = f"{' or '.join(domain.makers)} {domain.family}"
    contradiction = kernel_contradiction(volume, sharpness)
    if contradiction is not None:
        reasons.append(contradiction)
    if kernel is None:
        if facts.told_kernel is None:
            reasons.append(f"The scan's kernel is unknown; {by_noise}.")
        else:
            reasons.append(f"As you asked, the kernel is read from the noise; {by_noise}.")
    elif number is None:
        reasons.append(f"Kernel {kernel} is not of the {made_for} family that the method was made for; {by_noise}.")
    elif name.family != domain.family:
        reasons.append(f"Kernel {kernel} has a name like a {made_for} kernel, but is not one; {by_noise}.")
    elif not low <= number <= high:
        tested = f"{domain.family}{low:.0f} to {domain.family}{high:.0f}"
        reasons.append(f"Kernel {kernel} is outside the range that the method was made for ({tested}).")
    return reasons


def _maker(volume: CTVolume, name: KernelName, domain: Domain) -> list[str]:
    maker = volume.acquisition.manufacturer
    if maker is None or name.maker in domain.makers:
        return []
    return [f"The scanner is from {maker}; the method was made for {' and '.join(domain.makers)}."]


def _reconstruction(name: KernelName, domain: Domain) -> list[str]:
    made = name.reconstruction
    if made is None or made in domain.reconstructions:
        return []
    shown = f" ({name.algorithm})" if name.algorithm else ""
    noise = "whose noise differs from that of filtered back projection"
    return [f"The reconstruction is {made}{shown}, {noise}."]


def _geometry(volume: CTVolume, domain: Domain) -> list[str]:
    reasons = []
    pixel, (smallest, largest) = float(np.mean(volume.geometry.spacing[1:])), domain.pixel_mm
    if not smallest <= round(pixel, 3) <= largest:
        reasons.append(f"The pixels are {pixel:.2f} mm wide; the method was made for {smallest:g} to {largest:g} mm.")
    thickness, (thinnest, thickest) = _thickness(volume), domain.slice_mm
    if not thinnest <= round(thickness, 3) <= thickest:
        reasons.append(f"The slices are {thickness:.1f} mm thick; {thinnest:g} to {thickest:g} mm were tested.")
    return reasons


def _thickness(volume: CTVolume) -> float:
    return volume.acquisition.slice_thickness_mm or volume.geometry.spacing[0]
