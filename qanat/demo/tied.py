"""Any program as a child that ends with its parent: `python -m qanat.demo.tied PARENT_PID COMMAND...`."""

from __future__ import annotations

import os
import sys

from qanat.cli.child import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # the kernel remembers the wish
