"""Files of a series that contradict themselves or each other, and files beside it that are no files of it."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from core.refusals import refusal
from core.test_nothing_wrong_in_silence import HU, only, series


class TestBits:
    @pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 3), (16, 11), (17, 16), (0, 15), (0, None)])
    def test_that_do_not_fit_together_are_named(self, tmp_path: Path, bits: int, high: int | None) -> None:
        """A high bit of 15 of 12 bits once moved the values of a chest by 3836 HU."""

        def change(ds: pydicom.FileDataset) -> None:
            ds.BitsStored, ds.HighBit = bits, high

        message = refusal(series(tmp_path, only(4, change)))
        assert message.startswith(f"image0004.dcm states BitsStored (0028,0101) = “{bits}” and HighBit (0028,0102)")
        assert "do not fit together" in message
