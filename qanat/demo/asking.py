"""What the demo asks running programs: over HTTP, and by the commands that a user would type."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from qanat.control.operations.cluster import MasterRow, MastersReply, StatusReply
from qanat.flow.local import LOOPBACK

# A program that does not answer within this counts as not there; it is asked again twice a second.
_ANSWER_S_MAX = 1.0

# `qanat apply --wait` gives up by itself; this is for a command that hangs.
COMMAND_S_MAX = 90.0


async def get(port: int, path: str) -> bytes | None:
    """The body of a reply with 200; None for anything else."""
    try:
        async with asyncio.timeout(_ANSWER_S_MAX):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
                return body if b" 200 " in head.partition(b"\r\n")[0] else None
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None


@dataclass(frozen=True, slots=True)
class Said:
    """What a master says of the cluster. `attached`: physical node -> master; `running`: physical nodes that run all that they
    should, and that is something; `leader`: "" while nobody leads."""

    masters: dict[str, MasterRow]
    attached: dict[str, str]
    running: set[str]

    @property
    def leader(self) -> str:
        return next((name for name, row in self.masters.items() if row.leads), "")


async def ask_masters(ports: Sequence[int]) -> Said | None:
    """The first that answers; None when none does."""
    for port in ports:
        status, masters = await asyncio.gather(get(port, "/v1/status"), get(port, "/v1/masters"))
        if status is not None and masters is not None:
            nodes = msgspec.json.decode(status, type=StatusReply).nodes
            rows = msgspec.json.decode(masters, type=MastersReply).masters
            return Said(
                {row.id: row for row in rows},
                {node.name: node.master for node in nodes if node.state == "attached"},
                {node.name for node in nodes if node.applied and node.logical},
            )
    return None


async def run_command(masters: str, *arguments: str) -> tuple[int, str]:
    """`qanat ARGUMENTS` as a user at a shell would run it: exit code and output. Ends it when cancelled."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QANAT_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qanat.cli.child", str(os.getpid()), *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**environment, "QANAT_MASTER": masters, "QANAT_CONFIG": os.devnull}, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMMAND_S_MAX):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace")
