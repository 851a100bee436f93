"""A string for a regular expression, for those that schemas have: literals, classes, groups, counts. Pure.

What it does not know (assertions, references) it leaves out; whoever asks looks whether the string matches.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Final

__all__ = ["write_match"]

Draw = Callable[[int], int]
"""A number below the one given, another at each call."""

_DIGITS: Final = string.digits
_LETTERS: Final = string.ascii_letters
_CLASSES: Final = {"d": _DIGITS, "w": _LETTERS + _DIGITS + "_", "s": " "}
_OTHERS: Final = {"D": _LETTERS, "W": "-", "S": _LETTERS + _DIGITS}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_PLAIN: Final = _LETTERS + _DIGITS + " -_.,"
_CODE: Final = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})")
_MORE: Final = 4  # where a count has no upper end
_SPREAD: Final = 64  # where it has one that is far away
_MOST: Final = 4096  # repetitions: more are left out


def write_match(pattern: str, draw: Draw, *, at_least: int = 0) -> str:
    """A string that the pattern likely matches.

    :param at_least: how often something is repeated that may be repeated without end.
    """
    return _Writer(pattern, draw, at_least).alternatives()


class _Writer:
    def __init__(self, pattern: str, draw: Draw, at_least: int) -> None:
        self._rest = pattern
        self._draw = draw
        self._at_least = at_least

    def alternatives(self) -> str:
        written = [self._sequence()]
        while self._take("|"):
            written.append(self._sequence())
        return written[self._draw(len(written))]

    def once(self) -> str:
        """What the first part of the pattern matches."""
        return self._atom()

    def _take(self, text: str) -> bool:
        taken = self._rest.startswith(text)
        if taken:
            self._rest = self._rest[len(text) :]
        return taken

    def _next(self) -> str:
        first, self._rest = self._rest[:1], self._rest[1:]
        return first

    def _sequence(self) -> str:
        written = ""
        while self._rest and self._rest[0] not in "|)":
            before = self._rest
            once = self._atom()
            source = before[: len(before) - len(self._rest)]
            count = self._count()
            # What is repeated is written anew each time, so that it need not be the same.
            again = (_Writer(source, self._draw, self._at_least).once() for _ in range(count - 1))
            written += once + "".join(again) if count else ""
        return written

    def _atom(self) -> str:
        match self._next():
            case "(":
                return self._group()
            case "[":
                return self._pick(self._set())
            case "\\":
                return self._pick(self._escaped())
            case ".":
                return self._pick(_PLAIN)
            case "^" | "$":
                return ""
            case plain:
                return plain

    def _pick(self, characters: str) -> str:
        return characters[self._draw(len(characters))] if characters else ""

    def _group(self) -> str:
        looks = self._rest.startswith(("?=", "?!", "?<=", "?<!"))
        if self._take("?P<") or (not looks and self._take("?<")):
            while self._rest and self._next() != ">":
                pass
        elif self._rest.startswith("?"):
            while self._rest and self._next() not in ":=!":
                pass
        inner = self.alternatives()
        self._take(")")
        return "" if looks else inner

    def _escaped(self) -> str:
        code = _CODE.match(self._rest)
        if code:
            self._rest = self._rest[code.end() :]
            return chr(int(code[1] or code[2], 16))
        letter = self._next()
        if letter in "bBAZz":
            return ""
        return _CLASSES.get(letter) or _OTHERS.get(letter) or _CONTROLS.get(letter, letter)

    def _set(self) -> str:
        excludes = self._take("^")
        members = ""
        first = True
        while self._rest and (first or not self._rest.startswith("]")):
            first = False
            low = self._member()
            if (
                len(low) == 1
                and len(self._rest) > 1
                and self._rest[0] == "-" != self._rest[1] != "]"
            ):
                self._next()
                high = self._member()
                members += "".join(chr(code) for code in range(ord(low), ord(high) + 1))
            else:
                members += low
        self._take("]")
        return "".join(c for c in _PLAIN if c not in members) if excludes else members

    def _member(self) -> str:
        if not self._take("\\"):
            return self._next()
        return "\b" if self._take("b") else self._escaped()

    def _count(self) -> int:
        low, high = self._bounds()
        if not self._take("?"):
            self._take("+")
        if high is None:
            return self._at_least if self._at_least > low else low + self._draw(_MORE)
        return min(low, _MOST) + self._draw(min(high - low, _SPREAD) + 1)

    def _bounds(self) -> tuple[int, int | None]:
        if self._take("*"):
            return 0, None
        if self._take("+"):
            return 1, None
        if self._take("?"):
            return 0, 1
        inner = self._rest[1:].partition("}")[0] if self._rest.startswith("{") else ""
        low, comma, high = inner.partition(",")
        if not low.isdecimal() or (high and not high.isdecimal()):
            return 1, 1
        self._rest = self._rest[len(inner) + 2 :]
        return int(low), (int(high) if high else None if comma else int(low))
