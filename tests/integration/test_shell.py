"""`qanat shell` against masters and simulated nodes: Flume OG's commands, ours, scripts, and what they exit with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

import click
import pytest

from qanat.cli.main import ADMIN, cli, main
from qanat.cli.shell.completing import Completions
from qanat.cli.shell.connection import Connection, addresses
from qanat.cli.shell.interpreter import Interpreter
from qanat.cli.shell.nodes import TimedOutError
from qanat.errors import ConfigError, NotConnectedError
from tests.integration.masters import cluster, eventually

WEB = "exec config web 'tail(\"/l\")' 'agentE2ESink(\"c1\", 35853)'"
RUNS_WEB = 'web : tail("/l") | agentE2ESink("c1", 35853) ;'


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("QANAT_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.delenv("QANAT_MASTER", raising=False)
    monkeypatch.delenv("QANAT_OUTPUT", raising=False)


@pytest.fixture
def shell(run, capsys):
    """Runs a shell with these options against masters with nodes; gives exit code, output and errors."""

    def runner(*options, masters=1, nodes=("host",)):
        async def scenario():
            async with serving(masters) as c:
                for name in nodes:
                    await c.node(name)
                capsys.readouterr()
                return await asyncio.to_thread(main, ["shell", "-c", ",".join(c.addresses), *options])

        code = run(scenario())
        said = capsys.readouterr()
        return code, said.out, said.err

    return runner


@contextlib.asynccontextmanager
async def serving(masters=1):
    """Masters that answer already: a shell passes over one that doesn't listen yet."""
    async with cluster(masters) as c:
        for number, each in enumerate(c.masters):
            await (await c.admin(number))("version")
            await eventually(lambda port=each.http_port: _listens(port), "a master serves HTTP")
        yield c


async def _listens(port):
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        return True
    return False


@contextlib.asynccontextmanager
async def interpreting(c):
    """An interpreter that asks the masters of `c`."""
    with click.Context(cli) as group:
        made = Interpreter(
            Connection("me", tuple(c.addresses)), lambda name: cli.get_command(group, name), (*ADMIN, "check")
        )
        try:
            yield made
        finally:
            made.jobs.close()


def test_what_flume_ogs_users_had_in_their_scripts(run, capsys, tmp_path):
    """Every command that Flume OG's guide, manual page and tests have, in the order in which its users wrote them."""
    saved = tmp_path / "all.flow"
    script = tmp_path / "setup.fsh"
    script.write_text(f"""
# clear up first: none of these is there
exec unmapAll
exec unconfig web
exec decommission web
exec purge web
exec purgeAll
exec map host web
exec spawn host second
exec noop
exec noop 10
submit noop 5
wait 0
{WEB}
exec config second flowtwo 'tail("/two")' agentSink
exec config third "tail(\\"/three\\")" 'agentDFOSink("c1",35853)'
exec multiconfig 'fourth : tail("/four") | {{ nothing => agentSink }} ;'
""")

    async def scenario():
        async with serving(2) as c:
            node = await c.node("host")
            done = await asyncio.to_thread(main, ["shell", "-c", ",".join(c.addresses), "-s", str(script)])
            said = capsys.readouterr()
            assert done == 2
            assert f"{script}:17: exec multiconfig: " in said.err
            assert "nothing" in said.err
            await node.until(lambda: RUNS_WEB in node.running.values())
            assert '"/two"' in node.running["second"]
            lines = ["getnodestatus", "getconfigs", "getmappings", "getmappings host", "getmappings nohost"]
            lines += [f"exec save '{saved}'", f"exec load '{saved}'", "exec refresh web", "exec refreshAll"]
            lines += ["exec refresh third", "exec unmap host second", "exec unmap host second"]
            lines += ["exec unconfig web", "exec decommission second", "exec unmapAll", "getmappings"]
            options = [part for line in lines for part in ("-e", line)]
            done = await asyncio.to_thread(main, ["shell", "-c", ",".join(c.addresses), *options])
            said = capsys.readouterr()
            assert (done, said.err) == (0, "")
            await node.until(lambda: node.running == {})
            return said.out

    out = run(scenario())
    assert "third : " in saved.read_text()
    assert '# mapped: ["host", "second", "web"]' in saved.read_text()
    # What scripts read, as they read it: `split(/\\s*\\t\\s*/)`, and `(\\S+)\\s+-->\\s*\\[(.*)\\]`.
    rows = [re.split(r"\s*\t\s*", line.strip()) for line in out.splitlines() if "\t" in line]
    assert ["NODE", "FLOW", "SOURCE", "SINK"] in rows
    assert ["second", "flowtwo", 'tail("/two")', "agentSink"] in rows
    assert ["third", "default-flow", 'tail("/three")', 'agentDFOSink("c1", 35853)'] in rows
    assert re.findall(r"(\S+)\s+-->\s*\[(.*)\]", out) == [("host", "second, web")] * 2
    assert re.search(r"^Master knows about 2 nodes\n\tsecond --> \w+\n\tweb --> \w+$", out, re.MULTILINE)
    assert "No physical / logic node mappings for physical node nohost." in out
    assert out.endswith(
        "No physical / logic node mappings. Use spawn to map a logical node to a physical node.\n"
    )
    assert re.findall(r"^\[id: (\d+)\] Execing command : (\w+)$", out, re.MULTILINE)[:2] == [
        ("1", "save"),
        ("2", "load"),
    ]


