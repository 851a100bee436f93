"""JSON in and out: bytes to plain value and back, losing nothing that was paid for.

msgspec does the work; what it refuses and JSON's users send all the same (NaN, infinities, lone surrogates,
a byte order mark, integers of thousands of digits) goes through the standard library's decoder.
From plain values to the caller's types: see ``structuring``.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec

from fal_async.errors import InputError
from fal_async.types import File, LocalFile

__all__ = ["Undecodable", "content_type_of", "decode_json", "decompress", "encode_input", "is_json"]

#: Python's own int() refuses more than 4,300 digits, so longer ones are put together from parts. That takes
#: half a second for this many, and everybody else waits: there is an end to it.
_DIGITS_MAX: Final = 1_000_000
_DIGITS_PLAIN: Final = 4_000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Undecodable(ValueError):
    """Bytes that are not what they say they are. Internal: translated where the facts are known."""


# --- out ------------------------------------------------------------------------------------------------


def encode_input(value: object, unstructure: Callable[[object], object]) -> bytes:
    """A model's input as JSON.

    :param value: a mapping, or an instance of a class that ``unstructure`` turns into one. Such instances
        may also stand inside the mapping.
    :raises InputError: for anything JSON cannot say exactly: NaN, infinities, bytes, sets, keys that are no
        strings. The text names the place, never the value.
    """
    try:
        if type(value) is not dict:
            value = dict(value) if isinstance(value, Mapping) else _object(value, unstructure)
        if not _is_plain(value):
            value = _plain(value, "input", unstructure)
        return _encode(value)
    except RecursionError:
        raise InputError("the input is nested too deeply, or holds itself") from None
    except UnicodeEncodeError:
        raise InputError("the input holds a lone surrogate, which UTF-8 cannot say") from None


def _object(value: object, unstructure: Callable[[object], object]) -> object:
    plain = value if isinstance(value, _BUILTIN) else _unstructured(value, "input", unstructure)
    if not isinstance(plain, dict):
        raise InputError(
            f"a model's input is a mapping or an instance of an attrs class, not {type(value).__name__}"
        )
    return plain


def _unstructured(value: object, path: str, unstructure: Callable[[object], object]) -> object:
    try:
        return unstructure(value)
    except RecursionError:
        raise
    except Exception as error:  # the caller's own hooks raise what they like
        raise InputError(
            f"{path} cannot be unstructured: {type(error).__name__} for a {type(value).__name__}"
        ) from error


_BUILTIN: Final = (str, int, float, bytes, bytearray, list, tuple, set, frozenset, type(None))


def _is_plain(value: Any) -> bool:
    """Whether msgspec would say this exactly: the usual case, decided in well under a microsecond."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_INT_64 < value < _INT_64)
    if kind is float:
        return isfinite(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return False
            kind = type(item)
            # Once more what stands above, for the fields of nearly every input: a call of this function each
            # would take as long as all the rest.
            if (
                kind is str
                or kind is bool
                or (kind is int and -_INT_64 < item < _INT_64)
                or (kind is float and isfinite(item))
            ):
                continue
            if not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(_is_plain(item) for item in value)
    return False


_INT_64: Final = 2**63


def _plain(value: Any, path: str, unstructure: Callable[[object], object]) -> Any:
    """The same value in plain types, or an error that names the place."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum's member is its name
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        if not isfinite(value):
            raise InputError(f"{path} is not a finite number, which JSON cannot say")
        return float(value)
    if isinstance(value, Mapping):
        return {
            _key(key, path): _plain(item, _below(path, key), unstructure)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{i}]", unstructure) for i, item in enumerate(value)]
    if isinstance(value, File):  # whatever the caller's converter would make of it
        return _plain(value.url, path, unstructure)
    _refuse(value, path)
    plain = _unstructured(value, path, unstructure)
    if plain is value or type(plain) is type(value):
        raise InputError(f"{path} is a {type(value).__name__}, which JSON cannot say")
    return _plain(plain, path, unstructure)


def _refuse(value: Any, path: str) -> None:
    """What nothing can be made of, or only something that was not meant."""
    kind = type(value).__name__
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InputError(f"{path} is {kind}: give a URL, a data URI or File.local(...) instead")
    if isinstance(value, _BUILTIN):
        raise InputError(f"{path} is a {kind}, which JSON cannot say")
    if isinstance(value, LocalFile) or hasattr(value, "__fspath__"):
        # Never its path in words: whoever gives one means what is in the file.
        raise InputError(f"{path} is a file of this machine, which this call does not upload")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise InputError(f"{path} has a key that is no string")
    return str.__str__(key)


def _below(path: str, key: object) -> str:
    # A key may be anything, a prompt too; only what looks like a field's name is shown.
    return f"{path}.{key}" if isinstance(key, str) and _NAME.fullmatch(key) else f"{path}[…]"


_NAME: Final = re.compile(r"[\w-]{1,40}")


def _integer(value: int) -> int | msgspec.Raw:
    # Beyond 64 bits the digits are written by hand: exact at any size.
    if -_INT_64 < value < 2 * _INT_64:
        return value
    return msgspec.Raw(format(Decimal(value), "f").encode())


# --- in -------------------------------------------------------------------------------------------------


def decode_json(body: bytes) -> Any:
    """The value of a JSON text, as exactly as Python can hold it.

    :raises Undecodable: if it is no JSON even to a lenient reader.
    """
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # and not from in here: what msgspec raised is no part of the story
    return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Any:
    try:
        return json.loads(body, parse_int=_any_integer)
    except Undecodable:
        raise
    except UnicodeDecodeError:
        raise Undecodable("it is not UTF-8") from None
    except RecursionError:
        raise Undecodable("it is nested too deeply") from None
    except ValueError as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Undecodable(f"it is not JSON{place}") from None


def _any_integer(digits: str) -> int:
    if len(digits) <= _DIGITS_PLAIN:
        return int(digits)
    if len(digits) > _DIGITS_MAX:
        raise Undecodable(f"it holds an integer of more than {_DIGITS_MAX:,} digits")
    return -_natural(digits[1:]) if digits.startswith("-") else _natural(digits)


def _natural(digits: str) -> int:
    if len(digits) <= _DIGITS_PLAIN:
        return int(digits)
    low = len(digits) // 2
    return int(_natural(digits[:-low]) * 10**low + _natural(digits[-low:]))


def content_type_of(headers: Mapping[str, str]) -> str:
    """The media type of a body, lower case, without parameters; empty if none is named."""
    return _media_type(headers.get("Content-Type", ""))


def is_json(content_type: str) -> bool:
    """Whether a ``Content-Type`` says JSON: ``application/json``, ``text/json`` or any ``+json``."""
    media_type = _media_type(content_type)
    return media_type in {"application/json", "text/json"} or media_type.endswith("+json")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a ``Content-Encoding`` of gzip or deflate; other encodings are returned as they are.

    :param limit: largest result in bytes.
    :raises Undecodable: if the body is damaged, cut short or larger than ``limit``.
    """
    encoding = encoding.strip().lower()
    if encoding == "deflate":
        # Some servers say deflate and mean it without its header (RFC 1950, 2.2).
        has_header = body[:1] and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflate(body, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS, limit)[0]
    if encoding not in {"gzip", "x-gzip"}:
        return body
    plain, rest = _inflate(body, 16 + zlib.MAX_WBITS, limit)
    while rest.startswith(_GZIP):  # one after the other is one text (RFC 1952, 2.2)
        more, rest = _inflate(rest, 16 + zlib.MAX_WBITS, limit - len(plain))
        plain += more
    return plain


_GZIP: Final = b"\x1f\x8b"


def _inflate(body: bytes, wbits: int, limit: int) -> tuple[bytes, bytes]:
    decoder = zlib.decompressobj(wbits)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error:
        raise Undecodable("its compression is damaged") from None
    if len(plain) > limit:
        raise Undecodable("it is larger than the limit when unpacked")
    if not decoder.eof:
        raise Undecodable("its compression breaks off")
    return plain, decoder.unused_data
