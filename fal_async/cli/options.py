"""From words on a command line to a model's input and options.

No I/O but for reading ``--input``, and for a look at whether a file that is named is there.

The options that several commands have in common stand here, each once.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Final, TypeVar, cast

import click
import msgspec

from fal_async.protocol import wire
from fal_async.protocol.codec import Undecodable, decode_json
from fal_async.protocol.lifecycle import Expire

__all__ = [
    "build_input",
    "calls_a_model",
    "gives_an_answer",
    "has_options_of_a_call",
    "names_a_request",
    "parse_lifetime",
    "parse_tags",
    "parse_value",
    "prints_json",
    "read_call",
    "read_options",
    "read_value",
]

_F = TypeVar("_F", bound=Callable[..., Any])
_Decorator = Callable[[_F], _F]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d+)([smhd])")


def parse_value(text: str) -> Any:
    """What is JSON is taken for JSON: ``2``, ``true``, ``{"a": 1}``, ``"42"`` (a text); all else is text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def build_input(pairs: Iterable[str], document: IO[bytes] | None = None) -> dict[str, Any]:
    """A model's input from ``name=value`` words, on top of a JSON document if there is one.

    :raises click.UsageError: for a word that is no pair, a name given twice, a document that is no object.
    """
    content: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"{_shown(pair)} is no name=value, such as prompt='a cat'")
        if name in content:
            raise click.UsageError(f"{name} is given twice")
        content[name] = read_value(name, text)
    return {**_read_document(document), **content} if document is not None else content


def read_value(name: str, text: str) -> Any:
    """What stands behind ``name=``: for ``@photo.png`` that path, else what :func:`parse_value` makes of it.

    :raises click.UsageError: for a file that cannot be read, and for what is not UTF-8.
    """
    if text.startswith("@"):
        return _file(name, text[1:])
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{name} is not UTF-8") from None
    return parse_value(text)


_NO_FILES: Final = {"": "no file", "-": "stdin is no file"}


def _file(name: str, text: str) -> Path:
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises where there is no home
    reason = _NO_FILES.get(text) or _why_unreadable(path)
    if reason:
        raise click.UsageError(
            f"{name}=@{text} is to upload a file, but: {reason}. "
            f"""A text that starts with @ goes in JSON's quotes: '{name}="@…"'"""
        )
    return path


def _why_unreadable(path: Path) -> str | None:
    try:
        kind = path.stat().st_mode
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError:
        return "that is no path"
    if stat.S_ISDIR(kind):
        return "that is a folder"
    if not stat.S_ISREG(kind):
        return "that is no regular file; upload it first"
    return None if os.access(path, os.R_OK) else "it may not be read"


def _read_document(document: IO[bytes]) -> dict[str, Any]:
    try:
        content = decode_json(document.read())
    except Undecodable as error:
        raise click.UsageError(f"--input does not decode: {error}") from None
    if not isinstance(content, dict):
        raise click.UsageError("--input holds no JSON object")
    return content


def _shown(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:39] + "…")


def parse_tags(pairs: Iterable[str]) -> dict[str, str] | None:
    """``team=art`` words as tags; None if there are none.

    :raises click.UsageError: for a word that is no pair.
    """
    tags: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--tag {_shown(pair)} is no key=value")
        tags[key] = value
    return tags or None


def parse_lifetime(text: str | None) -> Expire | None:
    """Seconds, ``90m``, ``12h``, ``3d``, or one of fal's words. That 0 is no lifetime is the client's to say.

    :raises click.UsageError: for anything else.
    """
    if text is None or text in wire.LIFETIMES:
        return cast("Expire | None", text)
    if found := _DURATION.fullmatch(text):
        return int(found[1]) * _UNITS[found[2]]
    try:
        return float(text)
    except ValueError:
        words = ", ".join(wire.LIFETIMES)
        raise click.UsageError(
            f"--expire {_shown(text)} is neither seconds, nor a duration such as 90m or 12h, "
            f"nor one of {words}"
        ) from None


def _together(*decorators: _Decorator[Any]) -> _Decorator[Any]:
    def decorate(function: _F) -> _F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


#: What every call may be told beside its input. ``read_options`` reads them.
has_options_of_a_call: Final = _together(
    click.option(
        "--expire",
        metavar="DURATION",
        help="How long what it makes shall live: 1h, 7d, seconds, immediate, never.",
    ),
    click.option(
        "--start-timeout", type=float, help="Seconds in which a runner must have started."
    ),
    click.option(
        "--timeout",
        type=float,
        help="Seconds for the call; without it, it may take as long as it takes.",
    ),
    click.option("--hint", help="Calls of the same hint go to the same runner if possible."),
    click.option(
        "--store-io/--no-store-io", default=None, help="Whether fal keeps input and output."
    ),
    click.option(
        "--disable-fallback", is_flag=True, help="Serve it from this very endpoint or not at all."
    ),
    click.option(
        "--inline-below",
        type=click.IntRange(min=0, max=wire.DATA_URI_MAX),
        default=0,
        metavar="BYTES",
        help="Files of the input smaller than this go along by value instead of being uploaded.",
    ),
    click.option(
        "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag for fal's billing tools."
    ),
)

#: A model and its input, and those options. ``read_call`` reads them.
calls_a_model: Final = _together(
    click.argument("model"),
    click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]..."),
    click.option(
        "--input",
        "document",
        type=click.File("rb"),
        help="A JSON object to start from; - is stdin.",
    ),
    has_options_of_a_call,
)

#: The model and the id of a queued request, and how long to try to hear of it.
names_a_request: Final = _together(
    click.argument("model"),
    click.argument("request_id"),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds to try; the request itself is left alone.",
    ),
)

prints_json: Final = click.option(
    "--json", "as_json", is_flag=True, help="JSON on a terminal, too."
)

gives_an_answer: Final = _together(
    click.option(
        "--save",
        type=click.Path(file_okay=False, path_type=Path),
        help="Download the files of the answer into this folder; nothing there is overwritten.",
    ),
    prints_json,
)


def read_options(
    *, expire: str | None, disable_fallback: bool, tags: Iterable[str], **others: Any
) -> dict[str, Any]:
    """The keyword arguments of a call, from what ``has_options_of_a_call`` brings.

    :raises click.UsageError: for words that are no such options.
    """
    return {
        "expire": parse_lifetime(expire),
        "disable_fallback": disable_fallback or None,
        "tags": parse_tags(tags),
        **others,
    }


def read_call(
    *, pairs: Iterable[str], document: IO[bytes] | None, **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The input, and the keyword arguments of the call, from what ``calls_a_model`` brings.

    :raises click.UsageError: for words that make no call.
    """
    told = read_options(**options)
    return build_input(pairs, document), told
