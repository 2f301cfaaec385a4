"""What is the same for all commands of one user: masters, author, form of output. Command line, environment, or a file."""

from __future__ import annotations

import getpass
import os
import socket
import tomllib
from pathlib import Path

import msgspec

from qanat.errors import ConfigError
from qanat.rpc.address import MASTER_PORT, host_port

EXAMPLE = 'master = "m1:35872,m2:35872"'


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`~/.config/qanat/config.toml`."""

    master: str | list[str] = ""
    author: str = ""
    output: str = ""


def path() -> Path:
    """Where the configuration file is, or would be."""
    if named := os.environ.get("QANAT_CONFIG"):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "qanat" / "config.toml"


def read() -> File:
    """The configuration file; nothing when there is none. Raises ConfigError."""
    file = path()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return File()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {file} can't be read: {error}") from error
    try:
        return msgspec.convert(tomllib.loads(text), File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"configuration file {file}: {error}; it should look like: {EXAMPLE}") from error


def masters(given: str | None, file: File) -> tuple[str, ...]:
    """`host:port` of each. Raises ConfigError when nobody said where they are."""
    configured = file.master if isinstance(file.master, str) else ",".join(file.master)
    parts = (part.strip() for part in (given or configured).split(","))
    found = tuple(dict.fromkeys(host_port(part, MASTER_PORT) for part in parts if part))
    if not found:
        raise ConfigError(
            f"which master? Say --master HOST:PORT, or set QANAT_MASTER, or write into {path()}: {EXAMPLE}"
        )
    return found


def author(file: File) -> str:
    """Who is named in the history."""
    if said := os.environ.get("QANAT_AUTHOR") or file.author:
        return said
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
