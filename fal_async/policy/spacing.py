"""How far apart calls are sent that take the places of others.

Calls that were sent together and take equally long end together, and so would those that follow them be sent
together, round for round: a dozen and more before the first refusal can tell that the limit has fallen. And
calls that come in a bunch wait for one another at both ends. So, once a limit is known, calls are sent a
little apart. That is paid once: from then on they end apart, too. No I/O, clock or chance.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Spacing"]

PART_OF_PATIENCE: Final = 1 / 4
"""So that only a few are under way before it is known of the first whether it was accepted ..."""
PART_OF_TURN: Final = 1 / 16
"""... but a whole window in this part of the time that a call takes: where times vary, few are held up."""
LEAST: Final = 0.0005
"""Seconds. Closer than this no timer keeps them apart: calls are so short that it is not worth while."""
FEW: Final = 8
MANY: Final = 100
"""Sizes of a window from which on, and up to which, calls are kept apart. fal hands out limits of 2 to 40
(PROTOCOL 3.3); a bunch of very many would take too long to draw apart."""
MEMORY: Final = 64
"""Answers over which the time that a call takes is averaged."""


class Spacing:
    """When the next call may be sent, by how long calls take and how many may be in flight."""

    __slots__ = ("_turn", "distance", "next_at")

    def __init__(self) -> None:
        self._turn = 0.0
        self.distance = 0.0
        """Seconds between two calls now; 0 while they are sent as they come."""
        self.next_at = 0.0
        """When the next one may be sent."""

    def answered(self, seconds: float) -> None:
        """A call took so long."""
        self._turn += (seconds - self._turn) / MEMORY

    def sent(self, now: float, size: int, patience: float) -> None:
        """One was sent; it is known that ``size`` may be in flight, and that a refusal takes ``patience``."""
        distance = 0.0
        if FEW <= size <= MANY:
            distance = min(PART_OF_PATIENCE * patience, PART_OF_TURN * self._turn / size)
        self.distance = distance if distance >= LEAST else 0.0
        self.next_at = now + self.distance
