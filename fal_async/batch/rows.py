"""Inputs from the lines of a file: prompts, JSON lines, or a table (CSV). Pure: others read the file.

One row at a time, whatever the file's length. A row that is none is told by its line, and those after it
are read all the same. No reason holds a row's words.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final, Literal

import attrs
import msgspec

from fal_async.errors import InputError

__all__ = ["BadRow", "Row", "RowFormat", "format_of", "read_rows", "sniff_format"]

RowFormat = Literal["txt", "jsonl", "csv"]
"""``txt``: a prompt a line. ``jsonl``: a JSON object or text a line. ``csv``: a table."""


@attrs.frozen(kw_only=True)
class Row:
    """An input.

    :ivar line: the line it begins on, from 1.
    :ivar input: what it says, as ``run`` takes it.
    """

    line: int
    input: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class BadRow:
    """A row that is no input.

    :ivar line: the line it begins on, from 1.
    :ivar reason: what is wrong with it, without its words.
    """

    line: int
    reason: str


def format_of(name: str) -> RowFormat | None:
    """What a file of this name holds; None if its ending does not tell."""
    return _ENDINGS.get(name.lower().rpartition(".")[2])


_ENDINGS: Final[dict[str, RowFormat]] = {
    "txt": "txt",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "csv",
}


def sniff_format(line: bytes) -> RowFormat:
    """What the first line that is not blank looks like: JSON, the names of columns, or a prompt."""
    text = line.removeprefix(_BOM).decode("utf-8", "replace").strip()
    if text.startswith(('{"', "{}")) or _is_json(text):
        return "jsonl"
    names = _cells(text, _delimiter(text))
    if isinstance(names, str) or len(names) < 2:
        return "txt"
    named = [name.strip() for name in names]
    is_table = all(map(_NAME.fullmatch, named)) and any(map(_WORDS.fullmatch, named))
    return "csv" if is_table else "txt"


def _is_json(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), (dict, str))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False


def read_rows(lines: Iterable[bytes], format: RowFormat) -> Iterator[Row | BadRow]:
    """The rows of a file, in order, as they are asked for.

    ``txt``: a prompt a line; blank lines, and those that begin with ``#``, are skipped. White space around a
    prompt is none of it.

    ``jsonl``: an object is an input, a text is a prompt; blank lines are skipped.

    ``csv``: the first row names the fields (commas, semicolons or tabs between them). A cell that is empty is
    left out of its input. A cell that is a JSON number, object, array, ``true``, ``false`` or ``null`` is
    taken for that; but in columns named ``prompt`` or ``text``, or so at their end (``negative_prompt``),
    every cell is text. A quoted cell may hold line breaks. A quote that is never closed spoils the line it
    stands on.

    :param lines: the file, cut after each line feed. UTF-8, with or without a byte order mark.
    :raises InputError: on asking for the first row: a table without names of columns.
    """
    found = iter(lines)
    first = next(found, None)
    if first is None:
        return
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield BadRow(line=1, reason="the file is UTF-16: save it as UTF-8")
        return
    whole = chain([first.removeprefix(_BOM)], found)
    if format == "csv":
        yield from _table(whole)
        return
    row = _prompt if format == "txt" else _document
    for number, line in enumerate(whole, 1):
        content = _read(line, row)
        if isinstance(content, str):
            yield BadRow(line=number, reason=content)
        elif content is not None:
            yield Row(line=number, input=content)


_BOM: Final = b"\xef\xbb\xbf"

_Content = dict[str, Any] | str | None
"""An input; or what is wrong with it; or nothing, which is no row."""


def _read(line: bytes, row: Callable[[str], _Content]) -> _Content:
    return _encoding_of(line) or row(line.decode().strip())


def _encoding_of(raw: bytes) -> str | None:
    """What is wrong with it, if anything."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start + 1} of the row)"
    return None


def _prompt(text: str) -> _Content:
    return {"prompt": text} if text and not text.startswith("#") else None


def _document(text: str) -> _Content:
    if not text:
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return f"not JSON: {str(error).removeprefix('JSON is malformed: ')}"
    except RecursionError:
        return "nested too deeply"
    if isinstance(value, str):
        return {"prompt": value}
    return value if isinstance(value, dict) else "neither a JSON object nor a text"


# --- tables ---------------------------------------------------------------------------------------------

