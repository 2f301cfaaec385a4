"""Memory of a daemon: buffers are reused, and what is needed once is not kept."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from qanat import limits
from qanat.errors import QanatError

P = ParamSpec("P")
T = TypeVar("T")

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

    Peak memory is the same: what is kept is what the next batch needs; what starting took is given back. Does nothing where
    there is no glibc.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
        gc.collect()
        libc.malloc_trim(0)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def in_child(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `call` in a forked process, or its QanatError: what it imports and builds goes with the process.

    A parser that is used once would otherwise stay in a daemon: 5 MB of an agent's 60. Result and error must be
    picklable. *Blocking*. *Thread*: only while this process has no other.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as out:
                pickle.dump(_outcome(call, *args, **kwargs), out)
            code = 0
        finally:
            os._exit(code)  # nothing of the parent's is flushed or cleaned up twice
    os.close(writing)
    with os.fdopen(reading, "rb") as data:
        pickled = data.read()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        return call(*args, **kwargs)  # whatever ended it, here it has a traceback
    outcome = pickle.loads(pickled)
    if isinstance(outcome, QanatError):
        raise outcome
    return outcome  # type: ignore[no-any-return]


def _outcome(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | QanatError:
    try:
        return call(*args, **kwargs)
    except QanatError as error:
        return error
