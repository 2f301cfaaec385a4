"""sqlChannel on a PostgreSQL server that is killed, paused and restarted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.channels import sql_reader, sql_writer
from qanat.errors import ConfigError, RetryableError
from qanat.testing.postgres import Postgres
from tests.contract.channels import KIB, Bench, Feed, Kind, batches, bodies

RETRY_S = 0.05
BATCHES = 400
KILLS = 3


# Of module scope, so that the server that all share is started before a test counts its children.
@pytest.fixture(scope="module")
def shared(postgresql: Postgres) -> Postgres:
    return postgresql


@pytest.fixture
def breakable(postgresql_installed: None, tmp_path: Path) -> Iterator[Postgres]:
    """A server of the test's own: the process that comes after a kill is another one."""
    with Postgres(tmp_path) as server:
        yield server


def bench_on(server: Postgres, tmp_path: Path) -> Bench:
    password = tmp_path / "password"
    password.write_text(server.password)
    url = server.database(f"t{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]}")
    options = {"url": url, "password_file": str(password)}
    kind = Kind("qanat.channels.sql:SqlChannel", keeps=True, options=lambda directory, server: options)
    return Bench(kind, tmp_path / "state")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module in (sql_writer, sql_reader):
        monkeypatch.setattr(module, "backoff_s", lambda attempt, max_s: RETRY_S)


def put_anyway(feed: Feed, batch):
    """*Blocking* while the server is away; how often it was."""
    refusals = 0
    while True:
        try:
            feed.put_patiently(batch)
        except RetryableError:
            refusals += 1
            threading.Event().wait(RETRY_S)
            continue
        return refusals


def test_nothing_is_lost_or_doubled_when_the_server_is_killed_in_mid_run(breakable, tmp_path):
    bench, server = bench_on(breakable, tmp_path), breakable
    put = batches(BATCHES, count=8, size=1 * KIB)
    everything = bodies(put)
    with bench.opened() as feed:
        feed.view.begin()
        refusals = 0
        restart: threading.Timer | None = None
        for number, batch in enumerate(put):
            refusals += put_anyway(feed, batch)
            if number % (BATCHES // (KILLS + 1)) == 10:
                if restart is not None:
                    restart.join()  # puts that wait for nobody may come here before it is over
                server.kill()
                restart = threading.Timer(0.3, server.start)
                restart.start()
            if number % 7 == 0:
                feed.view.read()
                if feed.view.batches:
                    feed.view.acknowledge()
        assert refusals > 0
        feed.accepted("s", put[-1].end)
        assert feed.view.read_events(len(everything)) == everything
    with bench.opened() as feed:
        assert feed.taken == {"s": put[-1].end}
        start = feed.view.begin()
        feed.view.read()
        assert feed.view.events() == everything[start:]


def test_channel_goes_on_when_the_server_was_paused(shared, tmp_path):
    bench, server = bench_on(shared, tmp_path), shared
    put = batches(40)
    with bench.opened() as feed:
        feed.put(*put[:20])
        feed.accepted("s", put[19].end)
        server.pause()
        feed.put(*put[20:])
        assert feed.channel.accepted() == {}
        server.resume()
        feed.accepted("s", put[-1].end)
        feed.view.begin()
        assert feed.view.read_events(160) == bodies(put)


def test_reader_that_is_behind_waits_for_the_server_and_reads_on(breakable, tmp_path):
    bench, server = bench_on(breakable, tmp_path), breakable
    put = batches(400, count=8, size=4 * KIB)
    with bench.opened() as feed:
        for batch in put:
            feed.put_patiently(batch)
        feed.accepted("s", put[-1].end)
        feed.view.begin()
        server.kill()
        assert feed.view.read() == []
        server.start()
        assert feed.view.read_events(3200) == bodies(put)


def test_process_that_opens_the_channel_while_another_writes_gets_all_that_was_accepted(shared, tmp_path):
    """What a crash looks like from the database: somebody else has the channel now."""
    bench = bench_on(shared, tmp_path)
    put = batches(200)
    with bench.opened(commit_interval=0.001) as old:
        for batch in put[:100]:
            old.put_patiently(batch)
        with bench.opened() as new:
            taken = new.taken.get("s", 0)
            accepted = old.channel.accepted().get("s", 0)
            assert accepted <= taken
            for batch in put:
                if batch.start >= taken:
                    new.put(batch)
            new.view.begin()
            assert new.view.read_events(800) == bodies(put)


def test_wrong_password_is_said_without_showing_it(shared, tmp_path):
    bench = bench_on(shared, tmp_path)
    (tmp_path / "password").write_text("wrong s3cret")
    with pytest.raises((RetryableError, ConfigError), match="password authentication failed") as caught:
        bench.build().open([])
    assert "s3cret" not in str(caught.value)


def test_password_that_is_being_replaced_is_waited_for(breakable, tmp_path):
    bench, password = bench_on(breakable, tmp_path), tmp_path / "password"
    put = batches(20)
    with bench.opened() as feed:
        feed.put(*put[:10])
        feed.accepted("s", put[9].end)
        text = password.read_text()
        password.unlink()
        breakable.kill()
        breakable.start()
        feed.put(put[10])
        with feed.channel.changed:
            assert feed.channel.changed.wait_for(
                lambda: "can't read" in (feed.channel._writer.trouble or ""), 20.0
            )
        password.write_text(text)
        for batch in put[11:]:
            put_anyway(feed, batch)
        feed.view.begin()
        assert feed.view.read_events(80) == bodies(put)
