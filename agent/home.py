"""Where the events of a source wait, and under which name they are sent from there.

Positions of one channel mean nothing in another, nor beside any. A collector remembers those of a sender for ever; one that came
back to a former channel under its former name would be asked to go on where that ended, and send again what went another way
meanwhile. So with every other channel the sender gets another name, as soon as what went the former way is acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from qanat.component import ChannelConfig
from qanat.durable import replace_file
from qanat.errors import CorruptError
from qanat.flow.model import Call
from qanat.flow.parser import parse_component
from qanat.flow.printer import print_sink

FILE = "home.json"

# What says where it is, of those that we know; all else may change while events wait in it.
_PLACED_BY: Mapping[str, frozenset[str]] = {
    "memoryChannel": frozenset(),
    "spillChannel": frozenset(),
    "fileChannel": frozenset({"path"}),
    "sqlChannel": frozenset({"url"}),
}
_FORMER_NAMES = {"jdbcChannel": "sqlChannel"}

# What may change in any other.
_ADJUSTABLE = frozenset(field.name for field in msgspec.structs.fields(ChannelConfig))


class _Home(msgspec.Struct, frozen=True):
    channel: str = ""
    moves: int = 0

    @property
    def call(self) -> Call | None:
        """The channel; None for none."""
        return parse_component(self.channel) if self.channel else None


@dataclass(frozen=True, slots=True)
class Former:
    """Where events of a source may still wait; None: beside any channel."""

    channel: Call | None


def place(channel: Call | None) -> str:
    """Which channel it is, as text; "" for none."""
    if channel is None:
        return ""
    name = _FORMER_NAMES.get(channel.name, channel.name)
    by = _PLACED_BY.get(name)
    kept = tuple(
        each
        for each in channel.keywords
        if (each.name in by if by is not None else each.name not in _ADJUSTABLE)
    )
    return print_sink(Call(name, channel.positional, kept))


def moved(directory: Path, channel: Call | None, *, moves_in: bool) -> int:
    """How often the events of the source with this state directory have got another channel, `channel` being the next.

    `moves_in`: it is about to be opened, so this is made durable. Nothing of what was sent before may be unacknowledged then.
    Raises CorruptError, OSError."""
    path = directory / FILE
    before = _read(path)
    is_other = before is not None and place(before.call) != place(channel)
    home = _Home(
        "" if channel is None else print_sink(channel), 0 if before is None else before.moves + is_other
    )
    if moves_in and home != before:
        replace_file(path, [msgspec.json.encode(home)])
    return home.moves


def former(directory: Path, channel: Call | None) -> Former | None:
    """The channel before this one, if it is another. Raises CorruptError."""
    home = _read(directory / FILE)
    return None if home is None or place(home.call) == place(channel) else Former(home.call)


def _read(path: Path) -> _Home | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Home)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(
            f"{path} is damaged: {error}; restore it from a backup. Without it, what changed its channel is sent again"
        ) from error
