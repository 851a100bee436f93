"""The record of what ran and what was charged for (PROTOCOL 3.2). Pure; time is passed in.

Calls that were turned away before a model ran are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import attrs

from fal_async.emulator.matching import matches

__all__ = ["Execution", "Ledger"]


@attrs.define(kw_only=True)
class Execution:
    """One run of a model.

    ``ended`` and ``status`` are None while it goes on; ``status`` stays so if the emulator was stopped
    meanwhile.
    """

    request_id: str
    model: str
    application: str
    key_id: str = ""
    """The key's part before the colon, never its secret; of one without a colon, a mark."""
    started: float
    """Seconds on the emulator's clock, which starts at 0."""
    ended: float | None = None
    status: int | None = None
    """What the model answered, whether or not the answer reached the caller."""
    units: Decimal = Decimal(0)
    billed: bool = False
    runner: int = 0
    hint: str | None = None
    attempt: int = 1
    """Which attempt of its request it was; only the queue makes a second one."""
    fault: str | None = None
    """The kind of the fault that the call met, if any."""

    def __str__(self) -> str:
        if self.ended is None:
            fate = "running"
        elif self.status is None:
            fate = "cut off"  # the emulator was stopped
        else:
            price = f"billed {self.units.normalize():f}" if self.billed else "not billed"
            fate = f"{self.status}, {price}, {self.ended - self.started:.3f} s"
        met = f", {self.fault}" if self.fault else ""
        return f"{self.request_id} {self.model} by {self.key_id or 'anyone'}: {fate}{met}"


class Ledger:
    """Every execution, in the order they started.

    ``ledger.billed("fal-ai/fast-sdxl") == 3`` is how a test asks. A model is named by its id, by its
    application (which covers its paths), or by a pattern such as ``"fal-ai/*"``.
    """

    def __init__(self) -> None:
        self._all: list[Execution] = []

    def begin(self, execution: Execution) -> Execution:
        """Enter an execution that starts now."""
        self._all.append(execution)
        return execution

    def executions(self, model: str | None = None) -> list[Execution]:
        """What ran, running ones included."""
        return [e for e in self._all if matches(model, e.model)]

    def running(self, model: str | None = None) -> int:
        """How many executions have not ended."""
        return sum(e.ended is None for e in self.executions(model))

    def billed(self, model: str | None = None) -> int:
        """How many executions were charged for."""
        return sum(e.billed for e in self.executions(model))

    def units(self, model: str | None = None) -> Decimal:
        """The billable units of all that was charged for."""
        return sum((e.units for e in self.executions(model) if e.billed), Decimal(0))

    def clear(self) -> None:
        """Forget everything so far."""
        self._all.clear()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Execution]:
        return iter(self._all)

    def __bool__(self) -> bool:
        return True  # a ledger without entries is still one

    def __str__(self) -> str:
        shown = [f"  {e}" for e in self._all[:_SHOWN]]
        if len(self._all) > _SHOWN:
            shown.append(f"  … and {len(self._all) - _SHOWN} more")
        return "\n".join((repr(self), *shown))

    def __repr__(self) -> str:  # one line: it stands within the lines of a failed assertion
        return (
            f"<Ledger: {len(self._all)} executions, {self.billed()} billed, {self.units()} units>"
        )


_SHOWN = 20
