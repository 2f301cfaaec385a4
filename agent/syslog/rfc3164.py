"""RFC 3164 and what is sent in its name: `TIMESTAMP HOST TAG[PID]: CONTENT`, what follows the priority. [pure]

The timestamp is the old one or that of RFC 3339 (rsyslog's forward format); the host may be missing (what is written to
/dev/log), and so may the tag.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog import columns as c
from agent.syslog import times

# RFC 3164, 4.1.3: a tag has 32 characters at most; systemd's units and paths of programs have more.
TAG_BYTES_MAX = 128


def parse(rest: pa.Array, now: datetime, zone: tzinfo | None) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Why each is not such a message (null: it is one), and the columns; those of bad ones mean nothing."""
    timestamp, after = _timestamp(rest, now, zone)
    faults = pc.if_else(pc.is_null(timestamp), pa.scalar("no timestamp"), pa.scalar(None, pa.string()))
    host, message = _host(after)
    tag, content = _tag(message)
    lists = c.split(tag, b"[", 1)
    app, pid = c.part(lists, 0), c.part(lists, 1)
    is_closed = pc.ends_with(pid, pattern=b"]")
    pid = pc.if_else(is_closed, c.before(pid, -1), pid)
    columns = {
        "body": content,
        "timestamp": timestamp,
        "host": c.unless_nil(host),
        c.APP: c.unless_nil(app),
        c.PROCID: c.unless_nil(pid),
    }
    return faults, columns


def _timestamp(rest: pa.Array, now: datetime, zone: tzinfo | None) -> tuple[pa.Array, pa.Array]:
    """The timestamp, and what comes after it and a space; both null where there is none."""
    ends = pc.fill_null(pc.starts_with(c.after(rest, times.BSD_BYTES), pattern=b" "), False)
    stamp = times.bsd(c.without(c.before(rest, times.BSD_BYTES), pc.invert(ends)), now, zone)
    after = c.without(c.after(rest, times.BSD_BYTES + 1), pc.is_null(stamp))
    if stamp.null_count:
        lists = c.split(c.without(rest, pc.is_valid(stamp)), b" ", 1)
        other = times.rfc3339(c.part(lists, 0))
        stamp = pc.coalesce(stamp, other)
        after = pc.coalesce(after, c.without(c.part(lists, 1), pc.is_null(other)))
    return c.without(stamp, pc.is_null(after)), after


def _host(after: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Host and message. A first word that ends in a colon is a tag, and one alone is a message: then there is no host."""
    lists = c.split(after, b" ", 1)
    first, second = c.part(lists, 0), c.part(lists, 1)
    has_none = pc.fill_null(pc.or_(pc.ends_with(first, pattern=b":"), pc.is_null(second)), True)
    if not c.is_any(has_none):
        return first, second
    return c.without(first, has_none), pc.if_else(has_none, after, second)


def _tag(message: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Tag and content; what has no tag is all content."""
    lists = c.split(message, b":", 1)
    tag, content = c.part(lists, 0), c.part(lists, 1)
    is_tag = pc.and_(pc.is_valid(content), pc.less(pc.find_substring(tag, pattern=b" "), 0))
    length = pc.binary_length(tag)
    is_tag = pc.and_(is_tag, pc.and_(pc.greater(length, 0), pc.less_equal(length, TAG_BYTES_MAX)))
    is_tag = pc.fill_null(is_tag, False)
    if c.is_all(is_tag):
        return tag, c.prefixed(content, b" ")
    return c.without(tag, pc.invert(is_tag)), pc.if_else(is_tag, c.prefixed(content, b" "), message)
