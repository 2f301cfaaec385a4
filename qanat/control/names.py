"""What physical nodes, their labels and rate limits may be called, wherever a name comes from. [pure]"""

from __future__ import annotations

from collections.abc import Mapping

from qanat.flow.model import NAME_CHARACTERS_MAX

# Labels of a node: a cloud's tags are 50 of 256 characters. Masters keep them for every node that ever registered, 150 bytes each
# as they plan with, and send them with every status.
LABELS_MAX = 64
LABEL_CHARACTERS_MAX = 256


def fault_of(name: str) -> str:
    """What is wrong with the name of a physical node, which becomes a part of file names and of what people read; "": nothing."""
    if "/" in name:
        return f"{_shown(name)} has '/' in it"
    return fault_of_id(name)


def fault_of_id(name: str) -> str:
    """The same for a name that is a name only, such as that of a rate limit."""
    if not name or name in (".", ".."):
        return f"{name!r} is no name"
    if not name.isprintable():
        return f"{_shown(name)} has an unprintable character in it"
    if len(name.encode()) > NAME_CHARACTERS_MAX:
        return f"{_shown(name)} has more than {NAME_CHARACTERS_MAX} bytes"
    return ""


def fault_of_labels(labels: Mapping[str, str]) -> str:
    """What is wrong with a node's labels."""
    if len(labels) > LABELS_MAX:
        return f"{len(labels)} labels are more than {LABELS_MAX}"
    for text in (*labels, *labels.values()):
        if len(text) > LABEL_CHARACTERS_MAX:
            return f"label {_shown(text)} has more than {LABEL_CHARACTERS_MAX} characters"
        if text and not text.isprintable():
            return f"label {_shown(text)} has an unprintable character in it"
    return ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
