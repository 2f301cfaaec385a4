"""What becomes of a file that is in storage, or that can't be read: renamed, deleted, or noted in a tracker directory.

Every step can be repeated after a crash in its middle: it is done only to the very file that it is meant for.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable

import msgspec
import structlog

from agent.spooling.file import SpoolFile, Version
from agent.spooling.listing import version_at
from agent.tailing import names
from qanat.durable import sync_directory

_log = structlog.get_logger()

# Names that are tried for a file whose new name is taken.
_NAMES_MAX = 10_000


class Note(msgspec.Struct, frozen=True):
    """The content of a tracker file; one that Flume NG left is empty."""

    ino: int
    size: int
    mtime_ns: int
    why: str = ""


class Completion(abc.ABC):
    """`complete` and `set_aside` do nothing when the file is not the one that was meant, which is one that was done before."""

    @abc.abstractmethod
    def is_over(self, path: str, version: Version) -> bool:
        """Whether this very file was completed or set aside before. Raises OSError."""

    @abc.abstractmethod
    def is_reused(self, path: str) -> bool:
        """Whether another file of this name was completed before, and names are not used again. Raises OSError."""

    @abc.abstractmethod
    def complete(self, path: str, version: Version) -> None:
        """It is in storage. Raises OSError."""

    @abc.abstractmethod
    def set_aside(self, path: str, why: str) -> str:
        """Whatever is there now is somebody's to look at; says where it is. Raises OSError."""

    def finish(self, file: SpoolFile) -> None:
        """As it is due to the file. Raises OSError."""
        if not file.fault:
            self.complete(file.path, file.version)
        elif version_at(file.path) is not None:
            where = self.set_aside(file.path, file.fault)
            _log.error("file_set_aside", path=names.display(file.path), now_at=where, why=file.fault)

    def sync(self, paths: Iterable[str]) -> None:
        """Make what was done to files at these paths durable. *Blocking*. Raises OSError."""
        for directory in dict.fromkeys(map(os.path.dirname, paths)):
            if os.path.isdir(directory):
                sync_directory(directory)


class Renaming(Completion):
    """`a.log` becomes `a.log.COMPLETED`, or `a.log.FAILED`; with `delete`, it goes instead of the former."""

    def __init__(self, suffix: str, failed: str, *, delete: bool) -> None:
        self._suffix = suffix
        self._failed = failed
        self._delete = delete

    def is_over(self, path: str, version: Version) -> bool:
        return False

    def is_reused(self, path: str) -> bool:
        return not self._delete and os.path.lexists(path + self._suffix)

    def complete(self, path: str, version: Version) -> None:
        if version_at(path) != version:
            return
        if self._delete:
            os.unlink(path)
        else:
            _rename(path, path + self._suffix)

    def set_aside(self, path: str, why: str) -> str:
        return _rename(path, path + self._failed)


class Tracking(Completion):
    """Files stay as they are: beside them, in the tracker directory, there is a file for each that is done with."""

    def __init__(self, directory: str, tracker: str, suffix: str, failed: str) -> None:
        self._directory = os.path.abspath(directory)
        self._tracker = os.path.join(self._directory, tracker)
        self._suffix = suffix
        self._failed = failed

    def is_over(self, path: str, version: Version) -> bool:
        if os.path.lexists(self._note(path, self._failed)):
            return True
        note = self._read(path)
        return note is not None and (note == Note(0, 0, 0) or _version(note) == version)

    def is_reused(self, path: str) -> bool:
        return self._read(path) is not None

    def complete(self, path: str, version: Version) -> None:
        self._write(self._note(path, self._suffix), version, "")

    def set_aside(self, path: str, why: str) -> str:
        note = self._note(path, self._failed)
        self._write(note, version_at(path) or Version(0, 0, 0), why)
        return names.display(note)

    def sync(self, paths: Iterable[str]) -> None:
        super().sync(self._note(path, "") for path in paths)

    def _note(self, path: str, suffix: str) -> str:
        return os.path.join(self._tracker, os.path.relpath(path, self._directory)) + suffix

    def _read(self, path: str) -> Note | None:
        try:
            with open(self._note(path, self._suffix), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=Note) if data else Note(0, 0, 0)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Note(0, 0, 0)

    def _write(self, note: str, version: Version, why: str) -> None:
        os.makedirs(os.path.dirname(note), exist_ok=True)
        with open(note + ".new", "wb") as file:
            file.write(msgspec.json.encode(Note(version.ino, version.size, version.mtime_ns, why)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(note + ".new", note)


class Leaving(Completion):
    """Nothing is done to files: the source's own state knows what it has read."""

    def is_over(self, path: str, version: Version) -> bool:
        return False

    def is_reused(self, path: str) -> bool:
        return False

    def complete(self, path: str, version: Version) -> None:
        pass

    def set_aside(self, path: str, why: str) -> str:
        return names.display(path)


def _version(note: Note) -> Version:
    return Version(note.ino, note.size, note.mtime_ns)


def _rename(path: str, wanted: str) -> str:
    """Rename to this name, or one with a number behind it when that is taken. Raises OSError."""
    target = wanted
    for number in range(1, _NAMES_MAX):
        if not os.path.lexists(target):
            break
        target = f"{wanted}.{number}"
    os.rename(path, target)
    return names.display(target)
