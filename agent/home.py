"""Where the events of a source wait, and under which name they are sent from there.

Positions of one channel mean nothing in another, nor beside any. A collector remembers those of a sender for ever; one that came
back to a former channel under its former name would be asked to go on where that ended, and send again what went another way
meanwhile. So with every other channel the sender gets another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from qanat.component import ChannelConfig
from qanat.durable import replace_file
from qanat.errors import CorruptError, QanatError
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
    here = place(channel)
    home = _read(path)
    if home is None:  # the first of all, or of a version that did not know of homes
        home = _Home(here, 0)
        if here == "" or not moves_in:
            return 0
    elif home.channel == here or (home.channel and place(parse_component(home.channel)) == here):
        return home.moves
    else:
        home = _Home(here, home.moves + 1)
    if moves_in:
        replace_file(path, [msgspec.json.encode(home)])
    return home.moves


def left_behind(channels: Path, channel: Call | None) -> Iterator[tuple[Path, int]]:
    """Logs of a former `fileChannel` in this directory, and how many events destinations lack of each. Masters have one emptied
    before another is used; whoever edits a flow and starts again has not."""
    if channel is not None and place(channel) == place(Call("fileChannel")):
        return
    for log in sorted(channels.glob("wal-*")):
        from qanat.channels.wal.survey import survey

        try:
            found = survey(log, verify=False)
        except (OSError, QanatError):
            continue  # `qanat wal check` has more to say about it
        everything = found.given(found.oldest, found.number) if found.segments else 0
        waiting = max((each.waiting for each in found.cursors), default=everything)
        if waiting:
            yield log, waiting


def _read(path: Path) -> _Home | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Home)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(
            f"{path} is damaged: {error}; restore it from a backup. Without it, what changed its channel is sent again"
        ) from error
