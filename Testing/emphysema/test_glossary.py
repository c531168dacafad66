from __future__ import annotations

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
