"""The state file: which files are being read, in their order, and what is to be done with those that are in storage."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agent import state_file

FILE_NAME = "spool.state"
_MAGIC = b"qanat-spool-1"


class FileState(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a file. `done`: it is in storage to its end; what is left is to complete it."""

    id: str
    path: str
    acked: int
    done: bool = False
    fault: str = ""  # of one that is done: why it is to be set aside


class State(msgspec.Struct, frozen=True):
    """The content of the state file. `read`: of a source that leaves files as they are, the paths of those that are done with."""

    files: list[FileState] = []
    read: list[str] = []


def load(directory: Path) -> State | None:
    """See `state_file.load`."""
    return state_file.load(directory / FILE_NAME, _MAGIC, State)


def save(directory: Path, state: State) -> None:
    """See `state_file.save`."""
    state_file.save(directory / FILE_NAME, _MAGIC, state)
