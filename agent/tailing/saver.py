"""When and how the state file of `tail` is written."""

from __future__ import annotations

import time
from operator import attrgetter
from pathlib import Path

import msgspec
import structlog

from agent.tailing import names
from agent.tailing import state as state_file
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.state import Home, State, StreamState
from agent.tailing.stream import Stream
from agent.tailing.tombs import Tombs
from qanat.clock import Clock

_log = structlog.get_logger()

# At most this often by itself; a new stream has to be durable before it is reported, a finished one before it is retired.
INTERVAL_S = 1.0
# Nor more often than keeps the time for it below this share. What is lost with a crash is only how far streams were acked
# and that files had grown, and collectors know the former.
_SHARE_MAX = 0.02
_INTERVAL_S_MAX = 30.0

_what_is_saved = attrgetter(
    "acked", "high", "end", "size", "mtime_ns", "where", "fingerprint", "ino", "dev", "seen_ns", "spliced"
)  # ids and homes don't change


class Saver:
    """Writes streams and tombs. A stream remembers how it looks in the file: most don't change from one to the next."""

    def __init__(
        self, directory: Path, registry: Registry, situation: Situation, tombs: Tombs, clock: Clock
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._situation = situation
        self._tombs = tombs
        self._clock = clock
        self.due_s = 0.0  # monotonic
        self.failed = False  # the last time

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed."""
        return self._clock.monotonic_s() >= self.due_s

    def try_save(self) -> bool:
        """False, with a line in the log, when that fails; it is due again a second later."""
        try:
            self.save()
        except OSError as error:
            _log.error(
                "tail_state_not_saved",
                directory=str(self._directory),
                error=str(error),
                consequence="new files are not read before it can be",
            )
            return False
        return True

    def save(self) -> None:
        """Replace the state file. *Blocking*. Raises OSError."""
        self.due_s = self._clock.monotonic_s() + INTERVAL_S
        self.failed = True
        began_s = time.perf_counter()
        streams = [_encode(stream) for stream in self._registry if not stream.gone]
        homes = [*map(_home, filter(attrgetter("gone"), self._registry)), *self._registry.left.saved()]
        state_file.save(self._directory, State(streams, self._tombs.saved(), homes))
        took_s = time.perf_counter() - began_s
        self.due_s += min(took_s / _SHARE_MAX, _INTERVAL_S_MAX)
        self.failed = self._situation.changed = self._situation.appeared = False


def _home(stream: Stream) -> Home:
    return Home(names.encode(stream.home), stream.seen_ns)


def _encode(stream: Stream) -> msgspec.Raw:
    now = _what_is_saved(stream)
    if stream.encoded is None or stream.encoded[0] != now:
        stream.encoded = (now, msgspec.Raw(msgspec.json.encode(_saved(stream))))
    return stream.encoded[1]


def _saved(stream: Stream) -> StreamState:
    mark = stream.current_mark()
    return StreamState(
        id=stream.id,
        home=names.encode(stream.home),
        where=names.encode(stream.where) if stream.where is not None else None,
        dev=stream.dev,
        ino=stream.ino,
        fingerprint_bytes=stream.fingerprint.length,
        fingerprint=stream.fingerprint.hash,
        acked=stream.acked,
        size=stream.size,
        mtime_ns=stream.mtime_ns,
        mark_position=mark.position if mark is not None else 0,
        mark=mark.hash if mark is not None else "",
        end=stream.end,
        seen_ns=stream.seen_ns,
        spliced=stream.spliced,
    )
