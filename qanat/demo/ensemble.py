"""`qanat demo --zookeeper`: three real servers, which end with the demo however it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from qanat.errors import ConfigError, RetryableError
from qanat.flow.local import LOOPBACK
from qanat.testing.daemon import DaemonError
from qanat.testing.zookeeper import Ensemble, Place, classpath

SERVERS = 3

# Below what the demo itself waits for its programs: three JVMs are up within some seconds on two idle cores.
_QUORUM_S_MAX = 60.0
_POLL_S = 0.1


def make(directory: Path) -> Ensemble:
    """Not started. Raises ConfigError where there is no ZooKeeper."""
    try:
        classpath()
    except DaemonError as missing:
        raise ConfigError(f"{missing}; `qanat demo` without --zookeeper needs neither") from missing
    tied = (sys.executable, "-m", "qanat.demo.tied", str(os.getpid()))
    return Ensemble(directory, places=[Place(LOOPBACK, tied)] * SERVERS)


async def start(ensemble: Ensemble) -> None:
    """Until clients are served. *Thread*: the main one, which the servers are tied to. Raises RetryableError."""
    for index in range(len(ensemble.servers)):
        ensemble.start(index)
    try:
        async with asyncio.timeout(_QUORUM_S_MAX):
            while not await asyncio.to_thread(ensemble.has_quorum):  # noqa: ASYNC110 (other processes tell no event)
                await asyncio.sleep(_POLL_S)
    except (DaemonError, TimeoutError) as error:
        raise RetryableError(
            f"the ZooKeeper servers in {ensemble.directory} did not start: {error or 'no quorum in time'}"
        ) from error
