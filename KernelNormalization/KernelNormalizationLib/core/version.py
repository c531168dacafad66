"""The version of the product, written once: pyproject.toml, provenance records, reports and ``ctkernel`` read it here."""

from __future__ import annotations

VERSION = "0.1.0"
