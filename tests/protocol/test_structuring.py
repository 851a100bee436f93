"""From plain JSON values to the caller's types: strictly, and with the place of what does not fit."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import threading
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import cattrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.misfit import Misfit
from fal_async.protocol.structuring import check_result_type, default_converter, structure
from fal_async.types import Image, ImageOutput

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    ONE = 1
    HALF = 0.5
    YES = True


class Count(enum.IntEnum):
    ONE = 1


class Size(enum.StrEnum):
    SQUARE = "square"


class Word(str, enum.Enum):  # noqa: UP042  # the older way is not the same
    CAT = "cat"


class Lenient(enum.Enum):
    KNOWN = "known"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> Lenient:  # noqa: ARG003
        return cls.OTHER


class Url(str):
    __slots__ = ()


@attrs.define
class A:
    a: int


@attrs.define
class B:
    b: int
    more: str | None = None


@attrs.define
class Node:
    value: int
    children: list[Node] = attrs.field(factory=list)
    next: Node | None = None


#: As it is written without ``from __future__ import annotations``.
Bare = attrs.make_class(
    "Bare",
    {"value": attrs.field(type=int), "children": attrs.field(type=list["Bare"], factory=list)},
)


@dataclasses.dataclass
class Data:
    x: int
    y: str | None = None
    z: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Tree:
    value: int
    branches: dict[str, Tree] = dataclasses.field(default_factory=dict)


class TypedBase(TypedDict):
    a: int


class Typed(TypedBase, total=False):
    b: str


class Pair(NamedTuple):
    p: int
    q: str = "x"


@attrs.define
class Box(Generic[T]):
    item: T
    more: list[T] = attrs.field(factory=list)


@attrs.frozen
class Checked:
    steps: int = attrs.field(validator=attrs.validators.ge(1))


@attrs.define
class Converted:
    price: decimal.Decimal = attrs.field(converter=decimal.Decimal)


Uid = NewType("Uid", int)

FITS: list[tuple[Any, Any, Any]] = [
    # scalars
    (str, "x", "x"),
    (int, 15860307465884635512, 15860307465884635512),
    (int, -(2**200), -(2**200)),
    (float, 1.5, 1.5),
    (float, 1, 1.0),
    (float, math.inf, math.inf),
    (bool, False, False),
    (bytes, b"x", b"x"),
    (type(None), None, None),
    (Any, {"a": 1}, {"a": 1}),
    (object, {"a": 1}, {"a": 1}),
    (Uid, 5, Uid(5)),
    (Annotated[int, "of something"], 5, 5),
    (Url, "x", Url("x")),
    (pathlib.Path, "/x", pathlib.Path("/x")),
    (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
    (
        datetime.datetime,
        "2026-01-02T03:04:05Z",
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    # words
    (Literal["a", "b"], "a", "a"),
    (Literal[1, None], None, None),
    (Literal[Color.RED], "red", Color.RED),
    (Literal[True, 1], 1, 1),
    (Literal[True, 1], True, True),
    (Color, "red", Color.RED),
    (Color, 1, Color.ONE),
    (Color, 0.5, Color.HALF),
    (Count, 1, Count.ONE),
    (Size, "square", Size.SQUARE),
    (Word, "cat", Word.CAT),
    (Lenient, "unheard of", Lenient.OTHER),
    (Lenient, None, Lenient.OTHER),
    # unions
    (int | None, None, None),
    (int | None, 5, 5),
    (Optional[float], 5, 5.0),  # noqa: UP045  # the older way
    (Union[None, str], "x", "x"),  # noqa: UP007
    (int | str, 5, 5),
    (int | str, "x", "x"),
    (int | str | None, None, None),
    (bool | str, True, True),
    (bool | int, 1, 1),
    (bool | int, True, True),
    (Color | None, "red", Color.RED),
    (Literal["auto"] | int, "auto", "auto"),
    (Literal["auto"] | int, 5, 5),
    (A | None, {"a": 1}, A(1)),
    (A | str, {"a": 1}, A(1)),
    (A | str, "x", "x"),
    (A | B, {"a": 1}, A(1)),
    (A | B, {"b": 1}, B(1)),
    (A | B | str, {"b": 1}, B(1)),
    (list[int] | None, [1], [1]),
    (list[int] | str, [1], [1]),
    (dict[str, int] | None, {"a": 1}, {"a": 1}),
    # arrays
    (list[int], [1, 2], [1, 2]),
    (list, [1, "a"], [1, "a"]),
    (list[list[int]], [[1], []], [[1], []]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple, [1, "a"], (1, "a")),
    (set[int], [1, 1, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset("a")),
    (list[A | str], [{"a": 1}, "x"], [A(1), "x"]),
    (list[float | None], [None, 1, 0.5], [None, 1.0, 0.5]),
    # objects
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict, {"a": [1]}, {"a": [1]}),
    (Mapping[str, float], {"a": 1}, {"a": 1.0}),
    (dict[Size, int], {"square": 1}, {Size.SQUARE: 1}),
    (A, {"a": 1, "unheard of": 2}, A(1)),
    (B, {"b": 1, "more": None}, B(1)),
    (Data, {"x": 1, "unheard of": 2}, Data(1)),
    (Data, {"x": 1, "y": "a", "z": [1, 0.5]}, Data(1, "a", [1.0, 0.5])),
    (Typed, {"a": 1}, {"a": 1}),
    (Typed, {"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
    (Pair, {"p": 1}, Pair(1)),
    (Pair, {"p": 1, "q": "a", "unheard of": 2}, Pair(1, "a")),
    (Pair, [1, "a"], Pair(1, "a")),
    (Box[int], {"item": 1, "more": [2]}, Box(1, [2])),
    (Box[A], {"item": {"a": 1}}, Box(A(1))),
    (list[Box[A | None]], [{"item": None}], [Box(None)]),
    (Checked, {"steps": 1}, Checked(1)),
    (Converted, {"price": "0.10"}, Converted("0.10")),
    (ImageOutput, {"images": [{"url": "u"}]}, ImageOutput(images=[Image(url="u")])),
    # what holds itself
    (Node, {"value": 1, "children": [{"value": 2}]}, Node(1, [Node(2)])),
    (Node, {"value": 1, "next": {"value": 2, "next": None}}, Node(1, [], Node(2))),
    (list[Node], [{"value": 1, "next": {"value": 2}}], [Node(1, [], Node(2))]),
    (Bare, {"value": 1, "children": [{"value": 2}]}, Bare(1, [Bare(2)])),
    (Tree, {"value": 1, "branches": {"a": {"value": 2}}}, Tree(1, {"a": Tree(2)})),
]


def name_of(kind: Any) -> str:
    return str(getattr(kind, "__qualname__", kind)) if isinstance(kind, type) else str(kind)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    FITS,
    ids=[f"{i} {name_of(row[0])}" for i, row in enumerate(FITS)],
)
def test_what_fits_becomes_the_type_and_nothing_is_bent(
    wanted: Any, value: Any, expected: Any
) -> None:
    check_result_type(wanted, None)
    for converter in (None, default_converter()):
        found = structure(value, wanted, converter)
        assert found == expected
        assert type(found) is type(expected)
        assert (
            structure(value, wanted, converter) == expected
        )  # once more, from what was remembered


MISFITS: list[tuple[Any, Any, str]] = [
    # scalars
    (str, None, "expected str, got None"),
    (str, 5, "expected str, got int"),
    (str, b"x", "expected str, got bytes"),
    (int, "1", "expected int, got str"),
    (int, 1.0, "expected int, got float"),
    (int, 1.9, "expected int, got float"),
    (int, True, "expected int, got bool"),
    (int, None, "expected int, got None"),
    (float, "1.5", "expected float, got str"),
    (float, True, "expected float, got bool"),
    (float, None, "expected float, got None"),
    (float, 10**400, "expected float, got int"),
    (bool, "false", "expected bool, got str"),
    (bool, 0, "expected bool, got int"),
    (bool, None, "expected bool, got None"),
    (bytes, "x", "expected bytes, got str"),
    (type(None), 0, "expected None, got int"),
    (Uid, "5", "expected int, got str"),
    (Annotated[int, "of something"], "5", "expected int, got str"),
    (Url, 5, "expected str, got int"),
    (datetime.date, "tomorrow", "expected date, got str"),
    (datetime.date, 5, "expected date, got int"),
    (datetime.datetime, 5, "expected datetime, got int"),
    # words
    (Literal["a", "b"], "c", "expected 'a' or 'b', got str"),
    (Literal["a"], ["a"], "expected 'a', got list"),
    (Literal[1], True, "expected 1, got bool"),
    (Literal[1], 1.0, "expected 1, got float"),
    (Literal[True], 1, "expected True, got int"),
    (Literal["a" * 200], "b", f"expected '{'a' * 99}…, got str"),
    (Color, "blue", "expected 'red' or 1 or 0.5, got str"),
    (Color, [], "expected 'red' or 1 or 0.5, got list"),
    (Count, True, "expected 1, got bool"),
    (Count, 1.0, "expected 1, got float"),
    (Count, 2, "expected 1, got int"),
    (Size, "round", "expected 'square', got str"),
    (Word, None, "expected 'cat', got None"),
    # unions
    (int | None, "5", "expected int, got str"),
    (int | str, None, "expected int | str, got None"),
    (int | str, True, "expected int | str, got bool"),
    (Union[int, str], [], "expected Union[int, str], got array of 0"),  # noqa: UP007
    (Color | None, "blue", "expected 'red' or 1 or 0.5, got str"),
    (A | None, 5, "expected object, got int"),
    (A | str, 5, "expected object, got int"),
    # arrays
    (list[int], "12", "expected array, got str"),
    (list[str], {"a": 1}, "expected array, got dict"),
    (list[int], None, "expected array, got None"),
    (set[str], "ab", "expected array, got str"),
    (tuple[int, ...], {}, "expected array, got dict"),
    (tuple[int, str], [1], "expected tuple[int, str], got array of 1"),
    (tuple[int, str], [1, "a", 2], "expected tuple[int, str], got array of 3"),
    (list[int], [1, "2"], "[1]: expected int, got str"),
    (list[list[int]], [[], [1, None]], "[1][1]: expected int, got None"),
    (set[int], [1, 1, "2"], "[2]: expected int, got str"),
    (tuple[int, ...], [1, "2"], "[1]: expected int, got str"),
    (list[int] | None, ["1"], "[0]: expected int, got str"),
    # objects
    (dict[str, int], [["a", 1]], "expected object, got list"),
    (dict[str, int], {"a": "1"}, "a: expected int, got str"),
    (dict[int, str], {"1": "a"}, "1: expected int, got str"),
    (A, None, "expected object, got None"),
    (A, [], "expected object, got list"),
    (A, b"{}", "expected object, got bytes"),
    (A, {}, "a: missing"),
    (A, {"a": "1"}, "a: expected int, got str"),
    (list[A], [{"a": 1}, {"a": None}], "[1].a: expected int, got None"),
    (A | B, {"a": "1"}, "a: expected int, got str"),
    (A | None, {"a": None}, "a: expected int, got None"),
    (Data, {"x": 1, "z": [0.5, "1"]}, "z[1]: expected float, got str"),
    (Data, "x", "expected object, got str"),
    (Typed, {"b": "x"}, "a: missing"),
    (Typed, {"a": 1, "b": 2}, "b: expected str, got int"),
    (Typed, [], "expected object, got list"),
    (Pair, {"p": "1"}, "p: expected int, got str"),
    (Pair, {}, "p: missing"),
    (Pair, [1, 2], "[1]: expected str, got int"),
    (Pair, [1], "expected Pair, got array of 1"),
    (Pair, "ab", "expected array, got str"),
    (Box[int], {"item": "1"}, "item: expected int, got str"),
    (Box[A], {"item": {"a": 1}, "more": [{"a": "1"}]}, "more[0].a: expected int, got str"),
    (Node, {"value": 1, "children": [{"value": "2"}]}, "children[0].value: expected int, got str"),
    (
        Node,
        {"value": 1, "next": {"value": 2, "next": {"children": []}}},
        "next.next.value: missing",
    ),
    (Bare, {"value": 1, "children": "ab"}, "children: expected array, got str"),
    (ImageOutput, {"images": [{"url": None}]}, "images[0].url: expected str, got None"),
    (ImageOutput, {"images": [{"url": "u"}, {}]}, "images[1].url: missing"),
    (
        ImageOutput,
        {"images": [{"url": "u", "width": 1.5}]},
        "images[0].width: expected int, got float",
    ),
    (ImageOutput, {"images": [], "seed": "1"}, "seed: expected int, got str"),
    (
        ImageOutput,
        {"images": [], "timings": {"inference": "2 s"}},
        "timings.inference: expected float, got str",
    ),
    (
        ImageOutput,
        {"images": [], "has_nsfw_concepts": ["false"]},
        "has_nsfw_concepts[0]: expected bool, got str",
    ),
    # a class of the caller's that refuses
    (Checked, {"steps": 0}, "Checked raised ValueError"),
    (list[Checked], [{"steps": 1}, {"steps": 0}], "[1]: Checked raised ValueError"),
    (Converted, {"price": "cheap"}, "Converted raised InvalidOperation"),
]


@pytest.mark.parametrize(
    ("wanted", "value", "why"), MISFITS, ids=[f"{i} {row[2]}"[:60] for i, row in enumerate(MISFITS)]
)
def test_what_does_not_fit_says_where_and_why(wanted: Any, value: Any, why: str) -> None:
    check_result_type(wanted, None)
    for converter in (None, default_converter()):
        with pytest.raises(Misfit) as caught:
            structure(value, wanted, converter)
        assert str(caught.value) == why
        assert caught.value.path == (why.partition(": ")[0] if ": " in why else "")


def test_two_classes_that_cannot_be_told_apart_by_the_value_do_not_fit() -> None:
    with pytest.raises(Misfit, match=r"^expected .*A \| .*B, got dict$"):
        structure({"c": 1}, A | B, None)


def test_the_path_is_exact_and_the_text_shows_no_key_that_may_be_a_prompt() -> None:
    with pytest.raises(Misfit) as caught:
        structure({"captions": {"a cat on a mat": [5]}}, dict[str, dict[str, list[str]]], None)
    assert str(caught.value) == "captions[…][0]: expected str, got int"
    assert caught.value.path == "captions['a cat on a mat'][0]"


def test_what_the_answer_held_is_in_no_text_and_no_cause() -> None:
    for wanted in (Literal["a"], Color, int | bool, A | int, tuple[int, str], datetime.date):
        for value in ("secret", ["secret"], {"secret": "secret"}):
            with pytest.raises(Misfit) as caught:
                structure(value, wanted, None)
            assert "secret" not in str(caught.value)
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__


def test_the_reason_of_a_class_that_refuses_is_kept_for_whoever_wrote_it() -> None:
    with pytest.raises(Misfit) as caught:
        structure({"steps": 0}, Checked, None)
    assert isinstance(caught.value.reason, ValueError)
    assert caught.value.__cause__ is caught.value.reason


# --- a converter of the caller's --------------------------------------------------------------------


def test_hooks_added_to_the_default_converter_hold_inside_every_type() -> None:
    converter = default_converter()
    converter.register_structure_hook(decimal.Decimal, lambda value, _: decimal.Decimal(value))
    converter.register_structure_hook(int, lambda value, _: int(value) * 2)

    @attrs.define
    class Priced:
        price: decimal.Decimal
        count: int | None = None

    answer = {"a": [{"price": "0.10", "count": "5"}, {"price": "1", "count": 5}]}
    expected = {"a": [Priced(decimal.Decimal("0.10"), 10), Priced(decimal.Decimal(1), 10)]}
    assert structure(answer, dict[str, list[Priced]], converter) == expected
    assert structure(answer, dict[str, list[Priced]], converter.copy()) == expected
    with pytest.raises(Misfit, match=r"a\[0\]: expected array, got str"):
        structure({"a": ["x"]}, dict[str, list[list[int]]], converter)


def test_hooks_added_to_a_copy_hold_inside_every_type_of_the_copy_alone() -> None:
    original = default_converter()
    copied = original.copy()
    copied.register_structure_hook(A, lambda value, _: A(value))
    assert structure({"item": 5}, Box[A], copied) == Box(A(5))
    with pytest.raises(Misfit, match="item: expected object, got int"):
        structure({"item": 5}, Box[A], original)


def test_a_converter_of_the_callers_decides_everything_itself() -> None:
    converter = cattrs.Converter()
    assert structure({"a": "5"}, A, converter) == A(5)
    with pytest.raises(Misfit, match=r"^a: expected int, got str$") as caught:
        structure({"a": "five"}, A, converter)
    assert isinstance(caught.value.reason, ValueError)


def test_a_field_that_is_called_otherwise_is_not_said_to_be_missing() -> None:
    converter = default_converter()
    converter.register_structure_hook(
        A, cattrs.gen.make_dict_structure_fn(A, converter, a=cattrs.gen.override(rename="class"))
    )
    assert structure({"class": 5}, A, converter) == A(5)
    with pytest.raises(Misfit, match=r"^a: missing$"):
        structure({}, A, converter)
    converter.register_structure_hook(int, lambda value, _: int(value))
    converter.register_structure_hook(
        A, cattrs.gen.make_dict_structure_fn(A, converter, a=cattrs.gen.override(rename="class"))
    )
    with pytest.raises(Misfit, match=r"^a: expected int$"):
        structure({"class": "five"}, A, converter)


def test_a_converter_without_detailed_errors_says_what_it_can() -> None:
    converter = cattrs.Converter(detailed_validation=False)
    with pytest.raises(Misfit, match=r"^expected A, got dict$") as caught:
        structure({"a": None}, A, converter)
    assert isinstance(caught.value.reason, TypeError)


def test_a_hook_may_raise_anything() -> None:
    class Odd(Exception):  # noqa: N818
        pass

    def refuse(value: Any, kind: Any) -> A:
        raise Odd

    converter = default_converter()
    converter.register_structure_hook(A, refuse)
    with pytest.raises(Misfit, match=r"^\[0\]: expected A, got int$") as caught:
        structure([5], list[A], converter)
    assert isinstance(caught.value.reason, Odd)


def test_what_fails_the_first_time_alone_is_a_misfit_too() -> None:
    refused: list[int] = []

    def refuse_once(instance: object, attribute: object, value: int) -> None:
        if not refused:
            refused.append(value)
            raise ValueError

    kind = attrs.make_class("Moody", {"a": attrs.field(type=int, validator=refuse_once)})
    with pytest.raises(Misfit, match=r"^expected Moody, got dict$"):
        structure({"a": 1}, kind, None)
    assert refused == [1]


# --- before anything is paid for --------------------------------------------------------------------


@attrs.define
class Unresolved:
    later: list[Nowhere]  # type: ignore[name-defined]  # noqa: F821


@attrs.define
class Priced:
    price: decimal.Decimal


@pytest.mark.parametrize("wanted", [Unresolved, list[Unresolved]])
def test_a_type_whose_names_nobody_knows_is_known_beforehand(wanted: Any) -> None:
    with pytest.raises(InputError, match=r"^result_type cannot be structured: name 'Nowhere'"):
        check_result_type(wanted, None)


@pytest.mark.parametrize("wanted", [decimal.Decimal, list[decimal.Decimal], Priced, 5, "A"])
def test_a_type_that_nothing_can_become_is_known_beforehand(wanted: Any) -> None:
    with pytest.raises(InputError, match=r"^result_type cannot be structured"):
        check_result_type(wanted, None)
    with pytest.raises(InputError, match=r"^result_type cannot be structured"):
        check_result_type(wanted, cattrs.Converter())


def test_bytes_and_known_types_pass() -> None:
    check_result_type(bytes, None)
    check_result_type(bytes, cattrs.BaseConverter())
    check_result_type(ImageOutput, None)
    check_result_type(ImageOutput, cattrs.Converter())


# --- more than one at a time ------------------------------------------------------------------------


class Slow:
    pass


@attrs.define
class Holder:
    items: list[str]
    slow: Slow | None = None


def test_a_look_up_in_another_thread_does_not_disturb_one_under_way() -> None:
    converter = default_converter()
    misfits: list[str] = []

    def look_up_elsewhere(_: Any) -> Any:
        def ask() -> None:
            try:
                structure("ab", list[Holder], converter)
            except Misfit as misfit:
                misfits.append(str(misfit))

        if not misfits:
            misfits.append("asked")
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
        return lambda value, _: Slow()

    converter.register_structure_hook_factory(lambda kind: kind is Slow, look_up_elsewhere)
    with pytest.raises(Misfit, match=r"\[0\]\.items: expected array, got str"):
        structure([{"items": "ab"}], list[Holder], converter)
    assert misfits == ["asked", "expected array, got str"]


# --- whatever comes ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["a", "b", "x", "item", "value", "children", "images", "url", "p", "q"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)
TYPES = [
    str, int, float, bool, int | None, Literal["a", 1], Color, A, B, A | B, A | str, Node, Data, Typed, Pair,
    Box[int], ImageOutput, list[int], tuple[int, ...], set[str], dict[str, A], list[A | None], Any,
]  # fmt: skip


@given(JSON, st.sampled_from(TYPES))
def test_every_answer_fits_or_is_a_misfit(value: Any, wanted: Any) -> None:
    try:
        found = structure(value, wanted, None)
    except Misfit:
        return
    if wanted in {str, int, bool}:
        assert found is value


def test_a_mapping_within_a_mapping_leaves_the_inner_one_as_strict_as_it_was() -> None:
    for converter in (None, default_converter()):
        for wanted in (dict[str, int], dict[str, dict[str, int]], Mapping[str, Mapping[str, int]]):
            check_result_type(wanted, converter)
        with pytest.raises(Misfit, match="expected object, got list"):
            structure([["a", 1]], dict[str, int], converter)
        with pytest.raises(Misfit, match="x: expected object, got list"):
            structure({"x": [["a", 1]]}, dict[str, dict[str, int]], converter)
        assert structure({"x": {"a": 1}}, Mapping[str, Mapping[str, int]], converter) == {
            "x": {"a": 1}
        }
