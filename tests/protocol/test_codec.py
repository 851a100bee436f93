"""JSON in and out, and what comes packed."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import gzip
import json
import math
import types
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import attrs
import cattrs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.codec import (
    Undecodable,
    content_type_of,
    decode_json,
    decompress,
    encode_input,
    is_json,
)
from fal_async.protocol.messages import Headers
from fal_async.protocol.structuring import default_converter

unstructure = default_converter().unstructure


def encode(value: Any) -> bytes:
    return encode_input(value, unstructure)


# --- out: what can be said --------------------------------------------------------------------------


class Text(str):
    __slots__ = ()


class Word(str, enum.Enum):  # noqa: UP042  # the older way is not the same
    CAT = "cat"


class Size(enum.StrEnum):
    SQUARE = "square"


class Count(enum.IntEnum):
    ONE = 1


class Plain(enum.Enum):
    CAT = "cat"


class Share(float):
    __slots__ = ()


class Pair(NamedTuple):
    a: int
    b: str


@attrs.define
class Inner:
    url: str
    scale: float | None = None


@attrs.define
class Mine:
    prompt: str
    seed: int | None = None
    steps: int | None = 5
    tags: list[str] = attrs.field(factory=list)
    inner: Inner | None = None
    inners: list[Inner] | None = None
    more: Any = None


@dataclasses.dataclass
class Data:
    prompt: str
    seed: int | None = None


class OneKey(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"a": Text("b")}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


SAID: list[tuple[Any, str]] = [
    ({}, "{}"),
    ({"a": None, "b": True, "c": False}, '{"a":null,"b":true,"c":false}'),
    ({"a": "é😀\n\x00"}, '{"a":"é😀\\n\\u0000"}'),
    ({"ключ": 1}, '{"ключ":1}'),
    ({"a": [1, [2, {"b": 3}]]}, '{"a":[1,[2,{"b":3}]]}'),
    ({"a": (1, 2)}, '{"a":[1,2]}'),
    ({"a": Pair(1, "x")}, '{"a":[1,"x"]}'),
    ({"a": -0.0, "b": 0.1, "c": 1e308}, '{"a":-0.0,"b":0.1,"c":1e308}'),
    ({"a": 2**53 + 1}, '{"a":9007199254740993}'),
    ({"a": 15860307465884635512}, '{"a":15860307465884635512}'),
    ({"a": 2**63 - 1, "b": -(2**63)}, '{"a":9223372036854775807,"b":-9223372036854775808}'),
    ({"a": 2**63, "b": 2**64 - 1}, '{"a":9223372036854775808,"b":18446744073709551615}'),
    ({"a": 2**64}, '{"a":18446744073709551616}'),
    ({"a": -(2**63) - 1}, '{"a":-9223372036854775809}'),
    ({"a": [{"b": 2**127}]}, '{"a":[{"b":170141183460469231731687303715884105728}]}'),
    ({"a": Text("b")}, '{"a":"b"}'),
    ({Text("a"): 1}, '{"a":1}'),
    ({"a": Word.CAT}, '{"a":"cat"}'),
    ({Word.CAT: 1}, '{"cat":1}'),
    ({"a": Size.SQUARE}, '{"a":"square"}'),
    ({"a": Count.ONE}, '{"a":1}'),
    ({"a": Plain.CAT}, '{"a":"cat"}'),
    ({"a": Share(0.5)}, '{"a":0.5}'),
    (OneKey(), '{"a":"b"}'),
    ({"a": OneKey()}, '{"a":{"a":"b"}}'),
    (types.MappingProxyType({"a": 1}), '{"a":1}'),
    (collections.OrderedDict(a=1), '{"a":1}'),
    ({"a": collections.deque([1])}, '{"a":[1]}'),
    (
        {"a": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)},
        '{"a":"2026-01-02T03:04:00+00:00"}',
    ),
    ({"a": datetime.date(2026, 1, 2)}, '{"a":"2026-01-02"}'),
    (Mine("a cat"), '{"prompt":"a cat","steps":5,"tags":[]}'),
    (Mine("a cat", seed=0), '{"prompt":"a cat","steps":5,"tags":[],"seed":0}'),
    (Mine("a cat", steps=None), '{"prompt":"a cat","steps":null,"tags":[]}'),
    (
        Mine("x", inner=Inner("u"), inners=[Inner("v", 0.5)]),
        '{"prompt":"x","steps":5,"tags":[],"inner":{"url":"u"},"inners":[{"url":"v","scale":0.5}]}',
    ),
    (Mine("x", more=Inner("u")), '{"prompt":"x","steps":5,"tags":[],"more":{"url":"u"}}'),
    (Mine("x", seed=2**70), '{"prompt":"x","steps":5,"tags":[],"seed":1180591620717411303424}'),
    ({"a": Inner("u")}, '{"a":{"url":"u"}}'),
    ({"a": [Inner("u")]}, '{"a":[{"url":"u"}]}'),
    (Data("a cat"), '{"prompt":"a cat"}'),
    (Data("a cat", 5), '{"prompt":"a cat","seed":5}'),
    ({"a": Data("a cat")}, '{"a":{"prompt":"a cat"}}'),
]


@pytest.mark.parametrize(("value", "text"), SAID)
def test_an_input_is_said_exactly(value: Any, text: str) -> None:
    encoded = encode(value)
    if isinstance(value, (Mine, Data)):  # the order of an object's fields says nothing
        assert decode_json(encoded) == decode_json(text.encode())
        assert len(encoded) == len(text)
    else:
        assert encoded.decode() == text


def test_an_integer_of_thousands_of_digits_is_said_to_its_last() -> None:
    assert encode({"a": 10**5000}) == b'{"a":1' + b"0" * 5000 + b"}"
    assert encode({"a": -(10**5000)}) == b'{"a":-1' + b"0" * 5000 + b"}"


def test_the_input_itself_is_left_as_it_was() -> None:
    value = {"a": (1, 2**80), "b": Inner("u")}
    encode(value)
    assert value == {"a": (1, 2**80), "b": Inner("u")}


# --- out: what cannot -------------------------------------------------------------------------------


class Odd(enum.Enum):
    NAN = math.nan


@attrs.define
class Looped:
    inner: Any = None


looped_dict: dict[str, Any] = {}
looped_dict["a"] = looped_dict
looped_list: list[Any] = []
looped_list.append(looped_list)
looped_object = Looped()
looped_object.inner = looped_object
deep: dict[str, Any] = {}
for _ in range(100_000):
    deep = {"a": deep}

NOT_JSON: list[tuple[str, Any, str]] = [
    ("nan", {"a": math.nan}, "input.a is not a finite number"),
    ("infinity", {"a": [1, {"b": -math.inf}]}, "input.a[1].b is not a finite number"),
    ("nan of an enum", {"a": Odd.NAN}, "input.a is not a finite number"),
    ("nan of another float", {"a": Share("nan")}, "input.a is not a finite number"),
    ("nan in a class", Mine("x", more=math.nan), "input.more is not a finite number"),
    ("bytes", {"a": b"x"}, "input.a is bytes: give a URL, a data URI or File.local"),
    ("bytearray", {"a": bytearray(b"x")}, "input.a is bytearray: give a URL"),
    ("memoryview", {"a": memoryview(b"x")}, "input.a is memoryview: give a URL"),
    ("bytes in a class", Mine("x", more=[b"x"]), "input.more[0] is bytes"),
    ("set", {"a": {1}}, "input.a is a set, which"),
    ("frozenset", {"a": frozenset([1])}, "input.a is a frozenset, which"),
    ("set in a tuple", {"a": (1, {2})}, "input.a[1] is a set, which"),
    ("set in a mapping", types.MappingProxyType({"a": {1}}), "input.a is a set, which"),
    ("key that is a number", {1: 2}, "input has a key that is no string"),
    ("key that is None", {"a": {"b": {None: 2}}}, "input.a.b has a key that is no string"),
    ("key that is a number's enum", {Count.ONE: 1}, "input has a key that is no string"),
    ("key that is a prompt", {"a cat on a mat": {1}}, "input[…] is a set"),
    ("timedelta", {"a": datetime.timedelta(1)}, "input.a is a timedelta"),
    ("decimal", {"a": decimal.Decimal("1.5")}, "input.a is a Decimal"),
    ("uuid", {"a": uuid.UUID(int=1)}, "input.a is a UUID"),
    ("complex", {"a": 1j}, "input.a is a complex"),
    ("range", {"a": range(3)}, "input.a is a range"),
    ("object", {"a": object()}, "input.a is a object"),
    ("class", {"a": Mine}, "input.a is a type"),
    ("function", {"a": len}, "input.a is a builtin_function_or_method"),
    ("generator", {"a": (x for x in ())}, "input.a is a generator"),
    ("raw JSON", {"a": msgspec.Raw(b"{")}, "input.a is a Raw"),
    ("lone surrogate", {"a": "\ud800"}, "lone surrogate"),
    ("lone surrogate in a key", {"\ud800": 1}, "lone surrogate"),
    ("lone surrogate the long way", {"a": Text("\ud800"), "b": 2**80}, "lone surrogate"),
    ("a dict in itself", looped_dict, "nested too deeply, or holds itself"),
    ("a list in itself", {"a": looped_list}, "nested too deeply, or holds itself"),
    ("an object in itself", looped_object, "nested too deeply, or holds itself"),
    ("a depth beyond measure", deep, "nested too deeply, or holds itself"),
]


@pytest.mark.parametrize(
    ("value", "why"), [row[1:] for row in NOT_JSON], ids=[r[0] for r in NOT_JSON]
)
def test_what_json_cannot_say_is_refused_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(InputError) as caught:
        encode(value)
    assert why in caught.value.what


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        1.5,
        True,
        "{}",
        b"{}",
        [],
        [{"a": 1}],
        (("a", 1),),
        {1},
        Pair(1, "x"),
        Mine,
        object(),
        Plain.CAT,
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:12]}",
)
def test_an_input_is_a_mapping_or_an_object_of_a_class(value: Any) -> None:
    with pytest.raises(InputError, match=f"is a mapping or .*, not {type(value).__name__}"):
        encode(value)


def test_an_error_names_the_place_and_never_the_value() -> None:
    with pytest.raises(InputError) as caught:
        encode({"prompt": "a secret cat", "images": [{"data": b"secret"}]})
    assert "input.images[0].data" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_a_callers_own_hook_raises_is_a_bad_argument_that_names_the_place() -> None:
    converter = cattrs.Converter()

    @converter.register_unstructure_hook
    def refuse(value: Inner) -> Any:
        raise LookupError("a secret")

    for value, place in ((Inner("u"), "input"), ({"a": [Inner("u")]}, "input.a[0]")):
        with pytest.raises(InputError) as caught:
            encode_input(value, converter.unstructure)
        assert caught.value.what == f"{place} cannot be unstructured: LookupError for a Inner"
        assert isinstance(caught.value.__cause__, LookupError)


def test_what_a_callers_own_hook_makes_is_looked_at_too() -> None:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Inner, lambda _: {"a": {1}})
    converter.register_unstructure_hook(decimal.Decimal, str)
    with pytest.raises(InputError, match=r"input\.x\.a is a set"):
        encode_input({"x": Inner("u")}, converter.unstructure)
    assert encode_input({"x": decimal.Decimal("1.50")}, converter.unstructure) == b'{"x":"1.50"}'


# --- in ---------------------------------------------------------------------------------------------


def lone(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


HEARD: list[tuple[str, bytes, Any]] = [
    ("object", b'{"a":[1,true,null,"x"]}', {"a": [1, True, None, "x"]}),
    ("null", b"null", None),
    ("blanks", b' \n{"a":1}\t', {"a": 1}),
    ("seed beyond 63 bits", b"15860307465884635512", 15860307465884635512),
    ("128 bits", b"[-340282366920938463463374607431768211455]", [-(2**128) + 1]),
    ("all digits of a float", b"2.507048434985336", 2.507048434985336),
    ("infinity", b"[Infinity,-Infinity]", [math.inf, -math.inf]),
    ("a float too large", b"1e400", math.inf),
    ("minus zero", b"-0", 0),
    ("escaped lone surrogate", b'"\\ud800"', "\ud800"),
    ("lone surrogate in bytes", lone('{"a":"\ud800"}'), {"a": "\ud800"}),
    ("surrogates the wrong way", b'"\\ude00\\ud83d"', "\ude00\ud83d"),
    ("surrogate pair", b'"\\ud83d\\ude00"', "😀"),
    ("byte order mark", b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    ("UTF-16", '{"a":"é"}'.encode("utf-16"), {"a": "é"}),
    ("the same key twice", b'{"a":1,"a":2}', {"a": 2}),
]


@pytest.mark.parametrize(
    ("body", "value"), [row[1:] for row in HEARD], ids=[row[0] for row in HEARD]
)
def test_an_answer_is_read_as_exactly_as_python_can_hold_it(body: bytes, value: Any) -> None:
    found = decode_json(body)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read_as_that() -> None:
    assert math.isnan(decode_json(b'{"a":NaN}')["a"])


@pytest.mark.parametrize("length", [30, 3999, 4000, 4001, 4300, 4301, 8001, 50_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_any_length_is_read_to_its_last_digit(length: int, sign: str) -> None:
    digits = f"{sign}{'1234567890' * (length // 10 + 1)}"[: length + len(sign)]
    assert decode_json(digits.encode()) == int(decimal.Decimal(digits))


NOT_HEARD: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "it is not JSON at character 0"),
    ("blanks", b"  ", "it is not JSON at character 2"),
    ("half an object", b'{"a":', "it is not JSON at character 5"),
    ("html", b"<html>", "it is not JSON at character 0"),
    ("something after", b"{} x", "it is not JSON at character 3"),
    ("a comma too many", b"[1,]", "it is not JSON at character"),
    ("a leading zero", b"01", "it is not JSON at character 1"),
    ("single quotes", b"'a'", "it is not JSON at character 0"),
    ("a line break in a string", b'"a\nb"', "it is not JSON at character 2"),
    ("no UTF-8", b'"\xff"', "it is not UTF-8"),
    ("a picture", b"\x89PNG\r\n\x1a\n", "it is not UTF-8"),
    ("too deep", b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
    ("too many digits", b"9" * 1_000_001, "it holds an integer of more than 1,000,000 digits"),
]


@pytest.mark.parametrize(
    ("body", "why"), [row[1:] for row in NOT_HEARD], ids=[row[0] for row in NOT_HEARD]
)
def test_what_is_no_json_says_why_in_words_of_ours(body: bytes, why: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode_json(body)
    assert str(caught.value).startswith(why)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**130), 2**130)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=5))
@example({"a": 10**4999 - 1})
def test_every_json_value_survives_the_way_out_and_in_type_and_digit(value: dict[str, Any]) -> None:
    found = decode_json(encode(value))
    assert found == value
    assert shape(found) == shape(value)


def shape(value: Any) -> Any:
    """What == does not see: 1 is no True and no 1.0, and -0.0 is no 0.0."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value), math.copysign(1, value) if isinstance(value, float) else 0


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=3)
    | st.decimals()
    | st.dates()
    | st.sampled_from(
        [Word.CAT, Count.ONE, Plain.CAT, Odd.NAN, Inner("u"), Data("x"), object(), len]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.builds(lambda more: Mine("x", more=more), inner)
    ),
    max_leaves=10,
)


