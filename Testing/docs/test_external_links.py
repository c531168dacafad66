"""Addresses of other sites in README, documents and metadata are written as a browser takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from docsite.external_links import external_links, fault


def test_every_address_of_the_repository_is_well_formed() -> None:
    links = external_links()
    assert "https://www.slicer.org" in links
    assert {link: fault(link) for link in links if fault(link)} == {}


@pytest.mark.parametrize(
    "link",
    [
        "http://a.org",
        "https:/a.org",
        "https://",
        "https://a",
        "https://a..org/x",
        "https://me:word@a.org",
        "https://a.org/é",
        "https://a.org//x",
    ],
)
def test_a_wrong_address_is_found(link: str) -> None:
    assert fault(link)


def test_addresses_are_found_in_links_and_text_without_the_sentence_around_them(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("[a](https://a.org/x) and https://b.org/y, (https://c.org/z). `aiohttp>=3.9`\n")
    (tmp_path / "docs" / "p.md").write_text("<https://a.org/x>\n")
    assert external_links(tmp_path) == {
        "https://a.org/x": ["README.md", "docs/p.md"],
        "https://b.org/y": ["README.md"],
        "https://c.org/z": ["README.md"],
    }
