"""What was typed in former sessions: in the state directory, for its owner's eyes, without what looks like a secret."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

# Years of typing, read in milliseconds at start.
LINES_MAX = 5000

# A name that promises a secret, with a value: but not with secret("env:..."), which is a reference and no secret.
_NAMED = re.compile(
    r"(?:password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|credential)\w*['\"]?\s*[=:,]\s*(?!secret\s*\()",
    re.IGNORECASE,
)
# A password in an address, as in postgresql://me:word@host/db.
_IN_ADDRESS = re.compile(r"://[^/\s:@'\"]*:[^/\s@'\"]+@")


def default_path() -> Path:
    """`$XDG_STATE_HOME/qanat/shell_history`."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "qanat" / "shell_history"


def is_kept(line: str) -> bool:
    """Not what begins with a blank, as in other shells, nor what seems to have a secret in it."""
    return not (not line.strip() or line[0].isspace() or _NAMED.search(line) or _IN_ADDRESS.search(line))


class FileHistory(History):
    """Lines in a file, the last ones last. What can't be read or written is not missed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The last first."""
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) > 2 * LINES_MAX:
            self._shorten(lines[-LINES_MAX:])
        return [_unescaped(line) for line in reversed(lines[-LINES_MAX:])]

    def store_string(self, string: str) -> None:
        if not is_kept(string):
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "a", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600)  # it may be from before, or from elsewhere
                file.write(_escaped(string) + "\n")

    def _shorten(self, lines: list[str]) -> None:
        """All at once, so that another shell never reads half of it."""
        with contextlib.suppress(OSError):
            descriptor, name = tempfile.mkstemp(dir=self._path.parent)  # for its owner only
            with open(descriptor, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            os.replace(name, self._path)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), text)
