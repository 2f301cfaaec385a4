"""`waitForNodesActive` and `waitForNodesDone`: they look at states, as in Flume OG, and last through the death of a master."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from qanat.control.operations import cluster
from qanat.errors import ConfigError, NotConnectedError, QanatError

Call = Callable[[str, msgspec.Struct], Any]

# How often a master is asked: as often as Flume OG's shell asked.
LOOK_S = 0.5

# A logical node that ended, or can't go on. In Flume OG DECOMMISSIONED was one, too: here such a node is shown nowhere any more.
DONE = {"IDLE", "ERROR", "LOST", "DECOMMISSIONED"}
MEANING = {"waitForNodesActive": ({"ACTIVE"}, "ACTIVE"), "waitForNodesDone": (DONE, "IDLE/ERROR/LOST")}

# A state is of what runs. While something else should run, it says nothing about that.
UNDECIDED = {"applying", "waiting"}
REACHED = {
    "waitForNodesActive": "Nodes are active (in ACTIVE or CONFIGURING state)",
    "waitForNodesDone": "Nodes are done (in IDLE or in ERROR state)",
}


class TimedOutError(QanatError):
    """Nodes did not get there in time."""


def wait_for(call: Call, command: str, milliseconds: int, names: list[str]) -> str:
    """What to say when all of `names`, logical or physical, are there; 0 ms have no end. Raises TimedOutError."""
    states, _ = MEANING[command]
    until_s = time.monotonic() + milliseconds / 1000
    while True:
        pending = _pending(call, names, states)
        if not pending:
            return REACHED[command]
        if milliseconds and time.monotonic() >= until_s:
            raise TimedOutError(f"Command timed out; after {milliseconds} ms: {', '.join(pending)}")
        time.sleep(LOOK_S)


def _pending(call: Call, names: list[str], states: set[str]) -> list[str]:
    """What is not there yet, with its state."""
    try:
        reply = _status(call, names)
    except NotConnectedError as error:  # another master may be asked, or this one again
        return [str(error)]
    return [why for name in names if (why := _why(reply, name, states))]


def _status(call: Call, names: list[str]) -> cluster.StatusReply:
    """Of these nodes, or of all while one of them is not known yet: masters refuse names that they don't know."""
    try:
        reply: cluster.StatusReply = call("status", cluster.Status(names=names))
    except ConfigError:
        reply = call("status", cluster.Status())
    return reply


def _why(reply: cluster.StatusReply, name: str, states: set[str]) -> str:
    rows = [each for node in reply.nodes for each in node.logical if name in (each.logical, node.name)]
    if not rows:
        return f"{name} runs nowhere"
    undecided = UNDECIDED if "ERROR" in states else {*UNDECIDED, "failed"}
    wrong = [row for row in rows if row.state not in states or row.progress in undecided]
    return f"{name} is {wrong[0].state}, {wrong[0].progress}" if wrong else ""
