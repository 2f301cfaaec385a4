"""`file(directory, prefix)`: bucketed files on a local disk, exactly once and in order.

    coll : collectorSource(35853) | file("/data/logs/%{host}/%Y-%m-%d/", "web-", format="json", compression="gzip") ;

Guarantee: an event is stored when the commit that covers it is, once, in the order of its stream within a bucket.
Readers see a file under its final name when it is complete, and never before; files of one sink and prefix sort by name
in order of writing. Nothing with a final name is ever overwritten, and no event leads out of the directory.

Until then data is below `<root>/.qanat-<sink>/`, where the root is the part of `directory` before its first escape. The
token names the files there and their committed lengths; recovery needs nothing else. See `collector/files/layout.py`.

Where other collectors have the same directory (NFS, CephFS, a volume of the cluster), one of them publishes what a dead
one left; see `collector/files/tenancy.py`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from collector.files import disk, formats, names
from collector.files import token as tokens
from collector.files.buckets import Buckets, parse_buckets
from collector.files.layout import Layout
from collector.files.publisher import Publisher
from collector.files.recovery import recover, set_strays_aside
from collector.files.rolling import Rolling
from collector.files.token import Token
from collector.files.writer import Cut, Writer
from qanat.batch import Batch
from qanat.component import Context, LeftBehind, Prepared, Sink
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError, FencedError, RetryableError
from qanat.escapes import zone
from qanat.limits import MIB

# Each open file may need three descriptors (itself, and two while Parquet or ORC is encoded from it), and one more
# when it was just finished; processes commonly have 1024.
OPEN_FILES_LIMIT = 4096


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `file(...)`.

    `directory`, `prefix`: where files go and how their names begin; with escapes (`%Y`, `%{host}`, ...).
    `format`: raw, json, csv, avro, parquet or orc. `compression`: none, gzip, zstd, bz2 or snappy; auto: snappy
    for parquet, zstd for orc, none for the others.
    `roll`, `roll_size`, `roll_events`, `roll_idle`: a file is finished at this age, size, number of events, or time
    without any; 0 is never.
    `open_files_max`: beyond it, the file not written to for the longest time is finished.
    `timezone`: for the escapes of time. `suffix`: instead of the format's, as `.txt`.
    """

    directory: str
    prefix: str = ""
    format: str = "raw"
    compression: str = formats.AUTO
    # Readers see data after at most this: Flume OG's default (flume.collector.roll.millis).
    roll: Seconds = 30.0
    # An HDFS block, and what query engines like best: small enough to be read by one task, large enough to be worth it.
    roll_size: Bytes = 128 * MIB
    roll_events: int = 0
    # With a roll of 30 s an idle file is finished soon anyway.
    roll_idle: Seconds = 0.0
    # Enough for the hosts and hours that a collector writes at a time; see OPEN_FILES_LIMIT.
    open_files_max: int = 128
    timezone: str = "UTC"
    suffix: str | None = None


