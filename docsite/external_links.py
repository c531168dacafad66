"""Links from the pages to other sites: ``python -m docsite.external_links`` lists them, ``--open`` tries each over the network.

The tests check their form alone, because they run without network.
"""

from __future__ import annotations

import argparse
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
# Files that people read or that name addresses for programs, below the root.
SOURCES = (
    "*.md",
    "docs/**/*.md",
    "training/**/*.md",
    "CITATION.cff",
    "CMakeLists.txt",
    "*.json",
    "pyproject.toml",
    "mkdocs.yml",
)
# A version requirement such as aiohttp>=3.9 is no address; an address ends before quotes, brackets and spaces.
_LINK = re.compile(r"\bhttps?:[^\s<>\"'`)\]|]*")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_SECONDS = 15.0


def external_links(root: Path = ROOT) -> dict[str, list[str]]:
    """Address -> the files that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted({path for pattern in SOURCES for path in root.glob(pattern)}):
        for link in dict.fromkeys(_LINK.findall(path.read_text(encoding="utf-8"))):
            found.setdefault(link.rstrip(".,;:"), []).append(path.relative_to(root).as_posix())
    return found


def fault(link: str) -> str:
    """What is wrong with an address as it is written; empty if nothing is."""
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        return "it cannot be read as an address"
    if parts.scheme != "https":
        return "it does not begin with https"
    if _HOST.fullmatch(host) is None:
        return "it names no host"
    if parts.username or parts.password:
        return "it holds a user's name"
    return "" if "//" not in parts.path and re.fullmatch(r"[!-~]*", link) else "it holds // or letters that must be encoded"


def opened(link: str) -> str:
    """What the site answers, as a status or the reason why it does not."""
    request = urllib.request.Request(link, headers={"User-Agent": "link check"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return f"no answer ({error})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 if an address is wrong or, with ``--open``, does not answer with 200."""
    parser = argparse.ArgumentParser("python -m docsite.external_links", description=__doc__)
    parser.add_argument("--open", action="store_true", help="try each address over the network")
    options = parser.parse_args(arguments)
    wrong = 0
    for link, files in external_links().items():
        found = fault(link) or (opened(link) if options.open else "")
        wrong += found not in ("", "200")
        sys.stdout.write(f"{link}  {found}  ({', '.join(files)})\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
