"""Model folders, command lines and texts that are damaged or hostile."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from core.dicomseries import chest_slices, write_series

from ctkernel.cli import main
from ctkernel.console import print_lines
from ctkernel.quantification_files import read_provenance
from EmphysemaQuantLib.core.results.table import csv_text
from EmphysemaQuantLib.report import pdf
from KernelNormalizationLib.core.network.model_folder import CARD, load_model, models_folder
from KernelNormalizationLib.core.plain_text import for_html

from .case import Case, Maker, Refuse, Truth

Generator = np.random.Generator
DONE = Truth(np.zeros(1))


def _model(folder: Path) -> Path:
    source = next(models_folder().glob(f"*/{CARD}")).parent
    target = folder / "model"
    target.mkdir()
    shutil.copyfile(source / CARD, target / CARD)
    for name in ("model.onnx", "model.safetensors"):
        (target / name).symlink_to(source / name)
    return target


def model_card(rng: Generator, folder: Path) -> Case:
    target = _model(folder)
    card = json.loads((target / CARD).read_text())
    kind = int(rng.integers(0, 7))
    if kind == 6:
        _change_within(rng, card)
        text = json.dumps(card)
    elif kind == 0:
        text = (target / CARD).read_text()[: int(rng.integers(0, 500))]
    elif kind == 1:
        text = str(rng.choice(("3", "null", "[]", '"x"', "NaN", "{}", "[" * 5000 + "]" * 5000, '{"a":' * 5000)))
    elif kind == 2:
        card.pop(str(rng.choice(["id", "label", "architecture", "sha256", "conformance", "metrics", "licence"])))
        text = json.dumps(card)
    else:
        keys = ["format", "id", "label", "architecture", "sha256", "conformance", "metrics", "transfer"]
        values = [1, -5, "x", [], {}, [1], [{}], {"model.onnx": 5}, 1e999, True, ["a", "b"]]
        key, value = keys[int(rng.integers(len(keys)))], values[int(rng.integers(len(values)))]
        if (key == "metrics" and isinstance(value, dict)) or (key in ("id", "label") and isinstance(value, str)):
            value = 7
        card[key] = value
        text = json.dumps(card)
    (target / CARD).write_text(text)
    return Case("model card", lambda: load_model(target), Refuse())


def _change_within(rng: Generator, card: dict[str, Any]) -> None:
    """Take out or change one entry of an entry, as an edit by hand does."""
    part = card[str(rng.choice(["architecture", "domain", "metrics", "sha256", "training"]))]
    key = str(rng.choice(list(part)))
    if rng.integers(2):
        part.pop(key)
    else:
        part[key] = "another"


def model_files(rng: Generator, folder: Path) -> Case:
    target = _model(folder)
    name = str(rng.choice((CARD, "model.onnx", "model.safetensors")))
    path = target / name
    content = path.read_bytes()
    path.unlink()
    kind = int(rng.integers(0, 5))
    if kind == 0:
        path.write_bytes(content[:-10])
    elif kind == 4:
        path.write_bytes(content)
        (target / "model.onnx.data").write_bytes(b"\0")
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.mkdir()
    return Case(f"model file {name}", lambda: load_model(target), Refuse())


def record(rng: Generator, folder: Path) -> Case:
    """The record beside a volume: what its numbers, its depth or its end make unusable."""
    text = str(rng.choice(('{"ei": NaN}', '{"ei": -Infinity}', '{"a":' * 5000, "[" * 5000 + "]" * 5000, '{"ei": 1', "\udcff")))
    (folder / "scan.provenance.json").write_bytes(os.fsencode(text))
    return Case(f"record {ascii(text)[:20]}", lambda: read_provenance(folder / "scan.nrrd"), Refuse())


def _terminal(arguments: list[str], encoding: str) -> tuple[int, str, str]:
    """Exit code and what was printed on terminals of this encoding."""
    out, err = io.BytesIO(), io.BytesIO()
    streams = [io.TextIOWrapper(stream, encoding=encoding, errors="strict", write_through=True) for stream in (out, err)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
    for stream in streams:
        stream.flush()
    return code, out.getvalue().decode(encoding), err.getvalue().decode(encoding)


def command(rng: Generator, folder: Path) -> Case:
    scan = folder / "scan.nrrd"
    image = sitk.GetImageFromArray(chest_slices(10, 12, 16))
    image.SetSpacing((0.6, 0.7, 1.25))
    sitk.WriteImage(image, str(scan))
    out = str(folder / "out")
    encoding = str(rng.choice(("utf-8", "ascii", "cp1252")))
    arguments: list[list[str]] = [
        [],
        ["nonsense"],
        ["info"],
        ["info", str(folder / "missing")],
        ["info", "\udcff\udcfe.nrrd"],
        ["info", "a\0b"],
        ["info", "x" * 5000],
        ["info", str(folder)],
        ["info", str(scan), "--kernel", "胸"],
        ["quantify", str(scan)],
        ["quantify", str(scan), "--out", out, "--threshold", "nan"],
        ["quantify", str(scan), "--out", out, "--threshold", "x"],
        ["quantify", str(scan), "--out", str(scan)],
        ["normalize", str(scan), str(folder / "\udcff.nrrd"), "--method", "linear"],
        ["normalize", str(scan), str(folder)],
        ["normalize", str(scan), str(scan)],
        ["normalize", str(scan), str(folder / "o.txt")],
        ["normalize", str(scan), str(folder / "o.nrrd"), "--model", "../../etc"],
        ["change", str(scan)],
        ["normalize", str(scan), str(folder / "o.nrrd"), "--model", "\x1b[31m"],
        ["info", str(folder / "\x1b[31m株")],
        ["quantify", str(scan), "--out", out, "--mask", str(folder)],
        ["quantify", str(scan), "--out", out, "--sex", "male"],
        ["quantify", str(scan), "--out", out, "--compare", str(folder)],
        ["info", str(scan), "--series", "\udcff"],
        ["normalize", str(scan), str(folder / "no" / "o.nrrd")],
        ["quantify", str(scan), "--out", out, "--json", "--mask", "x"],
    ]
    chosen = arguments[int(rng.integers(len(arguments)))]

    def run() -> Any:
        code, printed, errors = _terminal(chosen, encoding)
        return _checked(code, printed, errors, chosen)

    return Case(f"command {' '.join(ascii(a)[:20] for a in chosen)}", run, DONE)


def _checked(code: int, printed: str, errors: str, arguments: list[str]) -> np.ndarray:
    if code not in (0, 2, 3) or (code == 2 and not errors.strip()):
        raise AssertionError(f"exit code {code} with {errors[:100]!r}")
    if "\x1b" in printed + errors:
        raise AssertionError("a control character reached the terminal")
    if "Warning" in errors or "Errno" in errors:
        raise AssertionError(f"a library's words: {errors[:120]!r}")
    if "--json" in arguments and printed.strip():
        json.loads(printed)
    return np.zeros(1)


def command_info(rng: Generator, folder: Path) -> Case:
    text = str(rng.choice(("\x1b[31mred", "株式会社", "$x$", "Société Ü", "a\x07b")))

    def change(_: int, ds: Any) -> None:
        ds.Manufacturer = text

    write_series(folder / "scan", chest_slices(10, 48, 48), change=change)
    encoding = str(rng.choice(("utf-8", "ascii", "cp1252")))
    arguments = ["info", str(folder / "scan"), *(["--json"] if rng.integers(2) else [])]
    return Case(
        f"command info of a hostile scanner on {encoding}", lambda: _checked(*_terminal(arguments, encoding), arguments), DONE
    )


HOSTILE = (
    "$\\frac{1}{0}$",
    "cost $5",
    "\x1b[2J",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "株式会社 Ü",
    "\u202egnp.exe",
    "a\x00b",
    "\ud800",
    "\\",
    "-1+1",
    "@SUM(A1)",
    "x" * 3000,
    "%s{0}",
    "\x9b31m",
)


def text(rng: Generator, folder: Path) -> Case:
    word = str(HOSTILE[int(rng.integers(len(HOSTILE)))])
    uses: list[tuple[str, Callable[[str], None]]] = [
        ("terminal", _on_terminals),
        ("table", _in_table),
        ("page", _on_page),
        ("PDF", lambda w: _in_pdf(w, folder)),
    ]
    name, use = uses[int(rng.integers(len(uses)))]

    def run() -> Any:
        use(word)
        return np.zeros(1)

    return Case(f"text {name} {ascii(word)[:20]}", run, DONE)


def _on_terminals(word: str) -> None:
    for encoding in ("utf-8", "cp1252", "ascii"):
        stream = io.BytesIO()
        before = sys.stdout
        sys.stdout = terminal = io.TextIOWrapper(stream, encoding=encoding, write_through=True)
        try:
            print_lines([word])
        finally:
            sys.stdout = before
            terminal.detach()
        shown = stream.getvalue().decode(encoding)
        if any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e" for c in shown):
            raise AssertionError("a control character reached the terminal")


def _in_table(word: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text([{"kernel": word, "EI": 1.0}])))
    if row["kernel"].startswith(("=", "+", "-", "@")) or "\0" in row["kernel"]:
        raise AssertionError("a cell that a spreadsheet takes for a formula")


def _on_page(word: str) -> None:
    shown = for_html(word)
    shown.encode("utf-8")
    if "<script" in shown or "\0" in shown or "\x1b" in shown:
        raise AssertionError("markup or control characters on the page")


def _in_pdf(word: str, folder: Path) -> None:
    pdf.write_pdf(f"<title>{for_html(word)}</title><p>{for_html(word)}", folder / "page.pdf")


MODEL_MAKERS: tuple[Maker, ...] = (model_card, model_card, model_card, model_files, record)
COMMAND_MAKERS: tuple[Maker, ...] = (command, command, command, command_info)
TEXT_MAKERS: tuple[Maker, ...] = (text,)