def test_commands_of_qanat_work_as_they_do_outside(shell):
    code, out, err = shell(
        "-e", WEB, "-e", "map host web", "-e", "wait applied web", "-e", "get -o json", "-e", "exec status -o text"
    )  # fmt: skip
    assert (code, err) == (0, "applied: 1 of 1 nodes\n")
    document, _ = json.JSONDecoder().raw_decode(out[out.index("{") :])
    assert [each["logical"] for each in document["nodes"]] == ["web"]
    assert out.splitlines()[-1].split("\t")[:2] == ["web", "host"]


@pytest.mark.parametrize(
    ("line", "code", "why"),
    [
        ("exec config web", 2, "say: exec config LOGICAL [FLOW] 'SOURCE' 'SINK', not: web"),
        ("exec confg web a b", 2, 'there is no command "confg"; did you mean "config"?'),
        ("staus", 2, 'there is no command "staus"; did you mean "status"?'),
        ("exec config web 'tial(\"/l\")' agentSink", 2, 'there is no source "tial"; did you mean "tail"?'),
        ("wait 0 9", 2, "Command id 9 does not exist"),
        ("wait", 2, "Command id 0 does not exist"),
        ("wait -1", 2, "both whole numbers"),
        ("waitForNodesActive 1 nobody", 1, "Command timed out; after 1 ms: nobody runs nowhere"),
        ("waitForNodesDone nobody", 2, "say: waitForNodesDone MS NODES..."),
        ("exec refresh nobody", 2, "nobody is no attached physical node"),
        ("exec noop soon", 2, "whole number of milliseconds"),
        ("submit status", 2, "status can't be submitted"),
        ("status --nonsense", 2, "--nonsense"),
        ("unconfig web", 2, "say --yes"),
        ("purge nobody --yes", 2, 'there is no physical node "nobody"'),
        ("source /nowhere/x.fsh", 2, "unable to source file /nowhere/x.fsh"),
        ("connect 127.0.0.1:1", 3, "no master answers at 127.0.0.1:1"),
        ("connect", 2, "connect HOST[:PORT]"),
        ("exec", 2, "say: exec COMMAND"),
    ],
)
def test_script_ends_at_the_first_command_that_fails(shell, line, code, why):
    given, out, err = shell("-e", line, "-e", "exec noop 1")
    assert (given, why in err) == (code, True), err
    assert "noop" not in out or line.startswith("exec noop")


def test_script_ends_at_a_command_that_says_no(shell, tmp_path):
    flow = tmp_path / "web.flow"
    flow.write_text('web : tail("/l") | agentSink ;')
    code, out, err = shell("-e", f"diff {flow} --output text", "-e", "exec noop 1")
    assert code == 1
    assert f"diff {flow} ended with 1" in err
    assert "noop" not in out


def test_script_that_keeps_going_exits_with_the_first_failure(shell, tmp_path):
    script = tmp_path / "x.fsh"
    script.write_text("staus\n\nexec noop\nwaitForNodesActive 1 x\n")
    code, out, err = shell("-k", "-s", str(script))
    assert code == 2
    assert "Command succeeded" in out
    assert f"{script}:1: staus" in err
    assert f"{script}:4: waitForNodesActive 1: Command timed out" in err


