"""The page in a real browser: open, cancel, normalize, look, measure, download; its numbers are those of the command line.

Nothing is read that was not waited for: ``expect`` waits for a text, ``wait_loaded`` for numbers and voxels of the server,
``wait_drawn`` for the pictures.
"""

from __future__ import annotations

import csv
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.dicomseries import chest_slices, write_series

from ctkernel.cli import main
from EmphysemaQuantLib.core.results.wording import SHOWN_INDICES
from KernelNormalizationLib.core.io.reading import read_volume
from Testing.web.chromium import PATIENCE_SECONDS, open_window, wait_drawn

from .conftest import Serve

pytestmark = pytest.mark.slow

expect = pytest.importorskip("playwright.sync_api").expect
EI, TABLE_ROW = "#indices .index", "#regions tbody tr:not(.group)"


@pytest.fixture(scope="module")
def page(serve: Serve, browser: Any, scan: Path) -> Iterator[Any]:
    """The page on the small chest, normalized once after a cancelled run."""
    served = serve()
    page = open_window(browser, {"width": 1280, "height": 800})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.goto(served.address)
    page.fill("#path", str(scan))
    page.click("#open button")
    page.wait_for_selector(EI)
    wait_loaded(page)
    yield page
    assert page.problems == []


@pytest.fixture(scope="module")
def normalized(page: Any) -> Any:
    page.select_option("#method", "restored")
    page.click("#normalize button")
    page.wait_for_selector(EI + ".is-synthetic")
    wait_loaded(page)
    return page


