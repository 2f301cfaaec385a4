"""`tail("path or glob", ...)`: files as streams of lines, followed through rotation, truncation and restarts.

Guarantee: every line of every file is read, in order, and can be read again until it is acknowledged; a file's
predecessor at the same path is read first, up to where it had grown when it was quiet. Only what is gone before it
could be read is lost (truncation, a rotated file compressed or deleted while the agent was down), and it is counted.

    web : tail("/var/log/nginx/*.log", "/var/log/syslog", start="end") | agentE2EChain("collector1") ;
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import msgspec
import structlog

from agent.faults import refuse, wrong_event_bytes
from agent.joining.config import TIMEOUT_S, Format, Multiline, joiner_for, wrong_multiline
from agent.joining.delimiter import LINE_END, DelimMode, multiline_of, wrong_delim
from agent.tailing import state as state_file
from agent.tailing.copies import Copies
from agent.tailing.dead_letters import DeadLetters
from agent.tailing.discovery import Discovery
from agent.tailing.endings import Endings
from agent.tailing.first_look import FirstLook
from agent.tailing.follower import Follower
from agent.tailing.handles import Handles, Listings
from agent.tailing.identity import Known
from agent.tailing.late import Late
from agent.tailing.missed import Missed
from agent.tailing.newcomers import Newcomers
from agent.tailing.reader import ContentChangedError, Reader, VanishedError
from agent.tailing.recovery import Recovery
from agent.tailing.registry import Registry
from agent.tailing.saver import Saver
from agent.tailing.situation import Situation
from agent.tailing.stream import Stream
from agent.tailing.tombs import Tombs
from agent.tailing.tracker import Tracker
from agent.tailing.watch import Watch
from qanat import limits
from qanat.batch import Batch
from qanat.component import Context, Source, StreamEvent, StreamFinished, Wrong
from qanat.config import Bytes, Seconds
from qanat.errors import CorruptError, RetryableError
from qanat.limits import Oversize

_log = structlog.get_logger()


# What rotation makes of logs, which nobody wants as lines.
PACKED = ("*.gz", "*.bz2", "*.xz", "*.zst", "*.lz4", "*.Z")


class TailOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every source accepts that follows files."""

    start: Literal["beginning", "end"] = (
        "beginning"  # of files that exist when the agent starts for the first time
    )
    oversize: Literal["split", "truncate", "dead-letter"] = (
        "split"  # what happens to a line above event_bytes
    )
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    rotate_wait: Seconds = 5.0  # a rotated file is over when it has not grown for so long
    watch: Literal["auto", "inotify", "poll"] = "auto"
    poll_interval: Seconds = 1.0  # how often files are looked at without inotify
    rescan: Seconds = 10.0  # how often everything is looked at with inotify, which doesn't see remote changes
    exclude: list[str] = msgspec.field(default_factory=lambda: list(PACKED))
    open_files: int = 512  # kept open; half of the usual limit of 1024 a process
    dead_letter_quota: Bytes = limits.GIB
    multiline: Multiline | None = None  # which lines are one event: multiline(start="^\\d{4}-", timeout=5s)
    format: Format = "lines"  # cri, docker: as containers' runtimes write them; parts of a line are joined
    delim: str = LINE_END  # of Flume OG: a regular expression between events, a line end and what the next line begins with
    delim_mode: DelimMode = msgspec.field(
        default="exclude", name="delimMode"
    )  # whether that begins the next event (next), or is dropped


class TailConfig(TailOptions, frozen=True, forbid_unknown_fields=True):
    """What `tail(...)` accepts."""

    paths: list[
        str | bool
    ]  # paths and globs: `*`, `?`, `[...]`, `**` for any directories; true: startFromEnd
    start_from_end: bool = msgspec.field(
        default=False, name="startFromEnd"
    )  # Flume OG's word for start="end"


def wrong_options(config: TailOptions) -> Iterable[Wrong]:
    """Of every source that follows files."""
    yield from wrong_event_bytes(config.event_bytes)
    if config.open_files < 1:
        yield Wrong("open_files", f"{config.open_files} must be at least 1")
    for argument in ("poll_interval", "rescan"):
        if getattr(config, argument) <= 0:
            yield Wrong(argument, "it must be more than 0")
    if config.multiline is not None and (config.delim, config.delim_mode) != (LINE_END, "exclude"):
        yield Wrong("delim", "it says the same as multiline= in two ways; leave one of them out")
    yield from wrong_delim(config.delim, config.delim_mode)
    yield from wrong_multiline(config.multiline)


