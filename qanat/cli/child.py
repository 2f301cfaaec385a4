"""A `qanat` program as a child that ends with its parent: `python -m qanat.cli.child PARENT_PID[:PIPE] ARGUMENTS...`.

PIPE: the number of an open file, which gets the error that the program ends with."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from functools import partial

from qanat.cli.main import main

# What a pipe holds though nobody reads it is 64 KiB; every fault of a long flow file takes less.
ERROR_BYTES_MAX = 32 << 10

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(parent: int) -> None:
    """Get SIGTERM when process `parent` is gone, however it ended: nothing is left behind even by SIGKILL.

    *Thread*: the kernel means the parent's thread that started this process; call it before anything else."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the kernel knew
        sys.exit(0)


def _tell(pipe: int, error: str) -> None:
    with contextlib.suppress(OSError):  # a parent that is gone
        os.write(pipe, error.encode()[:ERROR_BYTES_MAX])


if __name__ == "__main__":
    parent, _, pipe = sys.argv[1].partition(":")
    end_with_parent(int(parent))
    if pipe:
        os.set_inheritable(int(pipe), False)
    sys.exit(main(sys.argv[2:], partial(_tell, int(pipe)) if pipe else None))
