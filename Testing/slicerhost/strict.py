"""PySide6 objects that behave towards Python code as PythonQt's do, and fail where PythonQt's fail."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import facts

_proxies: dict[int, StrictObject] = {}
_classes: dict[str, type[StrictObject]] = {}
slot_errors: list[BaseException] = []


class StrictObject:
    """Attribute access as in PythonQt: properties are values, unknown names raise, new attributes are refused.

    Args:
        arguments: passed to the PySide6 class, proxies unwrapped.
    """

    pyside_class: ClassVar[type] = QtCore.QObject
    class_facts: ClassVar[facts.ClassFacts]

    def __init__(self, *arguments: Any) -> None:
        _adopt(self, self.pyside_class(*map(unwrapped, arguments)))

    def __getattr__(self, name: str) -> Any:
        known, qobject = type(self).class_facts, self.__dict__["_qobject"]
        if name == "name":
            return qobject.objectName()
        if name in known.properties:
            return _read(qobject, name)
        if name in known.signal_names:
            return StrictSignal(self, name)
        if name not in known.names:
            raise AttributeError(f"'{name}' does not exist on {known.name}")
        method = getattr(qobject, name, None)
        if not callable(method):
            raise NotImplementedError(f"{known.name}.{name} exists in Slicer but not in the stand-in; add it.")
        return lambda *arguments: wrapped(method(*map(unwrapped, arguments)))

    def __setattr__(self, name: str, value: Any) -> None:
        known, qobject = type(self).class_facts, self.__dict__["_qobject"]
        if name in ("name", "objectName"):
            qobject.setObjectName(value)
            return
        if name not in known.properties:
            raise AttributeError(
                f"'{name}' does not exist on {known.name} and creating new attributes on C++ objects is not allowed"
            )
        kind, writable = known.properties[name]
        if not writable:
            raise AttributeError(f"Property '{name}' of {known.name} is not writable")
        _check_type(known.name, name, kind, value)
        _write(qobject, name, unwrapped(value))

    def connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """Connect by signature; an unknown one raises here, where Slicer only prints and goes on without it."""
        wanted = facts.normalized(signature)
        known = type(self).class_facts
        if wanted not in known.signals:
            raise AttributeError(f"{known.name} has no signal {signature}; it has {', '.join(sorted(known.signals))}")
        _connect(self.__dict__["_qobject"], wanted.split("(")[0], _argument_count(wanted), slot)
        return True

    def disconnect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """Disconnect what :meth:`connect` connected."""
        wanted = facts.normalized(signature)
        if wanted not in type(self).class_facts.signals:
            raise AttributeError(f"{type(self).class_facts.name} has no signal {signature}")
        return _disconnect(self.__dict__["_qobject"], wanted.split("(")[0], slot)

    def children(self) -> list[Any]:
        """Child objects."""
        return [wrapped(child) for child in self.__dict__["_qobject"].children()]

    def className(self) -> str:
        """The Qt class name."""
        return type(self).class_facts.name

    def property(self, name: str) -> Any:
        """Any property, dynamic ones too."""
        return self.__dict__["_qobject"].property(name)


class StrictSignal:
    """A signal as an attribute: ``button.clicked.connect(f)``."""

    def __init__(self, owner: StrictObject, name: str) -> None:
        self._owner, self._name = owner, name

    def connect(self, slot: Callable[..., Any]) -> bool:
        """Connect ``slot``; it gets as many arguments as it takes."""
        counts = [_argument_count(s) for s in type(self._owner).class_facts.signals if s.split("(")[0] == self._name]
        _connect(self._owner.__dict__["_qobject"], self._name, max(counts), slot)
        return True

    def disconnect(self, slot: Callable[..., Any]) -> bool:
        """Disconnect ``slot``."""
        return _disconnect(self._owner.__dict__["_qobject"], self._name, slot)


def strict_class(class_name: str, pyside_class: type) -> type[StrictObject]:
    """The strict class of a Qt, ctk or qMRML class, one for all its objects (``type(w) == qt.QComboBox`` holds)."""
    if class_name not in _classes:
        members = {"pyside_class": pyside_class, "class_facts": facts.of(class_name)}
        _classes[class_name] = type(class_name, (StrictObject,), members)
    return _classes[class_name]


def wrapped(value: Any) -> Any:
    """The one proxy of a PySide6 object; containers item by item; anything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(wrapped(item) for item in value)
    if not isinstance(value, QtCore.QObject):
        return value
    key = shiboken6.getCppPointer(value)[0]
    if key not in _proxies:
        proxy = object.__new__(_nearest(type(value)))
        _adopt(proxy, value)
    return _proxies[key]


