"""When a run is killed: after so much progress, and some milliseconds more. Pure: chance is passed in."""

from __future__ import annotations

from typing import Final, Literal

import attrs

from fal_async.emulator.chance import Chance

__all__ = ["Plan", "plan"]

Moment = Literal["opening", "calls", "requests", "outcomes", "closing"]
_MOMENTS: Final[tuple[Moment, ...]] = (
    "opening",
    "calls",
    "calls",
    "requests",
    "outcomes",
    "outcomes",
    "closing",
)
_DELAY: Final = 0.020


@attrs.frozen(kw_only=True)
class Plan:
    """One kill.

    :ivar after: of what: the word that it opens its journal; so many calls that arrive, or so many requests
        of any kind, which are questions, too; so many outcomes that are new; the word that it closes, which
        it is told to do after so many outcomes.
    :ivar delay: seconds from then on.
    """

    after: Moment
    count: int
    delay: float


def plan(chance: Chance, *labels: object, step: int) -> Plan:
    """The kill of one run.

    :param step: by how many inputs runs go on between two kills, about.
    """
    after = _MOMENTS[chance.integer("moment", *labels) % len(_MOMENTS)]
    return Plan(
        after=after,
        count=1 + int(2 * step * chance.fraction("count", *labels)),
        delay=_DELAY * chance.fraction("delay", *labels),
    )
