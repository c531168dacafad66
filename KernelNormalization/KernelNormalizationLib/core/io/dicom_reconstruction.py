"""What a DICOM header says of iterative and deep-learning reconstruction beside the kernel's name."""

from __future__ import annotations

from collections.abc import Mapping

# Tag as ``gggg,eeee`` -> what a bare number in it is a level of. Reconstruction Algorithm is of the standard (enhanced CT). The
# private ones stand in the public dictionaries of pydicom and GDCM: GE block GEHC_CT_ADVAPP_001 (annotation, configuration and
# level of the iterative reconstruction), Philips block ELSCINT1 (iDose level), Toshiba block TOSHIBA_MEC_CT3 (image filter; ORG
# on a real scan without one). Scanners write them in the first private block (10).
RECONSTRUCTION_TAGS: Mapping[str, str] = {
    "0018,9315": "",
    "0053,1040": "",
    "0053,1042": "",
    "0053,1043": "ASiR",
    "01F7,109B": "iDose",
    "7005,100B": "",
}
# Tag of a private block's owner -> what it must begin with for its tags to mean this.
RECONSTRUCTION_OWNERS: Mapping[str, str] = {
    "0053,0010": "GEHC_CT_ADVAPP",
    "01F7,0010": "ELSCINT1",
    "7005,0010": "TOSHIBA_MEC_CT",
}
_NOTHING = frozenset({"", "0", "NO", "NONE", "OFF", "ORG", "N/A"})


def reconstruction_text(values: Mapping[str, str]) -> str | None:
    """What values by tag, with the owners of private blocks, tell of the reconstruction; ``None`` for nothing."""
    parts = []
    for tag, label in RECONSTRUCTION_TAGS.items():
        owner = RECONSTRUCTION_OWNERS.get(f"{tag[:4]},0010")
        if owner is not None and not values.get(f"{tag[:4]},0010", "").strip().upper().startswith(owner):
            continue
        value = values.get(tag, "").strip("\0 ")
        if value.upper() not in _NOTHING:
            parts.append(f"{label} {value}".strip() if value.isdigit() else value)
    return "; ".join(dict.fromkeys(parts)) or None
