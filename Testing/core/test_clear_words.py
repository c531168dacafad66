"""Messages that were found unclear, each on the input that made it: which file, which value, and no text of a library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices, write_series
from core.refusals import refusal

from ctkernel.cli import main
from KernelNormalizationLib.core.errors import error_in_words

HU = chest_slices(10, 24, 32)  # 1,536 bytes an image


def stored(path: Path) -> Path:
    image = sitk.GetImageFromArray(HU)
    image.SetSpacing((0.6, 0.7, 1.25))
    sitk.WriteImage(image, str(path))
    return path


def test_bytes_of_pixels_are_counted_without_their_header(tmp_path: Path) -> None:
    """It read “holds 1542 bytes of pixels instead of 1536” of a file with two bytes too many."""
    write_series(tmp_path, HU, change=lambda k, ds: setattr(ds, "PixelData", ds.PixelData + bytes(2 * (k == 3))))
    assert "image0003.dcm holds 1538 bytes of pixels where 24 x 32 of 16 bits need 1536" in refusal(tmp_path)


def test_bytes_that_are_left_of_pixels_are_counted_without_their_header(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    path = tmp_path / "image0003.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00") + 12 + 100])
    assert "1536 bytes of pixels are needed and 100 bytes are left in the file" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_no_text_of_a_library_is_shown(tmp_path: Path, suffix: str, share: float) -> None:
    path = stored(tmp_path / f"scan{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refusal(path)
    assert message.startswith(path.name)
    assert not any(word in message for word in ("itk", "ITK", "Exception", "0x", "Errno"))


def test_a_spacing_that_is_infinite_is_not_called_zero(tmp_path: Path) -> None:
    path = stored(tmp_path / "scan.mha")
    content = path.read_bytes()
    line = next(line for line in content.splitlines() if line.startswith(b"ElementSpacing"))
    path.write_bytes(content.replace(line, b"ElementSpacing = 0.6 0.7 inf"))
    message = refusal(path)
    assert "inf" in message
    assert "zero" not in message


@pytest.mark.parametrize("kind", ["NRRD", "DICOM"])
def test_a_file_without_permission_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    write_series(tmp_path / "series", HU)
    path = stored(tmp_path / "scan.nrrd") if kind == "NRRD" else tmp_path / "series" / "image0002.dcm"
    usual = Path.open

    def closed(self: Path, *arguments: object, **options: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return usual(self, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", closed)  # a superuser may open everything
    message = refusal(path if kind == "NRRD" else path.parent)
    assert f"{path.name} cannot be opened: you have no permission" in message
    assert "damaged" not in message
    assert "Errno" not in message


@pytest.mark.parametrize("number", [1, 2, 13, 17, 20, 21, 28, 30])
def test_errors_of_the_system_have_no_number(number: int) -> None:
    words = error_in_words(OSError(number, os.strerror(number), "/data/out.nrrd"))
    assert words.startswith("/data/out.nrrd")
    assert "Errno" not in words
    assert words.endswith(".")


def test_a_kept_file_is_not_spoken_of_where_there_was_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["normalize", str(stored(tmp_path / "scan.nrrd")), str(tmp_path / "none" / "out.nrrd")]) == 2
    assert "older file" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["5", "[1]", '"card"', "null", "{}"])
def test_a_model_card_of_another_kind_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text(text)
    scan = stored(tmp_path / "scan.nrrd")
    assert main(["normalize", str(scan), str(tmp_path / "out.nrrd"), "--model", str(tmp_path / "model")]) == 2
    told = capsys.readouterr().err
    assert "card.json" in told
    assert "attribute" not in told


@pytest.mark.slow
@pytest.mark.parametrize("value", [1e300, 3.4e38, -1e30])
def test_no_warning_of_numpy_reaches_the_terminal(tmp_path: Path, value: float) -> None:
    voxels = HU.astype(np.float64)
    voxels[3, 4, 5] = value
    image = sitk.GetImageFromArray(voxels)
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    command = [sys.executable, "-m", "ctkernel", "info", str(tmp_path / "scan.nrrd")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "Warning" not in run.stderr
