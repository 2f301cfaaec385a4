"""The formats of the file sink, by name."""

from __future__ import annotations

import difflib

from collector.files.compression import NONE
from collector.files.formats.base import ROW_GROUP_BYTES, Buffer, Conversion, Format, StagedFormat
from qanat.errors import ConfigError

AUTO = "auto"

# For each format what it can be compressed with; the first is meant by `auto`. Text is left to the file system or to
# whoever archives it; tables are compressed everywhere, Parquet by default for speed (see parquet.py).
COMPRESSIONS = {
    "raw": ("none", "gzip", "zstd", "bz2", "snappy"),
    "json": ("none", "gzip", "zstd", "bz2", "snappy"),
    "csv": ("none", "gzip", "zstd", "bz2", "snappy"),
    "avro": ("none", "gzip", "zstd", "bz2", "snappy"),
    "parquet": ("snappy", "none", "gzip", "zstd"),
    "orc": ("zstd", "none", "gzip", "snappy"),
}


def faults(name: str, compression: str) -> list[str]:
    """What is wrong with this choice, each a sentence that names the valid ones."""
    valid = COMPRESSIONS.get(name)
    if valid is None:
        return [
            f"format {name!r} is unknown: use one of {', '.join(COMPRESSIONS)}{_hint(name, COMPRESSIONS)}"
        ]
    if compression not in (AUTO, *valid):
        return [f"format {name!r} can't have compression {compression!r}: use one of {', '.join(valid)}"]
    return []


def _hint(name: str, known: dict[str, tuple[str, ...]]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def create(name: str, compression: str = AUTO) -> Format:
    """The format of this name. Raises ConfigError. Imports the library that it needs."""
    wrong = faults(name, compression)
    if wrong:
        raise ConfigError(*wrong)
    if compression == AUTO:
        compression = COMPRESSIONS[name][0]
    match name:
        case "raw":
            from collector.files.formats.raw import Raw

            return Raw(compression)
        case "json":
            from collector.files.formats.json import Json

            return Json(compression)
        case "csv":
            from collector.files.formats.csv import Csv

            return Csv(compression)
        case "avro":
            from collector.files.formats.avro import Avro

            return Avro(compression)
        case "parquet":
            from collector.files.formats.parquet import Parquet

            return Parquet(compression)
    from collector.files.formats.orc import Orc

    return Orc(compression)


def from_label(label: str) -> Format:
    """The format that a token names. Raises ConfigError when this program doesn't know it."""
    name, _, compression = label.partition("/")
    return create(name, compression)


__all__ = [
    "AUTO",
    "COMPRESSIONS",
    "NONE",
    "ROW_GROUP_BYTES",
    "Buffer",
    "Conversion",
    "Format",
    "StagedFormat",
    "create",
    "faults",
    "from_label",
]
