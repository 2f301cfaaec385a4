"""`mask(attributes...)`: without these attributes; and, with `bodies`, without what must not be stored in bodies.

    coll : autoCollectorSource | mask("password", "session") file("/data/", "x-") ;
    coll : autoCollectorSource | mask(bodies=["card", "email", "ip"]) file("/data/", "x-") ;

`card`: numbers of 13 to 19 digits as card issuers give them, with or without spaces and hyphens; their last four digits stay.
`email`: addresses of mail. `ip`: IPv4 addresses, and IPv6 addresses of three groups or more. Patterns find what looks alike, too:
a number that is no card's is masked if it begins like one.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows, shared
from qanat.errors import ConfigError

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_SEP = r"[ -]?"
# Prefixes of issuers (ISO/IEC 7812): Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro.
_ISSUER = r"(?:4\d{3}|5[0-9]\d{2}|2[2-7]\d{2}|3[04-9]\d{2}|6[0-9]\d{2})"
PATTERNS = {
    "card": (
        rf"\b{_ISSUER}{_SEP}(?:\d{{4}}{_SEP}\d{{4}}{_SEP}(\d{{4}})(?:{_SEP}\d{{1,3}})?|\d{{6}}{_SEP}\d(\d{{4}})|\d{{6}}{_SEP}(\d{{4}})|\d{{5}}(\d{{4}}))\b",
        r"************\1\2\3\4",
    ),
    "email": (r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b", "*****@*****"),
    "ip": (
        rf"\b{_OCTET}(?:\.{_OCTET}){{3}}\b"
        r"|\b(?:[0-9A-Fa-f]{1,4}:){3,7}(?::?[0-9A-Fa-f]{1,4}\b|:)|\b(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}\b",
        "*.*.*.*",
    ),
}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `mask(...)`: attributes or bodies."""

    attributes: list[str] = []  # those that are left out
    bodies: list[Literal["card", "email", "ip"]] = []  # what is masked in bodies


class Mask(Decorator):
    """See the module."""

    name: ClassVar[str] = "mask"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._attributes = list(config.attributes)
        self._kinds = list(dict.fromkeys(config.bodies))
        self._signs = _signs(self._kinds)
        if not self._attributes and not self._kinds:
            raise ConfigError(
                'mask masks nothing; name attributes, mask("password"), or mask(bodies=["card", "email", "ip"])'
            )
        if reserved := sorted(set(self._attributes) & set(shared.RESERVED)):
            raise ConfigError(
                f'mask can\'t leave out "{reserved[0]}", a part of the event itself; mask(bodies=["card"]) and searchReplace '
                "change bodies"
            )
        self.takes_lines = not self._kinds

    def apply(self, batch: Batch) -> Batch:
        if self._kinds:
            batch = self._masked(batch)
        return rows.without(batch, self._attributes) if self._attributes else batch

    def _masked(self, batch: Batch) -> Batch:
        """What is rare is looked for in all bodies at once, and replaced only where it may be."""
        bodies = rows.bodies(batch)
        found = reduce(pc.or_, (pc.match_substring_regex(bodies, each) for each in self._signs))
        some = bodies.filter(found)
        if not len(some):
            return batch
        for kind in self._kinds:
            some = pc.replace_substring_regex(some, *PATTERNS[kind])
        return rows.with_bodies(batch, pc.replace_with_mask(bodies, found, some.cast(pa.binary())))


def _signs(kinds: list[str]) -> list[str]:
    """Patterns of which one matches wherever something is to be masked. A single letter is found ten times as fast."""
    others = [PATTERNS[kind][0] for kind in kinds if kind != "email"]
    found = ["|".join(others)] if others else []
    return [*found, "@"] if "email" in kinds else found
