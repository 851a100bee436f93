"""Figures out of what was measured, and tables out of figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import attrs

__all__ = ["Ratio", "Target", "ratio", "table", "target_table"]


@attrs.frozen
class Ratio:
    """The median of what was measured pair by pair, and how far the pairs lie apart."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f}-{self.most:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Ours by theirs, round by round: what slows a round down slows both of its halves."""
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(median(pairs), min(pairs), max(pairs))


@attrs.frozen
class Target:
    """Something that is to be reached."""

    name: str
    reached: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.reached >= self.least) and (
            self.most is None or self.reached <= self.most
        )

    @property
    def wanted(self) -> str:
        return f">= {self.least:,g}" if self.most is None else f"<= {self.most:,g}"

    @property
    def shown(self) -> str:
        """What was reached."""
        return f"{self.reached:,.0f}" if self.reached >= 100 else f"{self.reached:.3g}"

    def row(self) -> list[str]:
        return [self.name, self.wanted, self.shown, "yes" if self.met else "NO"]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def target_table(targets: Iterable[Target]) -> str:
    """What was to be reached, and whether it was."""
    return table(("to reach", "", "reached", "met"), [target.row() for target in targets])