@given(ANYTHING | st.dictionaries(st.text(max_size=5), ANYTHING, max_size=4))
def test_every_input_is_strict_json_or_a_bad_argument(value: Any) -> None:
    try:
        encoded = encode(value)
    except InputError:
        return
    strict = json.loads(encoded, parse_constant=lambda word: pytest.fail(f"{word} in the JSON"))
    assert isinstance(strict, dict)


@given(st.binary() | st.text().map(str.encode) | JSON.map(json.dumps).map(str.encode))
def test_no_bytes_make_the_reader_fail_in_another_way(body: bytes) -> None:
    try:
        value = decode_json(body)
    except Undecodable:
        assert not is_read_by_the_standard_library(body)
    else:
        assert repr(value) == repr(json.loads(body))


def is_read_by_the_standard_library(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/json", True),
        ("application/problem+json", True),
        (" application/json ;x", True),
        ("", False),
        ("json", False),
        ("text/plain", False),
        ("text/html; charset=json", False),
        ("application/jsonp", False),
        ("application/x-ndjson", False),
        ("image/png", False),
    ],
)
def test_which_content_types_say_json(content_type: str, said: bool) -> None:
    assert is_json(content_type) is said


def test_the_media_type_of_a_body_is_small_and_without_parameters() -> None:
    assert content_type_of(Headers({"content-type": "Text/HTML ; charset=x"})) == "text/html"
    assert content_type_of({}) == ""


