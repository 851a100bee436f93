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
    ErrorDetail,
    ModelError,
    ServerError,
    Verdict,
)


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
