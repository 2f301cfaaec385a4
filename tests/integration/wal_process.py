"""A process that feeds a fileChannel and reads it, until somebody kills it. Run by test_wal_killed.py.

    python -m tests.integration.wal_process STATE_DIR OUT_DIR

What a source would have is a function of the position; what a collector would have stored is a file for each cursor.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path

from qanat.batch import lines_batch
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.component import Context, Cursor
from qanat.limits import KIB, MIB

EVENT_BYTES = 12
EVENTS = 300  # a batch
CURSORS = ("a", "b")
CAPACITY = 1 * MIB


def event(number: int) -> bytes:
    """Of the source."""
    return b"%011d\n" % number


def feed(channel: FileChannel, position: int) -> None:
    """From where the log ends, without end."""
    while True:
        first = position // EVENT_BYTES
        payload = b"".join(event(number) for number in range(first, first + EVENTS))
        batch = lines_batch("/var/log/x", position, payload, timestamp_ns=1, attributes={"host": "h"})
        while not channel.put(batch):
            channel.wait_for_room(0.1)
        channel.accepted()
        position = batch.end


def follow(channel: FileChannel, cursor: str, out: Path) -> None:
    """As a collector: what is in the file is stored, and says where to go on. A torn line is not stored."""
    with out.open("ab") as file:
        stored = file.tell() // EVENT_BYTES
        file.truncate(stored * EVENT_BYTES)
        reader = channel.reader(cursor)
        reader.open()
        reader.recover({})
        (found,) = reader.poll(0.0)
        reader.seek(found.stream, stored)
        while True:
            batch = reader.read(64 * KIB)
            if batch is None:
                reader.poll(1.0)
                continue
            assert isinstance(batch.payload, bytes)
            assert batch.count == batch.end - batch.start, "nothing is lost"
            file.write(batch.payload)
            file.flush()
            reader.acknowledge({batch.stream: batch.end})


def follow_or_end(channel: FileChannel, cursor: str, out: Path) -> None:
    """A reader that fails ends the process, so that the test sees it."""
    try:
        follow(channel, cursor, out)
    except BaseException:  # noqa: BLE001 - the root of a thread
        traceback.print_exc()
        os._exit(1)


def main(state: Path, out: Path) -> None:
    """Until killed."""
    config = FileChannelConfig(capacity=CAPACITY, sync_interval=0.002)
    channel = FileChannel(config, Context("p", "web", "h", state))
    taken = channel.open([Cursor(name) for name in CURSORS])
    for name in CURSORS:
        threading.Thread(target=follow_or_end, args=[channel, name, out / name], daemon=True).start()
    print("open", flush=True)
    feed(channel, taken.get("/var/log/x", 0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
