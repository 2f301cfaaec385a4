"""What `help` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from qanat.cli.shell.verbs import VERBS
from qanat.errors import ConfigError
from qanat.flow.faults import did_you_mean

# Commands of the shell itself; the first four lines are what somebody needs who has never seen it.
LOCAL = {
    "connect": ("HOST[:PORT][,...]", "Ask these masters from now on."),
    "help": ("[COMMAND]", "List the commands, or explain one."),
    "quit": ("", "Leave; exit and Ctrl-D do, too."),
    "exit": ("", "The same as quit."),
    "source": ("FILE", "Do what the lines of a file say, up to the first that fails."),
    "exec": ("COMMAND [ARGUMENTS]", "Do a command, and wait until it is done."),
    "submit": ("COMMAND [ARGUMENTS]", "Do a command in the background, after those submitted before."),
    "wait": (
        "[MS [ID]]",
        "Wait for a submitted command: the last one, 10000 ms, unless told otherwise; 0 ms has no end.",
    ),
    "waitForNodesActive": ("MS NODES...", "Wait until all of these are ACTIVE."),
    "waitForNodesDone": ("MS NODES...", "Wait until all of these are IDLE, ERROR or LOST."),
    "getnodestatus": ("", "Show the state of every logical node."),
    "getconfigs": ("", "Show source and sink of every logical node."),
    "getmappings": ("[PHYSICAL]", "Show what was mapped by hand."),
    "getreports": ("", "Show what every logical node measures, as JSON."),
}


def everything(admin: Iterable[str]) -> Iterator[str]:
    """All commands, each with a line."""
    from qanat.cli.main import BUILT_IN

    yield "I know about these commands:"
    yield ""
    yield from _rows((name, *rest) for name, rest in LOCAL.items())
    yield ""
    yield "After exec or submit, as in Flume OG; nothing asks, and what is so already is no failure:"
    yield ""
    yield from _rows((f"exec {name}", verb.usage, verb.sentence) for name, verb in VERBS.items())
    yield ""
    yield "As in `qanat COMMAND`; `help COMMAND` has the arguments:"
    yield ""
    yield from _rows((name, "", BUILT_IN[name][1]) for name in admin)


def of(name: str, admin: click.Command | None) -> Iterator[str]:
    """What one command does. Raises ConfigError when there is none."""
    if name in LOCAL:
        usage, sentence = LOCAL[name]
        yield f"{name} {usage}".rstrip()
        yield f"    {sentence}"
    if name in VERBS:
        yield f"exec {name} {VERBS[name].usage}".rstrip()
        yield f"    {VERBS[name].sentence}"
    if admin is not None:
        with click.Context(admin, info_name=name) as context:
            yield admin.get_help(context)
    elif name not in LOCAL and name not in VERBS:
        raise ConfigError(
            f'there is no command "{name}"{did_you_mean(name, [*LOCAL, *VERBS])}; `help` lists them'
        )


def _rows(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    for name, usage, sentence in rows:
        left = f"{name} {usage}".rstrip()
        yield f"    {left:42} {sentence}"
