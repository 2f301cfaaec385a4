"""Names that the file sink gives, and what it does to text from events before it becomes part of a path. [pure]"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from urllib.parse import quote

# NAME_MAX of every common file system, in bytes.
NAME_BYTES_MAX = 255

# What a final name needs beside its prefix: sink id, time, sequence, suffix, and a leading dot and at most 26 bytes of an
# ending while hidden. The prefix may have the rest.
SINK_ID_BYTES_MAX = 64
SUFFIX_BYTES_MAX = 24
PREFIX_BYTES_MAX = 96

HIDDEN = "."
TEMPORARY = ".tmp"  # what is being written
ENCODED = ".done.tmp"  # the same, complete and durable

# Would end a component, or are unfit for names: separator, control characters, lone surrogates; `%` marks them.
_UNFIT = re.compile("[/%\x00-\x1f\x7f\ud800-\udfff]")


def sanitised(value: str) -> str:
    """Text of an event as a part of one path component: unfit characters percent-encoded, all others kept."""
    return _UNFIT.sub(_percent, value)


def _percent(match: re.Match[str]) -> str:
    character = match.group()
    if "\udc80" <= character <= "\udcff":  # a byte that was not UTF-8, as Python smuggles it through text
        return f"%{ord(character) - 0xDC00:02X}"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def component(text: str, bytes_max: int = NAME_BYTES_MAX) -> str:
    """A path component made from escapes: never `.`, `..` or hidden, and cut, with a hash, where too long."""
    if text.startswith("."):
        text = "%2E" + text[1:]
    return shortened(text, bytes_max)


def shortened(text: str, bytes_max: int) -> str:
    """`text`, or its beginning and a hash of the whole when it has more than `bytes_max` bytes."""
    data = text.encode()
    if len(data) <= bytes_max:
        return text
    mark = "~" + hashlib.sha256(data).hexdigest()[:16]
    return data[: bytes_max - len(mark)].decode(errors="ignore") + mark


def sink_id(logical_node: str, physical_node: str) -> str:
    """`logical@physical`, fit for a file name; different for different nodes."""
    return shortened(f"{_fit(logical_node)}@{_fit(physical_node)}", SINK_ID_BYTES_MAX)


def _fit(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass").replace("~", "%7E")


def final_name(prefix: str, sink: str, opened_ms: int, sequence: int, suffix: str) -> str:
    """Sorts, among the names of one sink and prefix, in order of opening."""
    opened = datetime.fromtimestamp(opened_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")
    return f"{prefix}{sink}-{opened}.{opened_ms % 1000:03d}Z-{sequence:08d}{suffix}"


def hidden(name: str, ending: str = TEMPORARY) -> str:
    """The name of a file that readers should not see yet."""
    return f"{HIDDEN}{name}{ending}"


def encoding(life: str) -> str:
    """Ends the name of a final file that is being made from a temporary one; thrown away after a crash. Of that life only, so
    that nobody opens one that another process still writes."""
    return f".out-{life}.tmp"


def copying(life: str) -> str:
    """Ends the name of an unfinished copy; as above."""
    return f".copy-{life}.tmp"


def alternative(name: str, suffix: str, number: int) -> str:
    """Another final name, for when a stranger's file has ours already."""
    stem = name.removesuffix(suffix)
    return f"{stem}~{number}{suffix}"
