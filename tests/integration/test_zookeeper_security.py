"""The store on ZooKeeper: who may read and write, and over which connections."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest

from qanat.coordination.store import Create, Node, Set
from qanat.coordination.zookeeper_store import ZookeeperStore
from qanat.coordination.zookeeper_url import PASSWORD_VARIABLE, parse_url
from qanat.errors import ConfigError, NotConnectedError
from qanat.testing.certificates import Authority
from qanat.testing.zookeeper import Ensemble


@contextlib.asynccontextmanager
async def opened(url, password=None):
    environment = {} if password is None else {PASSWORD_VARIABLE: password}
    store = ZookeeperStore(parse_url(url, environment))
    try:
        yield store
    finally:
        await store.close()


def test_nodes_of_one_user_are_closed_to_everybody_else(zookeeper, run):
    prefix = f"/{uuid.uuid4().hex}"
    mine, nobodys = zookeeper.url(prefix, user="qanat"), zookeeper.url(prefix)

    async def refused(store):
        for call in (store.get("/a"), store.children("/"), store.multi([Set("/a", b"1", 0)])):
            with pytest.raises(ConfigError, match="belongs to another"):
                await call

    async def scenario():
        async with opened(mine, "right") as owner:
            await owner.multi([Create("/a", b"0"), Create("/me", b"", ephemeral=True)])
            async with opened(mine, "wrong") as intruder:
                await refused(intruder)
            async with opened(nobodys) as anonymous:
                await refused(anonymous)
            assert await owner.get("/a") == Node(b"0", 0)
        async with opened(mine, "right") as again:
            await again.multi([Set("/a", b"1", 0)])

    run(scenario())


def test_password_holds_in_the_next_session_too(zookeeper, run):
    url = zookeeper.url(f"/{uuid.uuid4().hex}", user="qanat")

    async def scenario():
        async with opened(url, "right") as store:
            await store.multi([Create("/a", b"0")])
            first = store.session.id
            await asyncio.to_thread(zookeeper.expire, store)
            node = None
            while node is None or store.session.id == first:
                with contextlib.suppress(NotConnectedError):
                    node = await store.get("/a")

    run(scenario())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def secure(zookeeper_installed, authority, tmp_path_factory):
    """A server that talks TLS to clients with a certificate of ours."""
    directory = tmp_path_factory.mktemp("secure") / "zookeeper"
    with Ensemble(directory, size=1, tls=authority.certificate("server")) as ensemble:
        yield ensemble


def secure_url(secure, host="127.0.0.1", **files):
    options = "&".join(f"{name}={value}" for name, value in files.items())
    return f"zookeeper://{host}:{secure.secure_ports[0]}?session_timeout=3s&{options}"


def test_tls_with_certificates_on_both_ends(secure, authority, run):
    mine = authority.certificate("client")

    async def scenario():
        for host in ("127.0.0.1", "localhost"):
            url = secure_url(secure, host, ca=mine.ca, cert=mine.cert, key=mine.key)
            async with opened(url) as store:
                await store.multi([Create(f"/{host}", b"x" * 500_000)])
                assert await store.get(f"/{host}") == Node(b"x" * 500_000, 0)
                await store.multi([Create(f"/small/{host}", b"x")])
                nodes = await store.get_many([f"/small/{host}"] * 500)  # many replies in one TLS record
                assert nodes == [Node(b"x", 0)] * 500

    run(scenario())


def test_server_of_another_authority_is_refused_and_the_error_says_why(secure, authority, tmp_path, run):
    mine, foreign = authority.certificate("client2"), Authority(tmp_path / "other").certificate("x")

    async def scenario():
        async with opened(secure_url(secure, ca=foreign.ca, cert=mine.cert, key=mine.key)) as store:
            with pytest.raises(NotConnectedError, match=r"(?i)certificate.verify.failed"):
                await store.get("/a")

    run(scenario())


def test_server_of_another_name_is_refused_unless_told_not_to_verify(
    zookeeper_installed, authority, tmp_path, run
):
    mine = authority.certificate("client3")
    elsewhere = authority.certificate("elsewhere", alternatives="DNS:elsewhere.example")

    async def scenario(ensemble):
        files = {"ca": mine.ca, "cert": mine.cert, "key": mine.key}
        async with opened(secure_url(ensemble, **files)) as store:
            with pytest.raises(NotConnectedError, match=r"(?i)certificate.verify.failed"):
                await store.get("/a")
        async with opened(secure_url(ensemble, **files, verify="no")) as store:
            await store.multi([Create("/a", b"")])

    with Ensemble(tmp_path / "zookeeper", size=1, tls=elsewhere) as ensemble:
        run(scenario(ensemble))


def test_client_without_a_certificate_gets_no_connection(secure, authority, run):
    async def scenario():
        async with opened(secure_url(secure, ca=authority.certificate("unused").ca)) as store:
            with pytest.raises(NotConnectedError):
                await store.get("/a")

    run(scenario())
