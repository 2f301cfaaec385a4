"""Leaving the shell: what was submitted is not given up silently."""

from __future__ import annotations

import click

from qanat.cli.shell.jobs import Job, Jobs

# Commands take some milliseconds: whoever waits longer is told for what.
SILENT_S = 1.0

EXIT_FAILED = 1


def wait_for_submitted(jobs: Jobs) -> int:
    """Until all is done; gives an exit code. Ctrl-C gives up what has not begun."""
    pending = jobs.pending()
    try:
        if pending and not pending[-1].done.wait(SILENT_S):
            click.echo(f"{_named(jobs.pending())} not done yet; waiting, Ctrl-C gives up", err=True)
            while not pending[-1].done.wait(SILENT_S):
                pass
    except KeyboardInterrupt:
        for job in pending:
            job.caller.give_up()
        pending[-1].done.wait(SILENT_S)
    failed = [job for job in jobs.untold() if job.error is not None]
    for job in failed:
        click.echo(f"qanat: {ended(job)}", err=True)
    return EXIT_FAILED if failed else 0


def ended(job: Job) -> str:
    """A line about how it ended."""
    return f"[id: {job.id}] {job.name} " + ("succeeded" if job.error is None else f"failed: {job.error}")


def _named(jobs: list[Job]) -> str:
    names = ", ".join(f"{job.name} (id {job.id})" for job in jobs[:3])
    return (
        f"{names} and {len(jobs) - 3} more are"
        if len(jobs) > 3
        else f"{names} {'is' if len(jobs) == 1 else 'are'}"
    )
