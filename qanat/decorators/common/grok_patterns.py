"""Named patterns for `grok`, without look-around and possessive quantifiers, which RE2 does not have. [pure]"""

from __future__ import annotations

import re
from collections.abc import Sequence

from qanat.decorators.common.grok_formats import FORMATS
from qanat.errors import ConfigError
from qanat.flow.faults import did_you_mean

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUP = r"[0-9A-Fa-f]{1,4}"

# With so many groups before the two colons: what follows them is then as long as it can be.
_SHORTENED = "|".join(rf"(?:{_GROUP}:){{{n}}}(?:(?::{_GROUP}){{1,{7 - n}}}|:)" for n in range(1, 8) if n < 7)
_IPV6 = (
    rf"(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{6}}{_IPV4}|(?:{_GROUP}:){{1,5}}(?::{_GROUP}){{0,4}}:{_IPV4}"
    rf"|::(?:{_GROUP}:){{0,5}}{_IPV4}|{_SHORTENED}|(?:{_GROUP}:){{7}}:|:(?:(?::{_GROUP}){{1,7}}|:)"
)

# The building blocks; whole formats are in grok_formats.
BASE = {
    "USERNAME": r"[a-zA-Z0-9._-]+",
    "USER": r"%{USERNAME}",
    "EMAILLOCALPART": r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]+",
    "EMAILADDRESS": r"%{EMAILLOCALPART}@%{HOSTNAME}",
    "INT": r"[+-]?\d+",
    "BASE10NUM": r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)",
    "NUMBER": r"%{BASE10NUM}",
    "BASE16NUM": r"[+-]?(?:0x)?[0-9A-Fa-f]+",
    "BASE16FLOAT": r"\b[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)\b",
    "POSINT": r"\b[1-9]\d*\b",
    "NONNEGINT": r"\b\d+\b",
    "WORD": r"\b\w+\b",
    "NOTSPACE": r"\S+",
    "SPACE": r"\s*",
    "DATA": r".*?",
    "GREEDYDATA": r".*",
    "QUOTEDSTRING": r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`",
    "QS": r"%{QUOTEDSTRING}",
    "UUID": r"[A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12}",
    "URN": r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:(?:%[0-9A-Fa-f]{2}|[0-9A-Za-z()+,.:=@;$_!*'/?#-])+",
    "CISCOMAC": r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}",
    "WINDOWSMAC": r"(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}",
    "COMMONMAC": r"(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}",
    "MAC": r"%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC}",
    "IPV4": rf"\b{_IPV4}\b",
    "IPV6": rf"(?:{_IPV6})(?:%[0-9A-Za-z._~-]+)?",
    "IP": r"%{IPV6}|%{IPV4}",
    "HOSTNAME": r"\b[0-9A-Za-z][0-9A-Za-z-]{0,62}(?:\.[0-9A-Za-z][0-9A-Za-z-]{0,62})*\.?",
    "IPORHOST": r"%{IP}|%{HOSTNAME}",
    "HOSTPORT": r"%{IPORHOST}:%{POSINT}",
    "UNIXPATH": r"(?:/[\w_%!$@:.,+~-]*)+",
    "WINPATH": r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+",
    "PATH": r"%{UNIXPATH}|%{WINPATH}",
    "TTY": r"/dev/(?:pts|tty[pq]?)\w*/?\d+",
    "URIPROTO": r"[A-Za-z][A-Za-z0-9+.-]*",
    "URIHOST": r"%{IPORHOST}(?::%{POSINT})?",
    "URIPATH": r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+",
    "URIQUERY": r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*",
    "URIPARAM": r"\?%{URIQUERY}",
    "URIPATHPARAM": r"%{URIPATH}(?:%{URIPARAM})?",
    "URI": r"%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?",
    "MONTH": (
        r"\b(?i:jan(?:uary?)?|feb(?:ruary?)?|m(?:a|\x{e4}|ae)?r(?:ch|z)?|apr(?:il)?|ma[yi]|jun[ei]?|jul[yi]?|aug(?:ust)?"
        r"|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\b"
    ),
    "MONTHNUM": r"0?[1-9]|1[0-2]",
    "MONTHNUM2": r"0[1-9]|1[0-2]",
    "MONTHDAY": r"0[1-9]|[12]\d|3[01]|[1-9]",
    "DAY": r"Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?",
    "YEAR": r"(?:\d\d){1,2}",
    "HOUR": r"2[0-3]|[01]?\d",
    "MINUTE": r"[0-5]\d",
    "SECOND": r"(?:[0-5]?\d|60)(?:[:.,]\d+)?",
    "TIME": r"%{HOUR}:%{MINUTE}(?::%{SECOND})?",
    "DATE_US": r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}",
    "DATE_EU": r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}",
    "DATE": r"%{DATE_US}|%{DATE_EU}",
    "ISO8601_TIMEZONE": r"Z|[+-]%{HOUR}:?%{MINUTE}",
    "ISO8601_SECOND": r"%{SECOND}",
    "TIMESTAMP_ISO8601": r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?",
    "TZ": r"[A-Z]{3,4}",
    "DATESTAMP": r"%{DATE}[- ]%{TIME}",
    "DATESTAMP_RFC822": r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}",
    "DATESTAMP_RFC2822": r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}",
    "DATESTAMP_OTHER": r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}",
    "DATESTAMP_EVENTLOG": r"%{YEAR}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}",
    "HTTPDATE": r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}",
    "HTTPDERROR_DATE": r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{YEAR}",
    "SYSLOGTIMESTAMP": r"%{MONTH} +%{MONTHDAY} %{TIME}",
    "PROG": r"[\x21-\x5a\x5c\x5e-\x7e]+",
    "SYSLOGPROG": r"%{PROG:program}(?:\[%{POSINT:pid}\])?",
    "SYSLOGHOST": r"%{IPORHOST}",
    "SYSLOGFACILITY": r"<%{NONNEGINT:facility}\.%{NONNEGINT:priority}>",
    "LOGLEVEL": (
        r"(?i:trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe"
        r"|emerg(?:ency)?|alert)"
    ),
    "HTTPDUSER": r"%{EMAILADDRESS}|%{USER}",
}  # fmt: skip
PATTERNS = BASE | FORMATS

# Logstash's own patterns say `timestamp`, which is the event's time here.
RENAMED = {"timestamp": "timestamp_text"}

_REFERENCE = re.compile(r"%\{(?P<name>\w+)(?::(?P<attribute>[^{}:]+))?(?::(?:int|float|string))?\}")
_NO_REFERENCE = re.compile(r"%\{\w+:[^{}]*\}?")

# Patterns within patterns. Logstash's own go five deep; one that is its own part would have no end.
DEPTH_MAX = 20


def expanded(pattern: str, definitions: Sequence[str]) -> tuple[str, dict[int, str]]:
    """The regular expression, and the attribute of each group that makes one. Raises ConfigError."""
    known = PATTERNS | dict(_definition(each) for each in definitions)
    text = _expanded(pattern, known, 0)
    names: dict[int, str] = {}
    number = 0
    for opened in re.finditer(
        r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|(\(\?P<q_(\w+)>)|\(\?P?<(\w+)>|\((?!\?)",
        text,
        re.DOTALL,
    ):
        if opened[0].startswith("("):
            number += 1
            if opened[1]:
                names[number] = bytes.fromhex(opened[2]).decode()
            elif opened[3]:
                names[number] = opened[3]
    return re.sub(r"\(\?P<q_\w+>", "(", text), names


def _definition(text: str) -> tuple[str, str]:
    name, _, pattern = text.partition(" ")
    if not pattern or not re.fullmatch(r"\w+", name):
        raise ConfigError(
            f"the definition {text!r} is not a name, a space and a pattern, as 'TICKET [A-Z]+-\\d+'"
        )
    return name, pattern


def _expanded(text: str, known: dict[str, str], depth: int) -> str:
    if depth > DEPTH_MAX:
        raise ConfigError(
            f"patterns within patterns more than {DEPTH_MAX} deep: {text!r} is a part of itself"
        )

    def change(found: re.Match[str]) -> str:
        name, attribute = found["name"], found["attribute"]
        if name not in known:
            raise ConfigError(
                f'there is no pattern "{name}"{did_you_mean(name, known)}; definitions=["{name} ..."] would add it'
            )
        inner = _expanded(known[name], known, depth + 1)
        if attribute is None:
            return f"(?:{inner})"
        return f"(?P<q_{_plain(attribute).encode().hex()}>{inner})"

    if wrong := _NO_REFERENCE.search(_REFERENCE.sub("", text)):
        raise ConfigError(
            f"{wrong[0]!r} is not %{{NAME}}, %{{NAME:attribute}} or %{{NAME:attribute:TYPE}}, where TYPE is int, float or string"
        )
    return _REFERENCE.sub(change, text)


def _plain(attribute: str) -> str:
    """`source.ip` for Logstash's `[source][ip]`."""
    parts = re.fullmatch(r"(?:\[[^\[\]]+\])+", attribute)
    name = ".".join(re.findall(r"\[([^\[\]]+)\]", attribute)) if parts else attribute
    return RENAMED.get(name, name)
