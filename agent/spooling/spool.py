"""Files that are read once, each to its end, one after the other; what is in storage is completed.

Theory of operation. A file is *found* once it has not changed for a while. It is then a stream, with an id that is durable before
anybody hears of it. Files are read in the order in which they were found, the oldest of those that are there first (or as `order`
says). At its end a stream is *finished*; when all of it is in storage, that the file is *done* is made durable, then it is
completed (renamed, deleted, noted), and then it is forgotten. Whatever happens between two of these steps, the next process
repeats the rest, to the same effect: a file is only completed when it is still the one that was read.

A file that changed after it was found, that can't be understood, or whose name was used before, is *set aside*, with an error
that says so; of what was read of it before, every event is stored.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from agent.spooling.completion import Completion
from agent.spooling.file import SpoolFile, Version
from agent.spooling.listing import Candidate, Directory, Paths, Stability, ordered, version_at
from agent.spooling.reading import ChangedError, Reading
from agent.spooling.registry import SET_ASIDE, Registry
from agent.tailing import names
from agent.tailing.watch import Watch
from qanat.batch import Batch, Payload, PayloadForm
from qanat.component import Context, StreamEvent, StreamFinished, StreamFound
from qanat.errors import ConfigError, PermanentError, RetryableError

_log = structlog.get_logger()

# Reported and not yet done with: enough that small files are not waited for one by one, and few enough that neither the state
# nor what collectors are told grows with a full directory.
AHEAD_FILES_MAX = 256

# Between attempts to save that a file was found.
_SAVE_RETRY_S = 1.0

# A directory is not listed more often than keeps the time for it below this share.
_SCAN_SHARE_MAX = 0.1

# Counted.
LOST = "files_lost"


class Spool:
    """What `spoolDir` and `text` share; its methods are those of a Source. `remembers`: files stay as they are, and are known by
    the state."""

    def __init__(
        self,
        context: Context,
        listing: Directory | Paths,
        completion: Completion,
        reading: Reading,
        attributes: Callable[[str], Mapping[str, str]],
        *,
        order: str,
        stable_s: float,
        poll_interval_s: float,
        remembers: bool,
    ) -> None:
        self._context = context
        self._clock = context.clock
        self._listing = listing
        self._completion = completion
        self._reading = reading
        self._order = order
        self._poll_interval_s = poll_interval_s
        self.files = Registry(context, completion, attributes, remembers=remembers)
        self._stability = Stability(context.clock, stable_s)
        self._waiting: deque[Candidate] = deque()  # stable, in order, and not taken for want of room
        self._refused: set[tuple[str, Version]] = set()  # set aside, or tried to
        self._news: list[StreamEvent] = []
        self._is_identified = False
        self._scan_at_s = self._retry_at_s = 0.0
        self._watch: Watch | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Raises ConfigError."""
        self._watch = Watch("auto")
        if self.files.restore():
            self._news += [StreamFound(file.id, file.acked) for file in self.files if not file.done]
            self._is_identified = True

    def recover(self, known: Mapping[str, int]) -> None:
        """See Source."""
        if self._is_identified:
            return
        self.files.know(known)
        self._is_identified = True
        self.wake()

    def close(self) -> None:
        """See Source."""
        self._reading.close()
        if self._watch is not None:
            if self.files.changed and self._is_identified:
                self.files.try_save()
            self._watch.close()
            self._watch = None

    def wake(self) -> None:
        """See Source."""
        watch = self._watch
        if watch is not None:
            watch.wake()

    # -- what is new --------------------------------------------------------------------------------------------------

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """See Source."""
        assert self._watch is not None, "poll() before open() or after close()"
        deadline_s = time.monotonic() + timeout_s  # real time, also under a manual clock: this really waits
        while True:
            left_s = deadline_s - time.monotonic()
            is_busy = bool(self._news) or self._next() is not None
            changes = self._watch.wait(0.0 if is_busy else max(0.0, min(left_s, self._pause_s())))
            if changes.paths or changes.rescan:
                self._scan_at_s = min(self._scan_at_s, self._retry_at_s)
            if self._is_identified and self._clock.monotonic_s() >= self._scan_at_s:
                self._scan()
            if self._news or self._next() is not None or changes.woken or left_s <= 0:
                return self._take_news()

    def _pause_s(self) -> float:
        return max(0.001, min(self._scan_at_s - self._clock.monotonic_s(), self._poll_interval_s))

    def _take_news(self) -> list[StreamEvent]:
        """New streams are durable before they are told, so that a crash can't give a file another id."""
        if self.files.appeared and not self.files.try_save():
            assert self._watch is not None
            self._watch.wait(_SAVE_RETRY_S)
            return []
        news, self._news = self._news, []
        for event in news:
            file = self.files.get(event.stream)
            if file is not None and isinstance(event, StreamFinished):
                file.told = True
                self.files.settle(file)
        return news

    def _scan(self) -> None:
        """Look at what is there: what is new, and whether what is known is still what it was."""
        began_s = time.perf_counter()
        try:
            candidates = list(self._listing.scan())
        except OSError as error:
            self.files.complain(self._listing.directories[0], error)
            candidates = []
        else:
            self._look_after(candidates)
            self._find(candidates)
        if self._watch is not None:
            self._watch.keep(self._listing.directories)
        for file in self.files:
            file.stalled = False
        if self.files.has_done:
            self._try_save_and_complete()
        took_s = time.perf_counter() - began_s
        now_s = self._clock.monotonic_s()
        # Without inotify, or while files are being written, this often; changes are looked at earlier.
        self._retry_at_s = now_s + took_s / _SCAN_SHARE_MAX
        self._scan_at_s = now_s + max(self._poll_interval_s, took_s / _SCAN_SHARE_MAX)

    def _look_after(self, candidates: Sequence[Candidate]) -> None:
        there = {candidate.path: candidate.version for candidate in candidates}
        for file in list(self.files):
            if file.gone or file.done:
                continue
            try:
                now = there.get(file.path) or version_at(file.path)
            except OSError as error:
                self.files.complain(file.path, error)
                continue
            if now is None:
                self._lose(
                    file, "it was removed before it was read to its end, or before that was in storage"
                )
            elif not self._reading.is_same(file.version, now):
                self._lose(file, _changed(file.version, now), fault=True)

    def _find(self, candidates: Sequence[Candidate]) -> None:
        new = [each for each in candidates if self._is_new(each)]
        stable = ordered(self._stability.stable(new), self._order)
        # Those of an earlier process first, in the order in which that one found them.
        stable.sort(key=lambda each: self.files.rank(each.version))
        self._waiting = deque(stable)
        self._fill_up(is_fresh=True)

    def _fill_up(self, *, is_fresh: bool) -> None:
        """Take those that wait for their turn, while there is room. `is_fresh`: they were looked at just now."""
        while self._waiting and len(self.files) < AHEAD_FILES_MAX:
            candidate = self._waiting.popleft()
            try:
                if not is_fresh and version_at(candidate.path) != candidate.version:
                    continue  # the next scan will tell
                is_reused = self._completion.is_reused(candidate.path)
            except OSError as error:
                self.files.complain(candidate.path, error)
                continue
            if is_reused:
                self._refuse(candidate)
            elif not self.files.is_known(candidate.path):
                self._add(candidate)

    def _is_new(self, candidate: Candidate) -> bool:
        if (candidate.path, candidate.version) in self._refused or self.files.is_known(candidate.path):
            return False
        try:
            return not self._completion.is_over(candidate.path, candidate.version)
        except OSError as error:
            self.files.complain(candidate.path, error)
            return False

    def _add(self, candidate: Candidate) -> None:
        file = self.files.add(candidate.path, candidate.version)
        self._news.append(StreamFound(file.id, file.acked))
        _log.info("file_found", stream=file.id, path=names.display(file.path), size_bytes=file.version.size)

    def _refuse(self, candidate: Candidate) -> None:
        """A name that was used before: whether it is the same data nobody can say but a person."""
        self._refused.add((candidate.path, candidate.version))
        why = "its name was used before, by a file that is in storage; give every file a name of its own"
        self._context.count(SET_ASIDE, 1)
        try:
            where = self._completion.set_aside(candidate.path, why)
        except OSError as error:
            where = f"{names.display(candidate.path)} (could not be set aside: {error})"
        _log.error("file_set_aside", path=names.display(candidate.path), now_at=where, why=why)

    # -- reading ------------------------------------------------------------------------------------------------------

    def seek(self, stream: str, position: int) -> None:
        """See Source."""
        file = self.files.get(stream)
        if file is None:
            self._context.count("seeks_unknown", 1)
            _log.warning("seek_unknown_stream", stream=stream, position=position)
            return
        file.cursor = position
        if file.gone and file.end is None:
            self._finish(file)

    def read(self, max_bytes: int) -> Batch | None:
        """See Source."""
        while (file := self._next()) is not None:
            assert file.cursor is not None
            if file.gone:
                return self._gap(file)
            start = file.cursor
            try:
                piece = self._reading.read(file, max_bytes)
            except ChangedError as error:
                self._lose(file, str(error), fault=True)
                continue
            except PermanentError as error:
                self._fail(file, str(error))
                continue
            except OSError as error:
                self.files.complain(file.path, error)
                file.stalled = True
                continue
            if piece is None:
                self._finish(file)
                continue
            file.cursor = piece.end
            return self._batch(file, start, piece.payload, piece.count)
        return None

    def _next(self) -> SpoolFile | None:
        """The file whose turn it is; None while it can't be read yet."""
        for file in self.files:
            if file.cursor is None:
                return None
            if not file.is_read and not file.stalled:
                return file
        return None

    def _batch(self, file: SpoolFile, start: int, payload: Payload, count: int) -> Batch:
        assert file.cursor is not None
        return Batch(
            stream=file.id,
            start=start,
            end=file.cursor,
            count=count,
            form=PayloadForm.LINES if isinstance(payload, bytes) else PayloadForm.COLUMNS,
            payload=payload,
            timestamp_ns=self._clock.wall_ns(),
            attributes=file.attributes,
        )

    def _gap(self, file: SpoolFile) -> Batch:
        """What was read, not stored, and is not there any more: positions go on, the loss is counted."""
        assert file.cursor is not None
        assert file.end is not None
        start, file.cursor = file.cursor, file.end
        self._context.count("positions_lost", file.end - start)
        return self._batch(file, start, b"", 0)

    # -- how files end ------------------------------------------------------------------------------------------------

    def _finish(self, file: SpoolFile) -> None:
        assert file.cursor is not None
        self._reading.forget(file)
        if file.end is None:
            _log.info("file_read", stream=file.id, path=names.display(file.path), end=file.cursor)
        file.end = file.cursor
        self._news.append(StreamFinished(file.id, file.end))

    def _fail(self, file: SpoolFile, why: str) -> None:
        """Its content can't be read on: what was read of it is stored, and people are told."""
        file.fault = f"{why}; what is before position {file.cursor} is stored"
        self.files.changed = True
        self._finish(file)

    def _lose(self, file: SpoolFile, why: str, *, fault: bool = False) -> None:
        """The content of a file is not what it was. `fault`: there is something to be set aside."""
        self._reading.forget(file)
        if not fault:
            self.files.part(file)
        file.gone = True
        self.files.changed = True
        if file.end is not None and file.acked >= file.end:  # in storage: only its completion is missing
            self.files.settle(file)
            return
        self._context.count(LOST, 1)
        at = file.cursor
        stored = "nothing of it is" if at is None else f"what was read of it, up to position {at}, is"
        _log.error(
            "file_changed" if fault else "file_lost",
            stream=file.id,
            path=names.display(file.path),
            why=why,
            consequence=f"{stored} stored; a file must not change once it is here, nor be read by two sources",
        )
        if fault:
            file.fault = why
        if file.cursor is not None and file.end is None:
            self._finish(file)

    # -- what is in storage -------------------------------------------------------------------------------------------

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """See Source."""
        for name, position in positions.items():
            file = self.files.get(name)
            if file is not None:
                if position > file.acked:
                    file.acked = position
                    self.files.changed = True
                self.files.settle(file)

    def save(self) -> None:
        """See Source."""
        if not self._is_identified:
            return
        try:
            if self.files.changed:
                self.files.save()
        except OSError as error:
            raise RetryableError(
                f"The state of files in {self._context.state_dir} can't be saved: {error}. Free space there."
            ) from error
        self._complete()

    def _try_save_and_complete(self) -> None:
        if not self.files.changed or self.files.try_save():
            self._complete()

    def _complete(self) -> None:
        if self.files.complete():
            self._fill_up(is_fresh=False)
            self._scan_at_s = min(self._scan_at_s, self._retry_at_s)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def lag_bytes(self) -> int:
        """See Source."""
        return sum(file.unread_bytes for file in self.files if not file.gone)


def _changed(was: Version, now: Version) -> str:
    if now.ino != was.ino:
        return "another file took its name before it was read to its end, or before that was in storage"
    return f"it was changed since it was found: it had {was.size} bytes and has {now.size}"


def check_directory(directory: str, *, writable: bool, what: str) -> None:
    """Raises ConfigError unless it is there, and can be used."""
    if not os.path.isdir(directory):
        raise ConfigError(f'{what}: there is no directory "{directory}" on this host. Create it.')
    mode = os.R_OK | os.X_OK | (os.W_OK if writable else 0)
    if not os.access(directory, mode):
        do = "read and written" if writable else "read"
        raise ConfigError(
            f'{what}: the directory "{directory}" can\'t be {do} by this user (uid {os.getuid()}). Change its permissions.'
        )