#: How far a quoted cell may reach, in lines: beyond that, its quote was not meant.
_LINES_MAX: Final = 10_000
#: An input's field, as models name it.
_NAME: Final = re.compile(r"[^\W\d][\w.-]*")
#: A column of texts, whatever they look like.
_WORDS: Final = re.compile(r"(?:.*_)?(?:prompt|text)", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"([^"]*(?:""[^"]*)*)')
_OPEN: Final = "a quote is never closed"
_VALUE: Final = re.compile(r"\s*(?:[-\d{\[]|true\s*$|false\s*$|null\s*$)")


class _Lines:
    """The lines of a table; those read ahead in vain can be given back."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._given_back: deque[bytes] = deque()
        self.number = 0
        """The line read last."""

    def next(self) -> bytes | None:
        line = self._given_back.popleft() if self._given_back else next(self._lines, None)
        self.number += line is not None
        return line

    def give_back(self, lines: list[bytes]) -> None:
        self._given_back.extendleft(reversed(lines))
        self.number -= len(lines)


def _table(source: Iterable[bytes]) -> Iterator[Row | BadRow]:
    lines = _Lines(source)
    names: list[str] = []
    delimiter = ","
    while (line := lines.next()) is not None:
        number = lines.number
        if not line.strip():
            continue
        if not names:
            delimiter = _delimiter(line.decode("utf-8", "replace"))
            names = _names(_record(line, delimiter, lines))
            continue
        cells = _record(line, delimiter, lines)
        content = cells if isinstance(cells, str) else _input(names, cells)
        if isinstance(content, str):
            yield BadRow(line=number, reason=content)
        elif content is not None:
            yield Row(line=number, input=content)


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)  # the first of them where none is there


def _record(line: bytes, delimiter: str, lines: _Lines) -> list[str] | str:
    """The cells of the row that begins with this line; or what is wrong with it.

    Where a quote is not closed as it should be, only this line is spent.
    """
    parts, ahead = [line], list[bytes]()
    while True:
        raw = b"".join(parts)
        cells = _cells(raw.decode("utf-8", "surrogateescape"), delimiter)
        if not isinstance(cells, str):
            return _encoding_of(raw) or cells
        if cells is not _OPEN or not _read_on(parts, ahead, lines):
            lines.give_back(ahead)
            return _OPEN if ahead else cells


def _read_on(parts: list[bytes], ahead: list[bytes], lines: _Lines) -> bool:
    """Read as far as the next quote, which may close the cell."""
    while len(ahead) < _LINES_MAX and (more := lines.next()) is not None:
        parts.append(more)
        ahead.append(more)
        if b'"' in more:
            return True
    return False


def _cells(text: str, delimiter: str) -> list[str] | str:
    """The cells of a row; or what is wrong with it (RFC 4180, but for a lone quote within a bare cell)."""
    cells: list[str] = []
    text = text.removesuffix("\n").removesuffix("\r")
    at, end = 0, len(text)
    while True:
        if quoted := _QUOTED.match(text, at):
            at = quoted.end() + 1
            if at > end:
                return _OPEN
            cells.append(quoted[1].replace('""', '"'))
        else:
            stop = text.find(delimiter, at)
            stop = end if stop < 0 else stop
            cells.append(text[at:stop])
            at = stop
        if at == end:
            return cells
        if text[at] != delimiter:
            return f"cell {len(cells)} goes on after its closing quote"
        at += 1


def _names(cells: list[str] | str) -> list[str]:
    if isinstance(cells, str):
        raise InputError(f"the first row names no columns: {cells}")
    names = [cell.strip() for cell in cells]
    for place, name in enumerate(names, 1):
        if not _NAME.fullmatch(name):
            raise InputError(
                f"the first row of a table names its columns, and its cell {place} is no name of a field"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two columns are named {twice}")
    return names


def _input(names: list[str], cells: list[str]) -> _Content:
    if len(cells) != len(names):
        if not any(cell.strip() for cell in cells):
            return None
        if len(cells) < len(names):
            return f"column {names[len(cells)]} is missing: {len(cells)} of {len(names)} cells"
        return f"{len(cells)} cells for {len(names)} columns"
    content = {
        name: _value(name, cell) for name, cell in zip(names, cells, strict=True) if cell.strip()
    }
    return content or None


def _value(name: str, cell: str) -> Any:
    if not _VALUE.match(cell) or _WORDS.fullmatch(name):
        return cell
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError):
        return cell
