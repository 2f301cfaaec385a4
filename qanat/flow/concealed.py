"""What looks like a secret is not shown with a fault: whoever reads messages and logs need not be who may know it. [pure]

A secret belongs into `secret("env:NAME")`; this is for those who did not know that, or wrote the name of the argument wrong.
"""

from __future__ import annotations

import functools
import re

_NAME = r"(?:pass(?:w|phrase)|\bpwd|secret|token|api_?key|access_?key|private_?key|credential)"
_LOOKS_SECRET = re.compile(_NAME, re.IGNORECASE)

# A name that promises a secret, and its value: a string, also one that does not end on this line, or a word. A reference is none.
_GIVEN = re.compile(
    rf"""(?P<name>{_NAME}\w{{0,64}}\s{{0,8}}=\s{{0,8}})(?!secret\s*\()(?P<value>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;(){{}}\[\]|]++)""",
    re.IGNORECASE,
)
# A password in an address, as in postgresql://me:word@host/db.
_IN_ADDRESS = re.compile(r"""(?P<name>://[^/\s:@'"]*+:)(?P<value>[^/\s@'"]++)(?=@)""")


def looks_secret(name: str) -> bool:
    """Whether an argument of this name seems to be one."""
    return _LOOKS_SECRET.search(name) is not None


# A line may have a megabyte, and a hundred faults.
@functools.lru_cache(maxsize=16)
def masked(line: str) -> str:
    """The line with asterisks for what seems to be secret; every character else stays where it is."""
    for pattern in (_GIVEN, _IN_ADDRESS):
        line = pattern.sub(lambda found: found["name"] + "*" * len(found["value"]), line)
    return line
