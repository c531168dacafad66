"""The changelog's section of a release, for the release page: ``python .ci/release_notes.py v1.2.3``.

Fails if the tag is not the version of the code or the changelog has no section of it. Needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION_FILE = Path("KernelNormalization/KernelNormalizationLib/core/version.py")


def main(tag: str, root: Path = ROOT) -> str:
    """The section of the version ``tag`` (such as ``v1.2.3``).

    Raises:
        SystemExit: the tag, the code and the changelog do not fit together; the message says how.
    """
    version = code_version(root)
    if tag != f"v{version}":
        raise SystemExit(
            f"The tag is {tag}, the version of the code is {version}; tag v{version}, or set it in {VERSION_FILE}."
        )
    section = changelog_section((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if not section:
        raise SystemExit(f"CHANGELOG.md has no entries under “## [{version}] - date”; move those of *Unreleased* there.")
    return section


def code_version(root: Path) -> str:
    """The one place where the version is written."""
    found = re.search(r'^VERSION = "(.+)"$', (root / VERSION_FILE).read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{VERSION_FILE} states no version.")
    return found[1]


def changelog_section(text: str, version: str) -> str:
    """What stands under the heading of ``version``; empty if there is no such heading, or no date in it."""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}$"
    found = re.search(heading + r"\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .ci/release_notes.py vX.Y.Z")
    sys.stdout.write(main(sys.argv[1]) + "\n")
