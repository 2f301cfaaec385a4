"""The open files of a sink: appending, rolling, and the cut through all of them that a commit makes durable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from collector.files import names
from collector.files import token as tokens
from collector.files.buckets import Bucket
from collector.files.formats import Format, StagedFormat
from collector.files.layout import Layout
from collector.files.opened import OpenFile
from collector.files.rolling import Rolling
from collector.files.token import FileState, Token
from qanat.batch import Batch
from qanat.clock import Clock
from qanat.durable import sync_directory


@dataclass(slots=True)
class Cut:
    """What a commit covers. *Thread*: `sync` runs on the sync thread, while files grow behind the cut."""

    layout: Layout
    written: list[OpenFile]
    finished: list[OpenFile]
    names_changed: bool
    is_durable: bool = False

    def sync(self) -> None:
        """Make everything up to the cut durable, and close what is finished. *Blocking*. Raises OSError."""
        for file in self.written:
            file.sync()
        if self.names_changed:
            sync_directory(self.layout.work)
        for file in self.finished:
            file.close()
        self.is_durable = True


class Writer:
    """Files by bucket, least recently written first. *Thread*: the sink's."""

    def __init__(
        self,
        layout: Layout,
        format_: Format,
        suffix: str,
        rolling: Rolling,
        open_files_max: int,
        clock: Clock,
    ) -> None:
        self._layout = layout
        self._format = format_
        self._suffix = suffix
        self._rolling = rolling
        self._open_files_max = open_files_max
        self._clock = clock
        self._open: OrderedDict[tuple[str, str, str], OpenFile] = OrderedDict()
        self._finished: list[OpenFile] = []  # since the last cut
        self._unpublished: dict[str, FileState] = {}  # finished in earlier cuts
        self._cut = Cut(layout, [], [], names_changed=False, is_durable=True)  # the last one
        self._names_changed = False
        # For formats with shapes: the file that holds the last events of a stream, by bucket; see `_keep_order`.
        self._last: dict[tuple[str, str], dict[str, int]] = {}
        self._sequence = 0
        self._opened_ms = 0

    def restore(self, token: Token) -> None:
        """Go on from a token whose files recovery has put right. Raises OSError."""
        self.close()
        self._sequence, self._opened_ms = token.sequence, token.opened_ms
        self._unpublished = {file.name: file for file in token.finished}
        now_s, wall_ns = self._clock.monotonic_s(), self._clock.wall_ns()
        for state in token.open:
            if not self._can_resume(state):
                self._unpublished[state.name] = state
                continue
            age_s = max(0, wall_ns - state.opened_ns) / 1e9
            self._open[state.bucket] = OpenFile.resume(
                self._layout, state, self._format, opened_s=now_s - age_s, now_s=now_s
            )

    def append(self, bucket: Bucket, batch: Batch) -> None:
        """Append a batch to its bucket's file. Raises OSError."""
        if not batch.count:
            return
        key = (bucket.directory, bucket.prefix, self._format.shape(batch))
        self._keep_order(key, batch.stream)
        for part in self._rolling.parts(batch, self._open.get(key)):
            self._append_part(key, part)

    def _append_part(self, key: tuple[str, str, str], batch: Batch) -> None:
        file = self._open.get(key)
        if file is None:
            file = self._create(key)
        if isinstance(self._format, StagedFormat):
            self._last.setdefault(key[:2], {})[batch.stream] = file.sequence
        self._open.move_to_end(key)
        file.append(batch, self._clock.monotonic_s())
        if self._rolling.is_full(file):
            self._finish(file)

    def cut(self, *, finish_all: bool) -> tuple[Token, Cut]:
        """Everything appended so far, as a token and what makes it durable. Raises OSError."""
        now_s = self._clock.monotonic_s()
        for file in list(self._open.values()):
            if finish_all or self._rolling.is_over(file, now_s):
                self._finish(file)
            else:
                file.flush()
        cut = self._new_cut()
        for file in self._finished:
            self._unpublished[file.state().name] = file.state()
        token = Token(
            version=tokens.VERSION,
            root=str(self._layout.root),
            sequence=self._sequence,
            opened_ms=self._opened_ms,
            open=_in_order(file.state() for file in self._open.values()),
            finished=_in_order(self._unpublished.values()),
        )
        self._cut = cut
        self._finished, self._names_changed = [], False
        return token, cut

    def forget(self, published: Iterable[str]) -> None:
        """These files have their final names: the next token needn't mention them."""
        for name in published:
            self._unpublished.pop(name, None)

    def close(self) -> None:
        """Close every file, whatever is in it. Idempotent."""
        for file in [*self._open.values(), *self._finished, *self._cut.finished]:
            file.close()
        self._open.clear()
        self._last.clear()
        self._unpublished.clear()
        self._cut = Cut(self._layout, [], [], names_changed=False, is_durable=True)
        self._finished, self._names_changed = [], False

    def _can_resume(self, state: FileState) -> bool:
        """Not if the configuration changed (what was written goes out as it is), and not where files of different
        shapes grow side by side: which of them holds the last events of a stream isn't in the token."""
        same = state.format == self._format.label and state.name.endswith(self._suffix)
        return same and not isinstance(self._format, StagedFormat)

    def _keep_order(self, key: tuple[str, str, str], stream: str) -> None:
        """A stream whose shape changes must not go on in an older file than its last events are in."""
        file = self._open.get(key)
        if file is not None and self._last.get(key[:2], {}).get(stream, 0) > file.sequence:
            self._finish(file)

    def _new_cut(self) -> Cut:
        """With what the last one left undone, should its sync never have run: nobody syncs where nothing is new."""
        last = None if self._cut.is_durable else self._cut
        files = [*self._open.values(), *self._finished]
        undone = [] if last is None else last.written
        written = list(dict.fromkeys([*undone, *(file for file in files if file.dirty)]))
        for file in files:
            file.dirty = False
        return Cut(
            layout=self._layout,
            written=[file for file in written if not file.is_closed],
            finished=[*([] if last is None else last.finished), *self._finished],
            names_changed=self._names_changed or (last is not None and last.names_changed),
        )

    def _create(self, key: tuple[str, str, str]) -> OpenFile:
        while len(self._open) >= self._open_files_max:
            self._finish(next(iter(self._open.values())))
        wall_ns = self._clock.wall_ns()
        self._sequence += 1
        self._opened_ms = max(
            self._opened_ms, wall_ns // 1_000_000
        )  # names keep their order when the clock steps back
        directory, prefix, shape = key
        state = FileState(
            sequence=self._sequence,
            directory=directory,
            prefix=prefix,
            name=names.final_name(prefix, self._layout.sink, self._opened_ms, self._sequence, self._suffix),
            shape=shape,
            format=self._format.label,
            length_bytes=0,
            events=0,
            opened_ns=wall_ns,
        )
        self._names_changed = True
        file = OpenFile.create(self._layout, state, self._format, self._clock.monotonic_s())
        self._open[key] = file
        return file

    def _finish(self, file: OpenFile) -> None:
        file.flush()
        del self._open[file.bucket]
        directory, prefix, _ = file.bucket
        if self._last and not any(key[:2] == (directory, prefix) for key in self._open):
            self._last.pop((directory, prefix), None)  # its next file is younger than any
        self._finished.append(file)
        # A finished file stays open until it is synced. More than a few (a bucket for every event, say) are synced
        # here, so that the process does not run out of descriptors.
        if len(self._finished) > self._open_files_max and not file.is_closed:
            file.sync()
            file.close()
            file.dirty = False


def _in_order(files: Iterable[FileState]) -> tuple[FileState, ...]:
    return tuple(sorted(files, key=lambda file: file.sequence))
