"""Values that are named in a flow and known on the node only: `secret("env:ES_PASSWORD")`, `secret("file:/run/secrets/es")`.

A flow is stored, shown and sent around, so it has the reference. A component declares what has to be kept secret:

    class Config(msgspec.Struct, frozen=True):
        password: Secret | None = None

and asks for the value when it opens a connection, each time: what is replaced on the host is used from the next one on.
"""

from __future__ import annotations

import os
from pathlib import Path

from qanat.errors import ConfigError

# A key file or a token; whoever names a log file by mistake does not fill the memory with it.
SECRET_BYTES_MAX = 64 << 10


class Secret:
    """A reference to a secret. It has no text but its reference; only `reveal` gives the value."""

    __slots__ = ("reference",)

    def __init__(self, reference: str) -> None:
        """Raises ValueError, with a sentence that tells what to write."""
        scheme, _, name = reference.partition(":")
        is_name = scheme == "env" and name.replace("_", "a").isalnum() and name.isascii()
        is_path = scheme == "file" and name.startswith("/") and "\0" not in name
        if not (is_name or is_path):
            raise ValueError(
                'write secret("env:NAME") for an environment variable of the node, or secret("file:/absolute/path") for the '
                "content of a file there"
            )
        self.reference = reference

    def reveal(self) -> str:
        """The value, without a line end behind it. Raises ConfigError when this node has none. *Blocking*: reads a file."""
        scheme, _, name = self.reference.partition(":")
        value = os.environ.get(name, "") if scheme == "env" else self._content(Path(name))
        if not value:
            where = f"the environment variable {name} is" if scheme == "env" else f"the file {name} is"
            raise ConfigError(f"{self!r}: {where} not set or empty on this node; set it, and start again")
        return value

    def _content(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                data = file.read(SECRET_BYTES_MAX + 1)
            text = data.decode("utf-8")
        except OSError as error:
            raise ConfigError(f"{self!r} can't be read on this node: {error.strerror or error}") from error
        except UnicodeDecodeError:  # its message has the bytes in it
            raise ConfigError(f"{self!r}: the file is no UTF-8") from None
        if len(data) > SECRET_BYTES_MAX:
            raise ConfigError(f"{self!r}: the file has more than {SECRET_BYTES_MAX} bytes, it is no secret")
        return text.removesuffix("\n").removesuffix("\r")

    def __repr__(self) -> str:
        return f'secret("{self.reference}")'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)
