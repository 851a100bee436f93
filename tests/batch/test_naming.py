"""What files are called: what a template says, and what no value can make of it."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.batch.naming import parse_template, slug
from fal_async.errors import InputError


def named(template: str, **values: Any) -> str:
    return parse_template(template).path(**{"index": 7, "ext": "png", **values}).as_posix()


# --- what a template says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("out/{index:05d}-{seed}.{ext}", "out/00007-42.png"),
        ("{index}.{ext}", "7.png"),
        ("{request_id}/{model}.{ext}", "r-1/fal-ai-flux-dev.png"),
        ("{prompt}.{ext}", "a-cat-in-l-été.png"),
        ("{input.prompt}.{ext}", "A cat, in l'été.png"),
        ("{input.seed}-{output.seed}", "1-42"),
        ("{style}_{input.style}_{output.style}.x", "oil_oil_none.x"),
        ("{file_name}", "cat.png"),
        ("{guidance:.1f}.{ext}", "2.5.png"),
        ("{flag}-{images}-{nothing}", "true-none-none"),
        ("{seed:06d} {style:06d}", "000042 oil"),
        ("/tmp/{index}.{ext}", "/tmp/7.png"),
        ("../a/./b//{index}", "../a/b/7"),
        ("a{{b}}/{index}", "a{b}/7"),
        ("{index:02d}", "07"),
    ],
)
def test_fields_are_filled(template: str, name: str) -> None:
    values = {
        "input": {"prompt": "A cat, in l'été", "style": "oil", "seed": 1, "flag": True},
        "output": {"seed": 42, "images": [1], "nothing": None, "guidance": 2.5},
        "request_id": "r-1",
        "model": "fal-ai/flux/dev",
        "file_name": "cat.png",
    }
    assert named(template, **values) == name


@pytest.mark.parametrize("template", ["out/", "out", ".", "out/..", "/tmp/v1.5", "a/{seed}/b"])
def test_a_template_that_names_a_folder_gets_the_usual_names(template: str) -> None:
    assert named(template, n=2).endswith("/00007-2.png") or template == "."


def test_a_file_without_a_field_is_a_file() -> None:
    assert named("out/cat.png") == "out/cat.png"
    assert named("out/cat.png", n=1) == "out/cat-1.png"


def test_an_input_may_be_of_a_class() -> None:
    @attrs.frozen
    class Input:
        style: str
        sizes: list[int]

    assert named("{style}-{sizes}-{gone}", input=Input("oil", [1])) == "oil-none-none"


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{index}.{ext}", ["7.png", "7-1.png", "7-2.png"]),
        ("{index}-{n}.{ext}", ["7-0.png", "7-1.png", "7-2.png"]),
        ("{n:02d}/{index}.{ext}", ["00/7.png", "01/7.png", "02/7.png"]),
        ("{guidance}", ["2.5", "2.5-1", "2.5-2"]),
        ("{guidance}_x", ["2.5_x", "2.5_x-1", "2.5_x-2"]),
        ("{index}.tar.gz", ["7.tar.gz", "7.tar-1.gz", "7.tar-2.gz"]),
        ("{file_name}", ["a.b.png", "a.b-1.png", "a.b-2.png"]),
    ],
)
def test_each_file_of_an_item_has_a_name_of_its_own(template: str, names: list[str]) -> None:
    values: Any = {"output": {"guidance": 2.5}, "file_name": "a.b.png"}
    assert [named(template, n=n, **values) for n in range(3)] == names


def test_the_folder_is_what_comes_before_the_first_field() -> None:
    assert parse_template("a/b/{seed}/c/{index}").folder == Path("a/b")
    assert parse_template("/{index}").folder == Path("/")
    assert parse_template("{index}").folder == Path()
    assert parse_template(Path("out")).folder == Path("out")
    assert str(parse_template(Path("out"))) == "out"


@pytest.mark.parametrize(
    "template",
    [
        "{}",
        "{0}",
        "{a.b}",
        "{index.real}",
        "{input}.{input.a.b}",
        "{input[a]}",
        "{__class__.x}",
        "{index!r}",
        "{index:{n}}",
        "{index:q}",
        "{n:s}",
        "{index:9999d}",
        "{seed:%%x}",
        "{index",
        "index}",
        "",
        " ",
        "a\x00{index}",
        3,
        None,
        b"out",
    ],
)
def test_another_syntax_is_refused_before_anything_is_sent(template: Any) -> None:
    with pytest.raises(InputError, match=r"^save"):
        parse_template(template)


# --- what no value can make of it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("../../etc/passwd", "----etc-passwd.png"),
        ("..", "-.png"),
        (".hidden", "hidden.png"),
        ("a/b\\c", "a-b-c.png"),
        ("a\x00b\nc\u202e", "a-b-c.png"),
        ("CON", "_CON.png"),
        ("com1.x", "_com1.x.png"),
        ("e\u0301", "é.png"),
        ("\ud800", "-.png"),
        ("", "none.png"),
        ("   ", "none.png"),
        ("x" * 5000, "x" * 236 + ".png"),
        ("é" * 5000, "é" * 118 + ".png"),
        ("🙂" * 100, "🙂" * 59 + ".png"),
    ],
)
def test_a_value_is_made_safe(value: str, name: str) -> None:
    assert named("{a}.{ext}", output={"a": value}) == name


@pytest.mark.parametrize(
    ("template", "values", "name"),
    [
        (".{a}", {"a": "."}, ".none"),
        ("{a}{b}", {"a": ".", "b": "."}, "nonenone"),
        ("x/{a} .", {"a": "y"}, "x/y"),
        ("CO{a}", {"a": "N"}, "_CON"),
        ("e{a}", {"a": "\u0301"}, "é"),
        ("..{a}", {"a": " "}, "..none"),
        ("{a:>3} ", {"a": "..."}, "-"),
        ("." * 300 + "{a}", {"a": "x"}, "none"),
        (".{a:.1s}.", {"a": "\u202e\u202e"}, ".none"),
    ],
)
def test_values_and_literals_together_are_safe_too(
    template: str, values: dict[str, str], name: str
) -> None:
    assert named(template, output=values) == name


def test_a_number_without_an_end_is_no_name() -> None:
    assert named("{a}-{a:e}", output={"a": 10**5000}) == "none-none"
    assert named("{a:c}", output={"a": 2**64}) == str(2**64)


def test_a_name_cut_short_keeps_its_number_and_extension() -> None:
    name = named("{a}.{ext}", n=12, output={"a": "x" * 300})
    assert name.endswith("x-12.png")
    assert len(name) == 240


def test_a_slug_is_short_and_of_words() -> None:
    assert slug("  A cat, on a MAT!  ") == "a-cat-on-a-mat"
    assert slug("кот и пёс") == "кот-и-пёс"
    assert slug("/../") == ""
    assert len(slug("word " * 100)) <= 60


DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
scalars = st.one_of(
    st.text(),
    st.text(alphabet="./\\.. \x00~:-conCON1\u0338\u0301\u202e\ud800é"),
    st.text(min_size=200, max_size=400),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers()),
)
templates = st.sampled_from(
    [
        "{a}",
        "{a}{b}",
        "{prompt}.{ext}",
        "{a}/{b}/{file_name}",
        "{a} {b} ",
        "{a}.{b}.",
        "{input.a}-{n}.{ext}",
        "{request_id}.{model}.tar.gz",
        ".{a}",
        "{a:>300}",
        "{b:e}{a:x}",
    ]
)


@given(
    template=templates,
    a=scalars,
    b=scalars,
    own=st.text(),
    n=st.integers(0, 10**6),
    ext=st.sampled_from(["png", "bin", "tar"]),
)
def test_whatever_the_values_a_name_is_legal_and_inside_its_folder(
    template: str, a: Any, b: Any, own: str, n: int, ext: str
) -> None:
    parsed = parse_template(f"some/where/{template}")
    values = {"a": a, "prompt": b}
    path = parsed.path(
        index=0,
        n=n,
        ext=ext,
        input=values,
        output={"b": b},
        request_id=own,
        model=own,
        file_name=own,
    )
    assert path.parts[:2] == ("some", "where")
    assert len(path.parts) == 2 + len(template.split("/"))
    for name in path.parts[2:]:
        assert name not in {"", ".", ".."}
        assert len(name.encode()) <= 255
        assert not set(name) & set('/\\<>:"|?*')
        assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in name)
        assert name == unicodedata.normalize("NFC", name)
        assert not name.endswith((" ", "."))
        assert not DEVICES.fullmatch(name)
        assert not name.startswith(".") or template.startswith(".")
