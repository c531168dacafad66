"""The site builds without a warning, works without network, and shows the numbers of the results files."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from statistics import mean

import pytest

from Testing.web.chromium import chromium, open_window

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; warnings (links, anchors, messages, pages outside the menu) are errors."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def test_each_reader_has_pages(site: Path) -> None:
    for page in (
        "radiologist/tutorial",
        "methods/transfer",
        "engineer/api",
        "troubleshooting/messages",
        "researcher/model-card",
    ):
        assert (site / f"{page}.html").is_file(), page


def test_no_page_fetches_anything_from_the_network(site: Path) -> None:
    fetched = re.compile(
        r"<(?:script|img|iframe)[^>]+src=[\"']?(?:https?:)?//|<link[^>]+stylesheet[^>]+href=[\"']?(?:https?:)?//"
    )
    assert [page.name for page in site.rglob("*.html") if fetched.search(page.read_text(encoding="utf-8"))] == []


def test_no_macro_and_no_equation_is_left_as_written(site: Path) -> None:
    for page in site.rglob("*.html"):
        shown = text_of(page)
        assert "{{ " not in shown, page
        assert "⟦" not in shown, page
    assert "<math" in (site / "methods" / "indices.html").read_text(encoding="utf-8")


def test_a_number_on_a_page_is_that_of_the_results_file(site: Path) -> None:
    scores = json.loads((ROOT / "training/results/paper/results.json").read_text(encoding="utf-8"))["scores"]
    raw = mean(s["l1_image"] for s in scores if s["method"] == "raw")
    assert f"{raw:.1f} to" in text_of(site / "index.html")


def test_pictures_and_results_of_the_repository_are_on_the_site(site: Path) -> None:
    pictures = [path for path in (site / "pictures").rglob("*.png")]
    assert {"B70f.png", "EmphysemaQuant.png", "bland_altman.png"} <= {path.name for path in pictures}
    # The page for wrong addresses is shown at any depth, so its pictures are given from the server's root.
    for page in (page for page in site.rglob("*.html") if page.name != "404.html"):
        for source in re.findall(r"<img[^>]+src=\"([^\":]+)\"", page.read_text(encoding="utf-8")):
            assert (page.parent / source).resolve().is_file(), (page, source)


def test_the_reference_shows_every_public_name_of_the_package(site: Path) -> None:
    import ctkernel

    shown = (site / "engineer" / "api.html").read_text(encoding="utf-8")
    for name in ctkernel.__all__:
        assert name == "__version__" or re.search(rf'id="[\w.]*\.{name}"', shown), name


def test_research_use_stands_on_every_page(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "Research use only" in text_of(page), page


# Not visible without scrolling the page sideways, and not inside a box that scrolls by itself (tables, code, equations).
OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const clips = (box) => ["auto", "scroll", "hidden"].includes(getComputedStyle(box).overflowX);
  const scrolls = (box) => !box.matches(".md-content") && (clips(box) || scrolls(box.parentElement));
  const parts = [...document.querySelectorAll(".md-content *")].filter((part) => part.getBoundingClientRect().width);
  const wide = parts.filter((part) => part.getBoundingClientRect().right > width + 1 && !scrolls(part.parentElement));
  return wide.slice(0, 3).map((part) => part.tagName + " " + part.textContent.slice(0, 40));
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(site: Path, width: int) -> None:
    with chromium() as browser:
        page = open_window(browser, {"width": width, "height": 844})
        wide = {}
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri(), wait_until="load")
            if page.evaluate("document.documentElement.scrollWidth") > width or page.evaluate(OUTSIDE):
                wide[path.relative_to(site).as_posix()] = page.evaluate(OUTSIDE)
    assert wide == {}
