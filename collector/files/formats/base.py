"""What a file format is to the file sink."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from qanat.batch import Batch
from qanat.limits import MIB

# What a staged format encodes at a time: the memory that takes is a few times this, for one file at a time.
ROW_GROUP_BYTES = 16 * MIB

Buffer: TypeAlias = "bytes | memoryview"


class Format(abc.ABC):
    """A way to write events to a file that can be cut, and go on, behind any piece.

    No state: what a file holds follows from its committed bytes alone.
    """

    def __init__(self, name: str, compression: str, suffix: str) -> None:
        self.name = name
        self.compression = compression
        self.suffix = suffix

    @property
    def label(self) -> str:
        """Names the format in a token; `formats.from_label` finds it again."""
        return f"{self.name}/{self.compression}"

    @property
    def direct(self) -> bool:
        """Whether encoded buffers go to the file as they are, rather than gathered into pieces."""
        return True

    def shape(self, batch: Batch) -> str:
        """Batches of different shapes can't share a file."""
        return ""

    def header(self, name: str) -> bytes:
        """What the file of this final name begins with."""
        return b""

    @abc.abstractmethod
    def encode(self, batch: Batch) -> list[Buffer]:
        """The events of a batch."""

    def piece(self, name: str, buffers: Sequence[Buffer], events: int) -> bytes:
        """Gathered buffers as one piece of the file; only where not `direct`."""
        raise NotImplementedError


class StagedFormat(Format):
    """A format whose file can't be cut: batches wait in a staging file, and are encoded from there once committed."""

    @abc.abstractmethod
    def conversion(self, staging: Path, output: Path) -> Conversion:
        """Begin to make the final file `output` of a staging file."""


class Conversion(abc.ABC):
    """A final file in the making. *Thread*: one, the sink's sync thread. Raises OSError, CorruptError."""

    @abc.abstractmethod
    def advance(self, committed_bytes: int) -> None:
        """Encode what is worth it of the staging file's first `committed_bytes`. *Blocking*."""

    @abc.abstractmethod
    def finish(self, committed_bytes: int) -> None:
        """Encode the rest, and make the output complete and durable. *Blocking*."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """Close the files, and leave an incomplete output. Idempotent."""
