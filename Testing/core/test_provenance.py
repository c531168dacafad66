"""Record and image cannot disagree: hashes tie one to the other, and what was changed is refused where it is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.chests import make_chest

from ctkernel.quantification_files import records_of
from EmphysemaQuantLib.core.results.measurement import measure
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import write_result
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.methods.protocol import NormalizationResult
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.provenance.hashes import sha256_of, voxels_sha256
from KernelNormalizationLib.core.provenance.manifest import (
    SCHEMA_VERSION,
    require_known_schema,
    require_record_of,
    seal_is_broken,
    sealed,
)


@pytest.fixture(scope="module")
def result() -> NormalizationResult:
    return create_normalizer("linear").normalize(make_chest().volume, ProgressTracker())


def test_the_hash_of_voxels_does_not_depend_on_how_they_lie_in_memory() -> None:
    hu = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert voxels_sha256(hu) == voxels_sha256(np.asfortranarray(hu)) == voxels_sha256(hu.astype(">f4"))
    assert voxels_sha256(hu) != voxels_sha256(hu.reshape(3, 2, 4))
    changed = hu.copy()
    changed[1, 2, 3] = np.nextafter(changed[1, 2, 3], np.float32(100.0))
    assert voxels_sha256(hu) != voxels_sha256(changed)


def test_numbers_of_another_type_are_not_hashed_by_accident() -> None:
    with pytest.raises(TypeError, match="float64"):
        voxels_sha256(np.zeros((2, 2, 2)))


@pytest.mark.parametrize("name", ["smooth.nrrd", "smooth.nii.gz", "smooth.mha"])
def test_the_record_on_disk_holds_the_hashes_of_its_file(result: NormalizationResult, name: str, tmp_path: Path) -> None:
    written = write_result(result, tmp_path / name)
    record = json.loads((tmp_path / "smooth.provenance.json").read_text())
    assert record == json.loads(json.dumps(written))
    assert record["output"]["file"] == name
    assert record["output"]["file_sha256"] == sha256_of(tmp_path / name)
    assert record["output"]["voxels_sha256"] == voxels_sha256(read_volume(tmp_path / name).hu)
    assert record["input"]["voxels_sha256"] == voxels_sha256(make_chest().volume.hu)
    assert record["manifest_version"] == SCHEMA_VERSION
    assert seal_is_broken(record) is False


def test_a_volume_with_the_record_of_another_is_not_measured(result: NormalizationResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "smooth.nrrd")
    again = read_volume(tmp_path / "smooth.nrrd")
    other = again.with_hu(again.hu + np.float32(1.0), name="smooth", synthetic=True)
    require_record_of(again, result.record)
    write_volume(other, tmp_path / "smooth.nrrd")
    with pytest.raises(InputError, match="“smooth” describes other voxels than the volume has"):
        records_of({other: tmp_path / "smooth.nrrd"})
    with pytest.raises(InputError, match="describes other voxels"):
        measure([make_chest().volume, other], mask_of(other.hu), provenance={other: result.record})


def mask_of(hu: Any) -> Any:
    from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
    from EmphysemaQuantLib.core.lungs.segmentation import LungMask

    labels = np.zeros(hu.shape, np.uint8)
    labels[2:8, 60:80, 30:50] = 1
    return LungMask(labels, np.zeros(hu.shape, bool), MaskQuality("ok"))


def test_a_synthetic_volume_that_lost_its_mark_is_known_by_its_record(result: NormalizationResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "smooth.nrrd")
    unmarked = replace(read_volume(tmp_path / "smooth.nrrd"), synthetic=False)
    write_volume(unmarked, tmp_path / "smooth.nrrd")
    assert not read_volume(tmp_path / "smooth.nrrd").synthetic
    with pytest.raises(InputError, match="holds a synthetic volume, as the record beside it shows"):
        records_of({unmarked: tmp_path / "smooth.nrrd"})


def test_a_changed_record_is_refused_and_one_without_hashes_believed(result: NormalizationResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "smooth.nrrd")
    path, volume = tmp_path / "smooth.provenance.json", read_volume(tmp_path / "smooth.nrrd")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "method": "unet"}))
    with pytest.raises(InputError, match=r"smooth\.provenance\.json was changed after it was written"):
        records_of({volume: tmp_path / "smooth.nrrd"})
    older = {key: value for key, value in record.items() if key not in ("record_sha256", "output")}
    path.write_text(json.dumps(older))
    assert records_of({volume: tmp_path / "smooth.nrrd"}) == {volume: older}


def test_a_seal_holds_through_json_with_numbers_tuples_and_number_keys(tmp_path: Path) -> None:
    record = sealed({"a": (1, 2.5e-7), "b": {10: "x", 9: "y"}, "c": None})
    assert seal_is_broken(json.loads(json.dumps(record, sort_keys=True))) is False
    assert seal_is_broken({**record, "c": 0}) is True
    assert seal_is_broken({"c": 0}) is None


def test_a_record_of_a_later_version_is_refused() -> None:
    require_known_schema({}, "a")
    with pytest.raises(InputError, match=f"is a record of version {SCHEMA_VERSION + 1}, this software reads up to"):
        require_known_schema({"manifest_version": SCHEMA_VERSION + 1}, "a.json")
