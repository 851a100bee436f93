"""What the gallery shows of one outcome: plain data, no file touched.

Inputs and outputs differ from model to model, so what is shown of them is found by its shape: the usual
keys of fal's models (PROTOCOL 16), in a mapping or in an instance of an attrs class. Nothing of it is
trusted: prompts are someone's text, URLs someone's links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs

from fal_async.batch.outcome import Failed, Outcome, SavedFile
from fal_async.errors import Billing, FalError

__all__ = ["GalleryItem", "Kind", "gallery_item", "kind_of", "link_to", "without_data"]

Kind = Literal["image", "video", "audio", "file"]

#: Where the words are that a call was about, and those that came of it.
_PROMPTS: Final = ("prompt", "text", "input", "gen_text")
_TEXTS: Final = ("output", "text", "description")

_TEXT_MAX: Final = 4_000  # characters: a page of 10,000 items has to open fast
_LINK_MAX: Final = 2_000


@attrs.frozen(kw_only=True)
class GalleryItem:
    """One outcome, as the gallery shows it. Texts may be cut, and never hold a ``data:`` URI.

    :ivar index: the input's place, from 0.
    :ivar prompt: the input's words; None if it has none.
    :ivar text: the output's words, of a model that writes; None if it has none.
    :ivar seed: the output's, else the input's; None if neither tells. Exact: it may have 64 bits.
    :ivar elapsed: seconds from its first slot to its end.
    :ivar units: what fal counts the call as, in decimal digits; None if unknown.
    :ivar request_id: fal's id of the request.
    :ivar files: what was saved of it, or was to be.
    :ivar error: what happened to one that failed; None for one that did not.
    :ivar error_class: the name of the error's class.
    :ivar billing: what it may have cost.
    :ivar attempts: how many times it was sent.
    :ivar replayed: whether it was not called for now.
    """

    index: int
    prompt: str | None = attrs.field(default=None, repr=False)
    text: str | None = attrs.field(default=None, repr=False)
    seed: int | str | None = None
    elapsed: float = 0.0
    units: str | None = None
    request_id: str | None = None
    files: tuple[SavedFile, ...] = ()
    error: str | None = attrs.field(default=None, repr=False)
    error_class: str | None = None
    billing: Billing = Billing.BILLED
    attempts: int = 0
    replayed: bool = False


def gallery_item(outcome: Outcome[Any]) -> GalleryItem:
    """What there is to show of an outcome. Never raises for what a model's input or output is like."""
    if isinstance(outcome, Failed):
        output, error = None, outcome.error
    else:
        output, error = outcome.output, None
    return GalleryItem(
        index=outcome.index,
        prompt=_words(outcome.input, _PROMPTS),
        text=output if isinstance(output, str) else _words(output, _TEXTS),
        seed=_seed(output, outcome.input),
        elapsed=outcome.elapsed,
        units=None if outcome.billable_units is None else format(outcome.billable_units, "f"),
        request_id=outcome.request_id,
        files=outcome.files,
        error=None if error is None else _told(error),
        error_class=None if error is None else type(error).__name__,
        billing=outcome.billing,
        attempts=outcome.attempts,
        replayed=outcome.replayed,
    )


def _words(value: Any, keys: tuple[str, ...]) -> str | None:
    for key in keys:
        words = _field(value, key)
        if isinstance(words, str) and words:
            return without_data(words)
    return None


def _seed(*places: Any) -> int | str | None:
    for place in places:
        seed = _field(place, "seed")
        if isinstance(seed, int) and not isinstance(seed, bool):
            return seed
        if isinstance(seed, str) and seed:
            return without_data(seed[:100])
    return None


def _field(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    return getattr(value, key, None) if attrs.has(type(value)) else None


def _told(error: FalError) -> str:
    return without_data("\n".join(_sentences(error)))


def _sentences(error: FalError) -> Iterator[str]:
    yield error.what
    for detail in error.details[1:]:  # the first one is part of the sentence
        yield f"{detail.path}: {detail.msg}" if detail.loc else detail.msg
    if error.error_type and error.error_type not in error.what:
        yield f"({error.error_type})"


_DATA: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[^\s,]{0,200},\S*", re.IGNORECASE)


def without_data(text: str) -> str:
    """The text with every ``data:`` URI cut down to its media type, and cut to what a page can carry."""
    # Cut first, lest megabytes of base64 are searched; a URI that the cut falls into still matches.
    if len(text) > _TEXT_MAX:
        text = f"{text[:_TEXT_MAX]}…"
    if "data:" not in text.lower():
        return text
    return _DATA.sub(lambda found: f"[{found[1] or 'data'}]", text)


def link_to(url: str) -> str | None:
    """The URL if it may be a link: http or https and of a bearable length. None for any other."""
    return url if len(url) <= _LINK_MAX and _WEB.match(url) else None


_WEB: Final = re.compile(r"https?://[^\s/]", re.IGNORECASE)


def kind_of(file: SavedFile) -> Kind:
    """How a browser would show it: by its media type, else by the end of its name."""
    match (file.content_type or "").partition("/")[0].strip().lower():
        case "image" | "video" | "audio" as kind:
            return kind
        case _:
            return _BY_SUFFIX.get(_suffix(file), "file")


def _suffix(file: SavedFile) -> str:
    if file.path is not None:
        return PurePath(file.path).suffix.lower()
    if link_to(file.url) is None:
        return ""
    try:
        return PurePosixPath(urlsplit(file.url).path).suffix.lower()
    except ValueError:  # brackets that hold no address
        return ""


_BY_SUFFIX: Final[dict[str, Kind]] = {
    **dict.fromkeys((".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp"), "image"),
    **dict.fromkeys((".m4v", ".mkv", ".mov", ".mp4", ".webm"), "video"),
    **dict.fromkeys((".aac", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav"), "audio"),
}
