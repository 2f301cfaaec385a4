"""Flow files as `qanat check` and `qanat fmt` are given them: by path, or `-` for standard input; and how one is replaced."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from qanat.errors import ConfigError
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


def replace(path: Path, text: str) -> None:
    """The file that is there, at once or not at all; it keeps its mode. A link stays one: what it leads to is replaced.

    Raises ConfigError when it can't be."""
    target = path.resolve()
    temporary = None
    try:
        status = target.stat()
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            temporary = file.name
            file.write(text)
            file.flush()
            with contextlib.suppress(PermissionError):  # others' files, in a directory that is ours
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise ConfigError(f"{path} can't be written: {error}") from error


def _refused(name: str, line: int, message: str) -> FlowError:
    return FlowError((Fault(SourcePlace(line, 1, shown(name)), message),))
