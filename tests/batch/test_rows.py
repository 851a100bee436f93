from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fal_async.batch.rows import BadRow, Row, RowFormat, format_of, read_rows, sniff_format
from fal_async.errors import InputError

BOM = b"\xef\xbb\xbf"


def read(content: bytes, format: RowFormat) -> list[Row | BadRow]:
    return list(read_rows(io.BytesIO(content), format))


def inputs(content: bytes, format: RowFormat) -> list[dict[str, Any]]:
    return [row.input for row in read(content, format) if isinstance(row, Row)]


def bad(content: bytes, format: RowFormat) -> dict[int, str]:
    return {row.line: row.reason for row in read(content, format) if isinstance(row, BadRow)}


# --- prompts --------------------------------------------------------------------------------------------


def test_a_prompt_a_line_without_blank_ones_and_comments() -> None:
    content = BOM + b"a cat\r\n\n  \t\r\n# seen from above\n  a dog \xe6\x97\xa5\r\nlast"
    rows = read(content, "txt")
    assert rows == [
        Row(line=1, input={"prompt": "a cat"}),
        Row(line=5, input={"prompt": "a dog 日"}),
        Row(line=6, input={"prompt": "last"}),
    ]


@pytest.mark.parametrize("format", get_args(RowFormat))
def test_nothing_has_no_rows(format: RowFormat) -> None:
    assert read(b"", format) == read(BOM, format) == read(b"\n\r\n", format) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1)))
def test_prompts_come_back_as_they_were_written(prompts: list[str]) -> None:
    prompts = [prompt for prompt in prompts if not prompt.startswith(("#", "\ufeff"))]
    content = "\n".join(prompts).encode()
    assert [row["prompt"] for row in inputs(content, "txt")] == prompts


# --- JSON -----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4)


@settings(suppress_health_check=[HealthCheck.too_slow])  # nested JSON, on a busy machine
@given(st.lists(OBJECTS), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_objects_come_back_as_they_were_written(
    objects: list[dict[str, Any]], escaped: bool, end: str, marked: bool
) -> None:
    text = end.join(json.dumps(value, ensure_ascii=escaped) for value in objects)
    assert inputs(BOM * marked + text.encode(), "jsonl") == objects


def test_a_json_text_is_a_prompt() -> None:
    assert inputs(b'"a cat"\n\n"42"\n', "jsonl") == [{"prompt": "a cat"}, {"prompt": "42"}]


def test_an_integer_of_sixty_four_bits_stays_exact() -> None:
    assert inputs(b'{"seed": 18446744073709551615}', "jsonl") == [{"seed": 2**64 - 1}]


def test_broken_json_is_told_by_its_line_and_the_rest_is_read() -> None:
    content = b'{"a": 1}\n{"a": 1\n[1]\n7\n\xff\n{"a": NaN}\n"\\ud800"\n' + b"[" * 9000
    content += b'\n{"a": 2}\n'
    assert inputs(content, "jsonl") == [{"a": 1}, {"a": 2}]
    reasons = bad(content, "jsonl")
    assert list(reasons) == [2, 3, 4, 5, 6, 7, 8]
    assert reasons[2].startswith("not JSON: ")
    assert reasons[3] == reasons[4] == "neither a JSON object nor a text"
    assert reasons[5] == "not UTF-8 (byte 1 of the row)"


# --- tables ---------------------------------------------------------------------------------------------


def test_a_table_types_its_cells_and_leaves_out_the_empty_ones() -> None:
    content = (
        b"prompt,seed,hd,image_size,scale,note\r\n"
        b'"a cat, sitting",7,true,"{""width"": 512}",1.5,\r\n'
        b"42, 7 ,false,square,-2e1,null\r\n"
        b',,,"[1, 2]",,007\r\n'
    )
    assert inputs(content, "csv") == [
        {
            "prompt": "a cat, sitting",
            "seed": 7,
            "hd": True,
            "image_size": {"width": 512},
            "scale": 1.5,
        },
        {
            "prompt": "42",
            "seed": 7,
            "hd": False,
            "image_size": "square",
            "scale": -20,
            "note": None,
        },
        {"image_size": [1, 2], "note": "007"},
    ]


@pytest.mark.parametrize("name", ["prompt", "negative_prompt", "text", "gen_text", "Prompt"])
def test_a_column_of_words_is_text_whatever_it_looks_like(name: str) -> None:
    content = f'{name},n\n2024,1\ntrue,2\n"[1]",3\n'.encode()
    assert [row[name] for row in inputs(content, "csv")] == ["2024", "true", "[1]"]


@pytest.mark.parametrize(
    "cell", ["1e999", "12a", "1 2", "{a}", "truely", "[", "-", "0x1F", "nan", "1,5"]
)
def test_what_is_no_json_stays_text(cell: str) -> None:
    assert inputs(f"x;y\n{cell};1\n".encode(), "csv") == [{"x": cell, "y": 1}]


def test_a_quoted_cell_may_hold_lines_quotes_and_blank_lines() -> None:
    content = b'prompt,seed\n"one\n\n""two"", three\r\nfour",1\nnext,2\n'
    assert read(content, "csv") == [
        Row(line=2, input={"prompt": 'one\n\n"two", three\r\nfour', "seed": 1}),
        Row(line=6, input={"prompt": "next", "seed": 2}),
    ]


def test_a_quote_within_a_bare_cell_is_a_quote() -> None:
    assert inputs(b'prompt,seed\na 5" pipe,1\n', "csv") == [{"prompt": 'a 5" pipe', "seed": 1}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_may_be_parted_by_commas_semicolons_or_tabs(delimiter: str) -> None:
    content = "prompt,seed\nx,1\n".replace(",", delimiter).encode()
    assert inputs(BOM + content, "csv") == [{"prompt": "x", "seed": 1}]


def test_bad_rows_are_told_by_the_line_they_begin_on_and_the_rest_is_read() -> None:
    content = (
        b"prompt,seed,hd\n"
        b"good,1,true\n"
        b"short,2\n"  # 3
        b"long,3,true,4\n"  # 4
        b'"a"b,4,true\n'  # 5
        b"\xff,5,true\n"  # 6
        b",,\n"
        b'"two\nlines, one \xff",6,true\n'  # 8
        b"good,7,true\n"
        b'"open,8,true\n'  # 11
        b"good,9,true\n"
        b"good,10,\n"
    )
    assert [row["seed"] for row in inputs(content, "csv")] == [1, 7, 9, 10]
    assert bad(content, "csv") == {
        3: "column hd is missing: 2 of 3 cells",
        4: "4 cells for 3 columns",
        5: "cell 1 goes on after its closing quote",
        6: "not UTF-8 (byte 1 of the row)",
        8: "not UTF-8 (byte 17 of the row)",
        11: "a quote is never closed",
    }


def test_a_quote_that_another_row_closes_spoils_its_own_row_alone() -> None:
    content = b'prompt,seed\na,"1\nb,2\n"c",3\n'
    assert [row["seed"] for row in inputs(content, "csv")] == [2, 3]
    assert bad(content, "csv") == {2: "a quote is never closed"}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"a cat in the rain\n", "cell 1 is no name"),
        (b"prompt,\n", "cell 2 is no name"),
        (b"prompt,seed,seed\n", "two columns are named seed"),
        (b'"prompt\n', "never closed"),
        (b"\xffprompt\n", "UTF-8"),
    ],
)
def test_a_table_whose_columns_have_no_names_is_refused(header: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        read(header + b"x,1\n", "csv")
    assert "cat" not in str(refused.value)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_what_a_writer_of_tables_writes_comes_back(rows: list[tuple[str, str]], end: str) -> None:
    file = io.StringIO(newline="")
    # Before Python 3.13 a writer whose lines end in a bare line feed puts no quotes around "\r".
    quoting = (
        csv.QUOTE_ALL
        if end == "\n" and any("\r" in cell for row in rows for cell in row)
        else csv.QUOTE_MINIMAL
    )
    writer = csv.writer(file, lineterminator=end, quoting=quoting)
    writer.writerow(["prompt", "negative_prompt"])
    writer.writerows(rows)
    expected = [
        {
            name: cell
            for name, cell in zip(("prompt", "negative_prompt"), row, strict=True)
            if cell.strip()
        }
        for row in rows
    ]
    content = file.getvalue().encode()
    assert inputs(content, "csv") == [row for row in expected if row]
    assert bad(content, "csv") == {}


# --- all of them ----------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.sampled_from(get_args(RowFormat)))
def test_whatever_a_file_holds_its_lines_are_named_in_order(
    content: bytes, format: RowFormat
) -> None:
    try:
        rows = read(content, format)
    except InputError:
        assert format == "csv"
        return
    numbers = [row.line for row in rows]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= content.count(b"\n") + 1 for number in numbers)


