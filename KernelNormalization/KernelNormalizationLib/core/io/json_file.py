"""JSON files that may be damaged or written by other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InputError
from ..plain_text import quoted
from .input_files import open_file

# Model cards hold conformance images as text, some 100 kB; records are smaller.
_LARGEST = 64 << 20


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8; NaN and infinity, which JSON does not allow, are refused.

    The mark that some editors put first is passed over.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: no ordinary file, not readable, too large, nested too deeply or no JSON.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    with open_file(path) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InputError(f"{path} is larger than {_LARGEST >> 20} MB, too large for such a file; copy it again.")
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply for such a file; copy it again.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8, as JSON must be; copy it again, or move it away.") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({quoted(error, 120)}); copy it again, or move it away.") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
