"""From the words of the command line and the rows of a file to the inputs of a batch, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import attrs
import click

from fal_async.batch.grid import Grid, grid
from fal_async.batch.rows import BadRow, Row
from fal_async.cli.options import parse_value, read_value

__all__ = ["Planned", "Recipe", "Survey", "parse_grid", "survey"]

_RANGE: Final = re.compile(r"\s*(-?\d{1,18})\.\.(-?\d{1,18})\s*")
_VALUES_MAX: Final = 1_000_000


def parse_grid(words: Iterable[str]) -> Grid:
    """``seed=1..4`` (1, 2, 3 and 4), ``guidance=2,4``, ``style='["ink, black", "oil"]'``: all combinations.

    ``image_url=@a.png,@b.png`` are files.

    :raises click.UsageError: for a word that is none of these.
    """
    axes: dict[str, Sequence[Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.strip():
            raise click.UsageError("--grid is NAME=VALUES, such as seed=1..4 or guidance=2,4")
        if name in axes:
            raise click.UsageError(f"--grid {name} is given twice")
        axes[name] = _values(name, text)
    return grid(**axes)


def _values(name: str, text: str) -> Sequence[Any]:
    whole = parse_value(text)
    if whole in ([], "") or not text.strip():
        raise click.UsageError(f"--grid {name} has no values")
    if isinstance(whole, list):
        return whole
    if span := _range(name, text):
        return span
    values: list[Any] = []
    for part in text.split(","):
        values += _range(name, part) or [read_value(name, part)]
    return values


def _range(name: str, text: str) -> range | None:
    found = _RANGE.fullmatch(text)
    if found is None:
        return None
    values = range(int(found[1]), int(found[2]) + 1)
    if not values:
        raise click.UsageError(f"--grid {name}={text} counts upwards: {found[2]}..{found[1]}")
    if len(values) > _VALUES_MAX:
        raise click.UsageError(f"--grid {name}={text} has more than {_VALUES_MAX:,} values")
    return values


@attrs.frozen(kw_only=True)
class Planned:
    """An input to be sent, and the line it comes from."""

    line: int
    input: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Recipe:
    """What is made of every row.

    :ivar fixed: fields for all inputs; a row's own win.
    :ivar varied: every row is sent with each of these.
    """

    fixed: Mapping[str, Any] = attrs.field(repr=False)
    varied: Grid

    def __attrs_post_init__(self) -> None:
        for name in self._names:
            if name in self.fixed:
                raise click.UsageError(f"{name} is given by --param and by --grid")

    @property
    def _names(self) -> frozenset[str]:
        return self.varied.names

    def checked(self, row: Row | BadRow) -> Row | BadRow:
        """The row, unless the grid would say something else."""
        if isinstance(row, Row) and (twice := sorted(self._names & row.input.keys())):
            return BadRow(line=row.line, reason=f"{twice[0]} is also given by --grid")
        return row

    def inputs(self, rows: Iterable[Row | BadRow]) -> Iterator[Planned | BadRow]:
        """What is to be sent, in order: of each row all that the grid makes of it."""
        for row in map(self.checked, rows):
            if isinstance(row, BadRow):
                yield row
                continue
            for chosen in self.varied:
                yield Planned(line=row.line, input={**self.fixed, **row.input, **chosen})


@attrs.frozen(kw_only=True)
class Survey:
    """What a file holds.

    :ivar calls: how many inputs it makes.
    :ivar bad: how many rows are none.
    :ivar first: the first few inputs.
    :ivar first_bad: the first few of the others.
    """

    calls: int
    bad: int
    first: tuple[Planned, ...]
    first_bad: tuple[BadRow, ...]


def survey(recipe: Recipe, rows: Iterable[Row | BadRow], *, most: int | None = None) -> Survey:
    """Go through all rows, and keep next to nothing.

    :param most: stop after so many inputs.
    """
    calls = bad = 0
    first: list[Planned] = []
    first_bad: list[BadRow] = []
    for row in map(recipe.checked, rows):
        if isinstance(row, BadRow):
            bad += 1
            first_bad += [row] if bad <= _SHOWN_BAD else []
            continue
        calls += len(recipe.varied)
        if len(first) < _SHOWN:
            made = islice(recipe.inputs([row]), _SHOWN - len(first))
            first += [item for item in made if isinstance(item, Planned)]
        if most is not None and calls >= most:
            break
    return Survey(calls=calls, bad=bad, first=tuple(first), first_bad=tuple(first_bad))


_SHOWN: Final = 3
_SHOWN_BAD: Final = 10