@pytest.mark.parametrize("format", get_args(RowFormat))
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_says_so_once(format: RowFormat, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    content = f"{mark}prompt,seed\na cat,1\n".encode(encoding)
    assert bad(content, format) == {1: "the file is UTF-16: save it as UTF-8"}


@pytest.mark.parametrize(
    ("format", "line"),
    [("txt", b"a cat, sitting\n"), ("jsonl", b'{"a": 1}\n'), ("csv", b'"a, cat",1\n')],
)
def test_a_long_file_is_read_row_by_row(format: RowFormat, line: bytes) -> None:
    def lines() -> Iterator[bytes]:
        yield b"prompt,seed\n"
        for _ in range(20_000):
            yield line

    tracemalloc.start()
    try:
        rows = sum(1 for _ in read_rows(lines(), format))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows in {20_000, 20_001}
    assert peak < 100_000


def test_what_no_row_says_is_in_no_reason_and_no_repr() -> None:
    content = b'{"prompt": "secret"\n{"prompt": "secret"}\n'
    assert "secret" not in repr(read(content, "jsonl"))


# --- which format ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("prompts.txt", "txt"),
        ("A.JSONL", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.csv", "csv"),
        ("a.tsv", "csv"),
        ("prompts", None),
        ("a.json", None),
    ],
)
def test_the_name_of_a_file_tells_its_format(name: str, format: RowFormat | None) -> None:
    assert format_of(name) == format


@pytest.mark.parametrize(
    ("line", "format"),
    [
        (b'{"prompt": "a cat"}\n', "jsonl"),
        (BOM + b'{"prompt": "cut off\n', "jsonl"),
        (b'"a cat"\r\n', "jsonl"),
        (b"prompt,seed\r\n", "csv"),
        (b"prompt;seed\n", "csv"),
        (b"seed\tnegative_prompt\n", "csv"),
        (b"prompt\n", "txt"),
        (b"cat,dog\n", "txt"),
        (b"a prompt, with words\n", "txt"),
        (b"{red|blue} cat\n", "txt"),
        (b'"quoted" words\n', "txt"),
        (b"42\n", "txt"),
        (b"\xff\n", "txt"),
    ],
)
def test_the_first_line_tells_what_has_no_name(line: bytes, format: RowFormat) -> None:
    assert sniff_format(line) == format
