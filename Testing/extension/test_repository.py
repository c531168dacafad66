"""The repository's front matter: one address, one version, forms that ask for what a problem needs and for no patient data."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from KernelNormalizationLib.core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://github.com/CTKernelNormalization/CTKernelNormalization"
yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with the extra docs, is not installed")


def read_yaml(*parts: str) -> Any:
    return yaml.safe_load(ROOT.joinpath(*parts).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def release_notes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_notes", ROOT / ".ci" / "release_notes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_repository_has_one_address_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(url.startswith(ADDRESS) for url in project["urls"].values())
    assert json.loads((ROOT / "CTKernelNormalization.json").read_text())["scm_url"] == ADDRESS
    assert f'EXTENSION_HOMEPAGE "{ADDRESS}#readme"' in (ROOT / "CMakeLists.txt").read_text()
    assert read_yaml("CITATION.cff")["repository-code"] == ADDRESS


def test_the_citation_names_authors_title_and_licence_and_no_version_of_its_own() -> None:
    citation = read_yaml("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == "CTKernelNormalization"
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]
    assert citation["license"] == project["license"]
    assert "version" not in citation


def test_a_problem_is_asked_for_kernel_scanner_and_floor_and_against_patient_data() -> None:
    body = {item["id"]: item for item in read_yaml(".github", "ISSUE_TEMPLATE", "problem.yml")["body"] if "id" in item}
    for name in ("kernel", "scanner", "floor", "version", "what"):
        assert body[name]["validations"]["required"] is True
    assert body["no-patient-data"]["attributes"]["options"][0]["required"] is True
    request = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text()
    assert all(word in request for word in ("No patient data", "kernel", "scanner", "HU floor"))


def test_every_workflow_can_be_read_and_the_release_starts_from_a_tag() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        assert read_yaml(".github", "workflows", path.name)["jobs"]
    release = read_yaml(".github", "workflows", "release.yml")
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key "on" as true


def test_every_decision_record_is_listed_and_says_why_and_what_it_costs() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(folder.glob("0*.md"))
    listed = re.findall(r"\]\((0\d{3}-[a-z-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == [path.name for path in records]
    for path in records:
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Question", "Decision", "Why", "Instead of", "Cost"], path.name


def checkout(folder: Path, changelog: str) -> Path:
    version = Path("KernelNormalization/KernelNormalizationLib/core/version.py")
    (folder / version).parent.mkdir(parents=True)
    shutil.copy(ROOT / version, folder / version)
    (folder / "CHANGELOG.md").write_text(changelog)
    return folder


CHANGES = (
    "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n"
    f"## [{VERSION}] - 2026-11-26\n\n### Added\n\n- This.\n\n"
    "## [0.0.1] - 2026-01-01\n\n- Old.\n"
)


def test_a_release_has_the_notes_of_its_own_version(release_notes: ModuleType, tmp_path: Path) -> None:
    assert release_notes.main(f"v{VERSION}", checkout(tmp_path, CHANGES)) == "### Added\n\n- This."


@pytest.mark.parametrize(
    ("tag", "changes", "words"),
    [
        ("v9.9.9", CHANGES, f"tag v{VERSION}, or set it"),
        (f"v{VERSION}", "# Changelog\n\n## [Unreleased]\n\n- Later.\n", "has no entries"),
        (f"v{VERSION}", f"# Changelog\n\n## [{VERSION}]\n\n- No date.\n", "has no entries"),
    ],
)
def test_a_release_that_does_not_fit_together_is_stopped(
    release_notes: ModuleType, tmp_path: Path, tag: str, changes: str, words: str
) -> None:
    with pytest.raises(SystemExit, match=re.escape(words)):
        release_notes.main(tag, checkout(tmp_path, changes))
