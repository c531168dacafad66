"""What MkDocs calls while it builds the site (``hooks`` in ``mkdocs.yml``)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    # MkDocs loads this file by its path, so that its package is not known yet.
    sys.path.insert(0, str(ROOT))

from docsite import equations, links, model_card, notebooks, results, troubleshooting  # noqa: E402
from docsite.macros import Macros  # noqa: E402

logger = get_plugin_logger("docsite")
MESSAGES_PAGE, CARD_PAGE = "troubleshooting/messages.md", "researcher/model-card.md"
# Pages that stand elsewhere in the repository.
PAGES = {
    "training/README.md": "engineer/training.md",
    "training/EXPERIMENTS.md": "researcher/experiments.md",
    "CONTRIBUTING.md": "engineer/contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
PICTURE_FILES = {"Resources/CTKernelNormalization.png": "pictures/icon.png"}
PICTURES = (("Resources/Screenshots", "pictures"), ("training/results", "pictures/results"))
_SPHINX_ROLE = re.compile(r":(?:py:)?(?:func|class|mod|data|attr|meth|exc|const):(?=<code>|`)")
# What a browser would fetch from elsewhere to show the page; links that a reader may follow are no such thing.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//[^\s>]*"
    r"|<link[^>]+rel=[\"']?(?:stylesheet|preconnect|icon)[^>]+href=[\"']?(?:https?:)?//[^\s>]*"
)


def places(root: Path = ROOT) -> dict[str, str]:
    """Where files of the repository that stand outside ``docs`` have their place on the site."""
    found = {**PAGES, **PICTURE_FILES}
    for path in sorted((root / results.RESULTS).glob("*/*.md")):
        found[path.relative_to(root).as_posix()] = f"researcher/results-{path.parent.name}.md"
    for folder, place in PICTURES:
        for path in sorted((root / folder).rglob("*.png")):
            found[path.relative_to(root).as_posix()] = f"{place}/{path.relative_to(root / folder).as_posix()}"
    return found


def on_config(config: Any) -> Any:
    """One set of macros for the whole build."""
    config.extra["macros"], config.extra["places"] = Macros(ROOT), places()
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages and pictures that do not stand in ``docs``."""
    for source, place in config.extra["places"].items():
        if place != "index.md":
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    table = troubleshooting.read_table(ROOT)
    for fault in table.faults:
        logger.warning(fault)
    files.append(File.generated(config, MESSAGES_PAGE, content=troubleshooting.page(table)))
    macros: Macros = config.extra["macros"]
    try:
        where = f"{results.MODELS.as_posix()}/{macros.card['id']}"
        page = model_card.card_page(macros.card, macros.evaluation("paper"), macros.checks, where)
    except (results.ResultError, KeyError) as error:
        raise PluginError(f"The model card's page cannot be made: {error}") from error
    files.append(File.generated(config, CARD_PAGE, content=page))
    _add_examples(files, config)
    return files


def _add_examples(files: Files, config: Any) -> None:
    """A page and its pictures for every example notebook."""
    for path in sorted((ROOT / notebooks.EXAMPLES).glob("*.ipynb")):
        try:
            page, pictures = notebooks.page_of(notebooks.read(path), path.stem)
        except notebooks.ExampleError as error:
            raise PluginError(str(error)) from error
        files.append(File.generated(config, f"examples/{path.stem}.md", content=page))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"examples/{name}", content=picture))


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Numbers, links and equations of a page."""
    name = page.file.src_uri
    moved = {place: source for source, place in config.extra["places"].items()}
    source = moved.get(name) if name != "index.md" else None
    macros: Macros = config.extra["macros"]
    try:
        # A page of the repository itself may show braces, in an example of a template; it has no macros.
        text = macros.expand(markdown) if source is None else markdown
    except results.ResultError as error:
        raise PluginError(f"docs/{name}: {error}") from error
    text = links.rewrite_links(text, source or f"docs/{name}", name, config.extra["places"])
    return equations.mark_equations(text) if source is None else text


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """Draw the equations; take the roles of reStructuredText out of docstrings."""
    return _SPHINX_ROLE.sub("", equations.draw_equations(html))


def on_post_build(*, config: Any) -> None:
    """The site must work without network: no page may fetch anything from elsewhere."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        for found in _FETCHED.findall(path.read_text(encoding="utf-8")):
            logger.warning("%s fetches from the network: %s", path.relative_to(config.site_dir), found)
