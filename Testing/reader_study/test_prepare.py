"""What readers get: one image per case, stored so that nothing but the image itself tells what it is."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from core.chests import make_chest
from reader_study.studies import CASES, Folders, Prepared, prepare

from ctkernel.reader_study.pairs import match_folders
from ctkernel.reader_study.prepare import StudyPlan, draw_groups, prepare_study, require_readers
from ctkernel.reader_study.seal import open_seal
from ctkernel.reader_study.study import open_study, require_unchanged_images
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.progress import ProgressTracker


@pytest.fixture
def own(folders: Folders, tmp_path: Path) -> Folders:
    """A copy of the folders that a test may damage."""
    copy = Folders(tmp_path / "B20f", tmp_path / "normalized")
    shutil.copytree(folders.originals, copy.originals)
    shutil.copytree(folders.normalized, copy.normalized)
    return copy


def test_each_case_shows_one_of_its_two_volumes_rounded_to_whole_hu(prepared: Prepared, folders: Folders) -> None:
    groups = Counter(prepared.seal.groups.values())
    assert sum(groups.values()) == CASES
    assert min(groups["original"], groups["normalized"]) >= 2
    for label in prepared.seal.labels:
        folder, suffix = (folders.originals, ".nrrd") if label.group == "original" else (folders.normalized, ".mha")
        volume = read_volume(folder / (label.source + suffix))
        case = next(c for c in prepared.study.cases if c.identifier == label.case)
        shown = prepared.study.voxels(case)
        inside = ~volume.padding_mask
        assert np.abs(shown[inside] - np.clip(volume.hu[inside], -1024, 3071)).max() <= 0.5
        assert (shown[~inside] == -1024).all()


def test_files_of_both_groups_are_alike_in_size_type_date_and_name(prepared: Prepared) -> None:
    paths = [prepared.study.image_path(case) for case in prepared.study.cases]
    assert len({path.stat().st_size for path in paths}) == 1
    assert len({path.stat().st_mtime_ns for path in prepared.study.folder.iterdir()}) == 1
    assert len({(path.stat().st_mode, len(path.name), path.suffix) for path in paths}) == 1
    # headerless: the first bytes are voxels, and every value is one that both kinds of volumes can have
    for case in prepared.study.cases:
        voxels = prepared.study.voxels(case)
        assert voxels.dtype == np.dtype("<i2")
        assert voxels.min() >= -1024
        assert voxels.max() <= 3071


def test_nothing_in_the_study_folder_names_a_case_a_group_or_the_seed(prepared: Prepared) -> None:
    for path in prepared.study.folder.iterdir():
        content = (path.name.encode() + path.read_bytes()).lower()
        for word in (b"meier", b"anna", b"b20f", b"kernel.synthetic", b"group", b"seed", b"salt"):
            assert word not in content, (path.name, word)
    # the study's own words speak of every image alike
    record = json.loads((prepared.study.folder / "study.json").read_text())
    assert all(set(entry) == {"case", "shape", "spacing_mm", "sha256"} for entry in record["cases"])
    assert len({json.dumps([entry["shape"], entry["spacing_mm"]]) for entry in record["cases"]}) == 1
    assert "may be synthetic" in record["use"]
    assert "Research use only" in record["use"]


def test_geometry_is_that_of_the_original_for_both_groups(own: Folders, tmp_path: Path) -> None:
    """Writers round the header differently: 0.7 and 0.69999 would tell a group."""
    for path in own.normalized.iterdir():
        image = sitk.ReadImage(str(path))
        image.SetSpacing([s * 0.999999 for s in image.GetSpacing()])
        sitk.WriteImage(image, str(path))
    study = prepare(own, tmp_path).study
    assert {case.spacing for case in study.cases} == {(1.25, 0.7, 0.7)}


def test_order_of_stored_rows_does_not_tell(own: Folders, tmp_path: Path) -> None:
    """A normalized volume whose file runs from the head down shows the same slices in the same order."""
    before = prepare(own, tmp_path, seed=9)
    for path in own.normalized.iterdir():
        image = sitk.ReadImage(str(path))
        turned = sitk.Flip(image, [False, True, True])
        turned.SetMetaData("CTKernelNormalization.synthetic", "true")
        sitk.WriteImage(turned, str(path))
    (tmp_path / "again").mkdir()
    after = prepare(own, tmp_path / "again", seed=9)
    images = [
        {label.source: p.study.voxels(next(c for c in p.study.cases if c.identifier == label.case)) for label in p.seal.labels}
        for p in (before, after)
    ]
    for source, voxels in images[0].items():
        assert np.array_equal(voxels, images[1][source]), source


def test_same_seed_same_draw_and_other_names_on_the_files(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = prepare(folders, tmp_path / "a", seed=11), prepare(folders, tmp_path / "b", seed=11)
    drawn = [{label.source: label.group for label in p.seal.labels} for p in (first, second)]
    assert drawn[0] == drawn[1]
    assert not {c.identifier for c in first.study.cases} & {c.identifier for c in second.study.cases}
    assert first.study.commitment != second.study.commitment


def test_draw_is_fair_and_independent() -> None:
    names = [f"case {n}" for n in range(36)]
    drawn = np.array([[g == "original" for g in draw_groups(names, seed).values()] for seed in range(800)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    # every case is an original in half of the draws, and pairs of cases go together in half of them
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.08
    assert (drawn[:, 0] == drawn[:, 1]).mean() == pytest.approx(0.5, abs=0.07)
    assert drawn.sum(axis=1).std() == pytest.approx(3.0, abs=0.4)


def test_every_reader_has_an_order_of_its_own_that_stays(prepared: Prepared) -> None:
    orders = [[c.identifier for c in open_study(prepared.study.folder).reading_order(r)] for r in prepared.study.readers]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] == [c.identifier for c in prepared.study.reading_order("radiologist")]


def test_missing_partner_is_named(own: Folders, tmp_path: Path) -> None:
    (own.normalized / "Meier_Anna_03.mha").unlink()
    with pytest.raises(InputError, match=r"normalized lacks the partner of 1 case.*Meier_Anna_03"):
        prepare(own, tmp_path)
    assert not (tmp_path / "study").exists()
    assert not (tmp_path / "study.seal.json").exists()


def test_other_slices_in_one_folder_are_refused(own: Folders, tmp_path: Path) -> None:
    write_volume(make_chest(slices=9, side=64, padding=-2000.0).volume, own.normalized / "Meier_Anna_02.mha")
    with pytest.raises(InputError, match=r"Meier_Anna_02.*8 x 64 x 64 and 9 x 64 x 64"):
        prepare(own, tmp_path)
    assert not (tmp_path / "study.seal.json").exists()


def test_other_place_in_one_folder_is_refused(own: Folders, tmp_path: Path) -> None:
    path = own.normalized / "Meier_Anna_02.mha"
    image = sitk.ReadImage(str(path))
    image.SetOrigin([v + 0.5 for v in image.GetOrigin()])
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputError, match=r"Meier_Anna_02.*by up to 0\.5 mm"):
        prepare(own, tmp_path)


def test_folders_in_the_wrong_order_are_noticed(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrong order"):
        prepare(Folders(folders.normalized, folders.originals), tmp_path)


def test_a_case_without_its_normalized_volume_is_noticed(own: Folders, tmp_path: Path) -> None:
    (own.normalized / "Meier_Anna_05.mha").unlink()
    shutil.copy(own.originals / "Meier_Anna_05.nrrd", own.normalized)
    with pytest.raises(InputError, match="same voxels"):
        prepare(own, tmp_path)


def test_two_volumes_of_one_name_and_one_folder_twice_are_refused(own: Folders) -> None:
    with pytest.raises(InputError, match="given twice"):
        match_folders(own.originals, own.originals)
    shutil.copy(own.originals / "Meier_Anna_01.nrrd", own.normalized)
    with pytest.raises(InputError, match="one volume per case"):
        match_folders(own.originals, own.normalized)


def test_a_study_is_never_overwritten_and_labels_never_lie_among_the_images(prepared: Prepared, folders: Folders) -> None:
    parent = prepared.study.folder.parent
    for out, seal, message in (
        (prepared.study.folder, parent / "new.json", "never overwritten"),
        (parent / "other", prepared.seal_path, "never overwritten"),
        (parent / "other", parent / "other" / "seal.json", "readers see"),
    ):
        with pytest.raises(InputError, match=message):
            prepare_study(folders.originals, folders.normalized, StudyPlan(out, seal), ProgressTracker())


def test_changed_labels_are_refused(prepared: Prepared) -> None:
    text = prepared.seal_path.read_text()
    swapped = text.replace('"original"', '"x"').replace('"normalized"', '"original"').replace('"x"', '"normalized"')
    prepared.seal_path.write_text(swapped)
    with pytest.raises(InputError, match="changed after the study was prepared"):
        open_seal(prepared.seal_path, prepared.study.identifier, prepared.study.commitment)


def test_labels_are_for_their_owner_only(prepared: Prepared) -> None:
    assert prepared.seal_path.stat().st_mode & 0o077 == 0


def test_exchanged_images_are_noticed(prepared: Prepared) -> None:
    require_unchanged_images(prepared.study, ProgressTracker())
    first, second = (prepared.study.image_path(case) for case in prepared.study.cases[:2])
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(InputError, match="was changed"):
        require_unchanged_images(prepared.study, ProgressTracker())


@pytest.mark.parametrize("names", [[], ["a", "A"], ["../x"], ["a b"], [""], ["x" * 33]])
def test_readers_need_code_names_of_their_own(names: list[str]) -> None:
    with pytest.raises(InputError):
        require_readers(names)


def test_packing_tells_no_more_than_the_image_does(prepared: Prepared) -> None:
    """Nothing is packed on disk or on the way; this states why: packed sizes of the groups would differ."""
    sizes: dict[str, list[int]] = {"original": [], "normalized": []}
    for case in prepared.study.cases:
        sizes[prepared.seal.groups[case.identifier]].append(len(gzip.compress(prepared.study.voxels(case).tobytes())))
    assert max(sizes["original"]) < min(sizes["normalized"])
