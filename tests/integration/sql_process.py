"""A process that fills a sqlChannel until its disk is full, and waits to be killed. Run by test_sql_disk_full.py.

    python -m tests.integration.sql_process STATE_DIR FIRST

Says `full N` when the batch with number N was refused because the disk is full; those before it are accepted.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from qanat.channels.sql import SqlChannel, SqlChannelConfig
from qanat.component import Context, Cursor
from qanat.errors import RetryableError
from tests.contract.channels import KIB, batches

EVENTS = 8  # a batch
BATCHES = 4_000  # more than any disk of these tests holds

CURSOR = Cursor("a")


def main() -> None:
    """See the module."""
    channel = SqlChannel(SqlChannelConfig(), Context("p", "web", "h", Path(sys.argv[1])))
    taken = channel.open([CURSOR])
    safe = dict(taken)
    put = batches(BATCHES, count=EVENTS, size=4 * KIB)
    try:
        for batch in put:
            while not channel.put(batch):
                channel.wait_for_room(0.5)
    except RetryableError as error:
        if "full" not in str(error):
            raise
    safe.update(channel.accepted())
    accepted = sum(batch.end <= safe.get(batch.stream, 0) for batch in put)
    sys.stdout.write(f"full {accepted}\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    main()
