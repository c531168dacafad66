"""Lets a thread's long SimpleITK steps be stopped from outside: by Cancel, and when the application quits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .errors import Cancelled

StopCheck = Callable[[], bool]
Item = TypeVar("Item")
Result = TypeVar("Result")
_local = threading.local()


@contextmanager
def stoppable(is_stopped: StopCheck) -> Iterator[None]:
    """Within it, long steps of this thread end soon after ``is_stopped`` gives ``True``, with :class:`Cancelled`."""
    before = getattr(_local, "is_stopped", None)
    _local.is_stopped = is_stopped
    try:
        yield
    finally:
        _local.is_stopped = before


def carried(compute: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """``compute`` for other threads, which then end when this one is asked to stop: with :class:`Cancelled`, before an item."""
    check: StopCheck | None = getattr(_local, "is_stopped", None)
    if check is None:
        return compute

    def unless_stopped(item: Item) -> Result:
        with stoppable(check):
            check_stopped()
            return compute(item)

    return unless_stopped


def stop_asked() -> bool:
    """Whether this thread was asked to stop; ``False`` outside of :func:`stoppable`."""
    check: StopCheck | None = getattr(_local, "is_stopped", None)
    return check is not None and check()


def check_stopped() -> None:
    """Raise :class:`Cancelled` if this thread was asked to stop."""
    if stop_asked():
        raise Cancelled("Stopped; nothing was kept.")


def filtered(kind: type, *images: Any, **settings: Any) -> Any:
    """What a SimpleITK filter makes of ``images``; a thread that is asked to stop need not wait for its end.

    Args:
        kind: a SimpleITK filter class, such as ``sitk.SignedMaurerDistanceMapImageFilter``.
        images: what the filter works on.
        settings: value of each setter without its ``Set``, such as ``UseImageSpacing=True``.

    Raises:
        Cancelled: the thread was asked to stop before or meanwhile.
    """
    made = kind()
    for name, value in settings.items():
        getattr(made, f"Set{name}")(value)
    return execute(made, *images)


def execute(step: Any, *images: Any) -> Any:
    """Like :func:`filtered`, for a filter (SimpleITK ``ProcessObject``) that is set up already."""
    if getattr(_local, "is_stopped", None) is None:
        return step.Execute(*images)
    import SimpleITK as sitk

    check_stopped()
    # The progress event comes in this thread, where the filter may be aborted without a race with its end.
    step.AddCommand(sitk.sitkProgressEvent, lambda: step.Abort() if stop_asked() else None)
    try:
        result = step.Execute(*images)
    except RuntimeError:
        check_stopped()  # the abort may come as an error of the filter
        raise
    finally:
        step.RemoveAllCommands()
    check_stopped()
    return result
