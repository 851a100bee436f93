from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from fal_async.cli.keeping import keep_answer
from fal_async.cli.saying import say_failure, say_interrupted
from fal_async.errors import (
    Billing,
    BodyBrokenError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    ErrorDetail,
    FalError,
    GatewayError,
    ModelError,
    ServerError,
    Verdict,
)
from fal_async.features.handle import RequestHandle

HANDLE = RequestHandle(model="a/b/c", request_id="id-1")


def test_a_failure_is_told_with_its_cost_and_its_history(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ServerError("fal answered 503", attempts=4)
    error.first = ConnectError("no connection")
    say_failure(error)
    assert capsys.readouterr().err.splitlines() == [
        "error: fal answered 503. Not billed. Safe to send again.",
        "  sent 4 times",
        "  at first: no connection",
    ]


def test_further_details_are_told_by_place_and_type(capsys: pytest.CaptureFixture[str]) -> None:
    details = [ErrorDetail(msg="my secret prompt", loc=("body", "a")), ErrorDetail(msg="as well")]
    say_failure(ModelError("fal answered 422", details=details))
    assert capsys.readouterr().err.splitlines()[1:] == ["  also the input: refused"]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionLostError("x", billing=Billing.UNKNOWN),
        GatewayError("x", billing=Billing.UNKNOWN),
        DecodeError("x", billing=Billing.BILLED),
    ],
    ids=repr,
)
def test_a_failure_that_is_not_the_requests_says_how_to_fetch_the_result(
    error: FalError, capsys: pytest.CaptureFixture[str]
) -> None:
    error.handle = HANDLE
    say_failure(error)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("fetching that costs nothing: fal-async result a/b/c id-1")


@pytest.mark.parametrize(
    "error",
    [ModelError("x", billing=Billing.UNKNOWN), ServerError("x"), ConnectError("x")],
    ids=repr,
)
def test_the_end_of_a_request_leaves_nothing_to_fetch(
    error: FalError, capsys: pytest.CaptureFixture[str]
) -> None:
    error.handle = HANDLE
    say_failure(error)
    assert "fal-async" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("billing", "says", "then"),
    [
        (Billing.NOT_BILLED, "is out of it: not billed. Request id-1.", []),
        (
            Billing.UNKNOWN,
            "may still be running, and be billed.",
            ["  fal-async status a/b/c id-1"],
        ),
        (Billing.BILLED, "had ended and was billed.", ["  fal-async result a/b/c id-1"]),
    ],
)
def test_a_request_that_was_left_is_told_with_what_to_type_next(
    billing: Billing, says: str, then: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    say_interrupted(Verdict(billing=billing, request_id="id-1", handle=HANDLE))
    said, *rest = capsys.readouterr().err.splitlines()
    assert says in said
    assert rest == then


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (None, "nothing had been sent: not billed."),
        (Verdict(billing=Billing.UNKNOWN), "it may have been billed, and its answer is lost."),
        (Verdict(billing=Billing.BILLED, request_id="id-1"), "its answer is lost. Request id-1."),
    ],
    ids=["unsent", "unknown", "billed"],
)
def test_an_interruption_is_told_with_its_cost(
    verdict: Verdict | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_interrupted(verdict)
    said = capsys.readouterr().err
    assert said.startswith("interrupted: ")
    assert said.endswith(f"{says}\n")


def test_an_answer_that_cannot_be_kept_here_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    error = BodyBrokenError("it broke off", billing=Billing.BILLED, body=b"half")
    error.request_id = "../id-1"
    keep_answer(error, tmp_path / "missing")
    assert (tmp_path / "fal-id-1.body").read_bytes() == b"half"
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("missing: No such file or directory")
    assert second == f"the answer as it came is in {tmp_path}/fal-id-1.body (4 bytes)"


def test_an_answer_that_can_be_kept_nowhere_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "neither"))
    keep_answer(BodyBrokenError("x", billing=Billing.BILLED, body=b"half"), tmp_path / "missing")
    assert capsys.readouterr().err.count("not written to") == 2
