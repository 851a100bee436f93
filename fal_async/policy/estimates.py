"""Two estimates that a brake lives by: how long a refusal takes, and how many of them we may cause.

Numbers in, numbers out; no I/O, clock or chance.
"""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 1.25
"""Round trips without a refusal after which a request counts as accepted."""
ROUND_TRIP_UNKNOWN: Final = 0.1
ROUND_TRIP_LEAST: Final = 0.005
ROUND_TRIP_MOST: Final = 1.0
"""Seconds. On loopback a refusal takes the server longer than the network."""

CREDIT_AT_FIRST: Final = 6.0
CREDIT_PER_ANSWER: Final = 0.005
CREDIT_MOST: Final = 12.0
CREDIT_LEAST: Final = -10.0
"""Refusals. What was spent comes back with the answers, so that refusals stay below 1 % of the calls."""


class RoundTrip:
    """How long a refusal takes to be here, by connections and by refusals; never by answers.

    An answer takes as long as the work does. Where refusals take longer than connecting (through a proxy,
    or where the server is slow), they are the truth.
    """

    __slots__ = ("_connecting", "_refusing", "patience")

    def __init__(self) -> None:
        self._connecting: float | None = None
        self._refusing: float | None = None
        self.patience = PATIENCE * ROUND_TRIP_UNKNOWN
        """Seconds after which what was not refused was accepted."""

    def connected(self, seconds: float) -> None:
        """A connection took so long."""
        known = self._connecting
        self._connecting = seconds if known is None else known + (seconds - known) / 8
        self._estimate()

    def refused(self, seconds: float) -> None:
        """A refusal took so long."""
        known = self._refusing
        self._refusing = seconds if known is None else (known + seconds) / 2
        self._estimate()

    def _estimate(self) -> None:
        measured = max(self._connecting or 0.0, self._refusing or 0.0)
        self.patience = PATIENCE * min(max(measured, ROUND_TRIP_LEAST), ROUND_TRIP_MOST)


class Credit:
    """How many refusals looking for more may cause. Every refusal takes one, answers bring them back."""

    __slots__ = ("_answers", "_left")

    def __init__(self) -> None:
        self._left = CREDIT_AT_FIRST
        self._answers = 0

    def answered(self) -> None:
        """One more answer."""
        self._answers += 1

    @property
    def left(self) -> float:
        """Refusals that may be caused; less than none after a ramp that went far too far."""
        self._left = min(CREDIT_MOST, self._left + self._answers * CREDIT_PER_ANSWER)
        self._answers = 0
        return self._left

    def spend(self) -> None:
        """A refusal."""
        self._left = max(CREDIT_LEAST, self.left - 1)

    def forgive(self) -> None:
        """After a deep fall nothing is owed: looking for what once was has probes of its own."""
        self._left = max(0.0, self.left)
