"""A study of a few small cases."""

from __future__ import annotations

from pathlib import Path

import pytest
from reader_study.studies import CASES, Folders, Prepared, make_folders, prepare


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return make_folders(tmp_path_factory.mktemp("volumes"), CASES)


@pytest.fixture
def prepared(folders: Folders, tmp_path: Path) -> Prepared:
    return prepare(folders, tmp_path)
