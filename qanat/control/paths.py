"""Where the control plane keeps what in the coordination store. [pure]

/qanat/revision                       Revision; its version is the configuration's: every write of the next three sets it
/qanat/staged                         Staged: a large change that is not yet in its places, else empty
/qanat/config/<logical>               Config: the statement; one without text was deleted, so that versions go on growing
/qanat/mapping/<physical>             Mapping: logical nodes placed by hand
/qanat/limits/<id>                    Limit
/qanat/history/<logical>/<version>    Config, as it was; bounded
/qanat/known/<shard>                  Known: the physical nodes that ever registered
/qanat/nodes/<physical>               CollectorNode, ephemeral
/qanat/live                           Live: collectors that automatic chains may name, by the leader
/qanat/masters/<id>                   MasterNode, ephemeral
/qanat/leader, /qanat/epoch           the masters' election
"""

from __future__ import annotations

import zlib
from urllib.parse import quote, unquote

ROOT = "/qanat"
REVISION = f"{ROOT}/revision"
STAGED = f"{ROOT}/staged"
CONFIG = f"{ROOT}/config"
MAPPING = f"{ROOT}/mapping"
LIMITS = f"{ROOT}/limits"
HISTORY = f"{ROOT}/history"
KNOWN = f"{ROOT}/known"
NODES = f"{ROOT}/nodes"
LIVE = f"{ROOT}/live"
MASTERS = f"{ROOT}/masters"

# Everything that a change of the configuration can consist of, besides history.
CONFIGURED = (CONFIG, MAPPING, LIMITS)

# A million physical nodes at 150 bytes each are 600 kB in each of 256 documents, below what ZooKeeper takes; few enough to
# read them all.
KNOWN_SHARDS = 256


def of(parent: str, name: str) -> str:
    """The path of `name`, whatever characters it has, below `parent`."""
    return f"{parent}/{quote(name, safe='')}"


def name(child: str) -> str:
    """What a child is called: the inverse of `of`, for a path or its last part."""
    return unquote(child.rpartition("/")[2])


def version_of(logical: str, version: int) -> str:
    """Where a former version of a logical node's configuration is."""
    return f"{of(HISTORY, logical)}/{version:010}"


def known_shard(physical: str) -> str:
    """The document that knows `physical`."""
    return f"{KNOWN}/{zlib.crc32(physical.encode()) % KNOWN_SHARDS:02x}"


def known_shards() -> list[str]:
    """All documents of known physical nodes."""
    return [f"{KNOWN}/{shard:02x}" for shard in range(KNOWN_SHARDS)]
