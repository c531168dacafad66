"""The measured table of kernel estimates: what its columns count."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from core.chests import make_chest

from KernelNormalizationLib.core.simulated_chest import make_reconstructions
from training.checking.kernel_estimates import Estimate, estimate_of
from training.checking.published_kernels import published_kernels
from training.kernel_estimate import ROWS, TABLE, main, table


@pytest.fixture(scope="module")
def estimates() -> list[Estimate]:
    scans = [(70.0, 60.0), (50.0, 60.0), (20.0, 15.0)]
    return [estimate_of(f"quick {n:g}", make_chest(kernel=f"B{n:g}f", number=n, noise_hu=sd).volume, n) for n, sd in scans]


def test_an_honest_header_is_believed_and_a_lie_is_caught(estimates: list[Estimate]) -> None:
    assert [e.doubted for e in estimates] == [False, False, False]
    assert [dict(e.lies) for e in estimates[:2]] == [{"B20f": True, "B30f": True}] * 2
    assert dict(estimates[2].lies) == {"B70f": True, "B50f": True}
    assert max(abs(e.error) for e in estimates if e.error is not None) < 8.0


def test_the_table_counts_scans_errors_and_lies(estimates: list[Estimate]) -> None:
    text = "\n".join(table(estimates, []))
    errors = np.array([e.error for e in estimates], float)
    assert f"| all B kernels | 3 | 3 |  | {errors.mean():+.1f} | {errors.std():.1f} |" in text
    assert "| true | 3 | 0 |" in text
    assert "| B20f on noise of B50f to B80f | 2 | 2 |" in text
    assert "| B70f on noise of B10f to B31f | 1 | 1 |" in text


def test_every_published_spectrum_becomes_a_kernel_and_each_passes_all_at_zero_frequency() -> None:
    kernels = published_kernels()
    assert len(kernels) == 26
    assert {kernel.tag for kernel in kernels} >= {"B31f", "B75f", "LUNG", "EDGE"}
    for kernel in kernels:
        np.testing.assert_allclose(kernel.mtf(np.array([0.0, 0.5, 1.0, 30.0])), [1.0, 1.0, 1.0, 0.0], atol=0.03)


def test_the_command_writes_table_and_rows_without_any_scan_at_hand(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["--patients", "0", "--chests", "0", "--real", str(tmp_path), "--out", str(out)]) == 0
    assert (out / TABLE).read_text().startswith("| simulated kernel |")
    with (out / ROWS).open(newline="") as stream:
        assert next(csv.reader(stream))[:3] == ["scan", "kernel", "true"]


def test_one_chest_on_two_kernels_shares_object_and_noise() -> None:
    same, again, smooth = make_reconstructions(
        [lambda f: np.exp(-((f / 6.0) ** 2)), lambda f: np.exp(-((f / 6.0) ** 2)), lambda f: np.exp(-((f / 2.0) ** 2))],
        5,
        (2, 96, 96),
        (3.0, 3.0, 3.0),
        20.0,
    )
    np.testing.assert_array_equal(same, again)
    assert same.std() > smooth.std()
    assert abs(float(same.mean() - smooth.mean())) < 5.0
