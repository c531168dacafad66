"""``ctkernel verify``: a result is made again from its record; whatever was changed since is said in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.conftest import make_model
from core.dicomseries import write_series

from ctkernel.cli import main
from ctkernel.verification.normalization import OTHER_BACKEND_HU, SAME_COMPUTATION_HU, tolerance_hu
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.network.model_folder import default_model, models_folder
from KernelNormalizationLib.core.provenance.manifest import sealed
from KernelNormalizationLib.core.simulated_chest import SamplePair

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scan, its normalized volume and the measurement of both."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(scan, folder / "sharp.nrrd")
    sharp, smooth = str(folder / "sharp.nrrd"), str(folder / "smooth.nrrd")
    assert main(["normalize", sharp, smooth, "--method", "linear"]) == 0
    assert main(["quantify", sharp, "--compare", smooth, "--out", str(folder / "measured")]) == 0
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed by one test."""
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def verify(capsys: Capture, *arguments: Any) -> tuple[int, str]:
    """Exit code, and what is said on both streams."""
    capsys.readouterr()
    code = main(["verify", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out + said.err


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], seal: bool = True) -> None:
    """Change a record; with its seal made anew, as a program that knows of it would do."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(sealed(record) if seal else record))


def other_voxel(path: Path, hu: float = 300.0) -> None:
    """Write the volume at ``path`` with one voxel in the lungs changed by ``hu``."""
    volume = read_volume(path)
    changed = volume.hu.copy()
    changed[12, 100, 60] += hu
    write_volume(volume.with_hu(changed, name=volume.name, synthetic=volume.synthetic), path)


def test_a_normalized_volume_is_reproduced_from_its_record(made: Path, capsys: Capture) -> None:
    code, said = verify(capsys, made / "smooth.provenance.json")
    assert code == 0
    assert said.splitlines()[0] == "Reproduced."
    assert "sharp.nrrd is the recorded input" in said
    assert "smooth.nrrd is the file that was written" in said
    assert "every voxel is the same to the last bit" in said
    assert "DIFFERS" not in said
    assert "Research use only. Not for diagnosis." in said


def test_the_volume_itself_leads_to_its_record(made: Path, capsys: Capture) -> None:
    assert verify(capsys, made / "smooth.nrrd")[0] == 0


def test_a_measurement_is_reproduced_and_all_its_files_are_looked_at(made: Path, capsys: Capture) -> None:
    code, said = verify(capsys, made / "measured" / "metrics.json", "--json")
    told = json.loads(said)
    assert code == 0
    assert told["reproduces"] is True
    texts = " ".join(finding["text"] for finding in told["findings"])
    for words in (
        "emphysema.seg.nrrd is as",
        "metrics.csv is as",
        "the lung mask is the same to the voxel",
        "All other indices",
    ):
        assert words in texts
    assert [entry["recorded"] for entry in told["numbers"]["ei_percent"]] == [
        entry["again"] for entry in told["numbers"]["ei_percent"]
    ]


def test_a_changed_voxel_of_the_result_is_told_with_its_size(copy: Path, capsys: Capture) -> None:
    other_voxel(copy / "smooth.nrrd")
    code, said = verify(capsys, copy / "smooth.provenance.json")
    assert code == 1
    assert said.startswith("NOT reproduced")
    assert "smooth.nrrd was changed or replaced after it was written" in said
    # what a new run gives is what the record says, so the record is right and the file is wrong
    assert "Computed again, every voxel is the same to the last bit" in said


def test_a_volume_written_anew_with_the_same_voxels_is_still_the_same(copy: Path, capsys: Capture) -> None:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(copy / "smooth.nrrd"))
    sitk.WriteImage(image, str(copy / "smooth.nrrd"), useCompression=True)
    code, said = verify(capsys, copy / "smooth.provenance.json")
    assert code == 0
    assert "was written anew by another program; its voxels are those on record" in said


def test_another_spacing_in_the_header_of_the_result_is_told_though_every_voxel_is_the_same(
    copy: Path, capsys: Capture
) -> None:
    path = copy / "smooth.nrrd"
    header, voxels = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(header.replace(b"1.6", b"1.7") + b"\n\n" + voxels)
    code, said = verify(capsys, copy / "smooth.provenance.json")
    assert code == 1
    assert "has another shape, or lies in another place" in said


def test_a_changed_record_is_noticed_without_and_with_its_seal_made_anew(copy: Path, capsys: Capture) -> None:
    path = copy / "smooth.provenance.json"

    def name_another_kernel(record: dict[str, Any]) -> None:
        record["source_kernel_number"] = 60.0

    rewrite(path, name_another_kernel, seal=False)
    code, said = verify(capsys, path)
    assert code == 1
    assert "The record was changed after it was written" in said
    rewrite(path, name_another_kernel)
    code, said = verify(capsys, path)
    assert code == 1
    assert "Parameters differ: source_kernel_number: 60 then, 80 now" in said


def test_another_method_on_record_gives_other_voxels_and_says_how_far_off(copy: Path, capsys: Capture) -> None:
    rewrite(copy / "smooth.provenance.json", lambda record: record.update(method="heuristic"))
    code, said = verify(capsys, copy / "smooth.provenance.json", "--json")
    told, end = json.JSONDecoder().raw_decode(said)  # then what standard error says
    numbers = told["numbers"]
    assert (code, said[end:].strip()) == (1, "ctkernel: The record was not reproduced; the list says what differs.")
    assert numbers["largest_difference_hu"] > 10 * numbers["tolerance_hu"]
    assert 0 < numbers["mean_difference_hu"] < numbers["largest_difference_hu"]


def test_another_input_is_named_and_nothing_is_computed(copy: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(copy / "sharp.nrrd", tmp_path / "other.nrrd")
    other_voxel(tmp_path / "other.nrrd")
    (copy / "sharp.nrrd").unlink()
    code, said = verify(capsys, copy / "smooth.provenance.json", "--input", tmp_path / "other.nrrd")
    assert code == 1
    assert "other.nrrd is not the recorded input sharp: its voxels have another hash" in said
    assert "Nothing was computed again" in said


def test_an_input_that_is_nowhere_is_asked_for(copy: Path, capsys: Capture) -> None:
    (copy / "sharp.nrrd").rename(copy / "scan of today.nrrd")
    code, said = verify(capsys, copy / "smooth.provenance.json")
    assert code == 2
    assert "The input “sharp” was not found beside the record; give it with --input" in said
    assert verify(capsys, copy / "smooth.provenance.json", "--input", copy / "scan of today.nrrd")[0] == 0


def test_without_the_volume_its_hash_alone_is_compared(copy: Path, capsys: Capture) -> None:
    (copy / "smooth.nrrd").unlink()
    code, said = verify(capsys, copy / "smooth.provenance.json")
    assert code == 0
    assert "smooth.nrrd is not beside the record" in said


def test_a_changed_index_a_changed_table_and_a_missing_segmentation_are_each_named(copy: Path, capsys: Capture) -> None:
    folder = copy / "measured"

    def lower_the_index(record: dict[str, Any]) -> None:
        record["volumes"][1]["regions"][0]["ei_percent"] -= 1.0

    rewrite(folder / "metrics.json", lower_the_index)
    (folder / "metrics.csv").write_text("EI\n0\n")
    (folder / "emphysema.seg.nrrd").unlink()
    code, said = verify(capsys, folder)
    assert code == 1
    assert "DIFFERS  EI: EI of smooth:" in said
    assert "agrees   EI: EI of sharp:" in said
    assert "metrics.csv was changed after it was written" in said
    assert "emphysema.seg.nrrd of the recorded result is missing" in said


@pytest.mark.slow
def test_a_supplied_mask_comes_from_the_segmentation_beside(made: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "own"
    mask = made / "measured" / "emphysema.seg.nrrd"
    assert main(["quantify", str(made / "sharp.nrrd"), "--mask", str(mask), "--out", str(out), "--threshold", "-910"]) == 0
    assert json.loads((out / "metrics.json").read_text())["manifest"]["lung_mask"]["origin"] == "supplied"
    code, said = verify(capsys, out / "metrics.json", "--input", made / "sharp.nrrd")
    assert code == 0
    assert "The supplied lung mask is the same to the voxel" in said


@pytest.mark.slow
def test_records_of_earlier_versions_are_verified_as_far_as_they_go(copy: Path, capsys: Capture) -> None:
    def as_it_was(record: dict[str, Any]) -> None:
        for key in ("manifest_version", "record_sha256", "output", "versions", "made_at", "manifest"):
            record.pop(key, None)
        record.get("input", {}).pop("voxels_sha256", None)

    rewrite(copy / "smooth.provenance.json", as_it_was, seal=False)
    code, said = verify(capsys, copy / "smooth.provenance.json")
    assert code == 0
    assert "fits the record in series and size, which is no proof" in said
    assert "voxels differ by at most 0 HU" in said
    rewrite(copy / "measured" / "metrics.json", as_it_was, seal=False)
    code, said = verify(capsys, copy / "measured" / "metrics.json")
    assert code == 0
    assert "there are no hashes" in said


@pytest.mark.slow
def test_another_model_is_told_before_anything_is_computed(
    scan: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    folder = tmp_path_factory.mktemp("model")
    one, other = make_model(folder / "one"), models_folder() / default_model()
    out = folder / "smooth.nrrd"
    assert main(["normalize", str(scan), str(out), "--model", str(one), "--device", "cpu"]) == 0
    record = folder / "smooth.provenance.json"
    assert verify(capsys, record, "--input", scan)[0] == 2  # a model of this name is not installed
    code, said = verify(capsys, record, "--input", scan, "--model", other)
    assert code == 1
    assert "has other weights than the one on record" in said
    assert "Nothing was computed again" in said
    code, said = verify(capsys, record, "--input", scan, "--model", one)
    assert code == 0, said
    assert "its weights have the same SHA-256" in said


@pytest.mark.slow
def test_a_dicom_scan_is_found_by_its_series_and_no_name_or_path_is_recorded(
    sample: SamplePair, tmp_path: Path, capsys: Capture
) -> None:
    def named(k: int, header: Any) -> None:
        header.PatientName, header.PatientID = "Roe^Richard", "HOSP-4711"

    place = tmp_path / "scan"
    write_series(place, sample.sharp.hu.astype(np.int16), step=10.0, pixel=(1.6, 1.6), kernel="B80f", change=named)
    assert main(["normalize", str(place), str(tmp_path / "smooth.nrrd"), "--method", "linear"]) == 0
    assert main(["quantify", str(place), "--compare", str(tmp_path / "smooth.nrrd"), "--out", str(tmp_path / "q")]) == 0
    for record in (tmp_path / "smooth.provenance.json", tmp_path / "q" / "metrics.json"):
        text = record.read_text()
        # digits alone occur in hashes and UIDs by chance
        assert not any(word in text for word in ("Roe", "HOSP", str(tmp_path), str(Path.home())))
        code, said = verify(capsys, record)
        assert code == 0, said
        assert "scan is the recorded input" in said


@pytest.mark.parametrize("content", ["[]", "{}", '{"method": "linear"}', '{"manifest_version": 99, "method": "linear"}', "{"])
def test_what_is_no_record_of_ours_is_refused(content: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.provenance.json").write_text(content)
    code, said = verify(capsys, tmp_path / "x.provenance.json")
    assert code == 2
    assert "x.provenance.json" in said


def test_one_computation_is_held_to_its_last_digits_and_another_backend_to_what_models_promise() -> None:
    openvino = {"backend": "openvino", "device": "cpu", "precision": "fp32"}
    assert tolerance_hu({}, {})[0] == tolerance_hu(openvino, openvino)[0] == SAME_COMPUTATION_HU
    limit, why = tolerance_hu(openvino, {"backend": "torch", "device": "cuda", "precision": "float16"})
    assert limit == OTHER_BACKEND_HU
    assert why == "openvino cpu fp32 then, torch cuda float16 now"
