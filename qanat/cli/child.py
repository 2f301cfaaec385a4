"""A `qanat` program as a child that ends with its parent: `python -m qanat.cli.child PARENT_PID ARGUMENTS...`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from qanat.cli.main import main

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(parent: int) -> None:
    """Get SIGTERM when process `parent` is gone, however it ended: nothing is left behind even by SIGKILL.

    *Thread*: the kernel means the parent's thread that started this process; call it before anything else."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the kernel knew
        sys.exit(0)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
