"""How the C library's allocator treats the buffers that batches live in."""

from __future__ import annotations

import ctypes

from qanat import limits

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

# Above any buffer that a batch needs, so that all of them are reused; glibc before 2.35 accepts no more.
_MMAP_BYTES = 32 * limits.MIB
# Free memory at the end of a heap that is kept. Batches in flight are bounded, so this is never reached by much.
_TRIM_BYTES = 256 * limits.MIB


def keep_buffers() -> None:
    """Let the allocator reuse large buffers instead of giving each back to the kernel, which costs a page fault and a cleared
    page for every 4 KiB of every batch: a third of all CPU time in bench/throughput.py (8.0 against 5.2 s a GB).

    Peak memory is the same: what is kept is what the next batch needs. Does nothing where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
