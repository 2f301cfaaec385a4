"""Publishing: finished files get their final names, after being encoded where their format asks for it.

Every step leaves a state that the next attempt recognises, whatever kills the process in between:

    .tmp                 not begun (an .out-*.tmp beside it is worthless, and made anew)
    .tmp and .done.tmp   encoded; the staging file is to be removed
    .done.tmp            encoded; to be renamed
    neither              published, if the final name exists or was announced; else somebody deleted committed data
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from collector.files import disk, names
from collector.files.formats import ROW_GROUP_BYTES, Conversion, Format, StagedFormat, from_label
from collector.files.layout import Layout
from collector.files.token import FileState, Token
from qanat.durable import sync_directory
from qanat.errors import CorruptError

# Other names to try when a stranger's file has ours; far more than can happen (names hold sink, time and sequence).
ALTERNATIVES_MAX = 100


class Publisher:
    """*Thread*: the sync thread, or any while that is at rest. All methods raise RetryableError, CorruptError."""

    def __init__(self, layout: Layout, suffix: str) -> None:
        self._layout = layout
        self._suffix = suffix
        self._conversions: dict[str, Conversion] = {}
        self._formats: dict[str, Format] = {}
        self.published: set[str] = set()  # names done since `reset`

    def reset(self) -> None:
        """Forget everything: what is to be done follows from the next token."""
        for conversion in self._conversions.values():
            conversion.abandon()
        self._conversions.clear()
        self.published = set()

    def publish(self, token: Token) -> None:
        """Give the token's finished files their names. *Blocking*."""
        for file in token.open:  # only committed events are ever encoded, so nothing of this is ever undone
            self._advance(file)
        waiting = [file for file in token.finished if file.name not in self.published]
        if not waiting:
            return
        announced = self._announced()
        present = [file for file in waiting if self._is_present(file)]
        for file in waiting:
            if file not in present and file.name not in announced:
                self._expect_published(file)
        if present:
            self._publish_files(present, token.finished)
        self.published |= {file.name for file in waiting}

    def _announced(self) -> set[str]:
        with disk.explained("reading", self._layout.work):
            return self._layout.announced()

    def _is_present(self, file: FileState) -> bool:
        with disk.explained("looking for", self._layout.temporary(file)):
            return any(
                os.path.lexists(path) for path in (self._layout.temporary(file), self._layout.encoded(file))
            )

    def _expect_published(self, file: FileState) -> None:
        if not os.path.lexists(self._layout.final(file)):
            self._layout.require()
            raise CorruptError(missing(self._layout, file))

    def _publish_files(self, files: list[FileState], announced: Sequence[FileState]) -> None:
        for file in files:
            self._encode(file)
        with disk.explained("announcing files in", self._layout.work):
            self._layout.announce(announced)
        by_directory: dict[str, list[FileState]] = {}
        for file in files:
            by_directory.setdefault(file.directory, []).append(file)
        for group in by_directory.values():
            self._rename_into_directory(group)
        with disk.explained("syncing the directory", self._layout.work):
            sync_directory(self._layout.work)

    def _rename_into_directory(self, files: list[FileState]) -> None:
        """One directory at a time: a commit may finish files in more of them than a process may have open."""
        path = self._layout.root / files[0].directory
        with disk.explained("opening the bucket's directory (no part of it may be a symbolic link)", path):
            fd = disk.open_beneath(self._layout.root, files[0].parts)
        try:
            for file in files:
                self._rename(file, fd)
            with disk.explained("syncing the directory", path):
                os.fsync(fd)
        finally:
            os.close(fd)

    def _rename(self, file: FileState, directory_fd: int) -> None:
        encoded = self._layout.encoded(file)
        source = encoded if os.path.lexists(encoded) else self._layout.temporary(file)
        with disk.explained(f"renaming {source} to", self._layout.final(file)):
            _rename_new(source, directory_fd, _candidates(file.name, self._suffix))

    def _encode(self, file: FileState) -> None:
        """From `.tmp` to `.done.tmp` alone, where the format is staged."""
        if not isinstance(self._format(file), StagedFormat):
            return
        encoded, staging = self._layout.encoded(file), self._layout.temporary(file)
        if not os.path.lexists(encoded):
            self._advance(file, finish=True)
            with disk.explained("renaming to", encoded):
                self._layout.encoding(file).rename(encoded)
                sync_directory(self._layout.work)
        with disk.explained("removing", staging):
            staging.unlink(missing_ok=True)

    def _advance(self, file: FileState, *, finish: bool = False) -> None:
        format_ = self._format(file)
        if not isinstance(format_, StagedFormat):
            return
        if not finish and file.length_bytes < ROW_GROUP_BYTES:
            return  # nothing to gain yet, and two descriptors to keep
        output = self._layout.encoding(file)
        with disk.explained("encoding", output):
            conversion = self._conversions.get(file.name)
            if conversion is None:
                conversion = format_.conversion(self._layout.temporary(file), output)
                self._conversions[file.name] = conversion
            if not finish:
                conversion.advance(file.length_bytes)
                return
            conversion.finish(file.length_bytes)
            del self._conversions[file.name]

    def _format(self, file: FileState) -> Format:
        if file.format not in self._formats:
            self._formats[file.format] = from_label(file.format)
        return self._formats[file.format]


def missing(layout: Layout, file: FileState) -> str:
    """What to say when a committed file is nowhere."""
    return (
        f"{layout.temporary(file)} is missing, and {layout.final(file)} was never published: "
        f"{file.events} committed events ({file.length_bytes} bytes) are gone. Somebody deleted the file: restore "
        "it from a backup, or give the sink another directory and its events up"
    )


def _candidates(name: str, suffix: str) -> Iterable[str]:
    yield name
    for number in range(1, ALTERNATIVES_MAX):
        yield names.alternative(name, suffix, number)


def _rename_new(source: Path, target_fd: int, targets: Iterable[str]) -> None:
    """Take the first name that is free: a file that is there is never touched."""
    taken: OSError | None = None
    for target in targets:
        try:
            disk.rename_new(source, target_fd, target)
        except FileExistsError as error:
            taken = error
        else:
            return
    assert taken is not None
    raise taken
