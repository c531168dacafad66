"""What all commands of training do at their end."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

from KernelNormalizationLib.core.errors import CTKernelError

UNUSABLE = 2
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
