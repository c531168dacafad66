"""What is written is read back the same, says what it is, and never destroys anything."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from core.chests import make_chest
from core.dicomseries import chest_slices, write_series
from hypothesis import assume, given
from hypothesis import strategies as st

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import Choices, normalize_file, provenance_path
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import atomic_path, require_writable, write_json, write_volume
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry

SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")
EXACT = (".nrrd", ".mha")
# A third of a turn about an oblique axis, one axis mirrored: no column is what it would be by default.
DIRECTION = ((0.0, -0.6, 0.8), (1.0, 0.0, 0.0), (0.0, 0.8, 0.6))
GEOMETRY = Geometry((1.25, 0.7123456789, 0.6), (-123.456789012, 98.7654321, -1000.000123), DIRECTION)
HALVES = chest_slices().astype(np.float32) + np.float32(0.123)
VOLUME = CTVolume(HALVES, GEOMETRY, Acquisition(kernel="B70f", manufacturer="SIEMENS"), name="scan")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_come_back_bit_exactly_in_the_same_place(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scan{suffix}"
    write_volume(VOLUME, path)
    again = read_volume(path)
    np.testing.assert_array_equal(again.hu.view(np.uint32), VOLUME.hu.view(np.uint32))
    # NIfTI keeps geometry in float32: 1000 mm / 2^24 and the quaternion's rounding
    tolerance = 1e-6 if suffix in EXACT else 2e-3
    corners = np.array([[i, j, k, 1.0] for i in (0, 15) for j in (0, 11) for k in (0, 9)]).T
    np.testing.assert_allclose(again.geometry.ijk_to_lps @ corners, GEOMETRY.ijk_to_lps @ corners, atol=tolerance)


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= 0.02 * max(one, other)


@given(
    spacing=st.tuples(*[st.floats(0.05, 12.0)] * 3),
    origin=st.tuples(*[st.floats(-2000.0, 2000.0)] * 3),
    flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)
def test_any_geometry_survives_nrrd(tmp_path_factory: pytest.TempPathFactory, spacing, origin, flips) -> None:  # type: ignore[no-untyped-def]
    # Oblong transverse pixels that are square in another plane are refused: such directions are not those of the scan.
    across, row, column = spacing
    assume(_alike(row, column) or not (_alike(across, row) or _alike(across, column)))
    direction = tuple(tuple(float(v) for v in row) for row in np.diag(flips))
    geometry = Geometry(spacing, origin, direction)
    path = tmp_path_factory.mktemp("geometry") / "a.nrrd"
    write_volume(CTVolume(HALVES, geometry), path)
    np.testing.assert_allclose(read_volume(path).geometry.ijk_to_lps, geometry.ijk_to_lps, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_synthetic_volume_says_so_wherever_it_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"made{suffix}"
    write_volume(replace(VOLUME, synthetic=True), path)
    assert read_volume(path).synthetic
    image = sitk.ReadImage(str(path))
    texts = " ".join(image.GetMetaData(key) for key in image.GetMetaDataKeys())
    assert "SYNTHETIC: computed, not reconstructed" in texts
    assert "Research use only. Not for diagnosis." in texts


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_original_is_not_called_synthetic(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"original{suffix}"
    write_volume(VOLUME, path)
    assert not read_volume(path).synthetic
    image = sitk.ReadImage(str(path))
    assert "Research use only" in " ".join(image.GetMetaData(key) for key in image.GetMetaDataKeys())


@pytest.mark.parametrize("suffix", EXACT)
def test_kernel_and_manufacturer_travel_along(tmp_path: Path, suffix: str) -> None:
    write_volume(VOLUME, tmp_path / f"scan{suffix}")
    facts = read_volume(tmp_path / f"scan{suffix}").acquisition
    assert (facts.kernel, facts.manufacturer) == ("B70f", "SIEMENS")


@pytest.mark.parametrize("suffix", EXACT)
def test_the_slice_thickness_travels_along_and_must_be_a_length(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scan{suffix}"
    write_volume(replace(VOLUME, acquisition=replace(VOLUME.acquisition, slice_thickness_mm=1.25)), path)
    assert read_volume(path).acquisition.slice_thickness_mm == 1.25
    image = sitk.ReadImage(str(path))
    for text in ("thick", "-1", "nan"):
        image.SetMetaData("CTKernelNormalization.slice_thickness_mm", text)
        sitk.WriteImage(image, str(path))
        with pytest.raises(InputError, match=f"slice thickness “{text}”"):
            read_volume(path)


@pytest.mark.parametrize("name", ["A.NRRD", "A.NII", "A.NII.GZ"])
def test_suffixes_in_capitals_are_understood(tmp_path: Path, name: str) -> None:
    write_volume(VOLUME, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read_volume(tmp_path / name).hu, VOLUME.hu)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_gets_the_permissions_the_user_has_chosen(tmp_path: Path, mask: int, expected: int) -> None:
    before = os.umask(mask)
    try:
        write_volume(VOLUME, tmp_path / "a.nrrd")
        write_json({}, tmp_path / "a.json")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == {expected}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from KernelNormalizationLib.core.errors import CTKernelError
from KernelNormalizationLib.core.volume import CTVolume, Geometry
from KernelNormalizationLib.core.io.writing import write_volume
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
hu = np.random.default_rng(0).normal(-800, 200, (10, 128, 128)).astype(np.float32)
try:
    write_volume(CTVolume(hu, Geometry((1.0, 1.0, 1.0))), Path(sys.argv[1]))
except CTKernelError as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file size")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_that_runs_out_of_space_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(b"the older file")
    package = Path(__file__).resolve().parents[2] / "KernelNormalization"
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "could not be written completely" in run.stderr
    assert path.read_bytes() == b"the older file"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json({"run": 1}, path)
    with pytest.raises(TypeError):
        write_json({"run": object()}, path)

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert '"run": 1' in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


class TestOutputPaths:
    @pytest.mark.parametrize("name", ["scan", "scan.dcm", "scan.png", "scan.nhdr", "scan.mhd"])
    def test_without_a_volume_suffix_are_refused_with_those_there_are(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match=r"\.nrrd.*\.nii\.gz.*\.mha"):
            require_writable(tmp_path / name)

    def test_that_are_folders_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.nrrd").mkdir()
        with pytest.raises(InputError, match="is a folder"):
            require_writable(tmp_path / "a.nrrd")

    def test_in_folders_that_do_not_exist_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="does not exist; create it"):
            require_writable(tmp_path / "no" / "a.nrrd")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
    def test_in_folders_that_may_not_be_written_are_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(InputError, match="not writable"):
            require_writable(tmp_path / "a.nrrd")

    @pytest.mark.parametrize(
        ("name", "record"),
        [("a.nrrd", "a.provenance.json"), ("a.nii.gz", "a.provenance.json"), ("a.b.mha", "a.b.provenance.json")],
    )
    def test_name_the_provenance_record(self, name: str, record: str) -> None:
        assert provenance_path(Path("/x") / name) == Path("/x") / record


class TestFileInFileOut:
    @pytest.fixture
    def scan(self, tmp_path: Path) -> Path:
        path = tmp_path / "in.nrrd"
        write_volume(make_chest(slices=8, side=64).volume, path)
        return path

    def test_writes_the_synthetic_volume_and_its_record(self, scan: Path) -> None:
        out = scan.with_name("out.nii.gz")
        record = normalize_file(scan, out, "heuristic", Choices(override_gate=True))
        assert read_volume(out).synthetic
        assert record["method"] == "heuristic"
        assert '"heuristic"' in scan.with_name("out.provenance.json").read_text()

    def test_never_overwrites_its_input(self, scan: Path) -> None:
        before = scan.read_bytes()
        link = scan.with_name("link.nrrd")
        link.symlink_to(scan)
        for output in (scan, link, scan.parent / "." / "in.nrrd"):
            with pytest.raises(InputError, match="is the input itself"):
                normalize_file(scan, output, "linear")
        assert scan.read_bytes() == before

    def test_a_refused_input_leaves_no_output(self, tmp_path: Path) -> None:
        write_series(tmp_path / "series", chest_slices()[:4])
        with pytest.raises(InputError, match="4 slice"):
            normalize_file(tmp_path / "series", tmp_path / "out.nrrd", "linear")
        assert not (tmp_path / "out.nrrd").exists()

    def test_a_hopeless_output_is_refused_before_any_work(self, scan: Path) -> None:
        with pytest.raises(InputError, match="has no volume suffix"):
            normalize_file(scan.with_name("not there.nrrd"), scan.with_name("out.png"), "linear")
