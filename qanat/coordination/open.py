"""Open a coordination store from its URL."""

from __future__ import annotations

from pathlib import Path

from qanat.coordination.large import LargeValues
from qanat.coordination.store import Store
from qanat.errors import ConfigError

_FORMS = "write embedded:/path/to/store.db or zookeeper://host:2181,host:2181/prefix"


def open_store(url: str) -> Store:
    """The store that `url` names: `embedded:/path/store.db`, or `zookeeper://user@host:2181,host:2181/prefix?option=value`
    (see docs/zookeeper.md). Nothing is touched before its first call, but for the files that a `zookeeper` URL names.

    Raises ConfigError for a URL that no store understands, with every fault in it.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme == "embedded":
        return _embedded(url, rest)
    if colon and scheme == "zookeeper" and rest.startswith("//"):
        from qanat.coordination.zookeeper_store import ZookeeperStore
        from qanat.coordination.zookeeper_url import parse_url

        return LargeValues(ZookeeperStore(parse_url(url)))
    raise ConfigError(f"store {url!r}: unknown kind {scheme!r}; {_FORMS}")


def _embedded(url: str, path: str) -> Store:
    if not path or path.endswith("/"):
        raise ConfigError(f"store {url!r} names no file; {_FORMS}")
    from qanat.coordination.embedded import EmbeddedStore

    return LargeValues(EmbeddedStore(Path(path).expanduser().absolute()))
