"""RFC 3164 and what is sent in its name: `TIMESTAMP HOST TAG[PID]: CONTENT`, what follows the priority. [pure]

The timestamp is the old one, that of RFC 3339 (rsyslog's forward format), or what devices make of them; the host may be
missing (what is written to /dev/log), and so may the tag.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog import columns as c
from agent.syslog import times
from qanat import ops

# RFC 3164, 4.1.3: a tag has 32 characters at most; systemd's units and paths of programs have more.
TAG_BYTES_MAX = 128

# What ends at a colon and is no tag: JSON, assignments, quoted words, lists in brackets; nor is the `http` of a URL.
_TAG = rb"^[^\x00-\x20\[{}\"'=<>,;|:][^\x00-\x20{}\"=<>,;|]{0,%d}$" % (TAG_BYTES_MAX - 1)
_UNCOLONNED = rb"(?s)^(?P<app>[A-Za-z_/][\w./-]{0,63})\[(?P<pid>\d{1,10})\] (?P<rest>.*)$"


def parse(rest: pa.Array, now: datetime, zone: tzinfo | None) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Why each is not such a message (null: it is one), and the columns; those of bad ones mean nothing."""
    timestamp, after = _timestamp(rest, now, zone)
    origin = None
    if timestamp.null_count:
        seen, origin, behind = times.device(c.without(rest, pc.is_valid(timestamp)), now, zone)
        timestamp, after = pc.coalesce(timestamp, seen), pc.coalesce(after, behind)
    faults = ops.if_else(pc.is_null(timestamp), "no timestamp", ops.NO_TEXT)
    host, message = _host(after)
    if origin is not None and c.is_any(pc.is_valid(origin)):
        message = pc.if_else(pc.is_valid(origin), after, message)
        host = pc.coalesce(origin, host)
    app, pid, content = _tag(message)
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
        other = times.rfc3339(c.part(lists, 0), zone)
        stamp = pc.coalesce(stamp, other)
        after = pc.coalesce(after, c.without(c.part(lists, 1), pc.is_null(other)))
    return c.without(stamp, pc.is_null(after)), after


def _host(after: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Host and message. A first word that ends in a colon is a tag, and one alone is a message: then there is no host. Two
    colons end an IPv6 address."""
    if c.is_any(pc.starts_with(after, pattern=b" ")):
        after = pc.replace_substring_regex(after, pattern=b"^ +", replacement=b"")
    lists = c.split(after, b" ", 1)
    first, second = c.part(lists, 0), c.part(lists, 1)
    has_none = pc.fill_null(pc.or_(pc.ends_with(first, pattern=b":"), pc.is_null(second)), True)
    if not c.is_any(has_none):
        return first, second
    is_address = pc.and_(pc.ends_with(first, pattern=b"::"), pc.is_valid(second))
    has_none = pc.and_(has_none, pc.invert(pc.fill_null(is_address, False)))
    return c.without(first, has_none), pc.if_else(has_none, after, second)


def _tag(message: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Program, its process, and content; what has no tag is all content."""
    lists = c.split(message, b":", 1)
    tag, content = c.part(lists, 0), c.part(lists, 1)
    is_tag = pc.and_(
        pc.match_substring_regex(tag, pattern=_TAG), pc.invert(pc.starts_with(content, pattern=b"//"))
    )
    is_tag = pc.fill_null(is_tag, False)
    if not c.is_all(is_tag):
        tag = c.without(tag, pc.invert(is_tag))
        content = pc.if_else(is_tag, content, message)
    words = c.split(tag, b"[", 1)
    app, pid = c.part(words, 0), c.part(words, 1)
    is_closed = pc.ends_with(pid, pattern=b"]")
    pid = pc.if_else(is_closed, c.before(pid, -1), pid)
    if not c.is_all(is_tag):
        app, pid, content = _uncolonned(c.without(message, is_tag), app, pid, content)
    return app, pid, pc.if_else(is_tag, c.prefixed(content, b" "), content)


def _uncolonned(
    message: pa.Array, app: pa.Array, pid: pa.Array, content: pa.Array
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """`app[pid] content` is one with a tag, too."""
    name, number, rest = pc.extract_regex(message, pattern=_UNCOLONNED).flatten()
    return pc.coalesce(app, name), pc.coalesce(pid, number), pc.coalesce(rest, content)
