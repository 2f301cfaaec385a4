"""The files that are known: in the order of reading, those that are done, and how all of that survives the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import structlog

from agent.spooling import state as state_file
from agent.spooling.completion import Completion
from agent.spooling.file import FileId, SpoolFile, Version
from agent.tailing import names
from qanat.component import Context
from qanat.errors import CorruptError

_log = structlog.get_logger()

# Those that a source which leaves files as they are remembers to have read: a flow names a handful of them.
READ_FILES_MAX = 4096

# Counted.
SET_ASIDE, STATE_LOST = "files_set_aside", "state_lost"


class Registry:
    """`remembers`: files stay as they are, and are known by the state. `changed`: it should be saved; `appeared`: it must be,
    before anybody hears of new files."""

    def __init__(
        self,
        context: Context,
        completion: Completion,
        attributes: Callable[[str], Mapping[str, str]],
        *,
        remembers: bool,
    ) -> None:
        self._context = context
        self._completion = completion
        self._attributes = attributes
        self._remembers = remembers
        self._files: dict[str, SpoolFile] = {}  # by id, in the order of reading
        self._by_path: dict[str, SpoolFile] = {}
        self._done: list[SpoolFile] = []  # not completed yet
        self._read: dict[str, None] = {}  # paths that are done with, if they are remembered
        self._known: dict[Version, tuple[FileId, int]] = {}  # downstream, when the state was lost
        self._complained: set[str] = set()
        self._nonce_max = 0
        self.changed = self.appeared = False

    def __iter__(self) -> Iterator[SpoolFile]:
        return iter(self._files.values())

    def __len__(self) -> int:
        return len(self._files)

    def get(self, stream: str) -> SpoolFile | None:
        """By the id of its stream."""
        return self._files.get(stream)

    def is_known(self, path: str) -> bool:
        """Whether there is a file of this path, or was one that is remembered."""
        return path in self._by_path or path in self._read

    def is_read(self, path: str) -> bool:
        """Whether a file of this path was read, is in storage, and is remembered so."""
        return path in self._read

    @property
    def has_done(self) -> bool:
        """Whether there are files to complete."""
        return bool(self._done)

    # -- coming -------------------------------------------------------------------------------------------------------

    def know(self, known: Mapping[str, int]) -> None:
        """Without a state: files are recognised by what collectors have of them."""
        for text, position in known.items():
            identity = FileId.parse(text)
            if identity is not None:
                self._nonce_max = max(self._nonce_max, identity.nonce)
                before = self._known.get(identity.version)
                if before is None or before[0].nonce < identity.nonce:
                    self._known[identity.version] = (identity, position)
        self.changed = True

    def rank(self, version: Version) -> int:
        """When an earlier process found it; what is new comes after that."""
        return self._known[version][0].nonce if version in self._known else 1 << 64

    def add(self, path: str, version: Version) -> SpoolFile:
        """A file that was not known to this process."""
        known = self._known.pop(version, None)
        if known is None:
            self._nonce_max = max(self._nonce_max + 1, self._context.clock.wall_ns())
            known = FileId(version, self._nonce_max), 0
        file = SpoolFile(str(known[0]), path, version, self._attributes(path), known[1])
        self._insert(file)
        self.appeared = self.changed = True
        return file

    # -- going --------------------------------------------------------------------------------------------------------

    def part(self, file: SpoolFile) -> None:
        """Another file may be at its path."""
        if self._by_path.get(file.path) is file:
            del self._by_path[file.path]

    def settle(self, file: SpoolFile) -> None:
        """It was told, or acked: it may be done."""
        if file.told and not file.done and file.end is not None and file.acked >= file.end:
            file.done = True
            self.changed = True
            self._done.append(file)

    def complete(self) -> int:
        """Of files whose end is durable; says how many. What fails is tried again with the next scan. *Blocking*."""
        completed = []
        for file in self._done:
            try:
                self._completion.finish(file)
            except OSError as error:
                self.complain(file.path, error)
                continue
            completed.append(file)
        try:
            self._completion.sync([file.path for file in completed])
        except OSError as error:
            self.complain("directories of files that are done", error)
            return 0  # they are completed, and once more after a crash
        for file in completed:
            self._forget(file)
        return len(completed)

    def _forget(self, file: SpoolFile) -> None:
        self._done.remove(file)
        if file.fault:
            self._context.count(SET_ASIDE, 1)
        del self._files[file.id]
        self.part(file)
        if self._remembers:
            self._read.pop(file.path, None)
            self._read[file.path] = None
            while len(self._read) > READ_FILES_MAX:
                del self._read[next(iter(self._read))]
        self.changed = True

    def _insert(self, file: SpoolFile) -> None:
        self._files[file.id] = self._by_path[file.path] = file

    # -- state --------------------------------------------------------------------------------------------------------

    def restore(self) -> bool:
        """Load the state; False when there is none."""
        try:
            state = state_file.load(self._context.state_dir)
        except CorruptError as error:
            self._context.count(STATE_LOST, 1)
            _log.warning(
                "spool_state_corrupt", error=str(error), consequence="files are recognised by the collector"
            )
            return False
        if state is None:
            return False
        self._read = dict.fromkeys(map(names.decode, state.read))
        for saved in state.files:
            identity = FileId.parse(saved.id)
            if identity is not None:
                self._nonce_max = max(self._nonce_max, identity.nonce)
                self._restore(saved, identity.version)
        return True

    def _restore(self, saved: state_file.FileState, version: Version) -> None:
        path = names.decode(saved.path)
        file = SpoolFile(saved.id, path, version, self._attributes(path), saved.acked)
        self._insert(file)
        if saved.done:
            file.done, file.fault = True, saved.fault
            file.cursor = file.end = saved.acked
            self._done.append(file)

    def try_save(self) -> bool:
        """False, with a line in the log, when that fails. *Blocking*."""
        try:
            self.save()
        except OSError as error:
            _log.error(
                "spool_state_not_saved",
                directory=str(self._context.state_dir),
                error=str(error),
                consequence="new files are not read before it can be",
            )
            return False
        return True

    def save(self) -> None:
        """Make it durable. *Blocking*. Raises OSError."""
        files = [
            state_file.FileState(file.id, names.encode(file.path), file.acked, file.done, file.fault)
            for file in self
        ]
        read = list(map(names.encode, self._read))
        state_file.save(self._context.state_dir, state_file.State(files, read))
        self.changed = self.appeared = False

    def complain(self, path: str, error: object) -> None:
        """Warn once of a path; it is tried again."""
        if path not in self._complained:
            self._complained.add(path)
            _log.warning("spool_path_skipped", path=names.display(path), why=str(error))
