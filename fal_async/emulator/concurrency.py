"""How many calls are in progress, and whether one more may be (PROTOCOL 3.3).

Pure state without time: a slot is free the instant it is given back.
"""

from __future__ import annotations

from collections import Counter
from math import inf

import attrs

__all__ = ["Concurrency", "OverLimit"]


@attrs.frozen
class OverLimit:
    """A call that was refused, and the limit it ran into."""

    limit: int


@attrs.define
class Concurrency:
    """The account's calls in progress; ``limit`` and the models' own caps may change at any time.

    A fallen limit ends no call: nothing more is let in until enough have ended.
    """

    limit: int | None = None
    caps: dict[str, int] = attrs.field(factory=dict)
    """application → its own cap, for hot models."""
    in_flight: int = attrs.field(default=0, init=False)
    peak: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    _by_application: Counter[str] = attrs.field(factory=Counter, init=False)
    _counted: int = attrs.field(default=0, init=False)

    def enter(self, application: str, *, exempt: bool = False) -> OverLimit | None:
        """Take a slot, or say which limit forbids it.

        :param exempt: the application is the caller's own: the account's limit does not apply to it.
        """
        cap = self.caps.get(application)
        if cap is not None and self._by_application[application] >= cap:
            self.refused += 1
            return OverLimit(cap)
        if not exempt:
            if self.limit is not None and self._counted >= self.limit:
                self.refused += 1
                return OverLimit(self.limit)
            self._counted += 1
        self._by_application[application] += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        return None

    def room(self, application: str, *, exempt: bool = False) -> float:
        """How many more could enter now; infinitely many if nothing limits them."""
        cap = self.caps.get(application)
        room = inf if cap is None else cap - self._by_application[application]
        if self.limit is not None and not exempt:
            room = min(room, self.limit - self._counted)
        return max(room, 0)

    def leave(self, application: str, *, exempt: bool = False) -> None:
        """Give back the slot of a call that entered with the same arguments."""
        self.in_flight -= 1
        self._counted -= not exempt
        self._by_application[application] -= 1
        if not self._by_application[application]:
            del self._by_application[application]

    def in_flight_of(self, application: str) -> int:
        """Calls of one application in progress."""
        return self._by_application[application]
