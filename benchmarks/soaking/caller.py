"""Who makes calls: what all kinds of them have in common, and the table of kinds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from benchmarks.soaking.story import Book, Story
from fal_async import AsyncFal

__all__ = ["KINDS", "WAIT", "Caller", "Kind", "caller"]

#: Seconds that a call may have to wait for its slot: of two, while others stall.
WAIT: Final = 60.0


@attrs.frozen(kw_only=True)
class Caller:
    """One caller, for one thing that it does.

    :ivar fal: the session that it uses; ``other`` is another one.
    :ivar chance: its own, so that what it does depends on the seed and on nothing else.
    :ivar folder: for its files alone.
    :ivar large: whether it may move megabytes.
    """

    fal: AsyncFal
    other: AsyncFal
    chance: Random
    book: Book
    folder: Path
    new_session: Callable[..., AsyncFal]
    large: bool

    def input(self, story: Story, **more: Any) -> dict[str, Any]:
        """What a call is made with."""
        seconds = self.chance.choice([0.0, 0.0, 0.01, 0.02, 0.05, 0.2])
        return {"marker": story.marker, "seconds": seconds, **more}

    def options(self) -> dict[str, Any]:
        """Some of those that every call takes."""
        chance = self.chance
        every = {
            "hint": f"hint-{chance.randrange(3)}",
            "tags": {"soak": "yes"},
            "store_io": chance.random() < 0.5,
            "start_timeout": chance.choice([1.0, 2.0, 5.0]),
            "expire": chance.choice(["1h", 3600, "never"]),
            "disable_fallback": True,
            "headers": {"x-soak": "1"},
        }
        chosen = {name: every[name] for name in chance.sample(sorted(every), chance.randrange(3))}
        return {"timeout": self.chance.choice([0.3, 1.5, 3.0, 4.0]), **chosen}

    def model(self) -> str:
        """One of those that answer."""
        return self.chance.choice(
            ["soak/plain", "soak/plain", "soak/hot", "soak/few", "soak/threaded", "soak/job"]
        )


Does = Callable[[Caller], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Kind:
    """Something that callers do.

    :ivar weight: how often, beside the others.
    :ivar seconds: after which it hangs, waiting for a slot included.
    """

    name: str
    does: Does
    weight: float
    seconds: float


KINDS: Final[dict[str, Kind]] = {}


def caller(*, weight: float, seconds: float) -> Callable[[Does], Does]:
    """Enter the decorated function into the table; ``seconds`` are without the wait for a slot."""

    def enter(does: Does) -> Does:
        name = getattr(does, "__name__", "?")
        KINDS[name] = Kind(name=name, does=does, weight=weight, seconds=seconds + WAIT)
        return does

    return enter