# --- packed -----------------------------------------------------------------------------------------

TEXT = b'{"seed":1}' * 50


def deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    (" GZIP ", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", lambda text: zlib.compress(text, 0)),
    ("Deflate", deflated),
]
packed = pytest.mark.parametrize(("encoding", "pack"), PACKERS, ids=range(len(PACKERS)))


@packed
def test_what_came_packed_is_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert decompress(pack(TEXT), encoding, 10_000) == TEXT
    assert decompress(pack(b""), encoding, 0) == b""


@packed
def test_what_is_larger_than_the_limit_when_unpacked_is_not(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    assert decompress(pack(TEXT), encoding, len(TEXT)) == TEXT
    with pytest.raises(Undecodable, match="larger than the limit"):
        decompress(pack(TEXT), encoding, len(TEXT) - 1)
    with pytest.raises(Undecodable, match="larger than the limit"):
        decompress(pack(b"\0" * 10_000_000), encoding, 1000)


@packed
def test_what_was_cut_short_is_never_taken_for_whole(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(TEXT)
    for cut in range(len(body)):
        with pytest.raises(Undecodable, match=r"breaks off|damaged"):
            decompress(body[:cut], encoding, 10_000)


@packed
def test_what_is_damaged_says_so(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Undecodable, match="damaged"):
        decompress(b"\x7f\xff" + pack(TEXT), encoding, 10_000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_damage_to_the_last_byte_is_seen(encoding: str) -> None:
    body = bytearray(gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT))
    body[-1] ^= 1
    with pytest.raises(Undecodable, match="damaged"):
        decompress(bytes(body), encoding, 10_000)


def test_gzips_one_after_the_other_are_one_text() -> None:
    body = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"more")
    assert decompress(body, "gzip", len(TEXT) + 4) == TEXT + b"more"
    with pytest.raises(Undecodable, match="larger than the limit"):
        decompress(body, "gzip", len(TEXT) + 3)
    with pytest.raises(Undecodable, match="breaks off"):
        decompress(body[:-1], "gzip", 10_000)


def test_padding_after_a_gzip_is_none_of_it() -> None:
    assert decompress(gzip.compress(TEXT) + b"\0" * 512, "gzip", 10_000) == TEXT


@pytest.mark.parametrize("encoding", ["", "identity", "br", "zstd", "gzip, br"])
def test_another_encoding_is_left_alone(encoding: str) -> None:
    assert decompress(b"\x7fanything", encoding, 3) == b"\x7fanything"


@given(st.binary(max_size=100), st.sampled_from(["gzip", "deflate"]), st.integers(0, 50))
def test_no_bytes_make_unpacking_fail_in_another_way(
    body: bytes, encoding: str, limit: int
) -> None:
    with contextlib.suppress(Undecodable):
        assert len(decompress(body, encoding, limit)) <= limit
