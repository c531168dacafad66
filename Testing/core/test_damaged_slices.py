"""Slices that came damaged in part, which no checksum of DICOM shows: their neighbours do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.dicomseries import chest_slices, write_series

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.simulated_chest import make_sample


def chest() -> np.ndarray:
    """One slice of a simulated chest ten times with the noise of ten slices, int16 HU (k, j, i): so alike are thin slices."""
    noise = np.random.default_rng(4).normal(0.0, 40.0, (10, 96, 96))
    image = make_sample(2, (10, 96, 96), (20.0, 3.5, 3.5)).sharp.hu[5]
    return np.clip(np.rint(image + noise), -1024, 3000).astype(np.int16)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    return str(caught.value)


@pytest.mark.parametrize("rows", [slice(48, 96), slice(40, 44)])
def test_rows_that_were_not_copied_are_named(tmp_path: Path, rows: slice) -> None:
    hu = chest()
    hu[5, rows] = -1024  # stored zeros
    write_series(tmp_path, hu)
    assert refusal(tmp_path).startswith("image0005.dcm shows nothing in ")


def test_a_pixel_that_no_ct_stores_is_named(tmp_path: Path) -> None:
    hu = chest_slices()

    def wrap(k: int, ds: pydicom.Dataset) -> None:
        if k == 4:
            stored = np.frombuffer(ds.PixelData, "<u2").copy()
            stored[50] = 65535
            ds.PixelData = stored.tobytes()

    write_series(tmp_path, hu, change=wrap)
    assert "1 pixel(s) that no CT has, such as 64511 HU" in refusal(tmp_path)


def test_high_padding_in_every_slice_is_no_damage(tmp_path: Path) -> None:
    hu = chest()
    j, i = np.mgrid[:96, :96] - 47.5
    beyond = np.hypot(j, i) > 47.0

    def pad(_: int, ds: pydicom.Dataset) -> None:
        stored = np.frombuffer(ds.PixelData, "<u2").reshape(96, 96).copy()
        stored[beyond] = 63536
        ds.PixelData = stored.tobytes()

    write_series(tmp_path, hu, change=pad)
    volume = read_volume(tmp_path)
    assert volume.padding_mask[:, beyond].all()
    assert np.array_equal(volume.hu[:, ~beyond], hu[:, ~beyond])


def test_a_block_that_fits_no_neighbour_is_told_and_a_whole_scan_has_no_note(tmp_path: Path) -> None:
    hu = chest()
    write_series(tmp_path / "whole", hu)
    assert read_volume(tmp_path / "whole").acquisition.reading_notes == ()
    hu[6, 30:70, 20:60] = hu[6, 30:70, 20:60][::-1, ::-1] + 400  # what a decoder makes of a damaged code block
    write_series(tmp_path / "damaged", hu)
    (note,) = read_volume(tmp_path / "damaged").acquisition.reading_notes
    assert note.startswith("1 slice(s) differ from the slices before and after them")
    assert "image0006.dcm" in note


@pytest.mark.parametrize("where", ["words", "code"])
def test_loss_that_only_the_derivation_tells_of_is_noted(tmp_path: Path, where: str) -> None:
    def remark(_: int, ds: pydicom.Dataset) -> None:
        if where == "words":
            ds.DerivationDescription = "Lossy JPEG 2000"
        else:
            item = pydicom.Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113040", "DCM", "Lossy Compression"
            ds.DerivationCodeSequence = [item]

    write_series(tmp_path, chest_slices(), change=remark)
    (note,) = read_volume(tmp_path).acquisition.reading_notes
    assert note == "10 of 10 images were compressed with loss (to an unknown degree); noise and EI may be too low."


class TestSeriesOfOneFile:
    """``--series`` with a single file was ignored."""

    def test_that_it_belongs_to(self, tmp_path: Path) -> None:
        write_series(tmp_path, chest_slices(), kernel="B70f", number=3, stem="a")
        write_series(tmp_path, chest_slices(seed=6), kernel="B30f", number=4, stem="b")
        one = sorted(tmp_path.glob("a*"))[0]
        assert np.array_equal(read_volume(one, "B70f").hu, chest_slices())
        with pytest.raises(InputError, match=r"is of another series \(number 3, kernel B70f.*than --series B30f names"):
            read_volume(one, "B30f")

    def test_of_a_volume_file(self, tmp_path: Path) -> None:
        path = tmp_path / "scan.nrrd"
        path.write_bytes(b"")
        with pytest.raises(InputError, match="is one volume, so there is no series to choose with --series 3"):
            read_volume(path, "3")
