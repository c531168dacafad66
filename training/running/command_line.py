"""What the commands of training share: their exit codes, and a log that shows progress only."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from KernelNormalizationLib.core.errors import CTKernelError

UNUSABLE = 2
PRODUCT = ("KernelNormalizationLib", "EmphysemaQuantLib")
Arguments = ParamSpec("Arguments")


def ends_with_code(logger: logging.Logger) -> Callable[[Callable[Arguments, int]], Callable[Arguments, int]]:
    """Decorator for the main function of a command: an expected error becomes a line of the log and exit code 2.

    Args:
        logger: log of the command.
    """

    def decorate(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
        @functools.wraps(command)
        def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> int:
            try:
                return command(*arguments, **options)
            except CTKernelError as error:
                logger.error("%s", error)
                return UNUSABLE

        return run

    return decorate


@contextmanager
def without_notices() -> Iterator[None]:
    """Hide the product's notices (device, domain), which would hide the progress of hundreds of runs; its errors are shown."""
    levels = {name: logging.getLogger(name).level for name in PRODUCT}
    try:
        for name in PRODUCT:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
