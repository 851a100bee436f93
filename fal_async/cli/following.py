"""The emulator's calls as lines of a log: what ended since one last looked."""

from __future__ import annotations

from itertools import islice
from typing import Final

from fal_async.emulator import Emulator, Execution

__all__ = ["CallLog", "closing_account"]

#: Operations by which something runs; those that ask about it, or move files, are left out.
_CALLS: Final = ("run", "stream", "submit", "websocket", "realtime")


class CallLog:
    """Reads an emulator's ledger as it grows. :meth:`news` is asked now and then."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._seen = 0
        self._running: list[Execution] = []
        self._refused = 0

    def news(self) -> list[str]:
        """A line for each call that ended, and one for the refusals, since the last time."""
        ledger = self._emulator.ledger
        self._running.extend(islice(ledger, self._seen, None))
        self._seen = len(ledger)
        ended = [execution for execution in self._running if execution.ended is not None]
        self._running = [execution for execution in self._running if execution.ended is None]
        lines = [_line(execution) for execution in ended]
        refused = self._emulator.refused - self._refused
        if refused:
            self._refused += refused
            calls = "1 call" if refused == 1 else f"{refused} calls"
            lines.append(f"{calls} refused (429): over the limit of {self._emulator.limit}")
        return lines


def _line(execution: Execution) -> str:
    took = (execution.ended or 0.0) - execution.started
    price = f"billed {execution.units.normalize():f}" if execution.billed else "not billed"
    fault = f"  {execution.fault}" if execution.fault else ""
    return (
        f"{execution.model:<24} {execution.status}  {took:6.2f} s  {price:<12}  "
        f"{execution.request_id}{fault}"
    )


def closing_account(emulator: Emulator) -> str:
    """What there was in all. A queued request may run more than once, a refused call never."""
    requests, ledger = emulator.requests, emulator.ledger
    received = ", ".join(f"{name} {requests[name]:,}" for name in _CALLS if requests[name])
    return (
        f"received: {received or 'nothing'}; ran: {len(ledger):,}, billed: {ledger.billed():,} "
        f"({ledger.units().normalize():f} units); refused over the limit: {emulator.refused:,}"
    )
