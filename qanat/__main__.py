"""`python -m qanat` is the `qanat` command."""

from __future__ import annotations

import sys

from qanat.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
