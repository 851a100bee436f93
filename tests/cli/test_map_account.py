"""What a batch counts, shows and writes down."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from fal_async.batch.outcome import Failed, SavedFile, Succeeded
from fal_async.batch.rows import BadRow
from fal_async.cli.batch.board import Board, Display
from fal_async.cli.batch.documents import bad_row_document, outcome_document
from fal_async.cli.batch.folder import Folder, Sheets
from fal_async.cli.batch.tally import Tally, clock_time, units
from fal_async.cli.exits import Exit
from fal_async.errors import (
    AccessDeniedError,
    Billing,
    ConnectionLostError,
    DecodeError,
    DownloadError,
    ErrorDetail,
    FalError,
    InDoubtError,
    InputError,
    ModelError,
    ServerError,
)
from fal_async.policy.concurrency import Limits


def succeeded(index: int = 0, **facts: Any) -> Succeeded[Any]:
    told = {"output": {}, "attempts": 1, "billable_units": Decimal(1), **facts}
    return Succeeded(index=index, input={}, **told)


def failed(error: FalError, index: int = 0, **facts: Any) -> Failed:
    told = {"attempts": 1, "billing": error.billing, **facts}
    return Failed(index=index, input={}, error=error, **told)


def counted(*outcomes: Any, expected: int | None = None) -> Tally:
    tally = Tally(expected=expected, began=0.0)
    for second, outcome in enumerate(outcomes):
        tally.count(outcome, float(second))
    return tally


UNKNOWN = ConnectionLostError("lost", billing=Billing.UNKNOWN)
DOUBT = InDoubtError("nobody knows", billing=Billing.UNKNOWN)
PAID = DecodeError("damaged", billing=Billing.BILLED)
FREE = ServerError("down")
REFUSED = ModelError("no")
UNSAVED = SavedFile(url="https://x/y", error=DownloadError("gone"))


# --- counting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], Exit.OK),
        ([succeeded()], Exit.OK),
        ([failed(REFUSED), failed(InputError("bad"))], Exit.REFUSED),
        ([failed(REFUSED), failed(FREE)], Exit.NOT_BILLED),
        ([failed(FREE), failed(PAID)], Exit.BILLED),
        ([failed(PAID), failed(UNKNOWN)], Exit.UNKNOWN),
        ([failed(DOUBT, attempts=0)], Exit.UNKNOWN),
        ([failed(AccessDeniedError("no")), failed(REFUSED)], Exit.KEY),
        ([succeeded(files=(UNSAVED,))], Exit.NOT_SAVED),
        ([succeeded(files=(UNSAVED,)), failed(REFUSED)], Exit.REFUSED),
    ],
)
def test_the_status_is_that_of_the_gravest_failure(outcomes: list[Any], status: Exit) -> None:
    assert counted(*outcomes).status() is status


def test_bad_rows_alone_are_bad_input_and_nothing_is_graver_than_less() -> None:
    tally = counted(succeeded())
    tally.count_bad_row()
    assert tally.status() is Exit.USAGE
    tally.count_unwritten()
    assert tally.status() is Exit.NOT_SAVED


def test_what_came_from_the_journal_was_no_call_and_is_not_billed_now() -> None:
    tally = counted(
        succeeded(),
        succeeded(replayed=True, billable_units=Decimal("2.5")),
        failed(UNKNOWN, billable_units=Decimal(9)),
        failed(DOUBT, attempts=0),
        failed(InputError("bad"), attempts=0),
    )
    assert (tally.calls, tally.replayed, tally.done, tally.failed) == (2, 1, 5, 3)
    assert (tally.units_now, tally.units) == (1, Decimal("3.5"))
    assert (tally.in_doubt, tally.maybe_billed) == (1, 1)


def test_rate_and_time_left_follow_from_what_ended_of_late() -> None:
    tally = Tally(expected=1000, began=0.0)
    assert (tally.rate(0.0), tally.remaining(0.0)) == (None, None)
    for tenth in range(201):
        tally.count(succeeded(), tenth / 10)
    assert tally.rate(20.0) == pytest.approx(10)
    assert tally.remaining(20.0) == pytest.approx(79.9)
    assert tally.rate(30.0) == pytest.approx(5)  # it stalls
    assert tally.rate(100.0) is None


def test_the_numbers_at_the_end_are_words() -> None:
    tally = counted(
        succeeded(), succeeded(replayed=True), failed(FREE), failed(UNKNOWN), expected=1200
    )
    tally.count_bad_row()
    assert dict(tally.lines(62.0)) == {
        "done": "4 of 1,200, 1 of them from the journal",
        "failed": "2: 1 ServerError, 1 ConnectionLostError",
        "bad rows": "1, of which nothing was sent",
        "billed": "1 unit for 3 calls; 2 units with those before",
        "perhaps": "1 failed call may have been billed too",
        "time": "1:02, 0.0 calls/s",
    }
    assert dict(counted(succeeded()).lines(0.5)) == {
        "done": "1",
        "billed": "1 unit for 1 call",
        "time": "0.50 s, 2.0 calls/s",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.523, "0.52 s"), (12.4, "12 s"), (185, "3:05"), (59.6, "60 s"), (3723, "1:02:03")],
)
def test_a_time_is_told_as_people_tell_it(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text


def test_units_are_exact() -> None:
    assert [units(Decimal(n)) for n in ("1", "0.10", "12000", "0")] == [
        "1 unit",
        "0.1 units",
        "12,000 units",
        "0 units",
    ]


# --- showing --------------------------------------------------------------------------------------------

LEARNED = Limits(in_flight=3, waiting=0, window=4, learned=4, refused=2, applications={})


def board(tally: Tally, limits: Limits | None = LEARNED) -> Board:
    return Board(
        "a/b → out",
        tally,
        in_flight=lambda: 3,
        limits=lambda: limits,
        now=lambda: 4.0,
    )


def shown(what: Board) -> str:
    file = io.StringIO()
    Console(file=file, width=120, color_system=None).print(what)
    return file.getvalue()


def test_the_board_shows_where_the_batch_stands() -> None:
    tally = counted(succeeded(), succeeded(), failed(FREE), succeeded(), expected=10)
    tally.count_bad_row()
    text = shown(board(tally))
    assert "a/b → out" in text
    assert "4/10, 1 failed, 1 bad row" in text
    assert "3 in flight, limit 4, 2 refused" in text
    assert "0.8/s, 4.00 s so far, ETA 8.00 s" in text
    assert "3 units" in text


def test_the_board_makes_do_with_what_is_known() -> None:
    text = shown(board(counted(), None))
    assert "ETA" not in text
    assert "limit" not in text
    assert "?" in text
    stopping = board(counted(succeeded(), succeeded(), expected=9))
    stopping.stopping = True
    assert "stopping" in shown(stopping)
    assert "ETA" not in shown(stopping)


def test_what_is_said_stands_above_the_board() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    with Display(board(counted()), console) as display:
        display.say("line 3: [b]broken\x1b", head="bad row:")
    assert "bad row: line 3: [b]broken\ufffd" in file.getvalue()


def test_where_nobody_looks_only_sentences_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(board(counted())) as display:
        display.say("line 3: broken", head="bad row:")
    assert capsys.readouterr().err == "bad row: line 3: broken\n"


# --- writing down ---------------------------------------------------------------------------------------


def test_an_answer_is_a_line_with_all_its_facts(tmp_path: Path) -> None:
    files = (
        SavedFile(
            url="https://x/a", path=tmp_path / "files/a.png", size=3, content_type="image/png"
        ),
        UNSAVED,
        SavedFile(url="data:image/png;base64,AA", error=DownloadError("disk full")),
    )
    outcome = succeeded(
        4, output={"seed": 1}, request_id="id", elapsed=0.25, files=files, billable_units=None
    )
    assert outcome_document(outcome, line=7, folder=tmp_path) == {
        "index": 4,
        "line": 7,
        "ok": True,
        "input": {},
        "output": {"seed": 1},
        "request_id": "id",
        "billing": "billed",
        "billable_units": None,
        "attempts": 1,
        "elapsed": 0.25,
        "replayed": False,
        "files": [
            {"path": "files/a.png", "bytes": 3, "content_type": "image/png"},
            {"path": None, "url": "https://x/y", "error": "gone"},
            {"path": None, "url": None, "error": "disk full"},
        ],
    }


def test_an_answer_of_bytes_is_kept_where_it_is_not_saved(tmp_path: Path) -> None:
    document = outcome_document(succeeded(output=b"\xff\x00"), line=1, folder=tmp_path)
    assert document["output"] == {"bytes": 2, "base64": "/wA="}


def test_a_failure_is_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    detail = ErrorDetail(loc=("body", "seed"), type="int_type", msg="no integer")
    error = ModelError("refused", status=422, error_type="x", details=[detail])
    document = outcome_document(failed(error), line=None, folder=tmp_path)
    assert (document["ok"], document["billing"]) == (False, "not_billed")
    assert document["error"] == {
        "type": "ModelError",
        "message": "refused",
        "advice": "The same input will fail again.",
        "status": 422,
        "error_type": "x",
        "details": [{"path": "body.seed", "type": "int_type", "msg": "no integer"}],
    }


def line(index: int, *, ok: bool = True, **more: Any) -> dict[str, Any]:
    return {"index": index, "line": index + 1, "ok": ok, **more}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def add(sheets: Sheets, document: dict[str, Any]) -> None:
    sheets.write(json.dumps(document).encode(), ok=document["ok"])


def write(folder: Folder, *documents: dict[str, Any], complete: bool = True) -> None:
    sheets = Sheets(folder)
    for document in documents:
        add(sheets, document)
    sheets.complete = complete
    sheets.close()


def test_answers_and_failures_have_a_file_each(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    bad = bad_row_document(BadRow(line=9, reason="broken"))
    write(folder, line(0), line(1, ok=False), bad)
    assert lines(folder.results) == [line(0)]
    assert lines(folder.errors) == [line(1, ok=False), bad]


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    sheets = Sheets(folder)
    add(sheets, line(0))
    assert lines(folder.results) == [line(0)]
    sheets.close()


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write(folder, line(0), line(1, ok=False))
    sheets = Sheets(folder)
    add(sheets, line(1, new=True))
    assert lines(folder.results) == [line(0)]
    add(sheets, line(0, new=True))
    sheets.complete = True
    sheets.close()
    assert lines(folder.results) == [line(1, new=True), line(0, new=True)]
    assert lines(folder.errors) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors.jsonl", "results.jsonl"]


def test_what_a_run_that_was_cut_short_did_not_come_to_is_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    bad = [bad_row_document(BadRow(line=n, reason="broken")) for n in (8, 9)]
    write(folder, line(0), line(1), line(2, ok=False), line(3, ok=False), *bad)
    with folder.results.open("ab") as file:
        file.write(b'{"index": 77, "li')  # killed within a line
    write(folder, line(2), line(1, new=True), bad[0], complete=False)
    assert lines(folder.results) == [line(2), line(1, new=True), line(0)]
    assert lines(folder.errors) == [bad[0], line(3, ok=False), bad[1]]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(click.UsageError, match="Not a directory"):
        Folder(tmp_path / "file" / "out").make()


def test_the_name_of_a_folder_is_no_template(tmp_path: Path) -> None:
    template = Folder(tmp_path / "{index}").template("{seed}.{ext}")
    assert template == f"{tmp_path}/{{{{index}}}}/files/{{seed}}.{{ext}}"
