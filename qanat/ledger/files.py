"""Which files there are, and which of them continue each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qanat.errors import ConfigError

# What the file sink appends to prefix and sink: `-<UTC time>-<sequence>.<extension>`, with a `~<number>` when another
# file has that name already.
_ROLLED = re.compile(
    r"(?P<sink>.*)-(?P<time>[0-9]{8}T?[0-9][0-9.]*Z?)-(?P<number>[0-9]+)(?:~[0-9]+)?(?:\.[^/]*)?\Z"
)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Files that one writer wrote one after another, in that order."""

    name: str
    paths: tuple[Path, ...]


def find_sequences(roots: Iterable[Path]) -> list[Sequence]:
    """Non-hidden files below `roots` (directories or files), each once. Raises ConfigError."""
    by_writer: dict[str, list[tuple[tuple[str, int, str], Path]]] = {}
    for path in _distinct_files(roots):
        match = _ROLLED.match(path.name)
        writer = str(path.parent / match["sink"]) + "-*" if match else str(path)
        place = (match["time"], int(match["number"]), path.name) if match else ("", 0, path.name)
        by_writer.setdefault(writer, []).append((place, path))
    return [
        Sequence(writer, tuple(path for _, path in sorted(files)))
        for writer, files in sorted(by_writer.items())
    ]


def _distinct_files(roots: Iterable[Path]) -> list[Path]:
    found: dict[str, Path] = {}
    for root in roots:
        for path in _files_below(root):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _files_below(root: Path) -> Iterable[Path]:
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise ConfigError(f"{root} is neither a directory nor a file; name where the sink writes to")
    for directory, directories, names in os.walk(root, onerror=_refuse):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in names:
            path = Path(directory, name)
            if not name.startswith(".") and (path.is_file() or not path.exists()):
                yield path


def _refuse(error: OSError) -> None:
    raise ConfigError(f"the directory {error.filename} could not be listed: {error.strerror}") from error
