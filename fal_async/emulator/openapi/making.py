"""An output made to fit its shape: what is echoed, what is a file, and what is made up. Pure.

The same key gives the same output. A value is, in this order: the input's own of that name, if it is a
plain one; a fact of the file it belongs to; the default; one of the examples; made up. What may be absent or
null is so now and then, if it is a plain value; objects, lists and files are always there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from fal_async.emulator.answers import MadeFile
from fal_async.emulator.chance import digest
from fal_async.emulator.openapi.checking import fits
from fal_async.emulator.openapi.media import (
    ABOUT_FILES,
    Wishes,
    holds_url,
    is_file,
    kind_of,
    make_file,
)
from fal_async.emulator.openapi.numbers import draw_number
from fal_async.emulator.openapi.shapes import (
    Anything,
    Choice,
    Field,
    Flag,
    Listing,
    Null,
    Number,
    Record,
    Shape,
    Text,
    Values,
    resolve,
)
from fal_async.emulator.openapi.traits import (
    all_of,
    is_content,
    is_nullable,
    is_plain,
    is_scalar,
    kind_by_fields,
    texts_in,
    types_named,
)
from fal_async.emulator.openapi.writing import write_text

__all__ = ["make_output"]

_DEEP: Final = 8  # names on the way
_TRIES: Final = 8
_MANY_TRIES: Final = 50
_MOST_ITEMS: Final = 10_000  # a document may ask for more, which nobody would wait for

_COUNTS: Final = (
    "num_images",
    "num_videos",
    "num_outputs",
    "num_samples",
    "num_variations",
    "number_of_images",
    "n",
)
_URL_NAME: Final = re.compile(r"(image|video|audio|url)s?|.*_urls?")
#: What an output that went well does not say.
_BAD_NEWS: Final = re.compile(r".*(error|nsfw|partial|flagged|blocked|failed).*")


@attrs.frozen
class _Spot:
    """Where in the output: the names on the way, and all that tells it from any other."""

    names: tuple[str, ...] = ()
    labels: tuple[object, ...] = ()
    within: tuple[int, ...] = ()

    def field(self, name: str, of: Shape) -> _Spot:
        return _Spot((*self.names, name), (*self.labels, name), (*self.within, id(of)))

    def part(self, *labels: object) -> _Spot:
        return _Spot(self.names, (*self.labels, *labels), self.within)

    @property
    def name(self) -> str:
        return self.names[-1].lower() if self.names else ""

    @property
    def is_outermost(self) -> bool:
        """Whether it is a field of the output itself, and of nothing within."""
        return len(self.labels) == len(self.names) == 1

    @property
    def deep(self) -> bool:
        """Whether this goes on without need: what may be left out is, from here on."""
        again = bool(self.within) and self.within.count(self.within[-1]) > 1
        return again or len(self.names) > _DEEP or len(self.labels) > 3 * _DEEP


def make_output(
    shape: Shape,
    height_of: Mapping[int, float],
    *,
    key: bytes,
    input: Any,
    seed: int,
    about: str = "",
) -> Any:
    """An output, with :class:`MadeFile` where URLs of files stand.

    :param height_of: what ``heights`` says of the shape.
    :param key: of which everything made up is made.
    :param input: as the application read it.
    :param seed: what stands in a field of that name.
    :param about: what the model is for, such as ``text-to-image``.
    """
    return _Maker(height_of, key, input, seed, about).make(shape, _Spot())


class _Maker:
    def __init__(
        self, height_of: Mapping[int, float], key: bytes, input: Any, seed: int, about: str
    ) -> None:
        self._height_of = height_of
        self._key = key
        self._input = input if isinstance(input, Mapping) else {}
        self._seed = seed
        self._about = about.rpartition("-to-")[2]
        self._wishes = Wishes.of(input)

    def make(self, shape: Shape, spot: _Spot) -> Any:
        shape = resolve(shape)
        for known in self._known(shape, spot):
            if fits(shape, known):
                return known
        match shape:
            case Record():
                return self._file(shape, spot) if is_file(shape) else self._object(shape, spot)
            case Listing():
                return self._list(shape, spot)
            case Choice():
                return self._choice(shape, spot)
            case Values():
                values = [value for value in shape.values if value is not None] or [None]
                return values[self._draw(spot, len(values))]
            case Text():
                return self._text(shape, spot)
            case Number():
                return draw_number(shape, self._drawing(spot))
            case Flag():
                return not _BAD_NEWS.match(spot.name) and self._draw(spot, 2) == 1
            case Anything():
                return {}
            case _:
                return None

    # --- chance -------------------------------------------------------------------------------------

    def _draw(self, spot: _Spot, below: int, *labels: object) -> int:
        return int.from_bytes(self._digest(spot, *labels)[:8], "big") % below

    def _digest(self, spot: _Spot, *labels: object) -> bytes:
        return digest(self._key.hex(), *spot.labels, "\x1e", *labels)

    def _drawing(self, spot: _Spot) -> Any:
        counting = iter(range(1 << 30))
        return lambda below: self._draw(spot, below, next(counting))

    # --- plain values -------------------------------------------------------------------------------

    def _known(self, shape: Shape, spot: _Spot) -> Iterator[Any]:
        """What may stand there without being made up; whether it fits is not said."""
        if isinstance(shape, (Record, Listing)):
            return
        if isinstance(shape, Choice) and is_nullable(shape) and _BAD_NEWS.match(spot.name):
            yield None
        if self._is_url(shape, spot):
            return
        if spot.is_outermost and spot.name == "seed":
            yield self._seed
            yield self._seed % (1 << 32)
        elif spot.is_outermost and is_plain(self._input.get(spot.names[0])):
            yield self._input[spot.names[0]]
        examples = [each for each in shape.examples if is_plain(each)]
        if is_plain(shape.default):
            yield shape.default
        start = self._draw(spot, len(examples), "example") if examples else 0
        yield from (*examples[start:], *examples[:start])

    def _is_url(self, shape: Shape, spot: _Spot) -> bool:
        told = _URL_NAME.fullmatch(spot.name) or getattr(shape, "format", "") in {"uri", "url"}
        return bool(told) and holds_url(shape)

    def _text(self, shape: Text, spot: _Spot) -> str | MadeFile:
        if self._is_url(shape, spot):
            kind = self._kind(spot, "")
            if kind != "data" or len(spot.names) == 1:
                return make_file(kind, self._digest(spot), self._allowed(shape))[0]
            return f"https://example.com/{self._digest(spot).hex()[:8]}"
        return write_text(shape, spot.name, self._digest(spot), self._drawing(spot))

    # --- files --------------------------------------------------------------------------------------

    def _kind(self, spot: _Spot, fields: str, name: str = "") -> str:
        return kind_of((name, *reversed(spot.names), fields, self._about))

    def _allowed(self, url: Shape) -> Wishes:
        """What is wished, but no file within a URL that has to be short."""
        texts = [text for text in texts_in(url) if text.longest is not None]
        return attrs.evolve(self._wishes, inline=False) if texts else self._wishes

    def _file(self, shape: Record, spot: _Spot) -> dict[str, Any]:
        kind = self._kind(spot, kind_by_fields(shape), shape.name)
        wishes = self._allowed(shape.fields["url"].shape)
        if kind == "image":
            width, height = (self._side(shape, name, spot) for name in ("width", "height"))
            wishes = attrs.evolve(wishes, width=width, height=height)
        file, facts = make_file(kind, self._digest(spot), wishes, types_named(shape))
        out: dict[str, Any] = {}
        for name, field in shape.fields.items():
            if name == "url":
                out[name] = file
            elif name in facts and fits(field.shape, facts[name]):
                out[name] = facts[name]
            elif name == "file_size" and field.required:
                out[name] = _size_of(file)
            elif field.required or name not in ABOUT_FILES:
                self._fill(name, field, shape, spot, out)
        return out

    def _side(self, shape: Record, name: str, spot: _Spot) -> int:
        """The width or height that is wished, or one that the schema allows."""
        field = shape.fields.get(name)
        wished: int = getattr(self._wishes, name)
        if field is None or fits(field.shape, wished):
            return wished
        told = resolve(field.shape)
        ends = (told.highest, told.lowest) if isinstance(told, Number) else ()
        fitting = (end for end in ends if fits(told, end))
        side = next(fitting, None) or self.make(told, spot.field(name, shape))
        return side if isinstance(side, int) and 0 < side < 1 << 14 else wished

    # --- what holds others --------------------------------------------------------------------------

    def _object(self, shape: Record, spot: _Spot) -> dict[str, Any]:
        out: dict[str, Any] = {}
        required = sum(field.required for field in shape.fields.values())
        room = len(shape.fields) if shape.most is None else shape.most - required
        for name, field in shape.fields.items():
            before = len(out)
            if field.required or room > 0:
                self._fill(name, field, shape, spot, out, always=shape.fewest > 0)
            room -= not field.required and len(out) > before
        return {**out, **self._more(shape, spot, len(out))}

    def _fill(
        self,
        name: str,
        field: Field,
        of: Record,
        spot: _Spot,
        out: dict[str, Any],
        *,
        always: bool = False,
    ) -> None:
        """Give a field its value, unless it is left out."""
        inner, shape = spot.field(name, of), resolve(field.shape)
        if not field.required and not always and self._left_out(shape, inner):
            return
        out[name] = self.make(shape, inner)

    def _left_out(self, shape: Shape, spot: _Spot) -> bool:
        if spot.deep or is_content(shape, spot.name):
            return True
        if not is_scalar(shape) or self._is_url(shape, spot) or spot.name in {"seed", "prompt"}:
            return False
        bad = bool(_BAD_NEWS.match(spot.name)) and not isinstance(shape, Flag)
        return bad or self._draw(spot, 8, "left out") == 0

    def _more(self, shape: Record, spot: _Spot, have: int) -> dict[str, Any]:
        """Fields that have no names of their own; one, where all are such."""
        wanted = max(shape.fewest - have, 0)
        if shape.more is None or (shape.fields and not wanted):
            return {}
        anything = isinstance(resolve(shape.more), Anything)
        alone = not shape.fields and not spot.deep and shape.most != 0
        if alone and not wanted and (not anything or spot.name == "timings"):
            wanted = 1
        names = ["inference", *(f"field_{number}" for number in range(1, wanted + have + 1))]
        names = [name for name in names if name not in shape.fields][:wanted]
        if anything:
            return {name: 0.5 + self._draw(spot, 3000, name) / 1000 for name in names}
        return {name: self.make(shape.more, spot.field(name, shape)) for name in names}

    def _list(self, shape: Listing, spot: _Spot) -> list[Any]:
        count = len(shape.first) if shape.items is None else self._count(shape, spot)
        count = max(count, shape.fewest, 0 if spot.deep else len(shape.first))
        count = min(count, _MOST_ITEMS, _MOST_ITEMS if shape.most is None else shape.most)
        known = all_of(shape.items) if shape.unique and not shape.first else ()
        if known:
            start = self._draw(spot, len(known), "first")
            return [*known[start:], *known[:start]][:count]
        made: list[Any] = []
        for index in range(count):
            item = shape.first[index] if index < len(shape.first) else shape.items or Anything()
            for attempt in range(_MANY_TRIES if shape.unique else 1):
                value = self.make(item, spot.part(index, attempt))
                if not (shape.unique and _told(value) in [_told(each) for each in made]):
                    made.append(value)
                    break
        return made

    def _count(self, shape: Listing, spot: _Spot) -> int:
        assert shape.items is not None  # noqa: S101  # asked before
        if spot.deep:
            return 0
        item = resolve(shape.items)
        file = (isinstance(item, Record) and is_file(item)) or self._is_url(item, spot)
        if file or (isinstance(item, Flag) and len(spot.names) == 1):
            told = (self._input.get(name) for name in _COUNTS)
            return next((n for n in told if isinstance(n, int) and 0 < n < 100), 1)
        return 1 + self._draw(spot, 3, "count") if len(spot.names) < 3 else 1

    def _choice(self, shape: Choice, spot: _Spot) -> Any:
        options = [resolve(option) for option in shape.options]
        given = [option for option in options if not isinstance(option, Null)]
        least = min(self._height_of[id(option)] for option in options)
        if len(given) < len(options):
            plain = all(is_scalar(option) and not self._is_url(option, spot) for option in given)
            if not given or (spot.deep and least == 0) or (plain and not self._draw(spot, 8)):
                return None
        flat = [o for o in given if self._height_of[id(o)] <= (least if spot.deep else 1e9)]
        start = self._draw(spot, len(flat), "option")
        value: Any = None
        for attempt in range(_TRIES * len(flat)):
            option = flat[(start + attempt) % len(flat)]
            value = self.make(option, spot.part(*((attempt,) if attempt else ())))
            if not shape.one or sum(fits(each, _told(value)) for each in options) == 1:
                break
        return value


def _size_of(file: MadeFile) -> int:
    return len(file.content if isinstance(file.content, bytes) else file.content())


def _told(value: Any) -> Any:
    """What a caller will see, as far as its shape goes."""
    match value:
        case MadeFile():
            return "https://example.com/files/penguin/a.bin"
        case dict():
            return {name: _told(each) for name, each in value.items()}
        case list():
            return [_told(each) for each in value]
        case _:
            return value
