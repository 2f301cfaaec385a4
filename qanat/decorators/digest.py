"""`digest(algorithm, attribute)`: a message digest of the body as an attribute.

    coll : autoCollectorSource | digest("SHA-256", "sum") file("/data/", "x-", format="json") ;

In hexadecimal digits, or in base64. Names are Java's (`MD5`, `SHA-1`, `SHA-256`, ...) or Python's (`blake2b`, `sha3_256`, ...).
Arrow has no digests: this is a call of OpenSSL for each event, 400,000 a second.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, ClassVar

import msgspec
import pyarrow as pa

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows, shared
from qanat.errors import ConfigError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `digest(...)`."""

    algorithm: str  # MD5, SHA-1, SHA-256, SHA-384, SHA-512, ...
    attribute: str  # what gets it
    base64: bool = False  # instead of hexadecimal digits


class Digest(Decorator):
    """See the module."""

    name: ClassVar[str] = "digest"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._attribute = shared.checked_name(config.attribute)
        self._algorithm = _python_name(config.algorithm)
        self._base64 = config.base64

    def apply(self, batch: Batch) -> Batch:
        new, bodies = self._new, rows.bodies(batch).to_pylist()
        if self._base64:
            found = [base64.b64encode(new(body).digest()).decode() for body in bodies]
        else:
            found = [new(body).hexdigest() for body in bodies]
        return rows.with_columns(batch, {self._attribute: pa.array(found, pa.string())})

    def _new(self, body: bytes) -> Any:
        return hashlib.new(self._algorithm, body, usedforsecurity=False)


def _python_name(algorithm: str) -> str:
    """Raises ConfigError."""
    lower = algorithm.lower()
    known = {name for name in hashlib.algorithms_available if not name.startswith("shake")}
    for name in (lower, lower.replace("-", ""), lower.replace("-", "_")):
        if name in known:
            return name
    raise ConfigError(
        f"there is no message digest {algorithm!r} on this host; use MD5, SHA-1, SHA-256, SHA-384 and SHA-512"
    )
