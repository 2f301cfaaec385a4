"""Exit code 0 when the program in this container is well: what QANAT_HEALTH_URL names answers with 200.

By default a master's /readyz, else the metrics of an agent or a collector.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

# Within the three seconds that the container engine waits.
TIMEOUT_S = 2.0


def urls() -> list[str]:
    """Where to ask; the first that anybody listens at decides."""
    if named := os.environ.get("QANAT_HEALTH_URL"):
        return [named]
    master, metrics = (
        os.environ.get(name, "").rpartition(":")[2] for name in ("QANAT_MASTER_HTTP", "QANAT_METRICS")
    )
    return [
        f"http://127.0.0.1:{port}{path}"
        for port, path in ((master, "/readyz"), (metrics, "/metrics"))
        if port.isdigit()
    ]


def main() -> int:
    """0 well, 1 not."""
    for url in urls():
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S):
                return 0
        except urllib.error.HTTPError as error:
            print(f"{url}: {error.code} {error.read(200).decode(errors='replace').strip()}")
            return 1
        except OSError as error:
            print(f"{url}: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