class File(Sink):
    """See the module."""

    name: ClassVar[str] = "file"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        """Raises ConfigError that lists every fault of `config`."""
        super().__init__(config, context)
        self._buckets = _checked(config)
        self._format = formats.create(config.format, config.compression)
        suffix = self._format.suffix if config.suffix is None else config.suffix
        sink = names.sink_id(context.logical_node, context.physical_node)
        self._layout = Layout(root=Path(self._buckets.root).absolute(), sink=sink)
        rolling = Rolling(config.roll, config.roll_size, config.roll_events, config.roll_idle)
        self._writer = Writer(
            self._layout, self._format, suffix, rolling, config.open_files_max, context.clock
        )
        self._publisher = Publisher(self._layout, suffix)
        self._failure: Exception | None = None
        self._is_draining = False

    def open(self, token: bytes | None) -> None:
        """Take the lock, and recover. Raises RetryableError, also while another process has the lock; CorruptError
        when committed data is missing; ConfigError when the token is of another directory."""
        if not self._layout.tenancy.is_begun:
            self.claim()
        if token is None:
            set_strays_aside(self._layout)
        self._recover(token)

    def claim(self, *, by_force: bool = False) -> None:
        self._writer.close()
        self._publisher.reset()
        self._layout.tenancy.begin(by_force=by_force)

    def left_behind(self, token: bytes) -> LeftBehind | None:
        decoded = tokens.decode(token)
        is_here = decoded.root == str(self._layout.root) and self._layout.tenancy.home.is_dir()
        if not is_here or self._is_published(decoded):
            return None
        files = (*decoded.open, *decoded.finished)
        return LeftBehind(files=len(files), events=sum(file.events for file in files))

    def append(self, batch: Batch) -> None:
        self._require_sound()
        try:
            if isinstance(batch.payload, bytes):
                self._writer.append(self._buckets.bucket(batch.attributes, batch.timestamp_ns), batch)
            else:
                self._append_columns(batch)
        except OSError as error:
            raise self._failed("writing to", error) from error
        except Exception as error:  # part of the batch may be in files already
            self._failure = error
            raise

    def _append_columns(self, batch: Batch) -> None:
        from collector.files.partition import partition

        for bucket, rows in partition(self._buckets, batch):
            self._writer.append(bucket, replace(batch, payload=rows, count=rows.num_rows))

    def prepare(self) -> Prepared:
        self._require_sound()
        self._writer.forget(self._publisher.published)
        try:
            token, cut = self._writer.cut(finish_all=self._is_draining)
        except OSError as error:
            raise self._failed("writing to", error) from error
        self._is_draining = False
        return Prepared(token=tokens.encode(token), sync=lambda: self._sync(cut))

    def _sync(self, cut: Cut) -> None:
        self._require_sound()
        try:
            cut.sync()
        except OSError as error:
            # Never tried again: after a failed write the kernel may call the pages clean, and the next fdatasync
            # succeed without them (https://lwn.net/Articles/752063/). All beyond the last token is written anew.
            raise self._failed("syncing files in", error) from error

    def publish(self, token: bytes) -> None:
        self._require_sound()
        try:
            self._publisher.publish(self._decoded(token))
        except Exception as error:
            self._failure = error
            raise

    def discard(self, token: bytes | None) -> None:
        with disk.explained("looking for", self._layout.work):
            if self._layout.tenancy.is_lost():
                raise FencedError(f"{self._layout.work} is gone: another collector has adopted this sink")
        self._recover(token)

    def drain(self) -> None:
        self._is_draining = True

    def close(self) -> None:
        self._writer.close()
        self._publisher.reset()
        self._layout.tenancy.end()

    def _recover(self, token: bytes | None) -> None:
        self._failure = RetryableError("recovery did not come to its end", retry_after_s=disk.RETRY_AFTER_S)
        self._writer.close()
        self._publisher.reset()
        committed = self._decoded(token)
        recover(self._layout, committed)
        self._publisher.publish(committed)
        with disk.explained("opening files in", self._layout.work):
            self._writer.restore(committed)
        self._failure = None

    def _decoded(self, token: bytes | None) -> Token:
        if token is None:
            return tokens.empty(str(self._layout.root))
        decoded = tokens.decode(token)
        if decoded.root == str(self._layout.root):
            return decoded
        if not self._is_published(decoded):
            raise ConfigError(
                f"file sink: committed files in {decoded.root} are not finished, but the directory is now "
                f"{self._layout.root}. Start it with the old directory once more and stop it with SIGTERM, which finishes "
                "them, or give the logical node with the new directory another name"
            )
        return msgspec.structs.replace(decoded, root=str(self._layout.root), finished=())

    def _is_published(self, token: Token) -> bool:
        """Whether nothing is left to do where the token's files are; in doubt no."""
        layout = Layout(root=Path(token.root), sink=self._layout.sink)
        with disk.explained("reading", layout.work):
            layout.tenancy.look()
            announced = layout.announced()
        waiting = (layout.temporary, layout.encoded)
        return not token.open and all(
            (layout.final(file).exists() or file.name in announced)
            and not any(os.path.lexists(path(file)) for path in waiting)
            for file in token.finished
        )

    def _failed(self, doing: str, error: OSError) -> RetryableError:
        """Nothing goes on after a failure until `discard`: what is in the files then isn't known."""
        where = error.filename or self._layout.work
        failure = RetryableError(
            f"{doing} {where}: {error.strerror or error}", retry_after_s=disk.RETRY_AFTER_S
        )
        self._failure = failure
        return failure

    def _require_sound(self) -> None:
        if self._failure is not None:
            raise RetryableError(
                f"file sink on {self._layout.root} failed before and was not discarded since: {self._failure}",
                retry_after_s=disk.RETRY_AFTER_S,
            ) from self._failure


def _checked(config: Config) -> Buckets:
    """What the configuration says; raises ConfigError with all of its faults."""
    faults = formats.faults(config.format, config.compression)
    buckets = None
    try:
        buckets = parse_buckets(config.directory, config.prefix, zone(config.timezone))
    except ConfigError as error:
        faults += error.faults
    if not 1 <= config.open_files_max <= OPEN_FILES_LIMIT:
        faults.append(f"open_files_max is {config.open_files_max}: use 1 to {OPEN_FILES_LIMIT}")
    if config.roll_events < 0:
        faults.append(f"roll_events is {config.roll_events}: use 0 for no limit, or a number of events")
    if config.suffix is not None:
        faults += _suffix_faults(config.suffix)
    if faults or buckets is None:
        raise ConfigError(*faults)
    return buckets


def _suffix_faults(suffix: str) -> list[str]:
    if "/" in suffix or "\0" in suffix or "%" in suffix:
        return [f"suffix {suffix!r} contains '/', '%' or NUL: it ends a file name, as '.txt' does"]
    if len(suffix.encode(errors="replace")) > names.SUFFIX_BYTES_MAX:
        return [f"suffix {suffix!r} has more than {names.SUFFIX_BYTES_MAX} bytes"]
    if suffix.endswith(names.TEMPORARY):
        return [f"suffix {suffix!r} would make finished files look temporary"]
    return []
