"""Exit code 0 when the program in this container is well: what QANAT_HEALTH_URL names answers with 200.

By default a master's /readyz, else the /healthz of an agent or a collector. Every container runs this every few seconds, so it
imports next to nothing: an HTTP client takes three times the processor time.
"""

from __future__ import annotations

import os
import socket
import sys

# Within the ten seconds that the container engine waits.
TIMEOUT_S = 8.0

# Of an answer: its status, and why it is not ready.
ANSWER_BYTES = 4096


def targets() -> list[tuple[str, int, str]]:
    """Host, port and path to ask; the first that anybody listens at decides."""
    if named := os.environ.get("QANAT_HEALTH_URL"):
        host, _, path = named.removeprefix("http://").partition("/")
        name, _, port = host.rpartition(":")
        if not port.isdigit():
            name, port = host, "80"
        return [(name.strip("[]"), int(port), f"/{path}")]
    master, metrics = (
        os.environ.get(name, "").rpartition(":")[2] for name in ("QANAT_MASTER_HTTP", "QANAT_METRICS")
    )
    asked = ((master, "/readyz"), (metrics, "/healthz"))
    return [("127.0.0.1", int(port), path) for port, path in asked if port.isdigit()]


def ask(host: str, port: int, path: str) -> tuple[str, str]:
    """The status and the body of the answer, as far as it came at once. Raises OSError when there is none."""
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = b""
        while len(answer) < ANSWER_BYTES and (more := connection.recv(ANSWER_BYTES)):
            answer += more
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return [*head.split(), "", ""][1], body.strip()


def main() -> int:
    """0 well, 1 not."""
    for target in targets():
        try:
            status, body = ask(*target)
        except OSError as error:
            print(f"{target}: {error}")
            continue
        if status != "200":
            print(f"{target}: {status} {body}")
        return 0 if status == "200" else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
