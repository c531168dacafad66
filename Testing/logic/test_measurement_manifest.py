"""The record of a measurement in the scene, and what it protects from, on real MRML nodes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import slicer

from EmphysemaQuantLib.logic import EmphysemaLogic
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256
from KernelNormalizationLib.core.provenance.manifest import seal_is_broken
from KernelNormalizationLib.mrml import provenance


def test_table_and_segmentation_hold_the_record_of_the_measurement(logic: EmphysemaLogic, chest: Any, synthetic: Any) -> None:
    result, outputs = logic.quantify(chest, synthetic, thresholdHu=-910.0)
    for node in (outputs.table, outputs.segmentation):
        record = json.loads(node.GetAttribute(provenance.RECORD))
        assert seal_is_broken(record) is False
        assert record["kind"] == "measurement"
        assert record["parameters"]["threshold_hu"] == -910.0
        assert [entry["voxels_sha256"] for entry in record["inputs"]] == [voxels_sha256(v.ct.hu) for v in result.volumes]
        assert record["lung_mask"]["labels_sha256"] == voxels_sha256(result.lung_mask.labels)


def test_a_synthetic_volume_that_was_edited_since_is_not_measured(logic: EmphysemaLogic, chest: Any, synthetic: Any) -> None:
    voxels = slicer.util.arrayFromVolume(synthetic)
    made = {"voxels_sha256": voxels_sha256(voxels.astype(np.float32))}
    synthetic.SetAttribute(provenance.RECORD, json.dumps({"method": "linear", "output": made}))
    logic.quantify(chest, synthetic)
    voxels[2, 3, 4] += 5
    with pytest.raises(InputError, match="describes other voxels than the volume has"):
        logic.quantify(chest, synthetic)
