"""An example study on simulated chests: a folder of soft-kernel originals and one of normalized sharp scans."""

from __future__ import annotations

from pathlib import Path

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.whole_sets import whole_set
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.methods.protocol import Method
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.simulated_chest import make_sample

ORIGINALS, NORMALIZED = "B20f", "normalized-B80f"
# Small enough for a try: every chest is 26 cm long on 40 slices.
SHAPE, SPACING = (40, 288, 288), (6.5, 1.15, 1.15)
DEFAULT_CASES = 12


def make_example(
    out: Path, cases: int, method: Method, progress: Progress, shape: tuple[int, int, int] = SHAPE
) -> tuple[Path, Path]:
    """Simulate chests with a B20f and a B80f reconstruction each, normalize the B80f ones, and write both folders.

    Args:
        out: new folder.
        cases: how many chests.
        method: that normalizes.
        progress: told of every chest.
        shape: (k, j, i); the size of the chest stays the same.

    Returns:
        Folder of the originals, folder of the normalized volumes.

    Raises:
        InputError: ``out`` is not empty, or fewer than one case.
    """
    if cases < 1:
        raise InputError(f"{cases} cases make no study; give 4 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty; give a new folder.")
    spacing = tuple(full * mm / n for full, mm, n in zip(SHAPE, SPACING, shape, strict=True))
    normalizer = create_normalizer(method)
    inner = ProgressTracker(lambda _: progress.check_cancelled())
    with whole_set(out) as private:
        for folder in (ORIGINALS, NORMALIZED):
            (private / folder).mkdir()
        progress.start("Simulating and normalizing chests", cases)
        for n in range(cases):
            sample = make_sample(100 + n, shape, (spacing[0], spacing[1], spacing[2]))
            name = f"simulated-{n + 1:03d}.nrrd"
            result = normalizer.normalize(sample.sharp, inner)
            write_volume(sample.smooth, private / ORIGINALS / name)
            write_volume(result.volume, private / NORMALIZED / name)
            progress.advance()
    return out / ORIGINALS, out / NORMALIZED
