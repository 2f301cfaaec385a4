"""Which file an event belongs to: the directory and prefix of the configuration, with their escapes expanded. [pure]

The directory up to its last component without escapes before the first one with any is the *root*. Nothing that comes
with an event can lead out of it: expanded text never contains a separator, is never `.` or `..`, and never begins a
hidden name (the sink keeps its own files in one). Components that expand to nothing vanish, as in Flume OG.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import PurePath

from collector.files import names
from qanat.errors import ConfigError
from qanat.escapes import (
    MINUTE_NS,
    NANOS,
    PRIORITY,
    PRIORITY_DEFAULT,
    Attribute,
    Literal,
    Piece,
    Time,
    parse,
)

_SCHEME = "file://"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where an event goes: a directory relative to the root (`""`: the root itself), and the beginning of file names."""

    directory: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Buckets:
    """A parsed `directory` and `prefix`."""

    root: PurePath
    components: tuple[tuple[Piece, ...], ...]
    prefix: tuple[Piece, ...]
    zone: tzinfo

    @property
    def attributes(self) -> frozenset[str]:
        """Names of the attributes that decide where an event goes."""
        return frozenset(
            piece.name for piece in self._pieces() if isinstance(piece, Attribute) and piece.name != NANOS
        )

    @property
    def resolution_ns(self) -> int | None:
        """Events of one such step of time, and of equal attributes, share a bucket; None: time doesn't matter."""
        steps = [piece.resolution_ns for piece in self._pieces() if isinstance(piece, Time)]
        if Attribute(NANOS) in self._pieces():
            return 1
        return min(steps, default=None)

    def bucket(self, attributes: Mapping[str, str], timestamp_ns: int) -> Bucket:
        """The bucket of an event (or of all events of a batch). Never raises, whatever the values."""

        def text(pieces: tuple[Piece, ...]) -> str:
            return "".join(self._expand(piece, attributes, timestamp_ns) for piece in pieces)

        parts = [_component(pieces, text) for pieces in self.components]
        prefix = names.component(text(self.prefix), names.PREFIX_BYTES_MAX)
        return Bucket(directory="/".join(part for part in parts if part), prefix=prefix)

    def _expand(self, piece: Piece, attributes: Mapping[str, str], timestamp_ns: int) -> str:
        match piece:
            case Literal(text):
                return text
            case Time():
                return names.sanitised(piece.expand(timestamp_ns, self.zone))
            case Attribute(name) if name == NANOS:
                return str(timestamp_ns)
            case Attribute(name):
                default = PRIORITY_DEFAULT if name == PRIORITY else ""
                return names.sanitised(attributes.get(name, default))

    def _pieces(self) -> list[Piece]:
        return [piece for pieces in (*self.components, self.prefix) for piece in pieces]


def parse_buckets(directory: str, prefix: str, zone: tzinfo) -> Buckets:
    """Raises ConfigError that lists every fault of both."""
    faults: list[str] = []
    components = _collect(faults, lambda: _components(parse(directory.removeprefix(_SCHEME), "directory")))
    pieces = _collect(faults, lambda: parse(prefix, "prefix"))
    faults += _directory_faults(directory, components) + _prefix_faults(prefix, pieces)
    if faults:
        raise ConfigError(*faults)
    fixed = next((at for at, part in enumerate(components) if not _is_fixed(part)), len(components))
    root = "/".join(_fixed_text(part) for part in components[:fixed])
    if not root and directory.removeprefix(_SCHEME).startswith("/"):
        raise ConfigError(
            f"directory {directory!r} begins with an escape: name a fixed directory first, as in '/data/%Y/'; "
            "everything is kept beneath it"
        )
    return Buckets(
        root=PurePath(root or "."),
        components=tuple(part for part in components[fixed:] if part),
        prefix=tuple(pieces),
        zone=zone,
    )


def _collect(faults: list[str], parse_one: Callable[[], list[Piece] | list[tuple[Piece, ...]]]) -> list:  # type: ignore[type-arg]
    try:
        return parse_one()
    except ConfigError as error:
        faults.extend(error.faults)
        return []


def _components(pieces: list[Piece]) -> list[tuple[Piece, ...]]:
    """Pieces between separators; `%D` (08/31/26) has separators of its own, as in Flume OG."""
    components: list[list[Piece]] = [[]]
    for piece in pieces:
        if piece == Time("D"):
            components[-1].append(Time("m"))
            components += [[Time("d")], [Time("y")]]
        elif isinstance(piece, Literal):
            first, *others = piece.text.split("/")
            components[-1] += [Literal(first)] if first else []
            components += [[Literal(other)] if other else [] for other in others]
        else:
            components[-1].append(piece)
    return [tuple(component) for component in components]


def _is_fixed(component: tuple[Piece, ...]) -> bool:
    return all(isinstance(piece, Literal) for piece in component)


def _fixed_text(component: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in component if isinstance(piece, Literal))


def _component(pieces: tuple[Piece, ...], text: Callable[[tuple[Piece, ...]], str]) -> str:
    """Components that hold an escape are made safe; the operator's own stay as they are."""
    return text(pieces) if _is_fixed(pieces) else names.component(text(pieces))


def _directory_faults(directory: str, components: list[tuple[Piece, ...]]) -> list[str]:
    if not directory:
        return ["directory is empty: say where the files go"]
    faults = []
    if any(".." in (piece.text for piece in part if isinstance(piece, Literal)) for part in components):
        faults.append(f"directory {directory!r} contains '..': write the directory that is meant")
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", directory)
    if scheme is not None and not directory.startswith(_SCHEME):
        faults.append(
            f"directory {directory!r}: the file sink writes to local disks, not to {scheme[0]}; write a path"
        )
    if directory.startswith("~"):
        faults.append(f"directory {directory!r}: '~' is not expanded; write the whole path")
    if "\0" in directory:
        faults.append(f"directory {directory!r} contains a NUL character")
    if any(
        len(_fixed_text(part).encode(errors="replace")) > names.NAME_BYTES_MAX
        for part in components
        if _is_fixed(part)
    ):
        faults.append(f"directory {directory!r} has a component of more than {names.NAME_BYTES_MAX} bytes")
    return faults


def _prefix_faults(prefix: str, pieces: list[Piece]) -> list[str]:
    faults = []
    if any(isinstance(piece, Literal) and ("/" in piece.text or "\0" in piece.text) for piece in pieces):
        faults.append(
            f"prefix {prefix!r} contains '/' or NUL: it begins a file name; put directories into directory"
        )
    if Time("D") in pieces:
        faults.append(f"prefix {prefix!r} contains '%D', which has '/' in it: use %m-%d-%y")
    if pieces and isinstance(pieces[0], Literal) and pieces[0].text.startswith((".", "_")):
        faults.append(
            f"prefix {prefix!r} begins with {pieces[0].text[0]!r}: readers skip such files as hidden"
        )
    return faults


__all__ = ["MINUTE_NS", "Bucket", "Buckets", "parse_buckets"]
