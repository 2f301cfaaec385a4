"""Small disks that run full, freeze, or can't be written to; for root, the only one who may mount."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MIB = 1 << 20


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=60)


def _mounted_or_skipped(*command: str | Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    try:
        _run(*command)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here: {error} {getattr(error, 'stderr', '')}")


@dataclass(slots=True)
class Disk:
    """A mounted file system, with its troubles as verbs."""

    path: Path
    frozen: bool = False

    def fill(self) -> None:
        """Not a byte is left for anybody else."""
        with (self.path / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for block in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * block)

    def free(self) -> None:
        """Make room again."""
        (self.path / "ballast").unlink()

    def freeze(self) -> None:
        """Every write waits, as on a disk that hangs."""
        _run("fsfreeze", "--freeze", self.path)
        self.frozen = True

    def thaw(self) -> None:
        if self.frozen:
            _run("fsfreeze", "--unfreeze", self.path)
            self.frozen = False

    def read_only(self) -> None:
        """As after an I/O error; refused by the kernel while a file is open for writing."""
        _run("mount", "-o", "remount,ro", self.path)

    def writable(self) -> None:
        _run("mount", "-o", "remount,rw", self.path)


@contextlib.contextmanager
def _kept_on_failure(path: Path) -> Iterator[None]:
    """What was on the disk is needed to see what went wrong."""
    try:
        yield
    except BaseException:
        kept = path.parent.parent / f"{path.name}.kept"
        shutil.copytree(path, kept, ignore=shutil.ignore_patterns("ballast", "lost+found"))
        raise


@contextlib.contextmanager
def small_disk(path: Path, size_mib: int) -> Iterator[Disk]:
    """A tmpfs at the new directory `path`; gone afterwards."""
    path.mkdir(parents=True)
    _mounted_or_skipped("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", path)
    try:
        with _kept_on_failure(path):
            yield Disk(path)
    finally:
        _run("umount", "--lazy", path)


@contextlib.contextmanager
def block_disk(path: Path, size_mib: int) -> Iterator[Disk]:
    """An ext4 in a file, on a loop device, at the new directory `path`; gone afterwards."""
    path.mkdir(parents=True)
    image = path.parent.parent / f"{path.name}.img"
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    _mounted_or_skipped("mkfs.ext4", "-q", "-F", image)
    _mounted_or_skipped("mount", "-o", "loop", image, path)
    disk = Disk(path)
    try:
        with _kept_on_failure(path):
            yield disk
    finally:
        disk.thaw()
        _run("umount", "--lazy", path)
        image.unlink()