def test_files_may_read_files_but_not_themselves(shell, tmp_path):
    (tmp_path / "inner.fsh").write_text("exec noop\nstaus\n")
    (tmp_path / "outer.fsh").write_text(f"# reads another\nsource {tmp_path}/inner.fsh\n")
    code, out, err = shell("-s", str(tmp_path / "outer.fsh"))
    assert code == 2
    assert "Command succeeded" in out
    assert f"{tmp_path}/outer.fsh:2: source {tmp_path}/inner.fsh: {tmp_path}/inner.fsh:2: staus" in err
    (tmp_path / "self.fsh").write_text(f"source '{tmp_path}/self.fsh'\n")
    code, out, err = shell("-s", str(tmp_path / "self.fsh"))
    assert code == 2
    assert "does one read itself?" in err


def test_text_in_quotes_goes_on_over_lines_and_an_error_names_the_first(shell, tmp_path):
    script = tmp_path / "x.fsh"
    script.write_text("exec multiconfig 'web :\n tail(\"/l\") | agentSink ;\n'\nexec config a 'b\nc\n\n")
    code, out, err = shell("-s", str(script))
    assert code == 2
    assert "1 created" in out
    assert f"{script}:4: exec config: the quote ' before b c is never closed" in err


def test_submitted_commands_are_done_in_order_and_waited_for_at_the_end(shell):
    code, out, err = shell("-e", "submit noop 300", "-e", f"submit {WEB[5:]}", "-e", "submit config a b c")
    assert code == 1
    assert re.findall(r"^\[id: (\d)\] Submitted command : (\w+)$", out, re.MULTILINE) == [
        ("1", "noop"),
        ("2", "config"),
        ("3", "config"),
    ]
    assert re.search(r"\[id: 3\] config failed: .*there is no source", err)


def test_wait_gives_up_in_time_and_the_command_goes_on(shell):
    code, out, err = shell("-k", "-e", "submit noop 700", "-e", "wait 100", "-e", "wait 0 1")
    assert code == 1
    assert "Command timed out; noop goes on, as id 1" in err
    assert out.splitlines()[-1] == "Command succeeded"


def test_shell_that_is_connected_to_nothing_says_so(capsys):
    assert main(["shell", "-e", "getnodestatus"]) == 2
    assert "not connected; say: connect HOST[:PORT]" in capsys.readouterr().err


def test_shell_whose_masters_are_away_is_worth_trying_again(capsys):
    assert main(["shell", "-c", "127.0.0.1:1", "-e", "getnodestatus"]) == 3
    assert main(["shell", "-c", "127.0.0.1:1", "-e", "status"]) == 3
    assert "no master answers at 127.0.0.1:1" in capsys.readouterr().err


def test_another_master_is_asked_when_one_has_died(run):
    async def scenario():
        async with serving(3) as c, interpreting(c) as interpreter:
            connection = interpreter.connection
            first = await asyncio.to_thread(connection.check)
            (dead,) = (each for each in c.masters if each.address == first)
            await dead.kill()
            await asyncio.to_thread(interpreter.run, "exec config a 'tail(\"/l\")' agentSink")
            second = connection.master
            assert second != first
            await asyncio.to_thread(interpreter.run, "getconfigs")
            assert connection.master == second, "the one that answered is asked again"
            for each in c.masters:
                if each.address != first:
                    await each.kill()
            with pytest.raises(NotConnectedError):
                await asyncio.to_thread(interpreter.run, "getconfigs")
            assert connection.master == ""

    run(scenario())


def test_waiting_for_nodes_outlasts_a_master(run):
    async def scenario():
        async with serving(2) as c:
            node = await c.node("host", 1)
            async with interpreting(c) as interpreter:
                waiting = asyncio.create_task(
                    asyncio.to_thread(interpreter.run, "waitForNodesActive 30000 web host")
                )
                admin = await c.admin(1)
                (asked,) = (each for each in c.masters if each.address == c.addresses[0])
                await asyncio.sleep(0)
                await asked.kill()
                await admin("map", physical="host", logical=["web"], ahead=True)
                await admin("apply", text=RUNS_WEB)
                await node.runs(RUNS_WEB)
                assert await waiting == 0

    run(scenario())


