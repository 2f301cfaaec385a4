"""`zookeeper://user@host:2181,host:2181/prefix?option=value`: what it may say, and every fault in it at once."""

from __future__ import annotations

import difflib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from qanat.coordination.request import check_path
from qanat.errors import ConfigError
from qanat.flow.units import DURATION_NS, parse_number

PASSWORD_VARIABLE = "QANAT_STORE_PASSWORD"
EXAMPLE = "zookeeper://zk1:2181,zk2:2181,zk3:2181/prefix"
DEFAULT_PORT = 2181

# Long enough for a pause of a busy machine, short enough that a dead collector is noticed while somebody waits.
SESSION_S = 10.0

# Servers refuse less than two of their ticks and more than twenty, which are 4 s and 40 s by default, and take the nearest.
SESSION_S_MIN, SESSION_S_MAX = 1.0, 120.0

# The prefix is part of every path, and `request.OP_BYTES` has room for this much.
PREFIX_BYTES_MAX = 96

_OPTIONS = ("session_timeout", "password_file", "tls", "ca", "cert", "key", "verify")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.\-]+)(?::([0-9]{1,5}))?\Z")
_YES_NO = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class ZookeeperOptions:
    """Where the ensemble is, and how to talk to it.

    `hosts`: as kazoo takes them. `prefix`: put before every path, empty or without a trailing slash. `credential`:
    `user:password` for digest authentication; nodes are then for this user only.
    """

    hosts: str
    prefix: str = ""
    session_timeout_s: float = SESSION_S
    credential: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None


def parse_url(url: str, environment: Mapping[str, str] = os.environ) -> ZookeeperOptions:
    """What `url` says; the password from `environment` or the file that it names. Raises ConfigError with every fault."""
    faults: list[str] = []
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    options = _options(parts.query, faults)
    checked = ",".join(_host(host, faults) for host in hosts.split(","))
    parsed = ZookeeperOptions(
        hosts=checked,
        prefix=_prefix(parts.path, faults),
        session_timeout_s=_session_timeout(options, faults),
        credential=_credential(unquote(user) if at else None, options, environment, faults),
        tls=_tls(options, faults),
    )
    if parts.fragment:
        faults.append("'#' has no meaning in it; write %23")
    if faults:
        raise ConfigError(*(f"store {_without_secret(url)!r}: {fault}" for fault in faults))
    return parsed


def _without_secret(url: str) -> str:
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:...@", url)


def _options(query: str, faults: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            close = difflib.get_close_matches(name, _OPTIONS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_OPTIONS)}"
            faults.append(f"unknown option {name!r}; {hint}")
        elif name in options:
            faults.append(f"option {name} is given twice")
        elif not value:
            faults.append(f"option {name} has no value")
        else:
            options[name] = value
    return options


def _host(text: str, faults: list[str]) -> str:
    match = _HOST.match(text)
    port = int(match[2] or DEFAULT_PORT) if match else 0
    if match is None:
        faults.append(f"{text!r} is no host; write {EXAMPLE}")
        return ""
    if not 0 < port < 1 << 16:
        faults.append(f"{text!r}: port {port} is not between 1 and 65535")
    return f"{match[1]}:{port}"


def _prefix(path: str, faults: list[str]) -> str:
    prefix = unquote(path)
    if prefix in ("", "/"):
        return ""
    try:
        check_path(prefix)
    except ValueError as error:
        faults.append(str(error))
    if len(prefix.encode()) > PREFIX_BYTES_MAX:
        faults.append(f"the path has {len(prefix.encode())} bytes, limit {PREFIX_BYTES_MAX}")
    return prefix


def _session_timeout(options: Mapping[str, str], faults: list[str]) -> float:
    if (text := options.get("session_timeout")) is None:
        return SESSION_S
    try:
        number = parse_number(text)
    except ValueError as error:
        faults.append(f"session_timeout: {error}")
        return SESSION_S
    if not isinstance(number, tuple) or number[1] not in DURATION_NS:
        faults.append(f"session_timeout={text} is no duration; write 10s")
        return SESSION_S
    seconds = float(number[0] * DURATION_NS[number[1]] / Decimal(10**9))
    if not SESSION_S_MIN <= seconds <= SESSION_S_MAX:
        faults.append(f"session_timeout={text} is not between {SESSION_S_MIN:g}s and {SESSION_S_MAX:g}s")
    return seconds


def _credential(
    user: str | None, options: Mapping[str, str], environment: Mapping[str, str], faults: list[str]
) -> str | None:
    file, variable = options.get("password_file"), environment.get(PASSWORD_VARIABLE)
    if user is None:
        if file is not None or variable:
            faults.append(f"there is a password but no user; write {EXAMPLE.replace('//', '//user@')}")
        return None
    if not user or ":" in user:
        faults.append(
            f"a user before '@' has a name, and no password: that comes from {PASSWORD_VARIABLE} or password_file"
        )
        return None
    password = _read_password(file, faults) if file is not None else variable
    if password == "" or (password is None and file is None):
        faults.append(f"user {user!r} has no password; set {PASSWORD_VARIABLE}, or password_file=/path")
    return None if password is None else f"{user}:{password}"


def _read_password(file: str, faults: list[str]) -> str | None:
    try:
        return Path(file).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"password_file: {error}")
        return None


def _tls(options: Mapping[str, str], faults: list[str]) -> ssl.SSLContext | None:
    files = [name for name in ("ca", "cert", "key") if name in options]
    wanted = _yes_no("tls", options, bool(files), faults)
    verify = _yes_no("verify", options, True, faults)
    if not wanted:
        if files or "verify" in options:
            faults.append(f"tls=no contradicts {', '.join([*files, *(['verify'] * ('verify' in options))])}")
        return None
    if "key" in options and "cert" not in options:
        faults.append("key has no cert")
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options.get("key"))
    except (OSError, ssl.SSLError) as error:
        faults.append(f"TLS with {', '.join(f'{name}={options[name]}' for name in files)}: {error}")
        return None
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return context


def _yes_no(name: str, options: Mapping[str, str], default: bool, faults: list[str]) -> bool:
    text = options.get(name)
    if text is not None and text not in _YES_NO:
        faults.append(f"{name}={text}: write yes or no")
    return default if text is None else _YES_NO.get(text, default)
