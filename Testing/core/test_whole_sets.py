"""Files that belong together: a kill at any moment leaves the old set or the new one, never some of each."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import InputError, system_error_in_words
from KernelNormalizationLib.core.io.file_conversion import normalize_file, provenance_path, write_result
from KernelNormalizationLib.core.io.whole_sets import PRIVATE_PREFIX, finish_interrupted, whole_set
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.methods.protocol import NormalizationResult
from KernelNormalizationLib.core.volume import CTVolume, Geometry

NAMES = ("a.nrrd", "b.json", "c.csv")
PACKAGE = Path(__file__).resolve().parents[2] / "KernelNormalization"
# Ends itself with SIGKILL at the given file operation, counted from the start of the writing.
WRITER = """
import os, signal, sys
from pathlib import Path
from KernelNormalizationLib.core.io.whole_sets import whole_set

folder, own, moment = Path(sys.argv[1]), sys.argv[2] == "own", int(sys.argv[3])
seen = 0

def look(event, arguments):
    global seen
    if event in ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "open", "shutil.rmtree", "tempfile.mkdtemp"):
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(look)
with whole_set(folder, ("a.nrrd", "b.json", "c.csv", "old.pdf"), own) as private:
    for name in ("a.nrrd", "b.json", "c.csv"):
        (private / name).write_text("new")
"""


DAMAGED_LISTS = (
    "{",
    "[]",
    '{"written": 3, "gone": []}',
    '{"written": ["a.nrrd", 5], "gone": []}',
    '{"written": ["../victim"], "gone": []}',
    '{"written": ["a.nrrd"], "gone": ["../victim"]}',
    '{"written": ["a.nrrd"], "gone": [".."]}',
)


@pytest.mark.parametrize("told", DAMAGED_LISTS)
def test_a_damaged_list_of_a_left_over_set_stops_no_work_and_reaches_no_other_file(tmp_path: Path, told: str) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-S", "-c"),
            "from KernelNormalizationLib.core.io.whole_sets import private_prefix; print(private_prefix(), end='')",
        ],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "victim").write_text("of the user")
    folder = tmp_path / "out"
    private = folder / f"{ended.stdout}x"
    private.mkdir(parents=True)
    (folder / "a.nrrd").write_text("old")
    (private / "a.nrrd").write_text("new")
    (private / ".complete.json").write_text(told)
    finish_interrupted(folder)
    assert seen_in(folder) == {"a.nrrd": "old"}
    assert not private.exists()
    assert (tmp_path / "victim").read_text() == "of the user"


def killed_at(folder: Path, own: str, moment: int) -> bool:
    run = subprocess.run(
        [sys.executable, "-S", "-c", WRITER, str(folder), own, str(moment)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, -9), run.stderr
    return run.returncode == -9


def seen_in(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} if folder.exists() else {}


OLD = {**dict.fromkeys(NAMES, "old"), "old.pdf": "old"}
NEW = dict.fromkeys(NAMES, "new")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("own", ["own", "shared"])
def test_a_kill_at_any_moment_leaves_the_old_set_or_the_new_one(tmp_path: Path, own: str) -> None:
    moment, outcomes = 0, set()
    while True:
        moment += 1
        folder = tmp_path / f"{moment}" / "out"
        folder.mkdir(parents=True)
        for name, text in {**OLD, "notes.txt": "mine"}.items():
            (folder / name).write_text(text)
        was_killed = killed_at(folder, own, moment)
        raw = seen_in(folder)
        assert raw.pop("notes.txt") == "mine"
        if own == "own" and sys.platform == "linux":
            assert raw in (OLD, NEW)
        assert len(set(raw.values())) == 1 or not {"a.nrrd", "b.json"} <= raw.keys()
        for place in (folder, folder.parent):
            finish_interrupted(place)
            assert not list(place.glob(PRIVATE_PREFIX + "*")), f"left over after a kill at moment {moment}"
        found = seen_in(folder)
        assert found.pop("notes.txt") == "mine"
        assert found in (OLD, NEW)
        outcomes.add(next(iter(found.values())))
        if not was_killed:
            break
    assert moment > 8
    assert outcomes == {"old", "new"}
    assert found == NEW


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_while_a_new_folder_is_made_leaves_none_or_the_whole(tmp_path: Path) -> None:
    for moment in range(1, 30):
        folder = tmp_path / f"{moment}" / "out"
        folder.parent.mkdir()
        was_killed = killed_at(folder, "own", moment)
        assert seen_in(folder) in ({}, NEW)
        assert folder.exists() == bool(seen_in(folder))
        if not was_killed:
            return
    pytest.fail("never finished")


def test_an_error_leaves_the_old_set_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text("old")

    def fail() -> None:
        with whole_set(tmp_path) as private:
            (private / "a.nrrd").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert seen_in(tmp_path) == {"a.nrrd": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]


@pytest.mark.parametrize("own", [True, False])
def test_a_target_that_is_a_folder_is_refused_before_anything_is_changed(tmp_path: Path, own: bool) -> None:
    out = tmp_path / "out"
    (out / "b.json").mkdir(parents=True)
    (out / "a.nrrd").write_text("old")

    def write() -> None:
        with whole_set(out, own_folder=own) as private:
            for name in NAMES:
                (private / name).write_text("new")

    with pytest.raises(InputError, match=r"b\.json is a folder"):
        write()
    assert seen_in(out) == {"a.nrrd": "old"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.nrrd", "b.json", "out"]


def test_folders_and_other_files_beside_the_set_stay(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "1.dcm").write_text("scan")
    with whole_set(tmp_path) as private:
        (private / "a.nrrd").write_text("new")
    assert (tmp_path / "dicom" / "1.dcm").read_text() == "scan"
    assert (tmp_path / "a.nrrd").read_text() == "new"


def chest(value: float = 0.0) -> CTVolume:
    hu = np.full((8, 16, 16), -1000.0, np.float32)
    hu[:, 4:12, 4:12] = value
    return CTVolume(hu, Geometry((1.0, 1.0, 1.0)))


def result(method: str) -> NormalizationResult:
    return NormalizationResult(chest(), {"method": method})


def test_two_volumes_of_one_stem_have_a_record_each(tmp_path: Path) -> None:
    for name, method in (("out.nrrd", "linear"), ("out.nii.gz", "bands"), ("out.mha", "heuristic"), ("out.nrrd", "unet")):
        write_result(result(method), tmp_path / name)
    records = {name: json.loads(provenance_path(tmp_path / name).read_text()) for name in ("out.nrrd", "out.nii.gz", "out.mha")}
    assert {name: record["method"] for name, record in records.items()} == {
        "out.nrrd": "unet",
        "out.nii.gz": "bands",
        "out.mha": "heuristic",
    }
    assert all(record["volume_file"] == name for name, record in records.items())


def test_a_record_of_an_earlier_version_stays_with_its_volume(tmp_path: Path) -> None:
    write_volume(chest(), tmp_path / "out.nrrd")
    (tmp_path / "out.provenance.json").write_text('{"method": "old"}')
    assert provenance_path(tmp_path / "out.nrrd").name == "out.provenance.json"
    assert provenance_path(tmp_path / "out.nii.gz").name == "out.nii.gz.provenance.json"


def test_a_record_that_cannot_be_written_keeps_the_volume_from_being_written(tmp_path: Path) -> None:
    scan, out = tmp_path / "scan.nrrd", tmp_path / "out.nrrd"
    write_volume(chest(), scan)
    write_result(result("linear"), out)
    before = out.read_bytes()
    with pytest.raises(TypeError):
        write_result(NormalizationResult(chest(50.0), {"method": object()}), out)
    assert out.read_bytes() == before
    assert json.loads((tmp_path / "out.provenance.json").read_text())["method"] == "linear"
    (tmp_path / "other.provenance.json").mkdir()
    with pytest.raises(InputError, match=r"other\.provenance\.json is a folder"):
        normalize_file(scan, tmp_path / "other.nrrd", "heuristic")
    assert not (tmp_path / "other.nrrd").exists()


@pytest.mark.slow
@pytest.mark.parametrize("had_one", [True, False])
def test_an_older_file_is_spoken_of_only_where_there_was_one(tmp_path: Path, had_one: bool) -> None:
    path = tmp_path / "out.nrrd"
    if had_one:
        path.write_text("older")
    limited = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from KernelNormalizationLib.core.io.file_conversion import write_result\n"
        "from KernelNormalizationLib.core.errors import CTKernelError\n"
        "from KernelNormalizationLib.core.methods.protocol import NormalizationResult\n"
        "from KernelNormalizationLib.core.volume import CTVolume, Geometry\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "hu = np.random.default_rng(0).normal(-800, 200, (10, 128, 128)).astype(np.float32)\n"
        "try:\n    write_result(NormalizationResult(CTVolume(hu, Geometry((1.0, 1.0, 1.0))), {}), Path(sys.argv[1]))\n"
        "except CTKernelError as error:\n    sys.exit(str(error))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", limited, str(path)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert f"{path} could not be written completely" in run.stderr
    assert ("The older file was kept" in run.stderr) == had_one
    assert [p.name for p in tmp_path.iterdir()] == (["out.nrrd"] if had_one else [])


LEFT_BEHIND = """
import os, signal, sys
from pathlib import Path
from KernelNormalizationLib.core.io.dicom_export import staged_folder
from KernelNormalizationLib.core.io.writing import atomic_path

