"""`mask(attributes...)`: without these attributes; and, with `bodies`, without what must not be stored in bodies.

    coll : autoCollectorSource | mask("password", "session") file("/data/", "x-") ;
    coll : autoCollectorSource | mask(bodies=["card", "email", "ip"]) file("/data/", "x-") ;

`card`: numbers of 13 to 19 digits as card issuers give them, with or without spaces, hyphens and dots; their last four digits
stay. `email`: addresses of mail. `ip`: addresses of IPv4 and IPv6. Patterns find what looks alike, too: a number that is no
card's is masked if it begins like one. What is part of a word or of a longer number is none.
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
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUP = r"[0-9A-Fa-f]{1,4}"
# Groups before the two colons, and as many after them as there may be; a prefix of a network has two at least. Without the colons
# it has eight, so that neither times nor MAC addresses are any.
_IPV6 = "|".join(
    (
        rf"(?:{_GROUP}:){{6}}{_IPV4}|(?:{_GROUP}:){{1,5}}(?::{_GROUP}){{0,4}}:{_IPV4}|::(?:{_GROUP}:){{0,5}}{_IPV4}",
        rf"(?:{_GROUP}:){{7}}(?:{_GROUP}\b|:)",
        rf"{_GROUP}:(?::{_GROUP}){{1,6}}\b",
        *(rf"(?:{_GROUP}:){{{count}}}(?:(?::{_GROUP}){{1,{7 - count}}}\b|:)" for count in range(2, 7)),
        rf"::(?:{_GROUP}:){{1,6}}{_GROUP}\b|::\d[0-9A-Fa-f]{{0,3}}\b",
    )
)
_SEP = r"[ -]?"
# Prefixes of issuers (ISO/IEC 7812): Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro.
_ISSUER = r"(?:4\d{3}|5[0-9]\d{2}|2[2-7]\d{2}|3[04-9]\d{2}|6[0-9]\d{2})"
_LETTER = (
    r"[A-Za-z0-9._%+\x80-\xff-]"  # of a local part; bodies are bytes, so that all of UTF-8's are letters
)
_LABEL = r"[A-Za-z0-9\x80-\xff-]+"
# What stands beside a number or an address: no letter or digit; a line end in JSON is a backslash and a letter.
PATTERNS = {
    "card": (
        rf"(\b|_|\\[nrt]){_ISSUER}(?:\d{{9,11}}(\d{{4}})|\.\d{{4}}\.\d{{4}}\.(\d{{4}})"
        rf"|{_SEP}\d{{4}}{_SEP}\d{{4}}{_SEP}(\d{{4}})(?:{_SEP}\d{{1,3}})?|{_SEP}\d{{6}}{_SEP}\d(\d{{4}})"
        rf"|{_SEP}\d{{6}}{_SEP}(\d{{4}})|{_SEP}\d{{5}}(\d{{4}}))(\b|_)",
        r"\1************\2\3\4\5\6\7\8",
    ),
    "email": (
        rf"{_LETTER}+(?:'{_LETTER}+)*@{_LABEL}(?:\.{_LABEL})*\.[A-Za-z\x80-\xff]{{2,}}",
        "*****@*****",
    ),
    "ip": (
        rf"(\b|_|\\[nrt]){_IPV4}(\b|_)|(^|[^0-9A-Za-z_:])(?:{_IPV6})",
        r"\1\3*.*.*.*\2",
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
