"""What the client said of each call, kept until the ledger has been compared with it. No I/O."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import attrs

from fal_async import FalError, Verdict

__all__ = ["Book", "Story"]

End = Literal["open", "succeeded", "failed", "left", "dropped"]


@attrs.define(kw_only=True)
class Story:
    """One call.

    :ivar marker: what stands in its input, and in the input of no other call.
    :ivar end: how it ended for its caller; ``left`` is a cancellation, ``dropped`` that nobody waited for it.
    :ivar billing: what the client said it cost; None where nothing was said.
    :ivar most: how often it may be charged for: more than once only where the caller asked for that.
    :ivar before: charges that an earlier run may have left, and told as unknown; this one speaks of its own.
    :ivar promised: whether a cancellation must bring a verdict.
    """

    marker: str
    kind: str
    detail: str
    began: float
    ended: float | None = None
    end: End = "open"
    billing: str | None = None
    error: str = ""
    request_id: str | None = None
    most: int = 1
    before: int = 0
    promised: bool = True

    def succeeded(self, request_id: str | None = None) -> None:
        self._end("succeeded", None)
        self.request_id = request_id or self.request_id

    def failed(self, error: FalError) -> None:
        self._end("failed", error.billing)
        self.error = told(error)
        self.request_id = error.request_id or self.request_id

    def left(self, verdict: Verdict) -> None:
        self._end("left", verdict.billing)
        self.request_id = verdict.request_id or self.request_id

    def dropped(self, billing: str | None = None) -> None:
        """Nobody waited for it to end; ``billing`` is what its caller has to think of it."""
        self._end("dropped", billing)

    def _end(self, end: End, billing: str | None) -> None:
        self.ended, self.end, self.billing = time.monotonic(), end, billing

    def __str__(self) -> str:
        seconds = "" if self.ended is None else f" after {self.ended - self.began:.3f} s"
        said = "" if self.billing is None else f", said to be {self.billing}"
        of = f", request {self.request_id}" if self.request_id else ""
        error = f"\n    {self.error}" if self.error else ""
        return f"{self.marker} {self.kind} ({self.detail}): {self.end}{seconds}{said}{of}{error}"


def told(error: BaseException) -> str:
    """An error with all that led to it, as text: it would keep alive whatever it came through."""
    parts, seen = [], set[int]()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        parts.append(f"{type(found).__name__}: {found}")
        found = getattr(found, "first", None) or found.__cause__ or found.__context__
    return " <- ".join(parts)


class Book:
    """The stories of one round, and whatever else was wrong.

    :param prefix: of the markers, so that no two rounds have the same.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.stories: dict[str, Story] = {}
        self.wrong: list[str] = []
        self.asides = 0
        """Calls that cost nothing, and so have no story: uploads, downloads, tokens, connections."""

    def open(self, kind: str, detail: str = "", *, most: int = 1, promised: bool = True) -> Story:
        """A call that is about to be made."""
        marker = f"{self.prefix}.{len(self.stories)}"
        story = Story(
            marker=marker,
            kind=kind,
            detail=detail,
            began=time.monotonic(),
            most=most,
            promised=promised,
        )
        self.stories[marker] = story
        return story

    def compare(self, story: Story, output: Any) -> None:
        """Is it the answer to this call? What a fault has turned into bytes cannot be told."""
        found = output.get("marker") if isinstance(output, dict) else None
        if found is not None and found != story.marker:
            self.wrong.append(f"{story}\n    was answered with what belongs to {found}")

    @contextmanager
    def telling(self, story: Story) -> Iterator[Story]:
        """Write down how the block ends. Errors of fal's are expected; a cancellation passes through."""
        try:
            yield story
        except FalError as error:
            story.failed(error)
        except TimeoutError:  # the caller's own, of what takes none
            story.dropped()
        except asyncio.CancelledError as cancelled:
            verdict: Verdict | None = getattr(cancelled, "verdict", None)
            if verdict is not None:
                story.left(verdict)
            else:
                story.dropped()
                if story.promised:
                    self.wrong.append(f"{story}\n    was cancelled, and no verdict came")
            raise
        except Exception as error:
            story.dropped()
            self.wrong.append(f"{story}\n    raised what is no FalError: {told(error)}")
        else:
            if story.end == "open":
                story.succeeded()

    @contextmanager
    def aside(
        self, what: str, expected: Callable[[FalError], bool] = lambda _: True
    ) -> Iterator[None]:
        """The same for what is not charged for."""
        self.asides += 1
        try:
            yield
        except FalError as error:
            if not expected(error):
                self.wrong.append(f"{what} failed with {told(error)}")
        except TimeoutError:
            pass
        except Exception as error:
            self.wrong.append(f"{what} raised what is no FalError: {told(error)}")
