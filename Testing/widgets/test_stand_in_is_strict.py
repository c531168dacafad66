"""The stand-in fails where PythonQt fails: otherwise it would prove nothing about Slicer."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import pytest

from slicerhost import facts, strict
from slicerhost.application import StrictNamespace


@pytest.fixture
def button(app: Any) -> Any:
    import qt

    return qt.QPushButton("Normalize")


def test_properties_are_values_and_calling_one_fails(button: Any) -> None:
    assert button.text == "Normalize"
    with pytest.raises(TypeError, match="not callable"):
        button.text()


def test_unknown_attribute_cannot_be_read(button: Any) -> None:
    with pytest.raises(AttributeError, match="'txet' does not exist on QPushButton"):
        _ = button.txet


def test_new_attribute_cannot_be_made(button: Any) -> None:
    with pytest.raises(AttributeError, match="creating new attributes on C"):
        button.myState = 1


def test_property_of_the_wrong_type_is_refused(button: Any) -> None:
    with pytest.raises(TypeError, match="text is a QString"):
        button.text = 3
    with pytest.raises(TypeError, match="enabled is a bool"):
        button.enabled = "yes"


def test_property_that_cannot_be_written_is_refused(button: Any) -> None:
    with pytest.raises(AttributeError, match="'sizeHint' of QPushButton is not writable"):
        button.sizeHint = 3


def test_wrong_signal_signature_fails(button: Any) -> None:
    for signature in ("clickd()", "clicked(int)", "clicked", "valueChanged(double)"):
        with pytest.raises(AttributeError, match="has no signal"):
            button.connect(signature, lambda: None)
    assert button.connect("clicked()", lambda: None)
    assert button.connect("clicked(bool)", lambda checked: None)


def test_slot_gets_as_many_arguments_as_it_takes(button: Any) -> None:
    seen: list[Any] = []
    button.connect("clicked(bool)", lambda checked: seen.append(checked))
    button.connect("clicked(bool)", lambda: seen.append("none"))
    button.clicked.connect(lambda *arguments: seen.append(len(arguments)))
    button.click()
    assert seen == [False, "none", 1]


def test_exception_in_a_slot_is_remembered_and_fails_the_test(button: Any) -> None:
    def fails() -> None:
        raise ValueError("in the slot")

    button.connect("clicked()", fails)
    button.click()
    assert [str(error) for error in strict.slot_errors] == ["in the slot"]
    strict.slot_errors.clear()


def test_disconnected_slot_is_not_called(button: Any) -> None:
    seen: list[int] = []

    def slot() -> None:
        seen.append(1)

    button.connect("clicked()", slot)
    assert button.disconnect("clicked()", slot)
    assert not button.disconnect("clicked()", slot)
    button.click()
    assert seen == []


def test_class_that_slicer_was_not_asked_about_fails(app: Any) -> None:
    with pytest.raises(LookupError, match="No facts are recorded for QDial"):
        facts.of("QDial")


def test_application_has_slicers_names_only(app: Any) -> None:
    import slicer

    with pytest.raises(AttributeError, match=r"'layoutManger' does not exist on slicer\.app"):
        _ = slicer.app.layoutManger
    with pytest.raises(NotImplementedError, match="add it"):
        _ = slicer.app.restart
    with pytest.raises(AttributeError, match="no frobnicate in Slicer"):
        StrictNamespace("slicer.app", facts.of("slicer.app").names, frobnicate=1)


UI = """<ui version="4.0"><class>X</class><widget class="qMRMLWidget" name="X"><layout class="QVBoxLayout" name="l">
<item><widget class="{cls}" name="selector"><property name="{prop}"><bool>true</bool></property></widget></item></layout>
</widget><connections><connection><sender>X</sender><signal>{signal}</signal><receiver>selector</receiver>
<slot>{slot}</slot></connection></connections></ui>"""
GOOD = {
    "cls": "qMRMLNodeComboBox",
    "prop": "noneEnabled",
    "signal": "mrmlSceneChanged(vtkMRMLScene*)",
    "slot": "setMRMLScene(vtkMRMLScene*)",
}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"cls": "qMRMLNodeCombobox"}, LookupError, "qMRMLNodeCombobox"),
        ({"prop": "noneAllowed"}, AttributeError, "has no property noneAllowed"),
        ({"signal": "mrmlSceneChanged(vtkMRMLNode*)"}, AttributeError, "has no signal"),
        ({"slot": "setScene(vtkMRMLScene*)"}, AttributeError, "has no slot"),
    ],
)
def test_wrong_ui_file_fails(app: Any, tmp_path: Path, change: dict[str, str], error: type[Exception], words: str) -> None:
    import slicer

    path = tmp_path / "panel.ui"
    path.write_text(UI.format(**(GOOD | change)), encoding="utf-8")
    with pytest.raises(error, match=words):
        slicer.util.loadUI(str(path))


def test_word_wrapped_label_in_a_form_layout_fails(app: Any, tmp_path: Path) -> None:
    """Slicer cuts its text off where it comes after the panel was laid out."""
    import slicer

    path = tmp_path / "panel.ui"
    label = '<widget class="QLabel" name="verdict"><property name="wordWrap"><bool>true</bool></property></widget>'
    path.write_text(
        '<ui version="4.0"><class>X</class><widget class="qMRMLWidget" name="X"><layout class="QFormLayout" name="l">'
        f'<item row="0" column="0">{label}</item></layout></widget></ui>',
        encoding="utf-8",
    )
    with pytest.raises(AttributeError, match="word-wrapped verdict is cut off in a QFormLayout"):
        slicer.util.loadUI(str(path))


def test_ui_connections_are_made(app: Any, tmp_path: Path) -> None:
    import slicer

    path = tmp_path / "panel.ui"
    path.write_text(UI.format(**GOOD), encoding="utf-8")
    widget = slicer.util.loadUI(str(path))
    ui = slicer.util.childWidgetVariables(widget)
    widget.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.mrmlScene() is slicer.mrmlScene
    assert type(ui.selector) is slicer.qMRMLNodeComboBox


def test_parameter_of_an_unsupported_type_fails(app: Any) -> None:
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    class Choices(enum.Flag):
        one = 1

    parameterNodeWrapper(type("Fine", (), {"__annotations__": {"x": int, "y": Choices}}))
    with pytest.raises(TypeError, match="Unable to create serializer"):
        parameterNodeWrapper(type("Bad", (), {"__annotations__": {"x": complex}}))


def test_parameter_out_of_range_is_refused(app: Any) -> None:
    import slicer

    from EmphysemaQuantLib.ui.parameters import EmphysemaParameters

    parameters = EmphysemaParameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    with pytest.raises(ValueError, match="-700"):
        parameters.thresholdHu = -700.0
    with pytest.raises(TypeError, match="showOverlay is a bool"):
        parameters.showOverlay = "yes"


def test_parameters_are_remembered_and_connecting_tells_no_tag_as_in_slicer(app: Any) -> None:
    import slicer

    from EmphysemaQuantLib.ui.parameters import EmphysemaParameters

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = EmphysemaParameters(node)
    node.DisableModifiedEventOn()
    node.SetParameter("thresholdHu", "-900.0")
    node.DisableModifiedEventOff()
    assert parameters.thresholdHu == -950.0
    node.Modified()
    assert parameters.thresholdHu == -900.0
    assert parameters.connectGui(type("Ui", (), {})()) is None


def test_table_view_shows_letters_until_the_node_asks_for_titles_and_adds_the_unit_itself(app: Any) -> None:
    """As a running Slicer answered: headers A, B with the names as a first row, or titles with the unit behind them."""
    import slicer
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    table = vtk.vtkTable()
    for name, text in (("Region", "whole"), ("EI", "12.5")):
        column = vtk.vtkStringArray()
        column.SetName(name)
        column.InsertNextValue(text)
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    node.SetColumnUnitLabel("EI", "%")
    view = strict.unwrapped(slicer.qMRMLTableView())
    view.setMRMLTableNode(node)
    assert [view.horizontalHeaderItem(n).text() for n in range(2)] == ["A", "B"]
    assert [view.item(row, 1).text() for row in range(view.rowCount())] == ["EI", "12.5"]
    node.SetUseColumnTitleAsColumnHeader(True)
    view.setMRMLTableNode(node)
    assert [view.horizontalHeaderItem(n).text() for n in range(2)] == ["Region", "EI [%]"]
    assert [view.item(row, 1).text() for row in range(view.rowCount())] == ["12.5"]
