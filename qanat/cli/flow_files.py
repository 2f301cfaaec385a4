"""Flow files as `qanat check` and `qanat fmt` are given them: by path, or `-` for standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from qanat.flow.faults import Fault, FlowError
from qanat.flow.model import SourcePlace

STDIN = "-"


def shown(name: str) -> str:
    """What messages call it."""
    return "<stdin>" if name == STDIN else name


def read(name: str) -> str:
    """The text, line ends as they are. Raises FlowError when it can't be read."""
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        raise _refused(name, 1, f"can't be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(
            name, line, f"the byte 0x{data[error.start]:02x} is no UTF-8; flow files are UTF-8"
        ) from error


def _refused(name: str, line: int, message: str) -> FlowError:
    return FlowError((Fault(SourcePlace(line, 1, shown(name)), message),))
