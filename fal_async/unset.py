"""The mark of an argument that was not given, where None means something else."""

from __future__ import annotations

import enum

__all__ = ["UNSET", "Unset"]


class Unset(enum.Enum):
    """Has one value, ``UNSET``; an enum, so that type checkers can narrow it away."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET
