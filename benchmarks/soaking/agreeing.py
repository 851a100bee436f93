"""Whether the client and the ledger agree on every single call. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from benchmarks.soaking.story import Story

__all__ = ["Execution", "disagreements"]


@attrs.frozen(kw_only=True)
class Execution:
    """A run of a model, as the ledger of the far end has it; times on its clock."""

    marker: str
    request_id: str
    model: str
    started: float
    ended: float | None
    status: int | None
    billed: bool
    fault: str | None
    attempt: int

    def __str__(self) -> str:
        fate = "goes on" if self.ended is None else f"{self.started:.3f} to {self.ended:.3f} s"
        met = f", met {self.fault}" if self.fault else ""
        paid = "billed" if self.billed else "not billed"
        return f"{self.request_id} {self.model}, attempt {self.attempt}: {self.status}, {paid}, {fate}{met}"


def disagreements(stories: Mapping[str, Story], executions: Iterable[Execution]) -> Iterator[str]:
    """Each one with its whole story."""
    of_marker: defaultdict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        of_marker[execution.marker].append(execution)
    for marker, story in stories.items():
        found = of_marker.pop(marker, [])
        why = _trouble(story, found)
        if why:
            yield _whole(f"{why}: {story}", found)
    for marker, found in of_marker.items():
        yield _whole(f"nobody made the call {marker!r}", found)


def _trouble(story: Story, executions: Sequence[Execution]) -> str | None:
    """What is not as it must be; None if all is."""
    if story.end == "open":
        return "it never ended"
    charges = [execution for execution in executions if execution.billed]
    least, most = _charges(story)
    if not least <= len(charges) <= most:
        return f"charged {len(charges)} times, and not {least} to {most} times"
    known = {execution.request_id for execution in executions}
    if story.end == "succeeded" and story.request_id and story.request_id not in known:
        return "it has an answer of a request that never ran"
    return None


def _charges(story: Story) -> tuple[int, int]:
    """How often it may have been charged for, by what was said."""
    if story.end == "succeeded" or story.billing == "billed":
        return 1, story.before + story.most
    return 0, story.before + (0 if story.billing == "not_billed" else story.most)


def _whole(text: str, executions: Sequence[Execution]) -> str:
    return "\n".join([text, *(f"    {execution}" for execution in executions)])
