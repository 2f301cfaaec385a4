"""How streams end: read to the end of a file that is over, or cut short when its bytes are gone."""

from __future__ import annotations

import os

import structlog

from agent.tailing import names
from agent.tailing.copies import Copies
from agent.tailing.handles import Handles
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.stream import Stream
from agent.tailing.tombs import Tombs
from qanat.component import Context, StreamFinished

_log = structlog.get_logger()


class Endings:
    """Gives streams their ends, and forgets those that are in storage."""

    def __init__(
        self,
        context: Context,
        registry: Registry,
        handles: Handles,
        situation: Situation,
        copies: Copies,
        tombs: Tombs,
    ) -> None:
        self._count = context.count
        self._registry = registry
        self._handles = handles
        self._situation = situation
        self._copies = copies
        self._tombs = tombs

    def pin(self, stream: Stream, end: int) -> None:
        """Nothing beyond `end` is read any more."""
        self._situation.away.pop(stream, None)
        stream.end, stream.held = end, False
        self._registry.ready.pop(stream, None)
        self._registry.enqueue(stream)
        self.reached(stream)

    def reached(self, stream: Stream) -> None:
        """The stream was read or sought: report its end if it is there, and let its successor go on."""
        at_end = stream.end is not None and stream.cursor is not None and stream.cursor >= stream.end
        if at_end and not stream.finished:
            assert stream.end is not None
            stream.finished = True
            self._situation.news.append(StreamFinished(stream.id, stream.end))
            _log.info("stream_finished", stream=stream.id, path=names.display(stream.home), end=stream.end)
        self._registry.progress(stream)

    def vanished(self, stream: Stream) -> None:
        """The file can't be found any more, and was not open: it was deleted, perhaps after it was copied."""
        if stream.end is None and self.move_to_copy(stream):
            return
        unread = stream.size - max(stream.high, stream.acked)
        if unread > 0 or self._may_have_grown(stream):
            self._count("streams_lost", 1)
            _log.warning(
                "stream_lost",
                stream=stream.id,
                path=names.display(stream.home),
                unread_bytes=unread,
                why="not found",
            )
        self.bury(stream)

    def lose(self, stream: Stream, why: str) -> None:
        """The bytes of a stream are not in its file any more: they may be in a copy, which is complete, because it was
        made before the file was cut; and may have more than was seen of the file."""
        self._situation.leave_all(stream)
        if stream.end is None and self.move_to_copy(stream):
            return
        if self._may_have_grown(stream):
            self._count("streams_lost", 1)
        unread = (stream.size if stream.end is None else stream.end) - max(stream.high, stream.acked)
        if unread > 0:
            self._count("bytes_lost_truncate", unread)
        _log.warning(
            "stream_cut",
            stream=stream.id,
            path=names.display(stream.home),
            unread_bytes=max(0, unread),
            why=why,
        )
        self.bury(stream)

    def move_to_copy(self, stream: Stream) -> bool:
        """Read the rest of a stream in the copy of its file, if there is one."""
        if not self._copies.adopt(stream):
            return False
        self.pin(stream, stream.size)
        return True

    def bury(self, stream: Stream) -> None:
        """End a stream whose bytes can't be read any more where reading got to."""
        self._registry.move(stream, None)
        self._situation.away.pop(stream, None)
        self._situation.changed = True
        if not stream.reported:
            self._registry.forget(stream)
            return
        stream.gone = True
        self.pin(stream, max(stream.high, stream.acked) if stream.end is None else stream.end)

    def forget(self, stream: Stream) -> None:
        """A finished stream is in storage: drop it, but remember the file if it still exists somewhere."""
        self._situation.changed = True
        for path in stream.at:
            self._situation.here.pop(path, None)
            self._situation.recheck.add(path)
        try:
            self._copies.forget(stream)
            if self._exists(stream):
                self._tombs.remember(stream)
        except OSError as error:
            self._situation.complain(stream.home, error)
        self._registry.forget(stream)

    def _may_have_grown(self, stream: Stream) -> bool:
        """While the agent was down, unless it was over by then and is in storage."""
        return not stream.reported and (stream.end is None or stream.acked < stream.end)

    def _exists(self, stream: Stream) -> bool:
        fd = None if stream.gone else self._handles.get(stream)
        return fd is not None and os.fstat(fd).st_nlink > 0
