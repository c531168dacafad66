"""Volumes, masks and paths behave as Python users expect: comparison, short text, str paths, errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.io.file_conversion import Choices, normalize_file, provenance_path
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.notebook import mid_planes
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry


def chest() -> CTVolume:
    hu = np.full((8, 24, 32), -1000.0, np.float32)
    hu[:, 6:18, 8:24] = 40.0
    return CTVolume(hu, Geometry((2.0, 0.7, 0.7)), Acquisition(kernel="B80f"), name="chest 7")


def mask() -> LungMask:
    labels = np.zeros((8, 24, 32), np.uint8)
    labels[2:4, 8:10, 10:12], labels[2:4, 8:10, 20:21] = 1, 2
    return LungMask(labels, np.zeros(labels.shape, bool), MaskQuality("ok"))


@pytest.mark.parametrize("make", [chest, mask, lambda: find_body(chest())], ids=["volume", "mask", "body"])
def test_values_with_voxels_can_be_compared_hashed_and_printed_in_one_line(make: Any) -> None:
    one, other = make(), make()
    assert one == one
    assert one != other
    assert {one: "found"}[one] == "found"
    assert "\n" not in repr(one)
    assert len(repr(one)) < 160


def test_the_text_of_a_volume_says_what_it_is() -> None:
    assert repr(chest()) == "CTVolume('chest 7', 8 x 24 x 32 voxels, 2 x 0.7 x 0.7 mm, kernel B80f)"
    assert repr(mask()) == "LungMask(8 voxels right, 4 left, quality ok)"


def test_a_notebook_shows_three_mid_planes_and_nothing_from_outside() -> None:
    html = chest()._repr_html_()
    assert [html.count(f"{plane} mid plane") for plane in ("axial", "coronal", "sagittal")] == [1, 1, 1]
    assert html.count('src="data:image/png;base64,') == html.count("src=") == 3
    # 8 slices of 2 mm are 16 mm high and 32 columns of 0.7 mm are 22.4 mm wide
    assert 'alt="coronal mid plane" title="coronal" width="308" height="220"' in html


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
def test_mid_planes_stand_upright_whatever_the_stored_order(axes: tuple[int, int, int], flips: tuple[int, ...]) -> None:
    hu = np.random.default_rng(1).normal(-800.0, 100.0, (9, 11, 13)).astype(np.float32)
    upright = Geometry((3.0, 2.0, 1.0))
    direction = np.zeros((3, 3))
    for n, axis in enumerate(axes):
        direction[2 - axis, 2 - n] = -1.0 if n in flips else 1.0
    spacing = tuple(upright.spacing[axis] for axis in axes)
    stored = Geometry(spacing, direction=tuple(map(tuple, direction)))  # type: ignore[arg-type]
    turned = np.flip(hu.transpose(axes), flips)
    expected, found = mid_planes(hu, upright.ijk_to_lps), mid_planes(turned, stored.ijk_to_lps)
    for (name, plane, *size), (other_name, other, *other_size) in zip(expected, found, strict=True):
        assert (name, size) == (other_name, pytest.approx(other_size))
        np.testing.assert_array_equal(plane, other)
    np.testing.assert_array_equal(Canonical.of(stored).forward(turned)[4], found[0][1])


def test_names_are_escaped_in_a_notebook() -> None:
    named = chest().with_hu(chest().hu, name="<script>alert(1)</script>", synthetic=False)
    assert "<script" not in named._repr_html_()


def test_files_are_normalized_with_paths_as_text(tmp_path: Path) -> None:
    write_volume(make_sample(3, (8, 128, 128), (10.0, 2.6, 2.6)).sharp, tmp_path / "scan.nrrd")
    out = f"{tmp_path}/smooth.nrrd"
    record = normalize_file(f"{tmp_path}/scan.nrrd", out, "linear")
    assert record["method"] == "linear"
    assert Path(out).is_file()
    assert provenance_path(out).is_file()


def test_an_unknown_method_is_named_with_those_there_are(tmp_path: Path) -> None:
    write_volume(chest(), tmp_path / "scan.nrrd")
    with pytest.raises(InputError, match=r"no method 'magic'.*unet"):
        normalize_file(tmp_path / "scan.nrrd", tmp_path / "out.nrrd", "magic")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["restored", "linear", "bands", "heuristic"])
def test_a_model_for_a_method_without_one_is_refused_and_not_ignored(tmp_path: Path, method: Any) -> None:
    write_volume(chest(), tmp_path / "scan.nrrd")
    with pytest.raises(InputError, match=f"{method} uses no network"):
        normalize_file(tmp_path / "scan.nrrd", tmp_path / "out.nrrd", method, Choices("some-model"))
    assert not (tmp_path / "out.nrrd").exists()
