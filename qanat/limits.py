"""Every limit on a batch and an event, in one place, with the policy for what exceeds it.

A batch larger than `BATCH_BYTES_MAX` is never built: sources cut batches at an event boundary before it. An event
larger than `EVENT_BYTES_MAX` follows the source's `oversize` policy, one of `Oversize`.
"""

from __future__ import annotations

import enum

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

# What a source reads at a time. Measured on two shared cores: gRPC moves 600 MB/s with 256 KiB messages, 740 with
# 1 MiB, 830 with 4 MiB; memory grows with it, and an agent stays below 60 MB.
BATCH_BYTES_TARGET = 1 * MIB

# The largest payload of a batch: one largest event and its line end, with room for what precedes it in the block.
BATCH_BYTES_MAX = 4 * MIB

# The largest body of an event. The same order as Kafka's default message limit (1 MiB); well below a batch.
EVENT_BYTES_MAX = 1 * MIB

# Events in a batch: bounds the offsets that a conversion to columns allocates (32-bit offsets, 8-byte positions).
BATCH_EVENTS_MAX = 4 * MIB

# Attributes that hold for a whole batch: names and values together.
ATTRIBUTES_BYTES_MAX = 64 * KIB

# A gRPC message: the largest batch plus its attributes and framing; a hello that names ten thousand streams is 1 MB.
MESSAGE_BYTES_MAX = 16 * MIB

# Positions are u64; two bits are kept free so that arithmetic on them can't overflow a signed 64-bit column.
POSITION_MAX = (1 << 62) - 1


class Oversize(enum.Enum):
    """What happens to an event larger than `EVENT_BYTES_MAX`."""

    SPLIT = "split"  # into consecutive events of at most the limit; no byte is lost
    TRUNCATE = "truncate"  # the first bytes up to the limit are kept, the rest is dropped and counted
    DEAD_LETTER = "dead-letter"  # the whole event goes to the dead-letter directory, and is counted
