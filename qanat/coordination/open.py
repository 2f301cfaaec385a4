"""Open a coordination store from its URL."""

from __future__ import annotations

from pathlib import Path

from qanat.coordination.store import Store
from qanat.errors import ConfigError


def open_store(url: str) -> Store:
    """The store that `url` names: `embedded:/path/store.db`. Nothing is touched before its first call.

    Raises ConfigError for a URL that no store understands.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or scheme != "embedded":
        raise ConfigError(f"store {url!r}: unknown kind {scheme!r}; write embedded:/path/to/store.db")
    if not rest or rest.endswith("/"):
        raise ConfigError(f"store {url!r} names no file; write embedded:/path/to/store.db")
    from qanat.coordination.embedded import EmbeddedStore

    return EmbeddedStore(Path(rest).expanduser().absolute())
