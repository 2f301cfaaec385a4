"""Between an agent and a command: ends the command's process group when the agent is gone, however it went. A script of its own.

    python supervisor.py DESCRIPTOR PROGRAM ARGUMENT...

The agent holds the other end of the pipe DESCRIPTOR and nobody else does, so its end is the agent's. PR_SET_PDEATHSIG would reach
the command alone, not what it has started, and needs code between fork and exec. This process leads the group, so the number of
the group stays taken for as long as the agent has not looked at how it ended. Only the standard library's lightest modules: it
is started as often as the command.
"""

import errno
import os
import select
import signal
import sys

# As shells say it.
NOT_FOUND, NOT_STARTED, BY_SIGNAL = 127, 126, 128


def main() -> int:
    """The command's exit code; 128 and the signal's number when one ended it."""
    lifeline, argv = int(sys.argv[1]), sys.argv[2:]
    # Who stops the command signals the group; this process has to see how the command ends.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    os.set_inheritable(lifeline, False)
    try:
        child = os.posix_spawnp(
            argv[0], argv, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT]
        )
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_STARTED
    # Only the command writes there from now on: when it ends, so do the pipes.
    for standard in (1, 2):
        os.close(standard)
    waiting = select.poll()
    ended = os.pidfd_open(child)
    waiting.register(lifeline, select.POLLIN)
    waiting.register(ended, select.POLLIN)
    while ended not in (ready := dict(waiting.poll())):
        if lifeline in ready:
            os.killpg(0, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else BY_SIGNAL - code


if __name__ == "__main__":
    os._exit(main())
