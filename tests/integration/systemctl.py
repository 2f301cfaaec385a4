"""A stand-in for systemctl, for hosts that are namespaces: starts what a unit's ExecStart says, and stops it.

Reads the units in $UNITS and keeps process ids and logs in $RUN. `zookeeper` is what $ZOOKEEPER says.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STOP_S_MAX = 60.0
STATE = "/var/lib"


def main(verb: str, *rest: str) -> None:
    for unit in (each for each in rest if not each.startswith("-")):
        if verb in ("stop", "restart"):
            _stop(unit)
        if verb in ("start", "restart") or (verb == "enable" and "--now" in rest):
            _start(unit)


def _place(unit: str, kind: str) -> Path:
    return Path(os.environ["RUN"]) / f"{socket.gethostname()}-{unit}.{kind}"


def _start(unit: str) -> None:
    command, environment = _zookeeper() if unit == "zookeeper" else _program(unit)
    with _place(unit, "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    _place(unit, "pid").write_text(str(process.pid))


def _stop(unit: str) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int(_place(unit, "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_S_MAX
        while _runs(pid):
            if time.monotonic() > deadline_s:
                sys.exit(f"{unit} does not stop")
            time.sleep(0.05)
        _place(unit, "pid").unlink()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _zookeeper() -> tuple[list[str], dict[str, str]]:
    return shlex.split(os.environ["ZOOKEEPER"]), dict(os.environ)


def _program(unit: str) -> tuple[list[str], dict[str, str]]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    text = (Path(os.environ["UNITS"]) / f"{unit}.service").read_text()
    parser.read_string(text)
    service = parser["Service"]
    # What one who types commands has set is none of a service's business.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QANAT_")}
    for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE):
        environment |= dict(word.split("=", 1) for word in shlex.split(_specifiers(line)))
    for line in Path(service["EnvironmentFile"].lstrip("-")).read_text().splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            environment[key] = value
    for directory in service["StateDirectory"].split():
        Path(STATE, directory).mkdir(exist_ok=True)
    words: list[str] = []
    for word in _specifiers(service["ExecStart"]).split():
        if re.fullmatch(r"\$\w+", word):  # as many words as it has
            words += environment.get(word[1:], "").split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda match: environment.get(match[1], ""), word))
    return words, environment


def _specifiers(text: str) -> str:
    return text.replace("%H", socket.gethostname()).replace("%S", STATE)


if __name__ == "__main__":
    main(*sys.argv[1:])
