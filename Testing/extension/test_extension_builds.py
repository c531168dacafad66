"""The extension configures against Slicer's build system, and its file lists name every file of the module trees."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

cmake = pytest.importorskip("cmake")

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("KernelNormalization", "EmphysemaQuant")
NOT_PACKAGED = {"CMakeLists.txt"}
NOT_PACKAGED_FOLDERS = {"Testing", "__pycache__"}


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    executable = Path(cmake.CMAKE_BIN_DIR) / "cmake"
    command = [executable, "-S", source, "-B", build, f"-DSlicer_DIR={Path(__file__).parent / 'FakeSlicer'}"]
    return subprocess.run([*map(str, command), "-G", "Unix Makefiles"], capture_output=True, text=True, timeout=1800)


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str]]:
    """What the CMakeLists files declare: (module, kind, path or value)."""
    build = tmp_path_factory.mktemp("extension-build")
    result = configure(ROOT, build)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = (build / "declared.txt").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("|", 2)) for line in lines]  # type: ignore[misc]


def module_files(module: str) -> set[str]:
    """Every file that Slicer's package of ``module`` must hold, relative to the module folder."""
    folder = ROOT / module
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in NOT_PACKAGED
        and not path.name.startswith(".")
        and not NOT_PACKAGED_FOLDERS & set(path.relative_to(folder).parts)
        and not path.name.endswith((".pyc", ".pyi"))
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_file_of_a_module_is_listed_in_its_cmakelists(module: str, declared: list[tuple[str, str, str]]) -> None:
    listed = {path for name, _, path in declared if name == module}
    missing = sorted(module_files(module) - listed)
    scripts = [path for path in missing if path.endswith(".py")]
    resources = [path for path in missing if not path.endswith(".py")]
    assert not missing, (
        f"{module}/CMakeLists.txt does not list {len(missing)} file(s); Slicer's package would lack them.\n"
        + ("Add to MODULE_PYTHON_SCRIPTS:\n  " + "\n  ".join(scripts) + "\n" if scripts else "")
        + ("Add to MODULE_PYTHON_RESOURCES:\n  " + "\n  ".join(resources) if resources else "")
    )


@pytest.mark.parametrize("module", MODULES)
def test_scripts_and_resources_are_listed_as_such(module: str, declared: list[tuple[str, str, str]]) -> None:
    for name, kind, path in declared:
        if name == module:
            assert (kind == "script") == path.endswith(".py"), f"{module}: {path} is listed as a {kind}"


def test_both_modules_register_their_self_tests(declared: list[tuple[str, str, str]]) -> None:
    tested = {path for name, _, path in declared if name == "unittest"}
    assert tested == {f"{module}.py" for module in MODULES}


def test_a_listed_file_that_is_gone_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(Broken NONE)\nfind_package(Slicer REQUIRED)\n"
        "slicerMacroBuildScriptedModule(NAME Gone SCRIPTS Gone.py RESOURCES)\n",
        encoding="utf-8",
    )
    result = configure(tmp_path, tmp_path / "build")
    assert result.returncode != 0
    assert "Gone.py is listed but does not exist" in " ".join(result.stderr.split())


def test_extension_metadata_agrees_with_the_index_entry(declared: list[tuple[str, str, str]]) -> None:
    metadata = {kind: value for name, kind, value in declared if name == "extension"}
    entry = json.loads((ROOT / "CTKernelNormalization.json").read_text(encoding="utf-8"))
    assert metadata["DEPENDS"].split() == entry["build_dependencies"]
    assert metadata["HOMEPAGE"].startswith(entry["scm_url"])
    assert set(entry) == {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}
    assert re.fullmatch(r"https://.+\.png", metadata["ICONURL"])
    assert "Research use only" in metadata["DESCRIPTION"]


@pytest.mark.parametrize("url_key", ["ICONURL", "SCREENSHOTURLS"])
def test_published_pictures_exist_in_the_repository(url_key: str, declared: list[tuple[str, str, str]]) -> None:
    metadata = {kind: value for name, kind, value in declared if name == "extension"}
    for url in metadata[url_key].split():
        path = url.split("/main/", 1)[1]
        assert (ROOT / path).is_file(), f"{url_key} names {path}, which the repository lacks"