def test_nodes_that_can_not_go_on_are_done(run):
    async def scenario():
        async with serving() as c:
            node = await c.node("host")
            node.breaks = lambda statement: "no such file"
            async with interpreting(c) as interpreter:
                await asyncio.to_thread(interpreter.run, "exec map host web")
                await asyncio.to_thread(interpreter.run, WEB)
                await asyncio.to_thread(interpreter.run, "waitForNodesDone 20000 web")
                with pytest.raises(TimedOutError, match="web is ERROR, failed"):
                    await asyncio.to_thread(interpreter.run, "waitForNodesActive 1 web")

    run(scenario())


def test_tab_completes_what_comes_next(run, tmp_path):
    (tmp_path / "web.flow").write_text("")
    (tmp_path / "web.d").mkdir()

    async def scenario():
        async with serving() as c:
            await c.node("host-1", kind="web")
            admin = await c.admin()
            await admin(
                "apply",
                text='web @ kind=web : tail("/l") | agentSink ; flow audit { aud : tail("/a") | agentSink ; }',
            )
            async with interpreting(c) as interpreter:
                completions = Completions(interpreter, cli)

                async def texts(line):
                    return [each.text for each in await asyncio.to_thread(completions.of, line)]

                assert await texts("getn") == ["getnodestatus"]
                assert {"status", "apply", "exec", "waitForNodesActive", "check"} <= set(await texts(""))
                assert await texts("exec unm") == ["unmap", "unmapAll"]
                assert await texts("submit map h") == ["host-1"]
                assert await texts("submit map host-1 ") == ["aud", "web"]
                assert await texts("exec config w") == ["web"]
                assert "tail" in await texts("exec config web 'ta")
                assert "agentE2EChain" in await texts("exec config web 'tail(\"/l\")' '< agentE2E")
                assert await texts("waitForNodesActive 0 w") == ["web"]
                assert await texts("getmappings h") == ["host-1"]
                assert await texts("status w") == ["web"]
                assert await texts("status web h") == ["host-1"]
                assert await texts("status --out") == ["--output"]
                assert await texts("status --output j") == ["json"]
                assert await texts("get --flow a") == ["audit"]
                assert await texts("wait d") == ["done"]
                assert await texts("wait 0 ") == []
                assert await texts("help exe") == ["exec"]
                assert await texts(f"apply {tmp_path}/web") == [f"{tmp_path}/web.d/", f"{tmp_path}/web.flow"]
                assert await texts(f"source {tmp_path}/web.f") == [f"{tmp_path}/web.flow"]
                assert await texts("nonsense a") == []
                assert await texts('exec config x tail("') == []

    run(scenario())


def test_tab_without_masters_completes_what_is_known_anyway():
    with click.Context(cli) as group:
        lonely = Interpreter(
            Connection("me", ("127.0.0.1:1",)), lambda name: cli.get_command(group, name), ADMIN
        )
    completions = Completions(lonely, cli)
    assert [each.text for each in completions.of("stat")] == ["status"]
    assert completions.of("status w") == []
    assert completions.of("exec map h") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m1", ("m1:35872",)),
        ("m1:7", ("m1:7",)),
        ("m1:7:45678", ("m1:7",)),
        ("m1,m2:8,m1", ("m1:35872", "m2:8")),
        ("localhost:", ("localhost:35872",)),
        ("[::1]:7", ("[::1]:7",)),
    ],
)
def test_masters_are_named_as_in_flume_og(text, found):
    assert addresses(text) == found


@pytest.mark.parametrize("text", ["", "m1:x", ","])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError):
        addresses(text)


def test_every_command_is_explained(shell):
    names = [name for name in ADMIN if name != "shell"]
    code, out, err = shell(
        "-e",
        "help",
        *(part for name in (*names, "exec", "setChokeLimit", "wait") for part in ("-e", f"help {name}")),
    )
    assert (code, err) == (0, "")
    assert "    getnodestatus" in out
    assert "    exec setChokeLimit PHYSICAL CHOKE LIMIT" in out
    assert out.count("Usage: ") == len(names) + 1, "wait is explained twice"
