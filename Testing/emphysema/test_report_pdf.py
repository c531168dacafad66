"""The PDF is the report's web page, printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emphysema.reports import Pair, made, made_pair

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure
from EmphysemaQuantLib.report.html import page
from EmphysemaQuantLib.report.pdf import _fitted, _printed, why_no_pdf, write_pdf
from EmphysemaQuantLib.report.writing import write_report
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.volume import Acquisition

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return made_pair()


def texts_of_pages(html: str) -> list[str]:
    """The words of each printed page."""
    return [
        " ".join(box.text for box in sheet._page_box.descendants(placeholders=True) if hasattr(box, "text"))
        for sheet in _fitted(html).pages
    ]


def test_a_crowded_report_is_one_page_with_everything_on_it(pair: Pair) -> None:
    lobes = np.where(pair.mask.labels == 1, 1 + np.arange(150)[None, :, None] // 60, 4).astype(np.uint8)
    lobes[(pair.mask.labels == 2) & (np.arange(72)[:, None, None] > 40)] = 5
    reasons = tuple(f"Finding {n} is described here in a sentence of the usual length for a reader." for n in range(7))
    mask = replace(pair.mask, lobes=lobes, quality=MaskQuality("look", reasons))
    record = {"method": "unet", "model": "b20f-unet", "model_sha256": "ab12" * 16, "warnings": ["Thick slices."]}
    settings = MeasurementSettings(patient=Patient("female", 160.0, 55.0))
    (text,) = texts_of_pages(page(measure([pair.raw, pair.smooth], mask, settings, {pair.smooth: record}), "chest 7"))
    for words in (
        "Finding 6",
        "left lower lobe",
        "Perc15 at predicted TLV",
        "> 120 mm",
        "Tube voltage",
        "ab12" * 16,
        RESEARCH_USE,
    ):
        assert words in text, words


def test_what_fits_no_page_continues_on_a_second_one_that_says_research_use_too(pair: Pair) -> None:
    reasons = tuple(f"Finding {n} is described here in a sentence of the usual length for a reader." for n in range(90))
    first, second = texts_of_pages(page(made(pair.raw, replace(pair.mask, quality=MaskQuality("look", reasons))), "chest 7"))
    assert "Finding 89" in first + second
    assert RESEARCH_USE in first
    assert RESEARCH_USE in second


def test_words_from_outside_are_printed_as_they_are(pair: Pair, tmp_path: Path) -> None:
    acquisition = Acquisition(kernel="B70f 锐利", manufacturer="西门子 <script>alert(1)</script>")
    html = page(made(replace(pair.raw, acquisition=acquisition), pair.mask), r"胸部 <b>7</b> $\frac{1}{0}$ {{ 7*7 }}")
    (text,) = texts_of_pages(html)
    for words in (r"胸部 <b>7</b> $\frac{1}{0}$ {{ 7*7 }}", "西门子 <script>alert(1)</script>", "锐利"):
        assert words in text, words
    write_pdf(html, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_characters_without_a_font_are_no_empty_boxes_and_the_page_says_so() -> None:
    use = f'<div class="use">{RESEARCH_USE}</div>'
    unheard = "\U000f1234"  # for private use: no font for text has it
    content, printed = _printed(f"<title>x</title><p>Acme {unheard}{unheard} CT</p>{use}")
    assert content.startswith(b"%PDF")
    assert "Acme ?? CT" in printed
    assert "Characters for which this computer has no font (1) are printed as “?”" in printed
    assert printed.endswith(use)
    plain = f"<title>x</title><p>Acme CT</p>{use}"
    assert _printed(plain)[1] == plain


def test_nothing_but_embedded_pictures_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.css"
    secret.write_text("body { content: none }")
    reads = f'<link rel="stylesheet" href="{secret.as_uri()}"><img alt="left out" src="{secret.as_uri()}">'
    write_pdf(reads + f'<a rel="attachment" href="{secret.as_uri()}">x</a>', tmp_path / "page.pdf")
    assert b"EmbeddedFile" not in (tmp_path / "page.pdf").read_bytes()


NO_PANGO = """
print("WeasyPrint could not import some external libraries. Please carefully follow the installation steps")
raise OSError("cannot load library 'libgobject-2.0-0': libgobject-2.0-0: cannot open shared object file")
"""


@pytest.fixture(params=["no package", "no Pango"])
def without_weasyprint(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installation without WeasyPrint, or one where its system libraries are missing."""
    if request.param == "no package":
        monkeypatch.setitem(sys.modules, "weasyprint", None)
        yield "the Python package weasyprint is not installed"
        return
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "weasyprint.py").write_text(NO_PANGO)
    for name in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield "a system library of WeasyPrint is missing (cannot load library 'libgobject-2.0-0')"


def test_without_weasyprint_the_page_is_written_and_one_sentence_says_why(
    pair: Pair, tmp_path: Path, without_weasyprint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.pdf").write_bytes(b"%PDF of an earlier measurement")
    assert set(write_report(made(pair.raw, pair.mask), folder)) == {"html"}
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    reason = why_no_pdf()
    assert reason is not None
    assert reason.startswith(f"No PDF was written because {without_weasyprint}")
    assert "install WeasyPrint with its system library Pango" in reason
    with pytest.raises(InputError, match="No PDF was written"):
        write_pdf("<p>", folder / "report.pdf")
    # standard output is for JSON
    assert capsys.readouterr().out == ""


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from emphysema.reports import made, made_pair
from EmphysemaQuantLib.report.writing import write_report
pair = made_pair()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_report(made(pair.raw, pair.mask), Path(sys.argv[1]))
except OSError as error:
    sys.exit(f"errno {error.errno}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file size")
def test_a_full_disk_keeps_the_older_report_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("report.html", "report.pdf"):
        (tmp_path / name).write_text("older")
    paths = os.pathsep.join(str(REPOSITORY / part) for part in ("KernelNormalization", "EmphysemaQuant", "Testing", "."))
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr.startswith("errno"), run.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "older", "report.pdf": "older"}