def unwrapped(value: Any) -> Any:
    """The PySide6 object behind a proxy; anything else as it is."""
    return value.__dict__["_qobject"] if isinstance(value, StrictObject) else value


def _adopt(proxy: StrictObject, qobject: QtCore.QObject) -> None:
    proxy.__dict__["_qobject"] = qobject
    proxy.__dict__["_slots"] = []
    key = shiboken6.getCppPointer(qobject)[0]
    _proxies[key] = proxy
    qobject.destroyed.connect(lambda *_: _proxies.pop(key, None))


def _nearest(pyside_class: type) -> type[StrictObject]:
    for base in pyside_class.__mro__:
        if base.__name__ in facts.load():
            return strict_class(base.__name__, base)
    return strict_class("QWidget", QtWidgets.QWidget)


def _read(qobject: QtCore.QObject, name: str) -> Any:
    value = qobject.property(name)
    if value is None and callable(getattr(qobject, name, None)):
        value = getattr(qobject, name)()
    return int(value.value) if hasattr(value, "value") and not isinstance(value, str) else wrapped(value)


def _write(qobject: QtCore.QObject, name: str, value: Any) -> None:
    if not qobject.setProperty(name, value):
        raise AttributeError(f"The stand-in's {type(qobject).__name__} has no property '{name}'; add it.")


def _check_type(owner: str, name: str, kind: str, value: Any) -> None:
    expected = {"QString": str, "bool": bool, "int": int, "double": (int, float)}.get(kind)
    if expected is not None and not isinstance(value, expected):
        raise TypeError(f"{owner}.{name} is a {kind}; {value!r} is a {type(value).__name__}")


def _argument_count(signature: str) -> int:
    inside = signature[signature.index("(") + 1 : -1]
    return len(inside.split(",")) if inside else 0


def _connect(qobject: QtCore.QObject, name: str, count: int, slot: Callable[..., Any]) -> None:
    def call(*arguments: Any) -> None:
        try:
            slot(*[wrapped(a) for a in arguments[: min(count, _accepted(slot))]])
        except BaseException as error:
            slot_errors.append(error)
            raise

    # PySide6 leaves default arguments out for callables that take any number, so the number is spelled out.
    receiver = {0: lambda: call(), 1: lambda a: call(a), 2: lambda a, b: call(a, b)}[count]
    getattr(qobject, name).connect(receiver)
    wrapped(qobject).__dict__["_slots"].append((name, slot, receiver))


def _disconnect(qobject: QtCore.QObject, name: str, slot: Callable[..., Any]) -> bool:
    slots = wrapped(qobject).__dict__["_slots"]
    for entry in slots:
        if entry[0] == name and entry[1] == slot:
            getattr(qobject, name).disconnect(entry[2])
            slots.remove(entry)
            return True
    return False


def _accepted(slot: Callable[..., Any]) -> int:
    parameters = inspect.signature(slot).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 99
    return len([p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)])


def key_sequence(text: str = "") -> QtGui.QKeySequence:
    """A key sequence; refuses what Qt cannot parse, which Slicer would silently ignore."""
    sequence = QtGui.QKeySequence(text)
    if text and sequence.isEmpty():
        raise ValueError(f"{text!r} is no key sequence")
    return sequence
