"""`http(8080)`: events that programs POST, as to Flume NG's HTTP source.

Guarantee: a request is taken whole or not at all, and answered 200 once all of it is in the channel, as safe as the channel
makes it: at least once. A client that repeats what was not answered 200 loses nothing; what was stored before an answer got lost
is then stored twice. When the channel is full requests are answered 503 with Retry-After.

    web : http(8080) | agentE2EChain("c1", "c2") ;

    curl -H 'Content-Type: application/json' -d '[{"headers": {"app": "shop"}, "body": "sold"}]' http://agent:8080/

What is posted says its Content-Type; the path says nothing.

| Content-Type | events |
|---|---|
| `application/json`, none, `application/octet-stream`, or what `curl -d` says by itself | an array of JSON events |
| `application/x-ndjson`, `application/jsonl` and their like | a JSON value a line |
| `text/plain` | a line each |

A JSON event is `{"headers": {...}, "body": "..."}`, as Flume NG's JSONHandler takes it; one without an array around it will do.
Other objects, as of Fluent Bit and Vector, in an array or one after the other, are bodies as they are: those without either name,
or with a third one.
JSON is UTF-8 unless the Content-Type says `charset=utf-16` or `charset=utf-32`, whose byte order mark counts (without one it is
little-endian), or `utf-16be` and its like: `Content-Type: application/json; charset=utf-16`. Any other charset is answered 415.
`text/plain` is taken as the bytes that it is, whatever the charset. A JSON line that is an object of `body`, and `headers` or
none, is such an event; any other value is the body of one, as it was sent. Headers become attributes; `timestamp` is the event's:
ms since 1970, as of NG, or RFC 3339.

`Content-Encoding: gzip` and `deflate` are undone. What is refused says why, in a sentence: 400 for what can't be parsed, 413 for
what is too large, 415 for another format, 408 for what doesn't arrive, 503 for want of room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.faults import refuse, wrong_event_bytes
from agent.live import tls
from agent.live.arguments import Encrypted, Port
from agent.live.source import ServedSource
from qanat import limits
from qanat.component import Context, Events, Parcel, Wrong
from qanat.config import Bytes, Seconds
from qanat.lines import count_lines

if TYPE_CHECKING:
    from agent.posted.bodies import Refusal
    from agent.posted.server import Answer, Post, Taken

# The shortest that a request may take is what a channel's group commit takes.
ANSWER_S_MAX = 10.0

# What may be given in one request: below it columns of short events stay in a batch.
REQUEST_BYTES_MAX = limits.BATCH_BYTES_MAX


class _Options(Encrypted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    headers: list[str] = msgspec.field(default_factory=list)  # of requests, as ["X-A"], to become attributes
    peer: str = ""  # the name of an attribute for the client's address; by default it is not kept
    request_bytes: Bytes = REQUEST_BYTES_MAX  # the largest request, decompressed
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    wait: Seconds = ANSWER_S_MAX  # for the channel, before a request is answered 503


class HttpConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `http(...)` accepts."""

    port: Port  # 0: any that is free


class Http(ServedSource):
    """Parcels hold `Events`."""

    name: ClassVar[str] = "http"
    Config: ClassVar[type[msgspec.Struct]] = HttpConfig

    def __init__(self, config: HttpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config

    @classmethod
    def check(cls, config: HttpConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_sizes(config.request_bytes, config.event_bytes)
        yield from config.wrong()

    def open(self) -> None:
        """Raises ConfigError."""
        from agent.posted.server import Handler, PostServer

        config = self._config
        refuse(self.name, self.check(config))
        server = PostServer(
            self.name,
            Handler(self._take, _accepted, _refused),
            request_bytes_max=config.request_bytes,
            connections_max=config.connections,
            answer_s_max=config.wait,
            count=self.context.count,
            tls=tls.server_context(self.name, config),
        )
        server.open(config.host, config.port)
        self._server = server

    def form(self, parcels: Sequence[Parcel]) -> Sequence[Events]:
        """Requests with the same attributes together."""
        from agent.posted.rows import joined

        return joined([parcel.content for parcel in parcels])

    def _take(self, post: Post) -> Taken:
        from agent.posted.events import parsed
        from agent.posted.server import Taken

        content = parsed(post.kind, post.charset, post.body, self._config.event_bytes)
        count = count_lines(content) if isinstance(content, bytes) else content.num_rows
        if not count:
            return Taken(None, 0)
        size_bytes = len(content) if isinstance(content, bytes) else max(len(post.body), content.nbytes)
        return Taken(Events(content, count, self._attributes(post)), min(size_bytes, limits.BATCH_BYTES_MAX))

    def _attributes(self, post: Post) -> Mapping[str, str]:
        made = {"host": self.context.host}
        for name in self._config.headers:
            value = post.headers.get(name)
            if value is not None:
                made[name.lower()] = value.encode(errors="replace").decode()
        if self._config.peer:
            made[self._config.peer] = post.peer
        return made


def wrong_sizes(request_bytes: int, event_bytes: int) -> Iterable[Wrong]:
    """What is wrong with the limits of a source that takes requests."""
    if not 1 <= request_bytes <= REQUEST_BYTES_MAX:
        yield Wrong("request_bytes", f"{request_bytes} must be from 1 to {REQUEST_BYTES_MAX}")
    yield from wrong_event_bytes(event_bytes)


def _accepted(said: object, kind: str) -> Answer:
    from agent.posted.server import Answer

    return Answer(b"", "text/plain")


def _refused(refusal: Refusal, kind: str) -> Answer:
    from agent.posted.server import Answer

    return Answer(f"{refusal.why}\n".encode(), "text/plain; charset=utf-8")
