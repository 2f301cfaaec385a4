"""What a physical node should run, and the hashes by which masters and nodes compare it. [pure]"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

# 64 bits: two of a cluster's million statements are the same by chance once in 30 million clusters.
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Assigned:
    """One logical node on a physical node. Either `text`, in general form, or `waiting`: why there is none now."""

    logical: str
    flow: str
    text: str
    hash: str
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """All that a physical node should run, by name of the logical node. `revision`: a hash of it."""

    statements: tuple[Assigned, ...]
    revision: str


def statement_hash(text: str) -> str:
    """What a statement is known by; "" for none."""
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest() if text else ""


def assign(statements: Iterable[Assigned]) -> Assignment:
    """The assignment of these statements."""
    ordered = tuple(sorted(statements, key=lambda each: each.logical))
    return Assignment(ordered, revision_of((each.logical, each.hash, each.waiting) for each in ordered))


def revision_of(statements: Iterable[tuple[str, str, str]]) -> str:
    """A hash over logical name, statement hash and waiting of each, in the order of the names."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for statement in statements:
        digest.update("\0".join(statement).encode())
        digest.update(b"\n")
    return digest.hexdigest()
