"""The report of the command line, written from the panel: a web page and, where possible, a PDF beside each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.whole_sets import whole_set

SUFFIXES = (".html", ".pdf")
PLAIN_SUFFIXES = (".txt", ".csv")
Write = Callable[[Any, Path], dict[str, Path]]


def reportPath(typed: str) -> Path:
    """Where to write, from what the user typed: a name without a suffix is that of a web page, as the dialog offers first.

    Raises:
        InputError: the dialog could not ask whether to replace the file, since the suffix was not typed.
    """
    path = Path(typed)
    if path.suffix.lower() in (*SUFFIXES, *PLAIN_SUFFIXES):
        return path
    page = path.with_name(f"{path.name}.html")
    if page.exists():
        raise InputError(f"{page.name} exists already. Choose it in the list of files to replace it, or type another name.")
    return page


def writeBeside(write: Write, result: Any, path: Path) -> tuple[Path, ...]:
    """Write the report as ``path`` with both suffixes; takes seconds and does not access the scene, so it runs in a thread.

    Args:
        write: writes the report of ``result`` into an existing folder and says which files these are.
        result: the measurement.
        path: what the user chose; its folder exists.

    Returns:
        The files.

    Raises:
        InputError: the folder does not exist or cannot be written to; nothing is left there.
    """
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; choose another.")
    targets = []
    try:
        # as one set, so that a page is never left beside a PDF with other numbers
        with whole_set(path.parent, own_folder=False) as private:
            for file in write(result, private).values():
                targets.append(path.with_suffix(file.suffix))
                file.replace(private / targets[-1].name)
    except OSError as error:
        raise InputError(f"{path.parent} cannot be written to ({error.strerror}); choose another folder.") from error
    return tuple(targets)


def writtenWithoutPdf(files: tuple[Path, ...], reason: str | None) -> str:
    """Text for the user if ``files`` has no PDF: the reason, and a warning if an older PDF is there."""
    older = files[0].with_suffix(".pdf")
    if older in files or reason is None:
        return ""
    return f"{reason} The older {older.name} was not replaced and shows an earlier result." if older.exists() else reason
