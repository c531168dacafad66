"""Example notebooks: from percent scripts, executed, shown as pages: ``python -m docsite.notebooks``.

The text of an example stands in ``docs/examples/NAME.py``. The command runs it and writes ``NAME.ipynb`` with its outputs
beside it; the pages of the site are made of these, so that building the site executes nothing.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = Path("docs/examples")
TIMEOUT_S = 600
_MARK = re.compile(r"^# %%(?P<kind> \[markdown\])?\s*$", re.MULTILINE)
# What would tell where and on which machine a notebook was run.
_PLACE = re.compile(r"(?:/(?:home|root|tmp|work|Users|var|private)/|[A-Z]:\\)[^\s'\"<>]*")


class ExampleError(Exception):
    """An example cannot be shown; the message says which and why."""


def notebook_of(script: str) -> Any:
    """A notebook without outputs from a script in percent format (cells begin with ``# %%`` or ``# %% [markdown]``)."""
    from nbformat import v4

    marks = list(_MARK.finditer(script))
    ends = [mark.start() for mark in marks[1:]] + [len(script)]
    cells = []
    for number, (mark, end) in enumerate(zip(marks, ends, strict=True)):
        text = script[mark.end() : end].strip("\n")
        if mark["kind"]:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
            cell = v4.new_markdown_cell(text)
        else:
            cell = v4.new_code_cell(text)
        # Names that stay the same, so that a notebook made again differs only in what has changed.
        cell["id"] = f"cell-{number}"
        cells.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(script: Path) -> Any:
    """Run an example in a fresh process, in its own folder, and return the notebook with its outputs.

    Raises:
        ExampleError: a cell failed, or an output names a folder of this machine.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = notebook_of(script.read_text(encoding="utf-8"))
    paths = [str(ROOT / "KernelNormalization"), str(ROOT / "EmphysemaQuant"), str(ROOT)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        resources={"metadata": {"path": str(script.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise ExampleError(f"{script.name}: {error}") from error
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_cleaned(output) for output in cell.outputs if output.get("name") != "stderr"]
    found = _PLACE.search(texts_of(notebook))
    if found:
        raise ExampleError(f"{script.name} shows {found[0]}, a place on this machine; print the name alone.")
    # The interpreter's version would change the file on every machine.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _cleaned(output: Any) -> Any:
    data = output.get("data", {})
    if "image/png" in data:
        # The figure's description in words, "<Figure size ...>", would stand above the picture.
        output["data"] = {"image/png": data["image/png"]}
    return output


def texts_of(notebook: Any) -> str:
    """Every printed text of a notebook's outputs, in order."""
    parts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            parts.append(output.get("text") or "".join(output.get("data", {}).get("text/plain", "")))
    return "\n".join(parts)


def page_of(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a page and its pictures, by file name.

    Args:
        notebook: with its outputs.
        name: of the example; pictures are named after it.
    """
    from nbconvert import MarkdownExporter

    resources = {"unique_key": name, "output_files_dir": "."}
    body, made = MarkdownExporter().from_notebook_node(notebook, resources=resources)
    pictures = {Path(key).name: value for key, value in made.get("outputs", {}).items()}
    for key in made.get("outputs", {}):
        body = body.replace(f"({key})", f"({Path(key).name})")
    return body.replace("![png](", "![Figure drawn by the cell above](") + _origin(name), pictures


def _origin(name: str) -> str:
    return (
        f"\n---\n\nThis page is the notebook `{EXAMPLES.as_posix()}/{name}.ipynb` of the repository with the outputs "
        "of its last run. The tests run it.\n"
    )


def read(path: Path) -> Any:
    """A stored notebook.

    Raises:
        ExampleError: it is no notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise ExampleError(f"{path.name} is no notebook ({error}); make it with python -m docsite.notebooks.") from error


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when every example ran, 1 when one failed."""
    import nbformat

    parser = argparse.ArgumentParser("python -m docsite.notebooks", description="Run the examples and store their outputs.")
    parser.add_argument("names", nargs="*", help="such as one_scan (default: all)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for script in sorted((ROOT / EXAMPLES).glob("*.py")):
            if not options.names or script.stem in options.names:
                nbformat.write(execute(script), script.with_suffix(".ipynb"))
                logging.getLogger("docsite.notebooks").info("%s", script.with_suffix(".ipynb").name)
    except ExampleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
