"""Indices and histograms as table and plot nodes, with units, ready for export."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from KernelNormalizationLib.core.imaging.appearance import ORIGINAL, SYNTHETIC
from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT

from ..core.indices.distribution import HISTOGRAM_EDGES_HU
from ..core.results.measurement import Measurement

THRESHOLD_ATTRIBUTE = "EmphysemaQuant.ThresholdHU"
SERIES_COLORS = (ORIGINAL, SYNTHETIC)  # of the first and the second volume


def writeIndices(node: Any, result: Measurement) -> None:
    """Replace the rows of ``node`` by those of lungs and lobes, with the columns of the command line's CSV file."""
    from ..core.results.table import COLUMNS, MEANINGS, measurement_rows

    rows = measurement_rows(result, main_only=True)
    table = vtk.vtkTable()
    for title in rows[0]:
        values = [row[title] for row in rows]
        if title not in COLUMNS:
            table.AddColumn(_column(vtk.vtkStringArray(), title, [str(value) for value in values]))
        elif all(isinstance(value, int) for value in values):
            table.AddColumn(_column(vtk.vtkIntArray(), title, values))
        else:
            table.AddColumn(_numbers(title, values))
    wasModified = node.StartModify()
    node.SetAndObserveTable(table)
    for title in rows[0]:
        # The column keeps the name it has in the CSV report; the table view writes the unit behind the title by itself.
        node.SetColumnTitle(title, title.split(" [")[0])
        node.SetColumnUnitLabel(title, _unit(title))
        node.SetColumnDescription(title, f"{MEANINGS[title]}. {RESEARCH_USE_TEXT}")
    node.SetUseColumnTitleAsColumnHeader(True)  # the headers are A, B, C otherwise
    node.SetLocked(True)  # a table view lets cells be edited otherwise
    node.SetAttribute(THRESHOLD_ATTRIBUTE, f"{result.threshold_hu:g}")
    node.SetDescription(f"Threshold {result.threshold_hu:g} HU. {RESEARCH_USE_TEXT}")
    node.EndModify(wasModified)


def writeHistogram(chartNode: Any, result: Measurement) -> None:
    """Fill the chart with the lung histogram of each volume and a line at the threshold."""
    table = _ownedNode(chartNode, "EmphysemaQuantHistogram", "vtkMRMLTableNode", "Lung histogram")
    centres = (HISTOGRAM_EDGES_HU[:-1] + HISTOGRAM_EDGES_HU[1:]) / 2.0
    data = vtk.vtkTable()
    data.AddColumn(_numbers("HU", centres))
    highest = max(float(volume.histogram.max()) for volume in result.results)
    names = [f"{n + 1}: {volume.name}" for n, volume in enumerate(result.results)]
    for name, volume in zip(names, result.results, strict=True):
        data.AddColumn(_numbers(name, volume.histogram))
    table.SetAndObserveTable(data)
    line = _ownedNode(chartNode, "EmphysemaQuantThresholdLine", "vtkMRMLTableNode", "Lung histogram threshold")
    lineData = vtk.vtkTable()
    lineData.AddColumn(_numbers("HU", [result.threshold_hu] * 2))
    lineData.AddColumn(_numbers("Threshold", [0.0, highest]))
    line.SetAndObserveTable(lineData)

    chartNode.RemoveAllPlotSeriesNodeIDs()
    for n, name in enumerate(names):
        # Not the volume's name alone: looking a node up by name would find the curve instead of the volume.
        series = _series(chartNode, n, table, name, f"Lung histogram of {result.results[n].name}")
        series.SetColor(*SERIES_COLORS[n])
        series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
    threshold = _series(chartNode, 2, line, "Threshold", f"Threshold {result.threshold_hu:g} HU")
    threshold.SetColor(0.5, 0.5, 0.5)
    threshold.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)
    chartNode.SetTitle("Lung voxels – research use only")
    chartNode.SetXAxisTitle("HU")
    chartNode.SetYAxisTitle("Share of lung voxels (%)")
    chartNode.SetLegendVisibility(True)
    chartNode.Modified()


def ownedNodes(chartNode: Any) -> list[Any]:
    """Table and series nodes that belong to the chart (all are removed with it)."""
    roles = ["EmphysemaQuantHistogram", "EmphysemaQuantThresholdLine", *(f"EmphysemaQuantSeries{n}" for n in range(3))]
    return [node for role in roles if (node := chartNode.GetNodeReference(role)) is not None]


def _series(chartNode: Any, number: int, table: Any, yColumn: str, title: str) -> Any:
    series = _ownedNode(chartNode, f"EmphysemaQuantSeries{number}", "vtkMRMLPlotSeriesNode", title)
    series.SetName(title)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.SetXColumnName("HU")
    series.SetYColumnName(yColumn)
    chartNode.AddAndObservePlotSeriesNodeID(series.GetID())
    return series


def _ownedNode(owner: Any, role: str, className: str, name: str) -> Any:
    node = owner.GetNodeReference(role)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GetUniqueNameByString(name))
        node.SetHideFromEditors(True)
        owner.SetNodeReferenceID(role, node.GetID())
    return node


def _unit(title: str) -> str:
    return title[title.index("[") + 1 : -1] if title.endswith("]") else ""


def _numbers(name: str, values: Any) -> Any:
    return _column(vtk.vtkDoubleArray(), name, np.asarray(values, dtype=float))


def _column(array: Any, name: str, values: Any) -> Any:
    """``array`` as a named column of these values."""
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array
