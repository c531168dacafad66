"""Every picture that a page shows is there, and something makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from docsite.pictures import DRAWN_BY_HAND, MAKERS, ROOT, Maker, make, makers_of_pictures, missing, pictures_shown


def test_every_picture_of_the_pages_is_there() -> None:
    shown = pictures_shown()
    assert "Resources/Screenshots/B70f.png" in shown
    assert {picture: pages for picture, pages in shown.items() if not (ROOT / picture).is_file()} == {}


def test_every_picture_of_the_pages_has_a_maker_or_was_drawn_by_hand() -> None:
    made = {*makers_of_pictures(), *DRAWN_BY_HAND}
    assert {picture: pages for picture, pages in pictures_shown().items() if picture not in made} == {}


def test_every_stored_picture_has_a_maker_and_every_maker_s_picture_is_stored() -> None:
    stored = {
        path.relative_to(ROOT).as_posix()
        for place in ("Resources/Screenshots", "training/results")
        for path in (ROOT / place).rglob("*.png")
    }
    assert stored == set(makers_of_pictures())


def test_no_two_makers_make_one_picture() -> None:
    assert len(makers_of_pictures()) == sum(len(maker.pictures) for maker in MAKERS.values())


def test_a_page_that_shows_a_missing_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(
        "![x](../pictures/a.png) [y](b.svg) ![z](https://a.b/c.png)\n```\n![n](no.png)\n```\n"
    )
    assert pictures_shown(tmp_path) == {"pictures/a.png": ["docs/page.md"], "docs/b.svg": ["docs/page.md"]}


def test_pictures_get_to_their_places_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "draw.py").write_text(
        "import pathlib, sys\nout = pathlib.Path(sys.argv[1])\nout.mkdir()\n(out / 'one.png').write_bytes(b'new')\n"
    )
    (tmp_path / "models").mkdir()
    made = {"pictures/a.png": "one.png"}
    make(Maker("", made, ("draw.py {out}",)), tmp_path)
    assert (tmp_path / "pictures" / "a.png").read_bytes() == b"new"
    (tmp_path / "pictures" / "a.png").write_bytes(b"old")
    with pytest.raises(FileNotFoundError, match=r"two\.png"):
        make(Maker("", {**made, "pictures/b.png": "two.png"}, ("draw.py {out}",)), tmp_path)
    assert (tmp_path / "pictures" / "a.png").read_bytes() == b"old"


def test_a_maker_says_what_it_lacks(tmp_path: Path) -> None:
    assert missing(Maker("", {}, (), ("scans/chest",)), tmp_path) == ["scans/chest"]
