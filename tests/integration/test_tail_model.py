"""A model of log files that are written, rotated, cut, switched and deleted, against `tail` and a crashing agent.

Every line is unique, so the model can say which lines of which incarnation must be in storage, in which order: each
exactly once. Only truncation (with nothing read before it) may lose lines, and never doubles or reorders. Whole lines that
are written to a rotated file when its successor has content may come between those of later files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent.tailing import state as state_file
from agent.tailing.stream import Stream
from qanat.errors import CorruptError
from tests.integration.tail_driver import Driver


class Incarnation:
    """What was written to one file, and whether some of it may be lost."""

    def __init__(self) -> None:
        self.written = b""
        self.lossy = False
        self.seen = False
        self.watched = True  # at a path that the glob matches: what has no line end may still get one
        self.path: Path | None = None  # where it was rotated to
        self.late: list[bytes] = []  # lines that were written when its successor had content
        self.held = False  # no name beside its path: only a running agent can still read it

    def lines(self) -> list[bytes]:
        """Complete lines, and at the end of its life the rest."""
        lines = self.written.split(b"\n")
        return lines if lines[-1] else lines[:-1]


class TailModel(RuleBasedStateMachine):
    """One path, one agent."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="tail-model-"))
        self.history: list[Incarnation] = []
        self.serial = 0
        self.now_ns = time.time_ns() - 10**15
        self.rotations = 0
        self.up = False
        self.unsaved: list[Any] = []

    @initialize(glob=st.booleans(), event_bytes=st.sampled_from([1 << 20, 40]), poll=st.booleans())
    def begin(self, glob: bool, event_bytes: int, poll: bool) -> None:
        self.event_bytes = event_bytes
        self.glob = glob
        watch = "poll" if poll else "auto"
        self.driver = Driver(
            self.root,
            "app.log*" if glob else "app.log",
            event_bytes=event_bytes,
            watch=watch,
            poll_interval=1e-9,
            rescan=50.0,
        )
        self.data = self.root / "data"
        self.data.mkdir()
        self.log = self.driver.logs / "app.log"
        self.driver.start()
        self.up = True

    # -- the application ----------------------------------------------------------------------------------------------

    @rule(body=st.binary(max_size=60), lines=st.integers(1, 5), partial=st.booleans(), look=st.booleans())
    def write(self, body: bytes, lines: int, partial: bool, look: bool) -> None:
        if not self.log.exists():
            self.history.append(Incarnation())
        data = b""
        for _line in range(lines):
            self.serial += 1
            data += b"%06d " % self.serial + body.replace(b"\n", b"\r") + b"\n"
        if partial:
            data = data[:-1]
        with self.log.open("ab") as file:
            file.write(data)
        self.stamp(self.log)
        self.history[-1].written += data
        if look:
            self.see()

    def stamp(self, path: Path) -> None:
        """Give every change a time of its own, as if there were some milliseconds between."""
        self.now_ns += 10**7
        os.utime(path, ns=(self.now_ns, self.now_ns))

    def is_known(self) -> bool:
        """Whether this path had a stream: what was created and rotated away unseen is then found by its age.

        Otherwise it is lost or, under a glob, has an order of its own: not promised."""
        if not self.history or self.history[-1].seen:
            return True
        if self.log.is_symlink():  # what a link pointed to without being seen can't be known
            return False
        if self.up:
            return self.driver.tail._registry.seen_ns(str(self.log)) is not None
        state = self.load_state()
        if state is None:
            return False
        homes = [saved.home for saved in state.streams] + [saved.path for saved in state.homes]
        return str(self.log) in homes

    def load_state(self) -> state_file.Loaded | None:
        try:
            return state_file.load(self.driver.state_dir)
        except CorruptError:
            return None

    @precondition(lambda self: self.log.exists() and (self.is_known() or not self.glob))
    @rule(look=st.booleans())
    def rotate(self, look: bool) -> None:
        self.rotations += 1
        self.history[-1].watched = self.glob
        nobodys = not self.up and not self.driver.committed and self.load_state() is None
        if nobodys or not self.is_known():
            self.history[-1].lossy = True
        self.history[-1].path = self.driver.logs / f"app.log.{self.rotations}"
        self.log.rename(self.history[-1].path)
        if look:
            self.see()

    @precondition(lambda self: self.up)
    @rule(body=st.binary(max_size=20), back=st.integers(1, 3))
    def straggle(self, body: bytes, back: int) -> None:
        """Somebody still writes to a rotated file, or completes its last line."""
        if len(self.history) < back:
            return
        self.driver.poll()
        old = self.history[-back]
        stream = self.stream_of(old)
        if old.path is None or stream is None or stream.end is not None:
            return
        is_whole = old.written.endswith(b"\n")
        if not is_whole and stream.at:  # a line is not waited for beyond `rotate_wait` where it may never end
            return
        self.serial += 1
        line = b"%06d " % self.serial + body.replace(b"\n", b"\r") + b"\n"
        with old.path.open("ab") as file:
            file.write(line)
        self.stamp(old.path)
        if is_whole and any(later.written for later in self.history[len(self.history) - back + 1 :]):
            old.late.append(line)
        else:
            old.written += line
        self.driver.poll()

    def stream_of(self, old: Incarnation) -> Stream | None:
        if old.path is None or not old.path.exists():
            return None
        status = old.path.stat()
        return self.driver.tail._registry.at_inode((status.st_dev, status.st_ino))

    @precondition(lambda self: self.log.exists() and self.up)
    @rule()
    def delete(self) -> None:
        self.see()  # a file that was never opened is gone when it is deleted
        self.history[-1].held = not self.log.is_symlink()
        self.history[-1].watched = False
        self.log.unlink()
        self.see()

    @precondition(lambda self: self.log.exists() and (self.up or self.is_known()))
    @rule(read_before=st.booleans(), copy=st.booleans(), look=st.booleans(), see=st.booleans())
    def copytruncate(self, read_before: bool, copy: bool, look: bool, see: bool) -> None:
        # A copy that is known as one ends there; one of a file that nobody saw may still get its line end, where it is watched.
        is_cut = self.glob and not self.history[-1].written.endswith(b"\n")
        # And what was copied while there was neither an agent nor its state is nobody's.
        if not self.up and (is_cut or self.load_state() is None):
            return
        if see or is_cut or not self.is_known():
            self.see()
        if read_before and self.up:
            self.driver.sync()
        self.history[-1].watched = False
        if copy and not self.log.is_symlink():
            self.rotations += 1
            self.copy(self.driver.logs / f"app.log.{self.rotations}", look)
        else:
            self.history[-1].lossy = True
        self.log.write_bytes(b"")
        self.stamp(self.log)
        self.history.append(Incarnation())
        if see:
            self.see()

    def copy(self, target: Path, look: bool) -> None:
        with self.log.open("rb") as original, target.open("wb") as copy:
            copy.write(original.read(100))
            copy.flush()
            if look:
                self.see()
            copy.write(original.read())
        self.stamp(target)
        if look:
            self.see()

    @precondition(lambda self: self.log.exists() and (self.history[-1].seen or not self.glob))
    @rule()
    def switch_link(self) -> None:
        if not self.history[-1].seen:
            self.history[-1].lossy = True
        if not self.log.is_symlink():
            self.rotate(look=True)
        self.history[-1].watched &= not self.log.is_symlink()
        self.rotations += 1
        target = self.data / f"target.{self.rotations}"
        target.touch()
        link = self.driver.logs / "link.new"
        link.symlink_to(target)
        self.see()
        link.rename(self.log)  # over the old link
        self.history.append(Incarnation())
        self.see()

    def see(self) -> None:
        """A running agent notices before the next thing happens: what nobody ever saw can't be promised."""
        if self.up:
            self.driver.poll()
            if self.log.exists() and self.history and self.history[-1].written:
                self.history[-1].seen = True

    # -- the agent ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.up)
    @rule(max_bytes=st.sampled_from([1, 30, 1 << 20]), batches=st.integers(1, 6), commit=st.integers(0, 6))
    def read(self, max_bytes: int, batches: int, commit: int) -> None:
        got = self.driver.read(max_bytes, batches=batches)
        ready = [
            batch
            for batch in got[:commit]
            if batch.start == self.driver.committed.get(batch.stream, batch.start)
        ]
        self.driver.commit(ready)
        if len(ready) < len(got):
            self.driver.rewind()

    @precondition(lambda self: self.up)
    @rule()
    def wait(self) -> None:
        self.driver.clock.advance(self.driver.config.rotate_wait + 1)
        self.driver.poll()

    @precondition(lambda self: self.up)
    @rule(commit=st.booleans(), lost_ack=st.booleans())
    def crash(self, commit: bool, lost_ack: bool) -> None:
        if commit:
            self.driver.commit(self.driver.read(batches=3), acknowledge=not lost_ack)
        self.driver.crash()
        self.up = False
        self.lose_held()

    @precondition(lambda self: not self.up)
    @rule()
    def start(self) -> None:
        self.driver.start()
        self.up = True
        self.see()

    @precondition(lambda self: self.up)
    @rule()
    def restart(self) -> None:
        self.driver.restart()
        self.lose_held()
        self.see()

    def lose_held(self) -> None:
        for old in self.history:
            old.lossy |= old.held

    @precondition(lambda self: not self.up and not self.glob and not self.log.is_symlink())
    @rule(corrupt=st.booleans())
    def lose_state(self, corrupt: bool) -> None:
        state = self.driver.state_dir / "tail.state"
        # Of files that were rotated away only those known downstream can be recognised without state.
        if (
            self.log.exists()
            and len(self.driver.tail._registry) == 0
            and self.rotations == 0
            and state.exists()
        ):
            state.write_bytes(b"garbage") if corrupt else state.unlink()

    def teardown(self) -> None:
        try:
            if hasattr(self, "driver"):
                self.finish()
        finally:
            shutil.rmtree(self.root)

    def finish(self) -> None:
        if not self.up:
            self.driver.start()
        self.driver.clock.advance(100)
        self.driver.rewind()
        for _round in range(len(self.history) + 1):
            self.driver.settle()
        self.check()
        if all(not old.lossy for old in self.history):
            assert self.driver.counts["bytes_lost_truncate"] == 0
        self.driver.close()

    def check(self) -> None:
        """The storage holds every incarnation's lines, once, in order; of a lossy one, some of them."""
        out = self.driver.output()
        if self.event_bytes < 1000:
            # Pieces of split lines: compare without line ends, within what was not split by chance.
            out = out.replace(b"\n", b"")
        for late in [line for old in self.history for line in old.late]:
            line = late if self.event_bytes > 1000 else late[:-1]
            assert out.count(line) == 1, (line, out)
            out = out.replace(line, b"")
        at = 0
        for old in self.history:
            live = old.watched
            expected = old.written
            if live:
                cut = expected.rfind(b"\n") + 1
                expected = expected[:cut] if self.event_bytes > 1000 else expected
            elif expected and not expected.endswith(b"\n"):
                expected += b"\n"
            if self.event_bytes < 1000:
                expected = expected.replace(b"\n", b"")
            at = self._match(out, at, expected, old.written, old.lossy or (live and self.event_bytes < 1000))
        assert at == len(out), (out[at:], out)

    def _match(self, out: bytes, at: int, expected: bytes, written: bytes, lossy: bool) -> int:
        """After what `out` has of one incarnation."""
        if not lossy:
            assert out.startswith(expected, at), (out[at:], expected)
            return at + len(expected)
        # An ordered selection of its lines; the last one may have lost its end. Serial numbers tell lines apart.
        for line in written.split(b"\n"):
            if line and out.startswith(line[:7], at):
                while line and not out.startswith(line, at):
                    line = line[:-1]
                at += len(line)
                at += out.startswith(b"\n", at)
        return at


TestTailModel = TailModel.TestCase
TestTailModel.settings = settings(
    settings.default, stateful_step_count=25, max_examples=max(30, settings.default.max_examples // 10)
)
