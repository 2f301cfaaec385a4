"""sqlChannel where the database is not as it should be: lost replies, two processes, secrets, faults in the configuration."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from qanat.channels import sql_reader, sql_writer
from qanat.errors import ConfigError, FencedError, RetryableError
from tests.contract.channels import KIB, Bench, Kind, batches, bodies

SQLITE = Kind("qanat.channels.sql:SqlChannel", keeps=True)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SQLITE, tmp_path / "state")


@pytest.fixture
def impatient(monkeypatch):
    """Pauses between attempts of a millisecond."""
    for module in (sql_writer, sql_reader):
        monkeypatch.setattr(module, "backoff_s", lambda attempt, max_s: 0.001)


class Unreliable:
    """Makes commits of a channel fail, before or after they are done."""

    def __init__(self, channel, seed: int) -> None:
        self.chance = random.Random(seed)
        self.failed = {"before": 0, "after": 0}
        dialect = channel.database._engine.dialect
        self._commit = dialect.do_commit
        dialect.do_commit = self.commit

    def commit(self, connection) -> None:
        fate = self.chance.choice(["fine", "before", "after"])
        if fate == "before":
            self.failed[fate] += 1
            raise sqlite3.OperationalError("request lost on purpose")
        self._commit(connection)
        if fate == "after":
            self.failed[fate] += 1
            raise sqlite3.OperationalError("reply lost on purpose")


def put_anyway(feed, batch):
    """*Blocking* while the database is away."""
    while True:
        try:
            return feed.put_patiently(batch)
        except RetryableError:
            continue


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_when_commits_fail_or_their_replies_are_lost(bench, impatient, seed):
    put = batches(60)
    with bench.opened(commit_interval=0.0) as feed:
        trouble = Unreliable(feed.channel, seed)
        for batch in put:
            put_anyway(feed, batch)
            if trouble.chance.random() < 0.3:
                feed.accepted("s", batch.end)
        feed.accepted("s", put[-1].end)
        feed.view.begin()
        feed.view.read_events(240)
        feed.view.acknowledge(100)
        assert min(trouble.failed.values()) > 0
        assert feed.channel.stored_bytes == stored_bytes(bench)
        trouble.chance.choice = lambda fates: "fine"
    assert feed.view.events() == bodies(put)
    with bench.opened() as feed:
        assert feed.taken == {"s": put[-1].end}
        assert feed.view.begin() == 100
        assert feed.view.read_events(140) == bodies(put)[100:]


def stored_bytes(bench):
    with sqlite3.connect(bench.directory / "channel.db") as connection:
        (total,) = connection.execute("SELECT sum(room_bytes) FROM qanat_channel_batch").fetchone()
    connection.close()
    return total


def test_put_says_that_the_database_is_away_and_what_was_not_accepted_comes_again(bench, impatient):
    put = batches(20)
    with bench.opened(commit_interval=0.0) as feed:
        feed.put(*put[:5])
        feed.accepted("s", put[4].end)
        trouble = Unreliable(feed.channel, 0)
        trouble.chance.choice = lambda fates: "before"
        feed.put(put[5])
        wait_until(feed.channel, lambda writer: writer.trouble)
        with pytest.raises(RetryableError, match=r"cannot store .*'p/web'.*request lost on purpose"):
            feed.channel.put(put[6])
        assert feed.channel.accepted() == {}
    with bench.opened() as feed:
        assert feed.taken == {"s": put[4].end}
        feed.put(*put[5:])
        feed.view.begin()
        assert feed.view.read_events(80) == bodies(put)


def wait_until(channel, condition):
    with channel.changed:
        assert channel.changed.wait_for(lambda: condition(channel._writer), 10.0)


def test_later_process_of_the_same_name_has_the_channel_and_the_earlier_stops(bench):
    put = batches(40)
    with bench.opened() as old:
        old.put(*put[:20])
        old.accepted("s", put[19].end)
        with bench.opened() as new:
            assert new.taken == {"s": put[19].end}
            old.put(put[20])
            wait_until(old.channel, lambda writer: writer.failure)
            for call in (lambda: old.channel.put(put[21]), old.channel.flush):
                with pytest.raises(FencedError, match="another process has opened"):
                    call()
            assert old.channel.accepted() == {}
            new.put(*put[20:])
            new.view.begin()
            assert new.view.read_events(160) == bodies(put)


def test_reader_that_is_behind_reads_pages_and_keeps_the_order(bench):
    put = batches(400, count=8, size=4 * KIB)
    with bench.opened() as feed:
        for batch in put:
            feed.put_patiently(batch)
        feed.accepted("s", put[-1].end)
        assert feed.channel.hot.oldest > 0
        feed.view.begin()
        assert feed.view.source.lag_bytes() > 9 * KIB * KIB
        feed.view.source.seek(feed.view.stream, 1003)
        assert feed.view.read_events(3200 - 1003) == bodies(put)[1003:]


def test_agents_that_share_a_database_do_not_see_each_other(bench, tmp_path):
    shared = {"url": f"sqlite:///{tmp_path / 'shared.db'}"}
    with bench.opened(**shared) as one:
        other = bench.build(**shared)
        other.context = type(other.context)("p2", "web", "h", bench.directory)
        assert other.open([]) == {}
        other.put(batches(1)[0])
        one.put(*batches(2))
        one.view.begin()
        assert one.view.read_events(8) == bodies(batches(2))
        other.close()


# -- secrets and configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@h/db", "postgresql://me@h/db?password=s3cret"])
def test_password_in_the_url_is_refused_without_showing_it(bench, url):
    with pytest.raises(ConfigError, match="password_file") as caught:
        bench.build(url=url).open([])
    assert "s3cret" not in str(caught.value)


def test_password_is_not_in_the_error_of_a_connection_that_fails(bench, tmp_path, free_port):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\nnot this line\n")
    url = f"postgresql://me@127.0.0.1:{free_port()}/db"
    with pytest.raises(RetryableError, match=r"cannot open .*127\.0\.0\.1") as caught:
        bench.build(url=url, password_file=str(secret)).open([])
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"password_file": "/nowhere/at/all"}, "password_file '/nowhere/at/all': No such file"),
        ({"password_env": "QANAT_NO_SUCH"}, "QANAT_NO_SUCH"),
        ({"password_env": "A", "password_file": "b"}, "not both"),
        ({"url": "nonsense"}, "can't be parsed"),
        ({"url": "nosuchdatabase://h/db"}, "install its driver"),
    ],
)
def test_configuration_that_can_not_work_is_refused_with_the_reason(bench, options, reason):
    with pytest.raises(ConfigError, match=reason):
        bench.build(**options).open([])
