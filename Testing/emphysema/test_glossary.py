from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from EmphysemaQuantLib.core.indices.agreement import Agreement
from EmphysemaQuantLib.core.indices.clusters import ClusterIndices, PowerLaw
from EmphysemaQuantLib.core.indices.density import RegionIndices
from EmphysemaQuantLib.core.indices.distribution import FloorEffect

GLOSSARY = Path(__file__).parents[2] / "EmphysemaQuant" / "Resources" / "Glossary.md"
# Bookkeeping that explains itself or stands in another table.
UNLISTED = {"region", "power_law", "sizes", "floor_hu", "text", "reference_ei_percent", "other_ei_percent"}


@pytest.mark.parametrize("kind", [RegionIndices, ClusterIndices, PowerLaw, FloorEffect, Agreement])
def test_every_number_has_an_entry_in_the_glossary_and_in_its_docstring(kind):
    text = GLOSSARY.read_text(encoding="utf-8")
    for field in fields(kind):
        assert f"        {field.name}: " in kind.__doc__, field.name
        assert field.name in UNLISTED or f"`{field.name}`" in text, field.name


def test_nothing_that_users_read_rests_on_a_source_from_memory() -> None:
    lib = GLOSSARY.parents[1] / "EmphysemaQuantLib"
    root = GLOSSARY.parents[2]
    for path in (GLOSSARY, *lib.rglob("*.py"), *root.glob("ctkernel/**/*.py")):
        text = path.read_text(encoding="utf-8").lower()
        assert "remembered" not in text, path
        assert "not checked against" not in text, path


def test_the_source_of_every_row_stands_in_the_list_of_sources() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    named, listed = text.split("## Sources")
    cited = ["Gevenois 1995", "Parr 2006", "Parr, Respir Res 9:21", "Müller 1988"]
    cited += ["Schroeder 2013", "Mishima 1999", "Mori 1996", "Cheng 2019", "Limits of normality"]
    for source in cited:
        assert source in named
        assert f"| {source}" in listed


def test_the_module_and_the_glossary_name_the_same_sources() -> None:
    module = (GLOSSARY.parents[1] / "EmphysemaQuant.py").read_text(encoding="utf-8")
    listed = GLOSSARY.read_text(encoding="utf-8").split("## Sources")[1]
    cited = re.findall(r"([A-Z]\w+) et al\. (\d{4})", module)
    assert len(cited) == 2
    for author, year in cited:
        assert f"| {author} {year}" in listed


def test_every_row_of_a_table_has_the_cells_of_its_header() -> None:
    cells = 0
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        found = len(re.split(r"(?<!\\)\|", line.strip("|")))
        cells = cells or found
        assert found == cells, line[:80]
