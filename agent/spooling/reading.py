"""The one file that is read now: open, at a position, by its deserializer."""

from __future__ import annotations

import os
from collections.abc import Callable

from agent.spooling.content import Content, compression_of
from agent.spooling.deserializer import Deserializer, Piece
from agent.spooling.file import SpoolFile, Version
from agent.spooling.listing import version_of
from agent.tailing.handles import open_regular

# Makes the deserializer of a file.
Make = Callable[[Content, SpoolFile], Deserializer]


class ChangedError(Exception):
    """The file is another one than it was, or has other content; the message says what is there."""


class Reading:
    """`decompress`: what its name and its first bytes say is compressed. `may_grow`: what comes is not read, and no error."""

    def __init__(self, make: Make, *, decompress: bool, may_grow: bool = False) -> None:
        self._make = make
        self._decompress = decompress
        self.may_grow = may_grow
        self._file: SpoolFile | None = None
        self._fd = -1
        self._deserializer: Deserializer | None = None

    def read(self, file: SpoolFile, max_bytes: int) -> Piece | None:
        """What follows the file's cursor; None at its end. Raises OSError, ChangedError, and PermanentError for content that
        can't be understood."""
        deserializer = self._at(file)
        try:
            piece = deserializer.read(max_bytes)
        finally:
            self._check(file)
        return piece

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file, self._deserializer = -1, None, None

    def is_same(self, was: Version, now: Version) -> bool:
        """Whether the file has what it had when it was found."""
        return now == was or (self.may_grow and was.has_grown_to(now))

    def forget(self, file: SpoolFile) -> None:
        """Close it, if it is the one."""
        if self._file is file:
            self.close()

    def _at(self, file: SpoolFile) -> Deserializer:
        assert file.cursor is not None
        if self._file is not file or self._deserializer is None:
            self.close()
            self._open(file)
        assert self._deserializer is not None
        self._check(file)
        if self._deserializer.position != file.cursor:
            self._deserializer.seek(file.cursor)
        return self._deserializer

    def _open(self, file: SpoolFile) -> None:
        opened = open_regular(file.path)
        if opened is None:
            raise ChangedError("it is not there any more")
        self._fd = opened[0]
        self._file = file
        compression = compression_of(file.path, os.pread(self._fd, 8, 0)) if self._decompress else None
        self._check(file)
        self._deserializer = self._make(Content(self._fd, compression, file.version.size), file)

    def _check(self, file: SpoolFile) -> None:
        now = version_of(os.fstat(self._fd))
        if not self.is_same(file.version, now):
            self.close()
            raise ChangedError(
                f"it had {file.version.size} bytes when it was found, and was changed since (it has {now.size})"
            )
