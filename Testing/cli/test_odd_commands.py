"""Odd command lines: options that would be ignored, paths that lead nowhere, closed streams, records with parts missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctkernel.cli import main
from ctkernel.cohort.csv_list import read_list
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import require_writable, write_volume
from KernelNormalizationLib.core.kernels.told_kernel import parse_told_kernel
from KernelNormalizationLib.core.volume import CTVolume, Geometry

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A volume file that is no chest, enough for what is refused before any work."""
    hu = np.full((10, 12, 16), -1000.0, np.float32)
    hu[:, 3:9, 4:12] = 40.0
    write_volume(CTVolume(hu, Geometry((5.0, 3.0, 3.0))), tmp_path / "scan.nrrd")
    return tmp_path / "scan.nrrd"


def refused(capsys: Capture, *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def test_the_second_series_without_a_second_volume(small: Path, tmp_path: Path, capsys: Capture) -> None:
    told = refused(capsys, "quantify", small, "--out", tmp_path / "out", "--compare-series", "2")
    assert "--compare-series chooses a series of the second volume" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", "99999999999"), "--workers 99999999999 is not possible"),
        (("--workers", "0"), "--workers 0 is not possible"),
        (("--thickest", "nan"), "--thickest nan is no thickness"),
        (("--thickest", "-1"), "--thickest -1 is no thickness"),
        (("--tls-ca", "ca.pem"), "--tls-ca is for the address of --scheduler"),
        (("--tls-key", "key.pem"), "--tls-key is for the address of --scheduler"),
    ],
)
def test_options_of_a_cohort_that_no_run_can_follow(
    small: Path, tmp_path: Path, capsys: Capture, options: tuple[str, str], words: str
) -> None:
    assert words in refused(capsys, "cohort", small, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
def test_a_link_that_leads_to_itself(small: Path, tmp_path: Path, capsys: Capture) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for arguments in (
        ("quantify", small, "--out", loop),
        ("cohort", small, "--out", loop),
        ("normalize", small, tmp_path / "a.nrrd", "--method", "unet", "--model", loop),
    ):
        assert "is a link that leads to itself; give another path." in refused(capsys, *arguments)


def test_a_name_longer_than_the_system_takes(small: Path, capsys: Capture) -> None:
    name = "x" * 300
    assert "longer name than the system takes" in refused(capsys, "verify", name)
    assert "longer name than the system takes" in refused(capsys, "normalize", small, small.parent / "a.nrrd", "--model", name)


def test_a_pipe_is_not_replaced_by_a_volume(tmp_path: Path) -> None:
    mkfifo = pytest.importorskip("os").__dict__.get("mkfifo")
    if mkfifo is None:
        pytest.skip("this system has no named pipes")
    mkfifo(tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="is a pipe or a device, which a volume would replace"):
        require_writable(tmp_path / "a.nrrd")


def test_a_page_for_a_scan_that_cannot_be_opened_is_not_served(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "scan.nrrd").write_bytes(b"no volume")
    (tmp_path / "folder").mkdir()
    assert "scan.nrrd" in refused(capsys, "review", tmp_path / "scan.nrrd")
    assert "folder" in refused(capsys, "review", tmp_path / "folder")


def test_a_kernel_in_other_digits_is_not_known() -> None:
    assert parse_told_kernel("b70f") == "B70f"
    with pytest.raises(InputError, match="is not known; give one of"):
        parse_told_kernel("B\u0667\u0660f")


@pytest.mark.parametrize(
    "record", [{"manifest": {}}, {"manifest": {"inputs": [{}]}}, {"volumes": [{"regions": 3}]}, {"manifest": {"inputs": 5}}]
)
def test_a_record_with_parts_missing_is_called_damaged(small: Path, tmp_path: Path, capsys: Capture, record: object) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(record))
    assert main(["verify", str(path), "--input", str(small)]) == 2
    assert capsys.readouterr().err.strip()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the shell closes streams otherwise there")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_does_not_stop_the_work(small: Path, closed: str) -> None:
    command = f'"{sys.executable}" -m ctkernel info "{small}" {closed}'
    assert subprocess.run(["/bin/sh", "-c", command], check=False, capture_output=True).returncode == 0


def test_a_cohort_without_any_number_says_so_where_errors_are_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "list.csv").write_text("path,sex\nscan.nrrd,unknown\n", encoding="utf-8")
    assert main(["cohort", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "neither male nor female" in said.out
    assert said.err.endswith("ctkernel: No case has numbers; the result and failures.csv say why.\n")


class TestLists:
    """CSV lists of a cohort."""

    def found(self, folder: Path, text: str) -> list[str]:
        (folder / "list.csv").write_bytes(text.encode())
        return [case.id for case in read_list(folder / "list.csv").cases]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends_of_every_system(self, tmp_path: Path, end: str) -> None:
        assert self.found(tmp_path, end.join(["path,case", "a.nrrd,first", "b.nrrd,second", ""])) == ["first", "second"]

    def test_a_cell_without_end_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="has a cell of more than 131072 characters"):
            self.found(tmp_path, 'path,patient\na.nrrd,"' + "x\n" * 100_000)

    def test_a_misspelt_column_is_not_ignored(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(InputError, match=r"has the column “kernal”, which is almost “kernel”; correct it."):
            self.found(tmp_path, "path,kernal\na.nrrd,B70f\n")
        assert self.found(tmp_path, "path,case,centre\na.nrrd,x,Basel\n") == ["x"]
        assert "the column(s) “centre” are not used" in caplog.text

    def test_two_cases_never_share_a_folder_on_any_system(self, tmp_path: Path) -> None:
        assert self.found(tmp_path, "path,case\na.nrrd,scan\nb.nrrd,SCAN\n") == ["scan"]

    def test_a_name_that_windows_keeps_for_a_device_is_no_case(self, tmp_path: Path) -> None:
        assert self.found(tmp_path, "path,case\na.nrrd,CON\nb.nrrd,nul.txt\nc.nrrd,com1\nd.nrrd,console\n") == ["console"]

    @pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\r\n', "SEP=;;;\r\n", ""])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_the_separator_line_of_a_spreadsheet(self, tmp_path: Path, first: str, encoding: str) -> None:
        text = f'{first}path;patient;height;weight;sex\r\n"a;b.nrrd";P1;172,5;80;m\r\nb.nrrd;P2;180;;\r\n'
        (tmp_path / "list.csv").write_bytes(text.encode(encoding))
        cases = read_list(tmp_path / "list.csv").cases
        assert [Path(case.scan.path).name for case in cases] == ["a;b.nrrd", "b.nrrd"]
        assert cases[0].build == ("male", 172.5, 80.0)

    @pytest.mark.parametrize("first", ["sep=", "sep=;;x", "sep=ab", "sep=,"])
    def test_a_separator_line_that_does_not_fit_is_refused(self, tmp_path: Path, first: str) -> None:
        (tmp_path / "list.csv").write_text(f"{first}\npath;patient\na.nrrd;P1\n", encoding="utf-8")
        with pytest.raises(InputError, match="no column “path”"):
            read_list(tmp_path / "list.csv")
