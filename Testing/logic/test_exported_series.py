"""An exported series opens in Slicer as the volume it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from core.dicomseries import chest_slices, write_series

from KernelNormalizationLib.core.io.dicom_export import export_series
from KernelNormalizationLib.core.io.reading import read_volume


def test_slicers_reader_finds_the_voxels_in_the_same_place(scene: Any, tmp_path: Path) -> None:
    import slicer
    import vtk

    write_series(tmp_path / "in", chest_slices())
    volume = read_volume(tmp_path / "in")
    made = volume.with_hu(volume.hu + np.float32(0.25), name="made", synthetic=True)
    record = {"method": "linear", "version": "0.1.0"}
    export_series(made, sorted((tmp_path / "in").iterdir()), record, tmp_path / "out")

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    files = sorted(str(path) for path in (tmp_path / "out").iterdir())
    storage.SetFileName(files[0])
    storage.ResetFileNameList()
    for name in files:
        storage.AddFileName(name)
    assert storage.ReadData(node)

    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), volume.hu)
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    matrix = np.array([[ijk_to_ras.GetElement(r, c) for c in range(4)] for r in range(4)])
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(matrix, lps_to_ras @ volume.geometry.ijk_to_lps, atol=1e-4)
