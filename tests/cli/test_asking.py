from __future__ import annotations

import asyncio

import pytest

from fal_async.cli.asking import UnansweredError, asking
from fal_async.cli.exits import Exit, exit_of
from fal_async.errors import (
    AnswerError,
    Billing,
    FalError,
    GatewayError,
    ModelError,
    ResultGoneError,
    ServerError,
    ServerTimeoutError,
)
from tests.cli.conftest import Shell


async def ask_and_meet(error: BaseException) -> None:
    async with asking("a/b", "id-1", timeout=None) as (_, request):
        assert request.request_id == "id-1"
        raise error


@pytest.mark.parametrize("kind", [AnswerError, GatewayError, ServerError])
async def test_a_question_that_was_not_answered_may_be_asked_again(
    kind: type[FalError], shell: Shell
) -> None:
    with pytest.raises(UnansweredError) as caught:
        await ask_and_meet(kind("no answer", billing=Billing.UNKNOWN))
    assert str(caught.value) == "no answer. Not billed. Asking again costs nothing."
    assert exit_of(caught.value) == Exit.NOT_BILLED


@pytest.mark.parametrize(
    "error",
    [
        ModelError("refused", billing=Billing.UNKNOWN),
        ResultGoneError("gone", billing=Billing.UNKNOWN),
        ServerError("the model broke"),
        ServerTimeoutError("the model took too long"),
        AnswerError("no JSON", billing=Billing.BILLED),
    ],
    ids=repr,
)
async def test_the_requests_own_failure_is_told_as_it_is(error: FalError, shell: Shell) -> None:
    with pytest.raises(type(error)) as caught:
        await ask_and_meet(error)
    assert caught.value is error


async def test_who_is_interrupted_hears_that_the_request_goes_on(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(asyncio.CancelledError):
        await ask_and_meet(asyncio.CancelledError())
    assert capsys.readouterr().err == "interrupted: the request is left as it is\n"
