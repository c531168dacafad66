"""Acquisition of the scan, with remarks on what makes the indices doubtful."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.mtf import kernel_number
from KernelNormalizationLib.core.volume import CTVolume

from ..indices.density import RegionIndices
from ..lungs.quality_verdict import MaskQuality

if TYPE_CHECKING:
    from KernelNormalizationLib.core.suitability import Suitability

Status = Literal["ok", "note", "doubt"]
Sex = Literal["male", "female"]

# Emphysema indices depend on slice thickness: partial volume hides small holes. Own choice: thin means up to 1.5 mm.
THICK_SLICE_MM = 1.5
# TLV below this share of the predicted one suggests a scan that was not taken at full inspiration.
LOW_INSPIRATION_SHARE = 0.75
# Own choice: the linear formula passes zero for short, heavy adults, where it was never fitted.
SMALLEST_PREDICTED_ML = 1000.0
# Own choice: the test chests lie between -880 and -800 HU; 50 HU above that the lungs are hardly inflated.
SHALLOW_MLD_HU = -750.0
LOCATION_RELIABLE_ABOVE_EI = 5.0
GATE = "Verdict"
_GATE_STATUS: dict[str, Status] = {"in domain": "note", "untested": "doubt", "already smooth": "ok", "refuse": "doubt"}
# EI was related to pathology and lung function on B20 to B40 reconstructions; noise and bias rise steeply above.
SHARP_ABOVE_KERNEL = 40


@dataclass(frozen=True)
class SheetItem:
    """One line of the acquisition sheet.

    Attributes:
        name: what.
        value: as shown, with unit; "not stated" when the source does not say.
        status: "ok", "note" (worth knowing) or "doubt" (indices may be wrong because of it).
        remark: why it matters; empty when there is nothing to say.
    """

    name: str
    value: str
    status: Status = "ok"
    remark: str = ""


@dataclass(frozen=True)
class Patient:
    """Sex, height and weight for the predicted lung volume; no name."""

    sex: Sex
    height_cm: float
    weight_kg: float


def predicted_tlv_ml(patient: Patient) -> float:
    """Normal TLV at CT of Chinese adults, mL: -10150 + 605.3 (male) + 92.61 cm - 12.99 kg, +- 1766.

    Cheng 2019 (doi 10.2147/COPD.S187596, abstract): 564 subjects with normal lung function.

    Raises:
        InputError: height or weight out of the range of adults, or so far apart that the formula gives no volume.
    """
    if not 130 <= patient.height_cm <= 220 or not 30 <= patient.weight_kg <= 250:
        raise InputError(
            f"Height {patient.height_cm:g} cm and weight {patient.weight_kg:g} kg are not those of an adult; give cm and kg "
            "(130 to 220 cm, 30 to 250 kg)."
        )
    predicted = -10150.0 + 605.3 * (patient.sex == "male") + 92.61 * patient.height_cm - 12.99 * patient.weight_kg
    if predicted < SMALLEST_PREDICTED_ML:
        raise InputError(
            f"For {patient.height_cm:g} cm and {patient.weight_kg:g} kg the formula predicts {predicted:.0f} mL, which is "
            "not a possible lung volume: it does not apply to this build. Leave sex, height and weight out."
        )
    return predicted


def location_reliable(ei_percent: float) -> bool:
    """Whether the place of the emphysema can be trusted.

    At EI <= 5 % the mask consists of isolated voxels and its overlap between reconstructions is poor, while the index
    itself still agrees (Table 1 and discussion of the UNet kernel normalization paper).
    """
    return ei_percent > LOCATION_RELIABLE_ABOVE_EI


def acquisition_sheet(
    volume: CTVolume,
    whole: RegionIndices,
    quality: MaskQuality,
    patient: Patient | None = None,
    suitability: Suitability | None = None,
) -> tuple[SheetItem, ...]:
    """The acquisition sheet of a quantified volume.

    Args:
        volume: the CT.
        whole: indices of both lungs.
        quality: verdict on the lung mask.
        patient: sex, height and weight for the predicted lung volume; ``None`` leaves it out.
        suitability: what the normalization's gate says of the volume; ``None`` where it was not asked.
    """
    items = [
        _kernel(volume),
        gate_item(suitability, {}),
        _scanner(volume),
        *_slices(volume),
        _contrast(volume),
        _voltage(volume),
    ]
    items += [_mask(quality), _inspiration(whole, patient), _location(volume, whole)]
    return tuple(items)


def gate_item(suitability: Suitability | None, record: Mapping[str, Any]) -> SheetItem:
    """What the normalization's gate says of an original, or said of the scan that a synthetic volume was made from.

    Args:
        suitability: verdict on an original; ``None`` for a synthetic volume, or where nothing can be said.
        record: of a synthetic volume's normalization; empty for an original.
    """
    if suitability is not None:
        return SheetItem(GATE, suitability.verdict, _GATE_STATUS[suitability.verdict], " ".join(suitability.reasons[:2]))
    before = record.get("input")
    verdict = before.get("verdict") if isinstance(before, Mapping) else None
    if not isinstance(verdict, str):
        return SheetItem(GATE, "not stated", "note", "The verdict on the scan is not on record.")
    gate = record.get("gate")
    overridden = isinstance(gate, Mapping) and bool(gate.get("overridden"))
    if overridden:
        return SheetItem(GATE, f"scan: {verdict}", "doubt", "The scan was refused, and the user overrode the refusal.")
    return SheetItem(GATE, f"scan: {verdict}", "ok" if verdict == "in domain" else _GATE_STATUS.get(verdict, "doubt"))


def _kernel(volume: CTVolume) -> SheetItem:
    kernel = volume.acquisition.kernel
    if volume.synthetic:
        return SheetItem("Kernel", kernel or "synthetic", "note", "Computed by normalization, not reconstructed.")
    if kernel is None:
        return SheetItem("Kernel", "not stated", "doubt", "EI depends on the kernel more than on anything else.")
    if is_sharp(volume):
        return SheetItem("Kernel", kernel, "doubt", "Sharp: noise pushes lung below the threshold, EI is too high.")
    return SheetItem("Kernel", kernel)


def is_sharp(volume: CTVolume) -> bool:
    """Whether the volume was reconstructed with a sharp Siemens B kernel (above B40); false when unknown."""
    number = kernel_number(volume.acquisition.kernel)
    return not volume.synthetic and number is not None and number > SHARP_ABOVE_KERNEL


def sharp_kernel_warning(volume: CTVolume) -> str | None:
    """Warning to print beside the index of a sharp-kernel volume; ``None`` for a smooth or synthetic one.

    Where the header names no Siemens B kernel, or a smooth one that the noise contradicts, the sharpness is estimated from the
    noise.
    """
    if volume.synthetic:
        return None
    kernel = volume.acquisition.kernel
    named = kernel_number(kernel)
    noise = None if named is not None and named > SHARP_ABOVE_KERNEL else _noise_of(volume)
    number = named if noise is None else noise
    if number is None or number <= SHARP_ABOVE_KERNEL:
        return None
    by_noise = f"Kernel {kernel or 'unknown'}, noise as sharp as that of B{number:.0f}f"
    what = f"Sharp kernel {kernel}" if noise is None else by_noise
    return f"{what}: noise counts as emphysema, so EI is too high and its marked places are unreliable; normalize first."


def _noise_of(volume: CTVolume) -> float | None:
    """Kernel number read from the noise, where the header names no Siemens B kernel or the noise contradicts it."""
    # needs SimpleITK, which would slow down the start of the application
    from KernelNormalizationLib.core.suitability import assess

    try:
        found = assess(volume)
    except InputError:  # stored obliquely: nothing can be said
        return None
    if found.sharpness is None or (kernel_number(volume.acquisition.kernel) is not None and found.contradiction is None):
        return None
    return found.sharpness.kernel_number


def _scanner(volume: CTVolume) -> SheetItem:
    a = volume.acquisition
    named = " ".join(part for part in (a.manufacturer, a.scanner_model) if part)
    return SheetItem("Scanner", named or "not stated")


def _slices(volume: CTVolume) -> list[SheetItem]:
    distance = volume.geometry.spacing[0]
    thickness = volume.acquisition.slice_thickness_mm
    items = []
    shown = thickness if thickness is not None else distance
    if shown > THICK_SLICE_MM:
        remark = f"Slices over {THICK_SLICE_MM:g} mm: partial volume lowers noise and EI; compare equal thickness only."
        items.append(SheetItem("Slice thickness", f"{shown:g} mm", "doubt", remark))
    else:
        items.append(SheetItem("Slice thickness", f"{shown:g} mm"))
    if thickness is not None and distance > 1.05 * thickness:
        gap = f"{distance - thickness:.2g} mm of every {distance:g} mm were not scanned; volumes are interpolated."
        items.append(SheetItem("Slice distance", f"{distance:g} mm", "doubt", gap))
    else:
        items.append(SheetItem("Slice distance", f"{distance:g} mm"))
    items.append(SheetItem("Pixel", f"{volume.geometry.spacing[1]:.3f} × {volume.geometry.spacing[2]:.3f} mm"))
    return items


def _contrast(volume: CTVolume) -> SheetItem:
    agent = volume.acquisition.contrast_agent
    if agent:
        return SheetItem("Contrast agent", agent, "note", "Contrast medium raises lung density; EI is slightly too low.")
    return SheetItem("Contrast agent", "not stated")


def _voltage(volume: CTVolume) -> SheetItem:
    voltage = volume.acquisition.tube_voltage_kv
    return SheetItem("Tube voltage", "not stated" if voltage is None else f"{voltage:g} kV")


def _mask(quality: MaskQuality) -> SheetItem:
    words = {"ok": "ok", "look": "look at it", "failed": "failed"}
    status: Status = "ok" if quality.verdict == "ok" else "doubt"
    return SheetItem("Lung mask", words[quality.verdict], status, " ".join(quality.reasons))


def _inspiration(whole: RegionIndices, patient: Patient | None) -> SheetItem:
    litres = f"{whole.tlv_ml / 1000:.2f} L, mean {whole.mld_hu:.0f} HU"
    if patient is not None:
        predicted = predicted_tlv_ml(patient)
        share = whole.tlv_ml / predicted
        text = f"{100 * share:.0f} % of {predicted / 1000:.2f} L predicted for Chinese adults (± 1.77 L, Cheng 2019)."
        status: Status = "doubt" if share < LOW_INSPIRATION_SHARE else "ok"
        return SheetItem("Inspiration", litres, status, text)
    if whole.mld_hu > SHALLOW_MLD_HU:
        remark = f"A mean above {SHALLOW_MLD_HU:.0f} HU suggests shallow inspiration or dense lungs; EI is then too low."
        return SheetItem("Inspiration", litres, "doubt", remark)
    return SheetItem("Inspiration", litres)


def _location(volume: CTVolume, whole: RegionIndices) -> SheetItem:
    if is_sharp(volume):
        remark = "Location unreliable: on a sharp kernel most voxels of the mask are noise."
        return SheetItem("Location of emphysema", f"EI {whole.ei_percent:.1f} %", "doubt", remark)
    if location_reliable(whole.ei_percent):
        return SheetItem("Location of emphysema", f"EI {whole.ei_percent:.1f} %")
    remark = f"Location unreliable: at EI ≤ {LOCATION_RELIABLE_ABOVE_EI:g} % the mask is a few isolated voxels."
    return SheetItem("Location of emphysema", f"EI {whole.ei_percent:.1f} %", "note", remark)