class Tail(Source):
    """Reads files. A stream is one incarnation of a file, a position a byte offset in it."""

    name: ClassVar[str] = "tail"
    Config: ClassVar[type[msgspec.Struct]] = TailConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config: TailOptions = config
        self._clock = context.clock
        self._situation = situation = Situation(context.clock)
        listings, tombs = Listings(), Tombs()
        self._handles = handles = Handles(config.open_files, listings)
        self._registry = registry = Registry(handles)
        discovery = self.discovery()
        self._newcomers = newcomers = Newcomers(
            context, registry, handles, listings, situation, self.attributes
        )
        copies = Copies(registry, handles, listings, situation, tombs)
        self._endings = endings = Endings(context, registry, handles, situation, copies, tombs)
        missed = Missed(
            discovery, registry, handles, listings, situation, newcomers, copies, endings, tombs,
            context.clock,
        )  # fmt: skip
        late = Late(context, registry, listings, situation, newcomers, tombs)
        self._tracker = Tracker(
            context, registry, handles, listings, situation, newcomers, missed, copies, endings, late,
            config.rotate_wait,
        )  # fmt: skip
        self._recovery = Recovery(
            self._tracker, registry, handles, listings, situation, newcomers, missed, endings, tombs, discovery,
            context.clock,
        )  # fmt: skip
        self._first_look = FirstLook(
            discovery, situation, newcomers, self._recovery, context.clock, from_end=self.is_from_end()
        )
        self._follower = Follower(
            discovery, registry, situation, self._tracker, late, context.clock,
            rescan_s=config.rescan, poll_interval_s=config.poll_interval, rotate_wait_s=config.rotate_wait,
        )  # fmt: skip
        self._saver = Saver(context.state_dir, registry, situation, tombs, context.clock)
        dead = DeadLetters(context, config.dead_letter_quota)
        self._reader = self._make_reader(config, dead)
        self._watch: Watch | None = None
        self._identified = False

    @classmethod
    def check(cls, config: Any) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_options(config)
        paths = [path for path in config.paths if isinstance(path, str)]
        if not paths or not all(paths) or any(isinstance(path, bool) for path in config.paths[:-1]):
            yield Wrong(
                "paths", 'give at least one path or glob, and none that is empty: tail("/var/log/syslog")'
            )

    # -- what differs between the sources that follow files -----------------------------------------------------------

    def discovery(self) -> Discovery:
        """Which files."""
        config = self._config
        assert isinstance(config, TailConfig)
        return Discovery([path for path in config.paths if isinstance(path, str)], config.exclude)

    def attributes(self, path: str) -> Mapping[str, str]:
        """What the events of a file have beside its name."""
        return {}

    def is_from_end(self) -> bool:
        """Whether files that exist at the first start are read from their ends."""
        config = self._config
        assert isinstance(config, TailConfig)
        return config.start == "end" or config.start_from_end or True in config.paths

    def _make_reader(self, config: TailOptions, dead: DeadLetters) -> Reader:
        policy, event_bytes = Oversize(config.oversize), config.event_bytes
        multiline = multiline_of(self.name, config.delim, config.delim_mode) or config.multiline
        joiner = joiner_for(multiline, config.format, self.context.count)
        if joiner is None:
            return Reader(self._handles, self.context, policy, event_bytes, dead)
        from agent.joining.reader import JoiningReader

        timeout_s = TIMEOUT_S if multiline is None else multiline.timeout
        return JoiningReader(
            self._handles, self.context, policy, event_bytes, dead,
            self._registry, joiner, timeout_s, self._saver.try_save,
        )  # fmt: skip

    # -- life ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Load state and look at the files. Raises ConfigError."""
        refuse(self.name, self.check(self._config))
        self._watch = Watch(self._config.watch)
        try:
            state = state_file.load(self.context.state_dir)
        except CorruptError as error:
            self.context.count("state_lost", 1)
            _log.warning(
                "tail_state_corrupt", error=str(error), consequence="files are recognised by the collector"
            )
            state = None
        if state is not None:
            self._recovery.restore(state)
            self._follower.scan(self._watch)
            self._recovery.finish_restore()
            self._identified = True
        else:
            self._first_look.look()

    def recover(self, known: Mapping[str, int]) -> None:
        """Without local state, files are identified now: as known streams, or as new ones."""
        if self._identified:
            return
        assert self._watch is not None, "recover() before open() or after close()"
        self._tracker.known = Known(known)
        self._reader.has_lost_state = True
        self._newcomers.nonce_max = self._tracker.known.nonce_max
        self._tracker.sizes_at_open = self._first_look.starts()
        self._first_look.find_rotated()
        self._identified = True
        self._follower.scan(self._watch)
        beside = [*self._follower.paths, *self._situation.links]
        self._recovery.find_known_siblings(list({os.path.dirname(path) for path in beside}))
        self._tracker.known = None
        self._tracker.sizes_at_open = {}
        self._situation.changed = True
        self.wake()

    def knows_its_streams(self) -> bool:
        return self._identified

    def close(self) -> None:
        """Save state, close files. Idempotent."""
        if self._watch is not None:
            if self._identified and self._situation.changed:
                self._saver.try_save()
            self._watch.close()
            self._watch = None
        self._handles.close()

    def save(self) -> None:
        """Make positions and forgotten streams durable. Raises RetryableError."""
        if not (self._identified and self._situation.changed):
            return
        try:
            self._saver.save()
        except OSError as error:
            raise RetryableError(
                f"The state of tail() can't be saved in {self.context.state_dir}: {error}. Free space there."
            ) from error

    def wake(self) -> None:
        """End a waiting `poll`. *Thread*: any."""
        watch = self._watch
        if watch is not None:
            watch.wake()

    # -- what is new --------------------------------------------------------------------------------------------------

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """News of streams; see Source.poll."""
        assert self._watch is not None, "poll() before open() or after close()"
        deadline_s = time.monotonic() + timeout_s  # real time, also under a manual clock: this really waits
        while True:
            left_s = deadline_s - time.monotonic()
            busy = bool(self._can_tell or self._registry.ready or self._situation.recheck)
            changes = self._watch.wait(0.0 if busy else min(left_s, self._pause_s()))
            if self._identified:
                self._follower.follow(self._watch, changes)
                self._reader.release()
                if self._situation.changed and self._saver.is_due:
                    self._saver.try_save()
            if self._can_tell or self._registry.ready or changes.woken or left_s <= 0:
                return self._take_news()

    @property
    def _can_tell(self) -> bool:
        """Whether there is news, and not of streams that could not be saved a moment ago."""
        return bool(self._situation.news) and (
            not self._situation.appeared or not self._saver.failed or self._saver.is_due
        )

    def _pause_s(self) -> float:
        """Until the next thing to do by time."""
        if not self._identified:
            return self._config.rescan
        due_s = min(self._follower.due_s, self._reader.due_s)
        if self._situation.changed:
            due_s = min(due_s, self._saver.due_s)
        # A manual clock doesn't move while this waits: look again now and then.
        return min(max(due_s - self._clock.monotonic_s(), 0.001), self._config.rescan)

    def _take_news(self) -> list[StreamEvent]:
        """News to report; new streams are durable first, so that a crash can't give a file another id."""
        if not self._can_tell or (self._situation.appeared and not self._saver.try_save()):
            return []
        news, self._situation.news = self._situation.news, []
        self._newcomers.sum_up()
        for event in news:
            stream = self._registry.get(event.stream)
            if stream is not None and isinstance(event, StreamFinished):
                stream.told = True
                self._forget_if_done(stream)
        return news

    # -- reading ------------------------------------------------------------------------------------------------------

    def seek(self, stream: str, position: int) -> None:
        """Read `stream` from `position` next."""
        found = self._registry.get(stream)
        if found is None:
            self.context.count("seeks_unknown", 1)
            _log.warning("seek_unknown_stream", stream=stream, position=position)
            return
        for _attempt in range(2):  # a file that turns out to be cut or gone has an end, where seeking works
            try:
                self._seek(found, position)
                break
            except (VanishedError, ContentChangedError) as error:
                self._trouble(found, error)
            except OSError as error:
                found.place(position, b"")
                self._stall(found, error)
                break
        self._registry.ready.pop(found, None)
        self._registry.enqueue(found)
        self._endings.reached(found)

    def _seek(self, stream: Stream, position: int) -> None:
        if stream.end is None and position > stream.size:
            self._tracker.overtaken(stream, position)
        limit = stream.size if stream.end is None else stream.end
        if position > limit:
            self.context.count("seeks_clamped", 1)
            _log.warning("seek_beyond_end", stream=stream.id, position=position, size_bytes=limit)
            position = limit
        tail = b"" if stream.gone else self._reader.tail_before(stream, position)
        stream.place(position, tail)

    def read(self, max_bytes: int) -> Batch | None:
        """The next batch of the stream whose turn it is."""
        ready = self._registry.ready
        for _turn in range(len(ready)):
            stream = next(iter(ready), None)
            if stream is None:
                return None
            del ready[stream]
            if stream.blocked or not stream.has_data:
                continue
            batch = self._read(stream, max_bytes)
            self._registry.enqueue(stream)
            self._endings.reached(stream)
            if batch is not None:
                self._situation.changed = True  # the mark moved
                return batch
        return None

    def _read(self, stream: Stream, max_bytes: int) -> Batch | None:
        try:
            return self._reader.read(stream, max_bytes)
        except (VanishedError, ContentChangedError) as error:
            self._trouble(stream, error)
        except OSError as error:
            self._stall(stream, error)
        return None

    def _trouble(self, stream: Stream, error: VanishedError | ContentChangedError) -> None:
        """The bytes of a stream are not where they were."""
        if isinstance(error, ContentChangedError):
            self._endings.lose(stream, "truncated")
            self._follower.check_again()
        else:
            self._endings.vanished(stream)

    def _stall(self, stream: Stream, error: OSError) -> None:
        self._situation.complain(stream.where or stream.home, error)
        self._registry.stall(stream)

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Everything before these positions is in storage."""
        for name, position in positions.items():
            stream = self._registry.get(name)
            if stream is not None and position > stream.acked:
                stream.acked = position
                self._situation.changed = True
            if stream is not None:
                self._forget_if_done(stream)

    def _forget_if_done(self, stream: Stream) -> None:
        if stream.told and stream.end is not None and stream.acked >= stream.end:
            self._endings.forget(stream)

    def lag_bytes(self) -> int:
        """Bytes that exist and were not read yet."""
        return sum(stream.unread_bytes for stream in self._registry)
