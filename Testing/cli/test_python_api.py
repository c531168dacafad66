"""The Python package: its examples run, it starts at once, and it measures what the command line measures."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctkernel
from ctkernel.cli import main
from EmphysemaQuantLib.core.results.table import csv_text, measurement_rows
from KernelNormalizationLib.core import methods
from KernelNormalizationLib.core.methods.linear import FilterNormalizer
from KernelNormalizationLib.core.progress import ProgressReport, ProgressTracker
from KernelNormalizationLib.core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_an_interrupted_measurement_from_python_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = ctkernel.simulated_chest()
    mask = ctkernel.segment_lungs(scan)
    ctkernel.write(ctkernel.measure(scan, mask), tmp_path / "out", report=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert {"emphysema.seg.nrrd", "metrics.csv", "metrics.json", "report.html"} <= before.keys()
    other = ctkernel.measure(scan, mask, ctkernel.MeasurementSettings(threshold_hu=-900.0))

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    # the record is the last file of a set
    monkeypatch.setattr("ctkernel.quantification_files.write_metrics", stopped)
    with pytest.raises(KeyboardInterrupt):
        ctkernel.write(other, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    ctkernel.write(other, tmp_path / "out")
    # without the report of the older measurement
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["emphysema.seg.nrrd", "metrics.csv", "metrics.json"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["read", "from_array", "simulated_chest", "normalize", "segment_lungs", "measure", "write"])
def test_the_example_of_every_function_runs(name: str) -> None:
    examples = doctest.DocTestFinder().find(getattr(ctkernel, name), name)
    assert sum(len(example.examples) for example in examples) >= 2
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.slow
def test_the_examples_of_the_documentation_run() -> None:
    outcome = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0


def python_of(page: str) -> str:
    """The one Python example of a page."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(code)


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    ctkernel.write(ctkernel.simulated_chest(3), tmp_path / "scan.nrrd")
    names: dict[str, Any] = {}
    exec(python_of("README.md").replace("path/to/dicom/folder", str(tmp_path / "scan.nrrd")), names)
    raw, smooth = (volume.whole.ei_percent for volume in names["found"].volumes)
    assert smooth < raw


def test_the_normalizer_of_the_guide_is_one_that_the_registry_takes() -> None:
    names: dict[str, Any] = {"__package__": methods.__name__}
    exec(python_of("docs/engineer/adding-a-normalizer.md"), names)
    scan = ctkernel.simulated_chest(3)
    result = FilterNormalizer("my_filter", names["my_filter"]).normalize(scan, ProgressTracker())
    assert result.record["method"] == "my_filter"
    assert result.volume.synthetic


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, ctkernel; print(sorted({'numpy', 'SimpleITK', 'scipy', 'torch', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_promised_name_is_there_and_the_version_is_that_of_the_code() -> None:
    assert all(getattr(ctkernel, name) is not None for name in ctkernel.__all__)
    assert ctkernel.__version__ == VERSION
    with pytest.raises(AttributeError, match="nonesuch"):
        ctkernel.nonesuch  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("synthetic_first", [False, True])
def test_files_measure_alike_here_and_on_the_command_line_in_either_order(tmp_path: Path, synthetic_first: bool) -> None:
    scan = ctkernel.simulated_chest(3)
    paths = [str(ctkernel.write(scan, tmp_path / "scan.nrrd"))]
    paths.append(str(ctkernel.write(ctkernel.normalize(scan, method="linear"), f"{tmp_path}/smooth.nrrd")))
    if synthetic_first:
        paths.reverse()
    steps: list[ProgressReport] = []
    found = ctkernel.measure(paths, progress=steps.append)
    assert [volume.name for volume in found.volumes] == ["scan", "smooth"]
    assert found.volumes[1].provenance["method"] == "linear"
    assert steps[-1].stage == "Measuring"
    assert main(["quantify", paths[0], "--compare", paths[1], "--out", str(tmp_path / "q")]) == 0
    assert (tmp_path / "q" / "metrics.csv").read_text() == csv_text(measurement_rows(found))
    written = ctkernel.write(found, tmp_path / "api", report=True)
    here, there = (json.loads((folder / "metrics.json").read_text()) for folder in (written, tmp_path / "q"))
    of_the_run = {"made_at", "seconds", "files"}  # of the manifest; all else is the same
    manifests = [{key: v for key, v in told.pop("manifest").items() if key not in of_the_run} for told in (here, there)]
    assert manifests[0] == manifests[1]
    assert here.pop("record_sha256") != there.pop("record_sha256")
    assert here == there
    assert (written / "report.html").is_file()


@pytest.mark.slow
def test_a_mask_may_be_an_array_of_labels() -> None:
    scan = ctkernel.simulated_chest(3)
    labels = ctkernel.segment_lungs(scan).labels
    assert ctkernel.measure(scan, labels).volume.whole.voxels == np.count_nonzero(labels)


@pytest.mark.slow
def test_bare_arrays_wrong_spacing_and_other_objects_are_refused_with_what_to_do(tmp_path: Path) -> None:
    scan = ctkernel.simulated_chest(3)
    with pytest.raises(ctkernel.InputError, match=r"from_array\(hu, spacing\)"):
        ctkernel.segment_lungs(scan.hu)  # type: ignore[arg-type]
    with pytest.raises(ctkernel.InputError, match="slice, row and column"):
        ctkernel.from_array(scan.hu, (1.0, 1.0))
    with pytest.raises(ctkernel.InputError, match="Both volumes are the same"):
        ctkernel.measure([scan, scan])
    with pytest.raises(ctkernel.InputError, match="0 volumes"):
        ctkernel.measure([])
    with pytest.raises(ctkernel.InputError, match="uses no network"):
        ctkernel.normalize(scan, method="linear", model="some-model")
    with pytest.raises(ctkernel.InputError, match="no method 'magic'"):
        ctkernel.normalize(scan, method="magic")  # type: ignore[arg-type]
    with pytest.raises(ctkernel.InputError, match="ndarray cannot be written"):
        ctkernel.write(scan.hu, tmp_path / "x.nrrd")  # type: ignore[arg-type]
