"""What the syslog sources share: what they can be told, and from parcels to events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pyarrow as pa

from agent.faults import refuse, wrong_event_bytes
from agent.live.arguments import wrong_host
from agent.live.datagrams import NAME_BYTES, host_of
from agent.live.framing import OversizeOf, SizePolicy
from agent.live.letters import FileLetters
from agent.live.source import ServedSource
from agent.syslog.parse import bodies_of, parse
from qanat import limits
from qanat.component import Context, Events, Parcel, Wrong
from qanat.config import Bytes
from qanat.errors import ConfigError
from qanat.lines import count_lines


class SyslogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every syslog source accepts, beside its port."""

    host: str = ""  # the address to listen on; without one, all of this machine's, of IPv4 and IPv6
    body: Literal["message", "whole"] = (
        "message"  # what comes after the header; or everything as it was sent, the header too
    )
    timezone: str = ""  # of timestamps without one (RFC 3164), as Europe/Paris; by default this machine's
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    oversize: OversizeOf = "split"  # what happens to a message above event_bytes
    dead_letter_quota: Bytes = limits.GIB


@dataclass(frozen=True, slots=True)
class Frames:
    """Messages: lines, or one by one. `peer`: the sender's address, or a name of `NAME_BYTES` for each message."""

    messages: bytes | list[bytes]
    peer: str | bytes


class SyslogSource(ServedSource):
    """Parcels hold `Frames`."""

    def __init__(self, config: SyslogConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._zone: ZoneInfo | None = None
        letters = FileLetters(context, config.dead_letter_quota, synced=False)  # nobody is answered
        self.policy = SizePolicy(
            config.event_bytes,
            config.oversize,
            context.count,
            letters if config.oversize == "dead-letter" else None,
        )

    @classmethod
    def check(cls, config: Any) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_event_bytes(config.event_bytes)
        yield from wrong_host(config.host)
        # A host without the database knows none of them, and another host may have it.
        if config.timezone and _zone(config.timezone) is None and available_timezones():
            yield Wrong("timezone", f'"{config.timezone}" is no time zone; write one such as Europe/Paris')

    def open(self) -> None:
        """Raises ConfigError with every fault of what was configured."""
        refuse(self.name, self.check(self._config))
        if self._config.timezone:
            self._zone = _zone(self._config.timezone)
            if self._zone is None:
                raise ConfigError(
                    f"{self.name}(timezone={self._config.timezone!r}) is no time zone here, where there is none at all: "
                    "install the system's package tzdata."
                )

    def form(self, parcels: Sequence[Parcel]) -> Sequence[Events]:
        """All messages parsed together."""
        all_frames: list[Frames] = [parcel.content for parcel in parcels]
        parts = [_bodies(each) for each in _joined(all_frames)]
        frames = pa.concat_arrays(parts) if len(parts) > 1 else parts[0]
        rows = parse(
            frames,
            lambda: pa.concat_arrays([_peers(each) for each in all_frames]),
            self.context.clock.wall_ns(),
            self._zone,
            whole=self._config.body == "whole",
            count=self.context.count,
        )
        return [Events(rows, rows.num_rows, {"host": self.context.host})]


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


def _joined(frames: Iterable[Frames]) -> list[bytes | list[bytes]]:
    """Neighbours of the same kind as one: an array for each of a thousand small ones would cost more than parsing them."""
    lines: list[bytes] = []
    result: list[bytes | list[bytes]] = []
    for each in frames:
        if isinstance(each.messages, bytes):
            lines.append(each.messages)
            continue
        if lines:
            result.append(b"".join(lines))
            lines = []
        if result and isinstance(result[-1], list):
            result[-1] += each.messages
        else:
            result.append(list(each.messages))
    return [*result, b"".join(lines)] if lines else result


def _bodies(messages: bytes | list[bytes]) -> pa.Array:
    return bodies_of(messages) if isinstance(messages, bytes) else pa.array(messages, pa.binary())


def _peers(frames: Frames) -> pa.Array:
    """The sender's address for each message."""
    count = count_lines(frames.messages) if isinstance(frames.messages, bytes) else len(frames.messages)
    if isinstance(frames.peer, str):
        return pa.repeat(pa.scalar(frames.peer, pa.string()), count)
    names = pa.Array.from_buffers(pa.binary(NAME_BYTES), count, [None, pa.py_buffer(frames.peer)])
    encoded = names.dictionary_encode()
    hosts = pa.array([host_of(name) for name in encoded.dictionary.to_pylist()], pa.string())
    return hosts.take(encoded.indices)
