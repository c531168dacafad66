"""Outputs that would replace a scan, records that lie beside another volume, and choices written in another way."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices, write_series

from ctkernel.cli import main
from ctkernel.cohort.output import output_salt
from ctkernel.quantification_files import read_provenance
from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.io.dicom_export import staged_folder
from KernelNormalizationLib.core.io.dicom_series import find_series, pick_series
from KernelNormalizationLib.core.io.json_file import read_json

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def normalized(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A normalized volume with its record, and the scan beside it."""
    folder = tmp_path_factory.mktemp("normalized")
    shutil.copy(scan, folder / "sharp.nrrd")
    assert main(["normalize", str(folder / "sharp.nrrd"), str(folder / "smooth.nrrd"), "--method", "linear"]) == 0
    return folder / "smooth.nrrd"


def test_a_slice_of_the_scan_is_not_replaced_by_the_volume(tmp_path: Path, capsys: Capture) -> None:
    write_series(tmp_path / "scan", chest_slices())
    one = sorted((tmp_path / "scan").iterdir())[3].rename(tmp_path / "scan" / "image.nrrd")
    before = one.read_bytes()
    assert main(["normalize", str(tmp_path / "scan"), str(one), "--method", "linear"]) == 2
    assert "is a DICOM image; an original is never overwritten. Give another output name." in capsys.readouterr().err
    assert one.read_bytes() == before


@pytest.mark.parametrize("option", ["scan", "--compare"])
def test_a_measurement_is_not_written_over_its_scan(scan: Path, tmp_path: Path, capsys: Capture, option: str) -> None:
    own = tmp_path / "emphysema.seg.nrrd"
    shutil.copy(scan, own)
    before = own.read_bytes()
    given = [own] if option == "scan" else [scan, "--compare", own]
    assert main(["quantify", *map(str, given), "--out", str(tmp_path)]) == 2
    assert (
        f"{own} is the input itself; an original is never overwritten. Give another output folder." in capsys.readouterr().err
    )
    assert own.read_bytes() == before


def test_a_record_that_is_no_file_is_not_taken_for_none(tmp_path: Path) -> None:
    record = tmp_path / "a.provenance.json"
    assert read_provenance(tmp_path / "a.nrrd") == {}
    record.mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_provenance(tmp_path / "a.nrrd")
    if hasattr(os, "mkfifo"):
        record.rmdir()
        os.mkfifo(record)
        with pytest.raises(InputError, match="is a pipe or a device"):
            read_provenance(tmp_path / "a.nrrd")


def test_a_folder_without_a_record_is_not_said_to_be_absent(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert f"{tmp_path} is no file that holds a record; give a .provenance.json" in capsys.readouterr().err


def test_a_record_beside_another_volume_does_not_reproduce_it(normalized: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(normalized.with_name("sharp.nrrd"), tmp_path / "sharp.nrrd")
    image = sitk.ReadImage(str(normalized))
    changed = image + 1.0
    for key in image.GetMetaDataKeys():
        changed.SetMetaData(key, image.GetMetaData(key))
    sitk.WriteImage(changed, str(tmp_path / "other.nrrd"))
    shutil.copy(normalized.with_name("smooth.provenance.json"), tmp_path / "other.provenance.json")
    assert main(["verify", str(tmp_path / "other.nrrd")]) == 1
    assert "DIFFERS  volume: other.nrrd was changed or replaced after it was written" in capsys.readouterr().out
    shutil.copy(normalized, tmp_path / "smooth.nrrd")  # now the record is known to be that volume's
    assert main(["verify", str(tmp_path / "other.nrrd")]) == 2


def test_a_volume_renamed_with_its_record_is_still_reproduced(normalized: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(normalized.with_name("sharp.nrrd"), tmp_path / "sharp.nrrd")
    shutil.copy(normalized, tmp_path / "renamed.nrrd")
    shutil.copy(normalized.with_name("smooth.provenance.json"), tmp_path / "renamed.provenance.json")
    assert main(["verify", str(tmp_path / "renamed.nrrd")]) == 0
    assert "agrees   volume: renamed.nrrd is the file that was written." in capsys.readouterr().out


def test_a_synthetic_volume_that_was_changed_is_not_compared_with_another_date(
    normalized: Path, scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    image = sitk.ReadImage(str(normalized))
    changed = image - 20.0
    for key in image.GetMetaDataKeys():
        changed.SetMetaData(key, image.GetMetaData(key))
    sitk.WriteImage(changed, str(tmp_path / "smooth.nrrd"))
    shutil.copy(normalized.with_name("smooth.provenance.json"), tmp_path / "smooth.provenance.json")
    assert main(["change", str(normalized), str(tmp_path / "smooth.nrrd")]) == 2
    assert "describes other voxels than the volume has" in capsys.readouterr().err


@pytest.mark.parametrize("told", ["B70f", "b70F", " B70f ", "3", " 3"])
def test_a_series_is_found_however_its_kernel_is_written(tmp_path: Path, told: str) -> None:
    write_series(tmp_path, chest_slices(3), kernel="B70f", number=3)
    assert len(pick_series(find_series(tmp_path), told)) == 3


def test_of_two_kernels_that_differ_in_case_the_one_as_written_is_taken(tmp_path: Path) -> None:
    write_series(tmp_path / "a", chest_slices(3), kernel="Br40f", number=1)
    write_series(tmp_path / "b", chest_slices(4), kernel="BR40F", number=2)
    series = {**find_series(tmp_path / "a"), **find_series(tmp_path / "b")}
    assert (len(pick_series(series, "Br40f")), len(pick_series(series, "BR40F"))) == (3, 4)
    with pytest.raises(InputError, match="fits 2 series"):
        pick_series(series, "br40f")


def test_the_mark_that_an_editor_puts_before_json_is_not_damage(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"ei": 1.5}).encode())
    assert read_json(tmp_path / "a.json") == {"ei": 1.5}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name themselves")
def test_a_cohort_is_not_written_to_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no name in UTF-8"):
        output_salt(tmp_path / os.fsdecode(b"\xff\xfe"), [tmp_path])


def test_what_could_not_be_written_is_named_by_its_own_name(tmp_path: Path) -> None:
    out = tmp_path / "dicom"
    with pytest.raises(CTKernelError) as failure, staged_folder(out) as staged, staged_folder(staged / "ct") as inner:
        np.zeros(1).tofile(inner / "absent" / "ct_0001.dcm")
    assert str(failure.value) == f"{out} could not be written completely; is the disk full? Nothing of it was kept."
