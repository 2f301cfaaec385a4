"""One open file: what was appended, how much of it is in the file, and what would be committed."""

from __future__ import annotations

import os
from typing import Self

import msgspec

from collector.files import disk
from collector.files.compression import PIECE_BYTES
from collector.files.formats import Buffer, Format
from collector.files.layout import Layout
from collector.files.token import FileState
from qanat.batch import Batch


class OpenFile:
    """A temporary file that grows. *Thread*: the sink's, but for `sync` and, after `finish`, `close`."""

    def __init__(self, state: FileState, format_: Format, fd: int, *, opened_s: float, now_s: float) -> None:
        self._state = state
        self._format = format_
        self._fd: int | None = fd
        self._pending: list[Buffer] = []
        self._pending_bytes = 0
        self._pending_events = 0
        self._writeback_from = state.length_bytes
        self.length_bytes = state.length_bytes
        self.events = state.events
        self.opened_s = opened_s
        self.appended_s = now_s
        self.dirty = False  # written to since the last cut

    @classmethod
    def create(cls, layout: Layout, state: FileState, format_: Format, now_s: float) -> Self:
        """A new file, with the header of its format. Raises OSError; FileExistsError can't happen after recovery."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = cls(
            state, format_, os.open(layout.temporary(state), flags, 0o644), opened_s=now_s, now_s=now_s
        )
        header = format_.header(state.name)
        if header:
            file._write([header])
        return file

    @classmethod
    def resume(
        cls, layout: Layout, state: FileState, format_: Format, *, opened_s: float, now_s: float
    ) -> Self:
        """Go on behind the committed length of a file that recovery cut to it. Raises OSError."""
        fd = os.open(layout.temporary(state), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return cls(state, format_, fd, opened_s=opened_s, now_s=now_s)

    @property
    def bucket(self) -> tuple[str, str, str]:
        """What files succeed each other."""
        return self._state.bucket

    @property
    def sequence(self) -> int:
        """Orders the files of a sink."""
        return self._state.sequence

    @property
    def size_bytes(self) -> int:
        """Written and gathered."""
        return self.length_bytes + self._pending_bytes

    def append(self, batch: Batch, now_s: float) -> None:
        """Take a batch. *Blocking*: a write to the page cache. Raises OSError."""
        buffers = self._format.encode(batch)
        self.events += batch.count
        self.appended_s = now_s
        if self._format.direct:
            self._write(buffers)
            return
        self._pending += buffers
        self._pending_bytes += sum(len(buffer) for buffer in buffers)
        self._pending_events += batch.count
        if self._pending_bytes >= PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """End the piece that is being gathered: what is in the file then is all that was appended. Raises OSError."""
        if self._pending:
            pending, events = self._pending, self._pending_events
            self._pending, self._pending_bytes, self._pending_events = [], 0, 0
            self._write([self._format.piece(self._state.name, pending, events)])

    def _write(self, buffers: list[Buffer]) -> None:
        fd = self._descriptor()
        self.dirty = True
        self.length_bytes += disk.write_all(fd, buffers)
        ready = self.length_bytes - self._writeback_from
        if ready >= disk.WRITEBACK_BYTES:
            disk.start_writeback(fd, self._writeback_from, ready)
            self._writeback_from = self.length_bytes

    def state(self) -> FileState:
        """What to commit; nothing may be gathered (see `flush`)."""
        assert not self._pending, "a cut without a flush"
        return msgspec.structs.replace(self._state, length_bytes=self.length_bytes, events=self.events)

    def sync(self) -> None:
        """Make what was written durable. *Blocking*. Raises OSError."""
        if self._fd is not None:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _descriptor(self) -> int:
        assert self._fd is not None, f"{self._state.name} is closed"
        return self._fd

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd is None
