"""What is found in folders and lists, what is left out, and the reason that a person is told."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

from ctkernel.cli import main
from ctkernel.cohort.choosing import choose, unfit
from ctkernel.cohort.csv_list import read_list
from ctkernel.cohort.finding import Finding, dry_run_lines, find_cases
from ctkernel.cohort.series_scan import SeriesFound
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import Acquisition
from Testing.cohort.runs import SHAPE, SPACING, run, tiny_chest
from Testing.core.dicomseries import chest_slices, write_series

SLICES = chest_slices(count=30, rows=12, columns=16)
Edit = Callable[[FileDataset], object]
SALT = Finding(salt=b"salt of a test", dates=True)


def series(
    folder: Path, kernel: str, study: str = "1.2.3", step: float = 5.0, change: Callable[[FileDataset], None] = id
) -> str:
    """A chest series of a study; ``change`` edits every header."""

    def edit(k: int, ds: FileDataset) -> None:
        ds.StudyInstanceUID, ds.FrameOfReferenceUID, ds.StudyDate = study, study + ".1", "20200131"
        change(ds)

    return write_series(folder, SLICES, step=step, kernel=kernel, change=edit)


@pytest.mark.parametrize("left", ["zeros", "link", "pipe"])
@pytest.mark.parametrize("which", ["one0000.dcm", "one0029.dcm"])
def test_a_slice_that_is_no_longer_dicom_is_not_dropped_where_series_share_a_folder(
    tmp_path: Path, which: str, left: str
) -> None:
    write_series(tmp_path / "flat", SLICES, step=5.0, kernel="B70f", stem="one")
    write_series(tmp_path / "flat", SLICES, step=5.0, kernel="B70f", stem="two")
    (tmp_path / "flat" / "notes.txt").write_text("read me")
    os.mkfifo(tmp_path / "flat" / "pipe.dcm")
    (tmp_path / "flat" / "gone").symlink_to(tmp_path / "nowhere")
    assert not find_cases([tmp_path], SALT).broken
    damaged = tmp_path / "flat" / which
    size = damaged.stat().st_size
    damaged.unlink()
    if left == "zeros":
        damaged.write_bytes(bytes(size))
    elif left == "pipe":
        os.mkfifo(damaged)
    else:
        damaged.symlink_to(tmp_path / "not mounted" / which)
    found = find_cases([tmp_path], SALT)
    assert not found.cases
    assert found.broken[0].reason.startswith(f"“{which}” is named like the others and is no DICOM file")


@pytest.mark.slow
def test_of_a_study_the_sharp_series_is_taken_with_its_soft_partner_and_the_rest_is_left_out_with_a_reason(
    tmp_path: Path,
) -> None:
    sharp = series(tmp_path / "a", "B70f")
    soft = series(tmp_path / "b", "B30f")
    series(tmp_path / "c", "B50f")
    series(tmp_path / "thick", "B70f", step=8.0)
    series(tmp_path / "scout", "B70f", change=lambda ds: setattr(ds, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    series(tmp_path / "head", "H70h", study="4.5", change=lambda ds: setattr(ds, "BodyPartExamined", "HEAD"))
    series(tmp_path / "mr", "B70f", study="4.6", change=lambda ds: setattr(ds, "Modality", "MR"))
    found = find_cases([tmp_path], SALT)
    (case,) = found.cases
    assert case.partner is not None
    assert (case.scan.series, case.partner.series) == (sharp, soft)
    assert case.date == "2020-01-31"
    reasons = " ".join(item.reason for item in found.left_out)
    for word in ("thinner", "LOCALIZER", "HEAD", "MR, not CT", "sharper and a softer"):
        assert word in reasons
    assert not found.broken


def test_series_mixed_in_one_folder_are_read_from_their_own_files(tmp_path: Path) -> None:
    write_series(tmp_path / "flat", SLICES, step=5.0, kernel="B70f", stem="one")
    write_series(tmp_path / "flat", SLICES, step=5.0, kernel="B70f", stem="two")
    cases = find_cases([tmp_path], SALT).cases
    assert [len(case.scan.files or ()) for case in cases] == [30, 30]
    assert all(name.startswith(("one", "two")) for case in cases for name in case.scan.files or ())


def test_no_name_and_no_patient_id_gets_into_a_case(tmp_path: Path) -> None:
    series(tmp_path / "Doe^Jane", "B70f")
    case = find_cases([tmp_path], SALT).cases[0]
    told = f"{case.id} {case.patient} {case.described}"
    assert "Doe" not in told
    assert "PID4711" not in told
    assert case.patient is not None
    again = find_cases([tmp_path], SALT).cases[0]
    other = find_cases([tmp_path], Finding(salt=b"another")).cases[0]
    assert again == case
    assert other.patient != case.patient  # who lacks the salt cannot find the ID by trying
    assert other.id == case.id


def test_damaged_numbers_of_one_series_do_not_end_the_search_of_an_archive(tmp_path: Path) -> None:
    def damage(ds: FileDataset) -> None:
        content = struct.pack("<d", 12.5)
        ds[Tag("Rows")] = RawDataElement(Tag("Rows"), "FD", len(content), content, 0, False, True)

    series(tmp_path / "a", "B70f", study="1.2.3", change=damage)
    series(tmp_path / "b", "B70f", study="1.2.4")
    assert len(find_cases([tmp_path], SALT).cases) == 2  # the damaged one is told in failures.csv, when it is read


def test_a_damaged_slice_is_told_before_anything_runs(tmp_path: Path) -> None:
    series(tmp_path / "a", "B70f")
    damaged = tmp_path / "a" / "image0007.dcm"
    damaged.write_bytes(damaged.read_bytes()[:200])
    found = find_cases([tmp_path], SALT)
    assert not found.cases
    assert "image0007.dcm" in found.broken[0].reason
    assert "cannot run" in " ".join(dry_run_lines(found))


@pytest.mark.slow
def test_a_dry_run_says_what_would_run_and_writes_nothing(tmp_path: Path) -> None:
    series(tmp_path / "in" / "a", "B70f")
    before = sorted(tmp_path.rglob("*"))
    code, text = run(tmp_path / "in", "--out", tmp_path / "out", "--method", "linear", "--dry-run")
    assert code == 0, text
    assert "1 case(s) would run" in text
    assert "kernel B70f, 30 images" in text
    assert sorted(tmp_path.rglob("*")) == before


def csv_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_a_list_gives_cases_with_everything_that_stands_in_it(tmp_path: Path) -> None:
    text = "\ufeffpath;patient;date;sex;height;weight;case;kernel\nscans/a.nrrd;P 1;2020-01-31;f;165,5;60;first;B70f\n"
    (case,) = read_list(csv_file(tmp_path, text)).cases
    assert (case.id, case.patient, case.date, case.kernel) == ("first", "P 1", "2020-01-31", "B70f")
    assert case.build == ("female", 165.5, 60.0)
    assert case.scan.path == str(tmp_path / "scans" / "a.nrrd")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"PK\x03\x04\0\0" + bytes(200), "save the list as CSV"),
        ("path,größe\na,1\n".encode("latin-1"), "UTF-8"),
        ("file,patient\na.nrrd,1\n", "no column “path”"),
        ("path,path\na,b\n", "twice"),
        ("path\n", "no row"),
        ("", "no column “path”"),
    ],
)
def test_a_list_that_cannot_be_read_says_what_is_wrong(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_list(csv_file(tmp_path, text))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.nrrd,P1,2020-01-31,", "stands in row 2 already"),
        ("b.nrrd,P1,2020-01-31,", "another scan of 2020-01-31 in row 2"),
        ("b.nrrd,P2,31.1.2020,", "write YYYY-MM-DD"),
        ("b.nrrd,P2,,../../etc", "cannot name a folder"),
        (",P2,,", "no path"),
        ("b.nrrd,P2,,,too,many", "cells"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_and_the_others_go_on(tmp_path: Path, row: str, words: str) -> None:
    found = read_list(csv_file(tmp_path, f"path,patient,date,case\na.nrrd,P1,2020-01-31,\n{row}\nz.nrrd,P9,,\n"))
    assert len(found.cases) == 2
    assert words in found.broken[0].reason


def test_the_softer_of_two_kernels_without_numbers_is_the_less_noisy_one(tmp_path: Path) -> None:
    sample = make_sample(1, SHAPE, SPACING)
    sharp_hu, soft_hu = sample.sharp.hu.astype(np.int16), sample.smooth.hu.astype(np.int16)

    def edit(k: int, ds: FileDataset) -> None:
        ds.StudyInstanceUID, ds.FrameOfReferenceUID = "1.2", "1.2.1"

    soft = write_series(tmp_path / "s", soft_hu, step=15.0, kernel="STANDARD", change=edit)
    sharp = write_series(tmp_path / "l", sharp_hu, step=15.0, kernel="LUNG", change=edit)
    (case,) = find_cases([tmp_path], SALT).cases
    assert case.partner is not None
    assert (case.scan.series, case.partner.series) == (sharp, soft)


@pytest.mark.parametrize("options", [[], ["--gpus", "first"], ["--scheduler", "nowhere"], ["--scheduler", "tcp://"]])
def test_a_refused_run_leaves_no_folder(tmp_path: Path, options: list[str]) -> None:
    source, out = tmp_path / "scans", tmp_path / "out"
    source.mkdir()
    if options:
        write_volume(tiny_chest(0), source / "chest.nrrd")
    assert main(["cohort", str(source), "--out", str(out), *options]) == 2
    assert not out.exists()


def test_maps_and_virtual_images_are_not_taken_for_the_sharp_series_of_a_study() -> None:
    """At 40 keV the noise is the highest of the study, and a map has the least: both once became a pair."""

    def found(uid: str, kind: str, kernel: str) -> SeriesFound:
        facts = Acquisition(kernel, "SIEMENS", modality="CT", image_type=("DERIVED", "PRIMARY", "AXIAL", kind))
        return SeriesFound(uid, facts, "", "", ("grid",), 512 * 512, False, 300, [0.0, 299.0])

    assert "a map, whose values are not HU" in str(unfit(found("1", "ELECTRON_DENSITY", "Br40f")))
    ordinary, virtual = found("2", "NONE", "Br60f"), found("3", "VMI", "Br64f")
    assert unfit(virtual) is None
    (choice,), left_out = choose([virtual, ordinary], every=False)
    assert (choice.scan, choice.partner) == (ordinary, None)
    assert [item.reason for item in left_out] == ["The images are virtual ones; an ordinary series of the study is taken."]
    (choice,), left_out = choose([virtual], every=False)
    assert (choice.scan, left_out) == (virtual, [])


@pytest.mark.parametrize(("part", "fits"), [("THORAXABDOMEN", True), ("HEADNECKTHORAX", True), ("HEADNECK", False)])
def test_a_body_part_that_holds_the_chest_in_other_words_is_one(part: str, fits: bool) -> None:
    facts = Acquisition("B70f", "SIEMENS", modality="CT", body_part=part)
    assert (unfit(SeriesFound("1", facts, "", "", (), 512 * 512, False, 300, [0.0, 299.0])) is None) is fits
