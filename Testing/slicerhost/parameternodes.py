"""``slicer.parameterNodeWrapper`` for the types and widgets the modules use; anything else raises as in Slicer."""

from __future__ import annotations

import enum
import typing
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar

import slicer


@dataclass(frozen=True)
class WithinRange:
    """Allowed numbers, both ends included."""

    minimum: float
    maximum: float


class _Wrapper:
    """What every wrapper class has; ``members`` is set by the decorator.

    As in Slicer, values are remembered until the node says that it was modified, ``connectGui`` tells no tag, and disconnecting
    leaves the wrapper's observer on the node.
    """

    members: ClassVar[dict[str, _Parameter]]

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, list[_Connector]] = {}
        self._next_tag = 0
        self._updating = False
        for parameter in self.members.values():
            if not parameterNode.HasParameter(parameter.name):
                parameter.write(parameterNode, parameter.default)
        self._remembered: dict[str, Any] = {}
        self._remember()
        weak = weakref.ref(self)
        tag = parameterNode.AddObserver("ModifiedEvent", lambda *_: weak() and weak()._remember())
        weakref.finalize(self, parameterNode.RemoveObserver, tag)

    def _remember(self) -> None:
        for name, parameter in self.members.items():
            if not self.parameterNode.HasParameter(name):
                parameter.write(self.parameterNode, parameter.default)
            self._remembered[name] = parameter.read(self.parameterNode)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def connectGui(self, ui: Any) -> None:
        widgets = {w.property("SlicerParameterName"): w for w in vars(ui).values()}
        self.connectParametersToGui({name: widget for name, widget in widgets.items() if name})

    def connectParametersToGui(self, widgets: dict[str, Any]) -> int:
        unknown = set(widgets) - set(self.members)
        if unknown:
            raise ValueError(f"Cannot find a param with the given name: {sorted(unknown)}")
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._guis[tag] = [_Connector(self, self.members[name], widget) for name, widget in widgets.items()]
        self.AddObserver("ModifiedEvent", self._update)
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        for connector in self._guis.pop(tag, []):  # type: ignore[arg-type]
            connector.disconnect()

    def _update(self, *_: Any) -> None:
        if self._updating:
            return
        self._updating = True
        for connector in [c for gui in self._guis.values() for c in gui]:
            connector.write()
        self._updating = False


def parameterNodeWrapper(cls: type) -> type:
    """Make typed properties of the annotated members, stored in a ``vtkMRMLScriptedModuleNode``."""
    hints = typing.get_type_hints(cls, include_extras=True)
    members = {name: _Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    properties = {name: _property(parameter) for name, parameter in members.items()}
    return type(cls.__name__, (_Wrapper,), {"members": members, "__doc__": cls.__doc__, **properties})


def _property(parameter: _Parameter) -> property:
    def read(self: _Wrapper) -> Any:
        return self._remembered[parameter.name]

    def write(self: _Wrapper, value: Any) -> None:
        wasModified = self.parameterNode.StartModify()
        parameter.write(self.parameterNode, value)
        self._remember()
        self.parameterNode.EndModify(wasModified)

    return property(read, write)


class _Parameter:
    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        self.annotations = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
        self.kind = typing.get_args(hint)[0] if self.annotations else hint
        isNode = isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)
        isEnum = isinstance(self.kind, type) and issubclass(self.kind, enum.Enum)
        if not (isNode or isEnum or self.kind in (bool, int, float, str)):
            raise TypeError(f"Unable to create serializer for type: {self.kind}")
        self.isNode, self.isEnum = isNode, isEnum
        empty = None if isNode else next(iter(self.kind)) if isEnum else self.kind()
        self.default = default if default is not None else empty

    def write(self, node: Any, value: Any) -> None:
        if not (isinstance(value, self.kind) or (self.isNode and value is None) or (self.kind is float and type(value) is int)):
            raise TypeError(f"{self.name} is a {self.kind.__name__}; {value!r} is not")
        for limit in self.annotations:
            if not limit.minimum <= value <= limit.maximum:
                raise ValueError(f"{self.name}: {value} is not within {limit.minimum} and {limit.maximum}")
        wasModified = node.StartModify()
        if self.isNode:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if self.isEnum else str(value))
        node.EndModify(wasModified)

    def read(self, node: Any) -> Any:
        if self.isNode:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.isEnum:
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)


class _Connector:
    """Keeps one widget and one parameter equal, for the pairs that Slicer supports."""

    def __init__(self, owner: Any, parameter: _Parameter, widget: Any) -> None:
        self.owner, self.parameter, self.widget = owner, parameter, widget
        kind = type(widget).__name__
        if parameter.isNode and kind == "qMRMLNodeComboBox":
            widget.nodeTypes = [parameter.kind.__name__]
            self.signal = widget.currentNodeChanged
        elif parameter.isEnum and kind == "QComboBox":
            widget.clear()
            for member in parameter.kind:
                widget.addItem(parameter.kind.label(member) if hasattr(parameter.kind, "label") else member.name)
            self.signal = widget.currentIndexChanged
        elif parameter.kind is bool and kind == "QCheckBox":
            self.signal = widget.stateChanged
        elif parameter.kind is float and kind == "ctkSliderWidget":
            if not parameter.annotations:
                raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
            widget.minimum, widget.maximum = parameter.annotations[0].minimum, parameter.annotations[0].maximum
            self.signal = widget.valueChanged
        else:
            raise RuntimeError(f"Unable to create GUI connector from datatype '{parameter.kind}' to widget type '{kind}'")
        self.write()
        self.signal.connect(self._changed)

    def disconnect(self) -> None:
        self.signal.disconnect(self._changed)

    def write(self) -> None:
        value = self.parameter.read(self.owner.parameterNode)
        if self.parameter.isNode:
            self.widget.setCurrentNode(value)
        elif self.parameter.isEnum:
            self.widget.currentIndex = list(self.parameter.kind).index(value)
        elif self.parameter.kind is bool:
            self.widget.checked = value
        else:
            self.widget.value = float(value)

    def _changed(self) -> None:
        if self.owner._updating:
            return
        if self.parameter.isNode:
            value = self.widget.currentNode()
        elif self.parameter.isEnum:
            value = list(self.parameter.kind)[self.widget.currentIndex]
        else:
            value = self.widget.checked if self.parameter.kind is bool else self.widget.value
        setattr(self.owner, self.parameter.name, value)
