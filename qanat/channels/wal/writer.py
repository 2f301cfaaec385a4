"""The last segment of a log, which grows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from qanat.channels.wal.directory import Directory, WalFile
from qanat.channels.wal.record import Head
from qanat.channels.wal.segment import Segment, encode_head


class Writer:
    """`segment.size` is what is written; `synced`: of that, what survives a power cut."""

    def __init__(self, segment: Segment, file: WalFile) -> None:
        self.segment = segment
        self.file = file
        self.synced = segment.size
        self.boot = ""

    def append(self, parts: Sequence[bytes]) -> None:
        """All or, as far as anybody can see, nothing. Raises OSError."""
        try:
            self.file.append(parts)
        except OSError:
            with contextlib.suppress(
                OSError
            ):  # if it stays, it is a torn tail, and the next record goes over it
                self.file.truncate(self.segment.size)
            raise

    @property
    def is_synced(self) -> bool:
        """Nothing is left to sync."""
        return self.synced == self.segment.size


def create(directory: Directory, sequence: int, first: int, head: Head) -> Writer:
    """A new segment, durable. Raises OSError; what is there then has to be removed."""
    segment = Segment(sequence, first, first, 0)
    file = directory.create(segment.name)
    try:
        data = encode_head(head, first)
        file.append([data])
        file.sync()
        directory.sync()
    except OSError:
        file.close()
        raise
    segment.data_at = segment.size = len(data)
    writer = Writer(segment, file)
    writer.boot = head.boot
    return writer
