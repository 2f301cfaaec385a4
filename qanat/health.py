"""What an agent or a collector answers over HTTP: `/metrics`, `/healthz` (it lives), `/readyz` (what it should run runs).

All other answers are JSON, of the form that masters use.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    from qanat.described import NodeDescription

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

PATHS = ("/healthz", "/readyz", "/metrics")


def why_not_ready(node: NodeDescription | None) -> str:
    """Why a node under masters does not run yet what it should; "" when it does, or needn't. A former version will do: who is
    told something wrong goes on with what was right."""
    if node is None:
        return ""
    if not node.wanted and not node.logical:
        return "no master has said yet what to run"
    missing = [each.logical_node for each in node.logical if each.wanted and not each.running]
    return f"does not run yet: {', '.join(missing)}" if missing else ""


def application(metrics: App, why_not: Callable[[], str]) -> App:
    """`metrics`: answers what is asked at `/metrics`. `why_not`: why this process is not ready, "" when it is. *Thread*: one
    for each request."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path not in PATHS:
            return _json(
                start, "404 Not Found", "NOT_FOUND", f"there is no {path}; there are {', '.join(PATHS)}"
            )
        if method not in ("GET", "HEAD"):
            return _json(start, "405 Method Not Allowed", "USAGE", f"{path} can only be read: GET it")
        if path == "/metrics" and method == "GET":
            return metrics(environ, start)
        reason = why_not() if path == "/readyz" else ""
        start(
            "503 Service Unavailable" if reason else "200 OK", [("Content-Type", "text/plain; charset=utf-8")]
        )
        return [] if method == "HEAD" else [f"{reason or 'ok'}\n".encode()]

    return answer


def _json(start: Callable[..., Any], status: str, kind: str, message: str) -> Iterable[bytes]:
    headers = [("Content-Type", "application/json")]
    if status.startswith("405"):
        headers.append(("Allow", "GET, HEAD"))
    start(status, headers)
    return [json.dumps({"error": {"kind": kind, "message": message, "faults": []}}).encode()]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an answer that nobody takes holds nothing up


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no news."""


def serve(app: App, port: int, address: str) -> Callable[[], None]:
    """Serve on a thread of its own until the returned function is called. Raises OSError when the port is taken."""
    family, _, _, _, found = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    kind = type("Server", (_Server,), {"address_family": family})
    server: WSGIServer = make_server(str(found[0]), port, app, kind, _Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