@pytest.fixture(scope="module")
def told_by_command_line(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[float, Any]:
    """metrics.json of ``ctkernel quantify`` after ``ctkernel normalize``, at two thresholds."""
    folder = tmp_path_factory.mktemp("command-line")
    assert main(["normalize", str(scan), str(folder / "b20f.nrrd"), "--method", "restored"]) == 0
    told = {}
    for threshold in (-950.0, -930.0):
        out = folder / f"at{threshold:.0f}"
        command = [
            "quantify",
            str(scan),
            "--compare",
            str(folder / "b20f.nrrd"),
            "--threshold",
            str(threshold),
            "--out",
            str(out),
        ]
        assert main(command) == 0
        told[threshold] = json.loads((out / "metrics.json").read_text())
    return told


def until(page: Any, expression: str) -> None:
    """Wait until a JavaScript expression is true; Playwright's own wait is forbidden by the page's policy."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


def wait_loaded(page: Any) -> None:
    """Wait until nothing is computed, and the newest numbers and voxels of the server are there and drawn."""
    newest = """fetch('/api/review').then(a => a.json()).then(r => document.querySelector('#step').hidden
        && document.body.dataset.loaded === String(r.drawn) && document.body.dataset.version === String(r.version))"""
    until(page, newest)
    wait_drawn(page)


def red_pixels(page: Any, view: str) -> int:
    """Pixels of a picture that the emphysema's colour dominates."""
    wait_drawn(page)
    return int(
        page.evaluate(
            """view => {
                const c = document.querySelector(`[data-view="${view}"] canvas`);
                const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                let n = 0;
                for (let i = 0; i < p.length; i += 4) if (p[i] > p[i + 1] + 60 && p[i] > p[i + 2] + 60) n++;
                return n;
            }""",
            view,
        )
    )


def shown_numbers(page: Any) -> list[list[str]]:
    return page.locator(TABLE_ROW).evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")


def in_view(page: Any, view: str, what: str) -> Any:
    """A text in one of the pictures, such as its ``title``."""
    return page.locator(f'[data-view="{view}"] .{what}')


def expected_numbers(told: Any) -> list[list[str]]:
    return [
        [region["region"], *(format(region[key], form) for _, key, form in SHOWN_INDICES)]
        for volume in told["volumes"]
        for region in volume["regions"]
        if region["region"] in ("whole", "right", "left")
    ]


def test_the_opened_scan_is_described_and_measured(page: Any, scan: Path) -> None:
    kernel = str(read_volume(scan).acquisition.kernel)
    expect(page.locator("#facts")).to_contain_text(kernel)
    expect(page.locator("#verdict")).to_have_text(re.compile("^(in domain|untested)$"))
    expect(page.locator(EI)).to_have_count(1)
    expect(page.locator("#sentences")).to_contain_text(f"Sharp kernel {kernel}")
    expect(in_view(page, "axial-1", "title")).to_have_text("Not normalized yet")


def test_cancelling_changes_nothing(page: Any) -> None:
    before = shown_numbers(page)
    page.select_option("#method", "restored")
    page.click("#normalize button")
    page.click("#cancel")
    expect(page.locator("#message")).to_contain_text("cancelled")
    wait_loaded(page)
    assert shown_numbers(page) == before
    expect(page.locator(EI)).to_have_count(1)


def test_the_numbers_are_those_of_the_command_line(normalized: Any, told_by_command_line: dict[float, Any]) -> None:
    told = told_by_command_line[-950.0]
    assert shown_numbers(normalized) == expected_numbers(told)
    big = [text.split()[0] for text in normalized.locator(".index .number").all_inner_texts()]
    assert big == [f"{volume['regions'][0]['ei_percent']:.1f}" for volume in told["volumes"]]
    expect(normalized.locator("#sentences")).to_contain_text(f"Dice of the emphysema masks {told['agreement']['dice']:.2f}")


def test_the_synthetic_picture_says_so_and_every_picture_is_for_research_only(normalized: Any) -> None:
    for view in ("axial-1", "coronal-1"):
        expect(in_view(normalized, view, "title")).to_contain_text("SYNTHETIC")
    for view in ("axial-0", "axial-1", "coronal-0", "coronal-1"):
        expect(in_view(normalized, view, "use")).to_have_text("Research use only. Not for diagnosis.")
        expect(in_view(normalized, view, "right")).to_have_text("R")
        expect(in_view(normalized, view, "left")).to_have_text("L")


def test_each_picture_marks_its_own_emphysema(normalized: Any) -> None:
    sharp, smooth = red_pixels(normalized, "axial-0"), red_pixels(normalized, "axial-1")
    assert sharp > smooth > 0
    normalized.keyboard.press("e")
    assert red_pixels(normalized, "axial-0") == red_pixels(normalized, "axial-1") == 0
    normalized.keyboard.press("e")
    assert red_pixels(normalized, "axial-0") == sharp


def test_the_overlay_is_the_measured_mask_voxel_by_voxel(normalized: Any, told_by_command_line: dict[float, Any]) -> None:
    counted = normalized.evaluate(
        """async () => {
            const r = await (await fetch('/api/review')).json();
            const [slices, rows, columns] = r.layout.shape, counts = [0, 0], per = rows * columns, bytes = Math.ceil(per / 8);
            const part = async (path) => (await fetch(`/api/${path}`)).arrayBuffer();
            for (let k = 0; k < slices; k += 8) {
                const range = `${k}-${Math.min(k + 8, slices)}`, bits = new Uint8Array(await part(`lungs/${range}`));
                for (const n of [0, 1]) {
                    const hu = new Int16Array(await part(`hu/${n}/${range}`));
                    for (let v = 0; v < hu.length; v++) {
                        const p = v % per, lung = bits[Math.floor(v / per) * bytes + (p >> 3)] & (128 >> (p & 7));
                        if (hu[v] < -950 && lung) counts[n] += r.measurement.ml_per_voxel;
                    }
                }
            }
            return counts;
        }"""
    )
    told = told_by_command_line[-950.0]["volumes"]
    assert counted == pytest.approx([volume["regions"][0]["ev_ml"] for volume in told])


def test_the_threshold_moves_at_once_and_is_measured_when_it_rests(
    normalized: Any, told_by_command_line: dict[float, Any]
) -> None:
    before = red_pixels(normalized, "axial-1")
    normalized.evaluate(
        """() => { const s = document.querySelector('#threshold'); s.value = -930; s.dispatchEvent(new Event('input')); }"""
    )
    told = told_by_command_line[-930.0]
    expected = [f"{volume['regions'][0]['ei_percent']:.1f}" for volume in told["volumes"]]
    # before the server has measured again
    assert [text.split()[0] for text in normalized.locator(".index .number").all_inner_texts()] == expected
    assert red_pixels(normalized, "axial-1") > before
    until(normalized, "fetch('/api/review').then(a => a.json()).then(r => r.measurement.threshold_hu === -930)")
    wait_loaded(normalized)
    assert shown_numbers(normalized) == expected_numbers(told)
    expect(in_view(normalized, "axial-0", "legend")).to_contain_text("below -930 HU")


def test_both_pictures_scroll_zoom_and_window_together(normalized: Any) -> None:
    axial = normalized.locator('[data-view^="axial"]')
    before = int(axial.first.get_attribute("aria-valuenow"))
    axial.first.hover()
    normalized.mouse.wheel(0, 120)
    for n in (0, 1):
        expect(axial.nth(n)).to_have_attribute("aria-valuenow", str(before - 1))
        expect(in_view(normalized, f"axial-{n}", "place")).to_contain_text(f"Axial {before - 1} of ")
    row = int(normalized.get_attribute('[data-view="coronal-1"]', "aria-valuenow"))
    normalized.focus('[data-view="coronal-1"]')
    normalized.keyboard.press("ArrowDown")
    normalized.keyboard.press("Shift+ArrowRight")
    for view in ("coronal-0", "coronal-1"):
        expect(normalized.locator(f'[data-view="{view}"]')).to_have_attribute("aria-valuenow", str(row + 1))
    expect(in_view(normalized, "axial-1", "levels")).to_have_text("W 1540  L -600")
    box = normalized.locator('[data-view="axial-1"]').bounding_box()
    normalized.mouse.move(box["x"] + 100, box["y"] + 100)
    normalized.mouse.down()
    normalized.mouse.move(box["x"] + 150, box["y"] + 100, steps=4)
    normalized.mouse.up()
    for view in ("axial-0", "axial-1", "coronal-0", "coronal-1"):  # four HU of width a pixel
        expect(in_view(normalized, view, "levels")).to_have_text("W 1740  L -600")
    wait_drawn(normalized)
    widths = [bar_width(normalized, n) for n in (0, 1)]
    normalized.keyboard.press("+")
    wait_drawn(normalized)
    assert [bar_width(normalized, n) for n in (0, 1)] == pytest.approx([1.2 * width for width in widths], rel=0.01)
    normalized.keyboard.press("0")


def bar_width(page: Any, n: int) -> float:
    """Screen pixels of the 5 cm in the axial picture ``n``."""
    return float(page.evaluate(f"parseFloat(document.querySelector('[data-view=\"axial-{n}\"] .bar').style.width)"))


def test_the_difference_has_a_legend_and_is_synthetic_minus_original(normalized: Any) -> None:
    box = normalized.locator('[data-view="axial-1"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def pointed_at() -> list[int]:
        """HU that both pictures tell for their centre."""
        normalized.mouse.move(x + 1, y)
        normalized.mouse.move(x, y)
        wait_drawn(normalized)
        texts = normalized.locator('[data-view^="axial"] .value').all_inner_texts()
        return [int(text.removesuffix(" HU")) for text in texts]

    normalized.select_option("#second", "difference")
    expect(in_view(normalized, "axial-1", "title")).to_have_text("DIFFERENCE, synthetic minus original")
    expect(in_view(normalized, "axial-1", "legend")).to_have_text(re.compile(r"^\s*-150 HU\s+0\s+\+150 HU\s*$"))
    original, difference = pointed_at()
    normalized.select_option("#second", "synthetic")
    expect(in_view(normalized, "axial-1", "title")).to_contain_text("SYNTHETIC")
    assert pointed_at() == [original, original + difference]


def test_what_is_downloaded_is_what_the_command_line_writes(normalized: Any, tmp_path: Path) -> None:
    def download(what: str) -> Path:
        with normalized.expect_download() as started:
            normalized.click(f'[data-file="{what}"]')
        path = tmp_path / started.value.suggested_filename
        started.value.save_as(path)
        return path

    volume = download("volume")
    download("provenance")
    read = read_volume(volume)
    assert read.synthetic
    assert np.isfinite(read.hu).all()
    assert json.loads(volume.with_name("synthetic-B20f.provenance.json").read_text())["method"] == "restored"
    assert download("segmentation").read_bytes().startswith(b"NRRD")
    report = download("report").read_bytes()
    assert report.startswith(b"%PDF")
    rows = list(csv.DictReader(download("metrics").open()))
    assert rows
    assert "Research use only" in download("page").read_text()


def test_controls_have_names_and_the_text_has_contrast(normalized: Any) -> None:
    unnamed = normalized.evaluate(
        """() => [...document.querySelectorAll('input, select, button, [tabindex]')].filter(e =>
            !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.id)"""
    )
    assert unnamed == []
    low = normalized.evaluate(
        """() => {
            const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255).map(v =>
                v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
                if (!/, 0\\)$/.test(c) && c !== 'transparent') return c; } return 'rgb(0, 0, 0)'; };
            const bad = [];
            for (const e of document.querySelectorAll('header *, aside *, #toolbar *')) {
                if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
                const [a, b] = [light(getComputedStyle(e).color), light(back(e))];
                const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                if (contrast < 4.5) bad.push(`${e.tagName} ${e.textContent.slice(0, 20)} ${contrast.toFixed(2)}`);
            }
            return bad;
        }"""
    )
    assert low == []


def test_every_control_is_reached_by_the_tab_key(normalized: Any) -> None:
    normalized.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        normalized.keyboard.press("Tab")
        reached.add(normalized.evaluate("document.activeElement.id || document.activeElement.dataset.view || ''"))
    assert reached >= {"second", "window", "overlay", "opacity", "threshold", "fit", "axial-0", "coronal-1", "method"}


def test_a_path_that_does_not_exist_is_answered_in_words_and_changes_nothing(normalized: Any) -> None:
    before = shown_numbers(normalized)
    normalized.evaluate("document.querySelector('#open-part').open = true")
    normalized.fill("#path", "/no/such/scan.nrrd")
    normalized.click("#open button")
    expect(normalized.locator("#message")).to_contain_text("does not exist")
    wait_loaded(normalized)
    assert shown_numbers(normalized) == before


def test_a_zip_is_sent_opened_and_measured_like_the_path_and_its_name_is_not_kept(
    normalized: Any, scan: Path, told_by_command_line: dict[float, Any], tmp_path: Path
) -> None:
    packed = tmp_path / "Doe^Jane.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number, file in enumerate(sorted(scan.iterdir()) if scan.is_dir() else [scan]):
            archive.write(file, f"Doe^Jane/{number:04d}{file.suffix}")
    normalized.set_input_files("#files", packed)
    expect(normalized.locator(EI)).to_have_count(1)
    wait_loaded(normalized)
    ei = told_by_command_line[-950.0]["volumes"][0]["regions"][0]["ei_percent"]
    # the lungs of a pair are segmented on both volumes, those of the scan alone on the scan
    assert float(normalized.inner_text(".index .number").split()[0]) == pytest.approx(ei, abs=0.1)
    expect(in_view(normalized, "axial-1", "title")).to_have_text("Not normalized yet")
    assert "Doe" not in normalized.content()


def test_a_dicom_folder_is_sent_and_opened(normalized: Any, tmp_path: Path) -> None:
    write_series(tmp_path / "series", chest_slices(count=12, rows=24, columns=32))
    normalized.set_input_files("#files", sorted((tmp_path / "series").iterdir()))
    expect(normalized.locator("#facts")).to_contain_text("32 × 24")
    expect(normalized.locator("#facts")).to_contain_text("B70f")
    expect(normalized.locator("#message")).to_contain_text("lungs")  # there are none in it, which is said
    wait_loaded(normalized)
    assert "PID4711" not in normalized.content()


def test_ending_the_session_leaves_an_empty_page(normalized: Any) -> None:
    with normalized.expect_navigation():
        normalized.click("#leave")
    expect(normalized.locator("#method option").first).to_be_attached()
    expect(normalized.locator("#empty")).to_be_visible()
    expect(normalized.locator("#card")).to_be_hidden()
