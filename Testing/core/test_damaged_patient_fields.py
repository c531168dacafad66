"""Patient and study fields that no DICOM object can take over as they stand."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from KernelNormalizationLib.core.io.dicom_derived import with_empty_fields

pytestmark = pytest.mark.filterwarnings("ignore:.*Invalid value.*")


@pytest.mark.parametrize(
    ("stated", "taken_over"),
    [("M", "M"), ("F ", "F"), ("O", "O"), ("male", "M"), ("", None), ("REMOVED", None), ("U", None), ("\x01\x02", None)],
)
def test_a_sex_that_dicom_does_not_know_is_left_empty(stated: str, taken_over: str | None) -> None:
    header = Dataset()
    header.PatientSex = stated
    assert with_empty_fields(header).PatientSex == taken_over


def test_a_sex_of_two_values_is_left_empty() -> None:
    header = Dataset()
    header.PatientSex = ["M", "F"]
    assert with_empty_fields(header).PatientSex is None


def test_a_header_without_a_sex_gets_the_empty_field() -> None:
    assert with_empty_fields(Dataset()).PatientSex is None