folder = Path(sys.argv[1])
with atomic_path(folder / "a.nrrd") as volume, staged_folder(folder / "dicom") as staged:
    volume.write_text("half")
    (staged / "ct_0001.dcm").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_what_a_kill_leaves_of_a_file_and_of_a_dicom_folder_is_removed_by_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text("old")
    paths = os.environ | {"PYTHONPATH": str(PACKAGE)}
    run = subprocess.run([sys.executable, "-c", LEFT_BEHIND, str(tmp_path)], env=paths, capture_output=True, check=False)
    assert run.returncode == -9
    assert seen_in(tmp_path).pop("a.nrrd") == "old"
    assert len(list(tmp_path.glob(PRIVATE_PREFIX + "*"))) == 2
    write_volume(chest(), tmp_path / "b.nrrd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nrrd", "b.nrrd"]


@pytest.mark.parametrize("own", [True, False])
def test_a_name_that_begins_with_a_point_is_written_too(tmp_path: Path, own: bool) -> None:
    (tmp_path / "out").mkdir()
    with whole_set(tmp_path / "out", own_folder=own) as private:
        (private / ".hidden.nrrd").write_text("new")
        (private / "a.json").write_text("new")
    assert seen_in(tmp_path / "out") == {".hidden.nrrd": "new", "a.json": "new"}


def test_a_target_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is a file; give a folder"):
        whole_set(tmp_path / "out").__enter__()
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "is not allowed"),
        (errno.ENOSPC, "disk is full"),
        (errno.ENOENT, "does not exist"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_errors_of_the_system_are_told_in_words(number: int, words: str) -> None:
    text = system_error_in_words(OSError(number, os.strerror(number), "/data/scan.nrrd"))
    assert words in text
    assert "/data/scan.nrrd" in text
    assert "Errno" not in text
