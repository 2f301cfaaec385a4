"""`qanat completion`: the script that makes a shell complete `qanat` commands."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NoReturn

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")

# A shell waits for what Tab completes. Twice what two masters that don't answer take; after that, nothing is completed.
COMPLETE_S_MAX = 3.0

# What click's scripts get wrong: fish ends a name, or what is said about it, at a comma; zsh's leaves its variables behind in the
# shell of whoever typed.
_MENDED = {
    "fish": [('(string split "," $completion)', '(string split --max 1 "," $completion)')],
    "zsh": [("    local -a response\n", "    local -a response\n    local type key descr\n")],
}


def be_quiet() -> None:
    """Say nothing on the terminal of somebody who is typing, and end soon, whatever happens."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, COMPLETE_S_MAX)


def _give_up(number: int, frame: object) -> NoReturn:
    os._exit(0)


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and names of nodes.

    \b
      eval "$(qanat completion bash)"       in ~/.bashrc
      eval "$(qanat completion zsh)"        in ~/.zshrc, after compinit
      qanat completion fish | source        in ~/.config/fish/config.fish

    Names come from the masters that QANAT_MASTER or the configuration file name, when they answer at once.
    """
    from qanat.cli.main import COMPLETION_VARIABLE, cli

    kind = get_completion_class(shell)
    assert kind is not None, f"click completes no {shell}"
    source = kind(cli, {}, "qanat", COMPLETION_VARIABLE).source()
    for before, after in _MENDED.get(shell, ()):
        source = source.replace(before, after)
    click.echo(source, nl=False)
