"""Which log lines of a queued request are new. Pure: lists in, lists out."""

from __future__ import annotations

from collections.abc import Sequence

from fal_async.protocol.queue import LogLine

__all__ = ["LogTail"]


class LogTail:
    """Polls bring all lines so far, streams those since their last event (PROTOCOL 6.2, 6.3).

    A second attempt at the request may begin its log anew, and a server may keep only the last lines: what
    was not there before is new.
    """

    def __init__(self) -> None:
        self._seen: list[LogLine] = []
        self._resumed = False

    def resume(self) -> None:
        """A stream begins: what it brings first may be all so far, or only what is new."""
        self._resumed = True

    def fresh(self, lines: tuple[LogLine, ...], *, cumulative: bool) -> tuple[LogLine, ...]:
        """Those that were not given before.

        :param cumulative: whether ``lines`` are all so far.
        """
        if not lines:
            return ()
        if not cumulative and not self._resumed:
            self._seen.extend(lines)
            return lines
        self._resumed = self._resumed and cumulative
        known = _known(self._seen, lines)
        self._seen.extend(lines[known:])
        return lines[known:]


def _known(seen: list[LogLine], lines: Sequence[LogLine]) -> int:
    """How many of ``lines``, from the first on, have been seen."""
    begun = min(len(seen), len(lines))
    if list(lines[:begun]) == seen[:begun]:
        return begun
    # Not from the first line on: the end of what was seen may be the beginning of this.
    for size in range(begun, 0, -1):
        if seen[-size] == lines[0] and seen[-size:] == list(lines[:size]):
            return size
    return 0
