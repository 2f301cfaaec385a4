"""How much each of several destinations was given and has not stored, for who gives to the least loaded.

What was given is noted with the place behind it in what all of them read (a channel, a log). A destination that says how far it
is has everything before that place, so nothing has to be known of batches but their sizes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from qanat.delivery.sender import Trouble

# What waits of a destination that is away for days may be millions of batches. Beyond this, two neighbours become one note: it is
# taken off when the second of them is stored, a 4,096th of what waits too late.
NOTES_MAX = 4096

# A destination that has failed is given nothing for so long, doubled with each failure before it has stored something again. One
# that comes and goes every second is left alone soon; one that was restarted is back in the round before anybody looks.
HOLD_OFF_S = 1.0
HOLD_OFF_S_MAX = 60.0


class Member:
    """One destination of a share. Its owner sets `state`, and says how far it is. *Thread*: any."""

    def __init__(self, loads: Loads, share: _Share) -> None:
        self.state: Callable[[], Trouble] = lambda: Trouble.NONE
        self.place = -1
        self._loads = loads
        self._share = share

    def given(self, end: int, size_bytes: int) -> None:
        """See Loads."""
        self._loads.given(self._share.number, end, size_bytes)

    def stored(self, place: int) -> None:
        """It has all that ends at `place` or before."""
        self.place = place
        self._loads.settle(self._share)


@dataclass(slots=True)
class _Share:
    number: int
    members: list[Member] = field(default_factory=list)
    waiting: deque[tuple[int, int]] = field(default_factory=deque)  # the place behind, and how many bytes
    bytes: int = 0  # of all that
    failures: int = 0  # since it has last stored something
    is_away: bool = False
    until_s: float = 0.0  # held off


class Loads:
    """Of `shares` shares, each of one destination, or of several that are given the same. *Thread*: any."""

    def __init__(self, shares: int) -> None:
        self._shares = [_Share(number) for number in range(shares)]
        self._turn = 0
        self._guard = threading.Lock()

    @property
    def shares(self) -> int:
        """How many."""
        return len(self._shares)

    def join(self, share: int) -> Member:
        """A destination of the share. The worst of all its destinations counts."""
        with self._guard:
            member = Member(self, self._shares[share])
            self._shares[share].members.append(member)
            return member

    def least(self, now_s: float) -> int:
        """Whom to give the next: of those in the least trouble who has the least to do; of equals the next in turn."""
        with self._guard:
            count = len(self._shares)
            turns = [(self._turn + 1 + n) % count for n in range(count)]
            self._turn = min(turns, key=lambda share: self._load(self._shares[share], now_s))
            return self._turn

    def given(self, share: int, end: int, size_bytes: int) -> None:
        """The share has to store so much more, which ends at the place `end`."""
        with self._guard:
            found = self._shares[share]
            found.waiting.append((end, size_bytes))
            found.bytes += size_bytes
            if len(found.waiting) > NOTES_MAX:
                found.waiting = _halved(found.waiting)

    def settle(self, share: _Share) -> None:
        """All its members have what is before the place of the last of them."""
        with self._guard:
            place = min(member.place for member in share.members)
            while share.waiting and share.waiting[0][0] <= place:
                share.bytes -= share.waiting.popleft()[1]
                share.failures = 0

    def taken_back(self, place: int) -> None:
        """Of everybody, what ends behind `place`: it will be given anew."""
        with self._guard:
            for share in self._shares:
                while share.waiting and share.waiting[-1][0] > place:
                    share.bytes -= share.waiting.pop()[1]

    def bytes_of(self, share: int) -> int:
        """What it was given and has not stored."""
        with self._guard:
            return self._shares[share].bytes

    def _load(self, share: _Share, now_s: float) -> tuple[Trouble, int]:
        trouble = max((member.state() for member in share.members), default=Trouble.NONE)
        if trouble is Trouble.AWAY and not share.is_away:
            share.until_s = now_s + min(HOLD_OFF_S * 2**share.failures, HOLD_OFF_S_MAX)
            share.failures = min(share.failures + 1, 16)  # 2**16 is beyond any limit
        share.is_away = trouble is Trouble.AWAY
        return (max(trouble, Trouble.DETOUR) if now_s < share.until_s else trouble), share.bytes


def _halved(notes: deque[tuple[int, int]]) -> deque[tuple[int, int]]:
    """Each two neighbours as one."""
    pairs = iter(notes)
    merged: deque[tuple[int, int]] = deque()
    for _, size_bytes in pairs:
        end, more = next(pairs, (_, 0))
        merged.append((end, size_bytes + more))
    return merged
