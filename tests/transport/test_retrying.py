"""Sending again: where to, how often, how long after; and what is told when it ends."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import (
    AuthenticationError,
    Billing,
    BodyBrokenError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    FalError,
    GatewayError,
    InputError,
    ServerError,
    SessionError,
    StartTimeoutError,
)
from fal_async.policy.retry import Resend, RetryPolicy
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call
from fal_async.transport.retrying import Retrying
from tests.support.fakes import FakeTransport, Outcome, VirtualClock, post, respond

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
LOCAL = "http://127.0.0.1:8000/owner/app"
FAL, BACKUP = "https://fal.run/owner/app", "https://falrun.com/owner/app"

ID = {"x-fal-request-id": "r-1"}
INVITED = respond(503, {**ID, "X-Fal-Needs-Retry": "1"}, b'{"detail":"busy"}')
CRASHED = respond(500, ID, b'{"detail":"it broke"}')
INGRESS = respond(502, {}, b"<html>nginx")
OK = respond(200)


def refused() -> ConnectError:
    return ConnectError("refused", retryable=True)


def lost() -> ConnectionLostError:
    return ConnectionLostError("lost", billing=MAYBE)


class Sending:
    """One call through Retrying, over outcomes that are told."""

    def __init__(
        self,
        *outcomes: Outcome,
        policy: RetryPolicy | None = None,
        url: str = LOCAL,
        chance: float = 0.5,
    ) -> None:
        self.inner = FakeTransport(outcomes)
        self.clock = VirtualClock(chance)
        self.call = Call(RetryPolicy() if policy is None else policy)
        self.request = post(url)

    async def answer(self) -> HttpResponse:
        return await Retrying(self.inner, self.clock).send(self.request, self.call)

    async def error(self) -> FalError:
        with pytest.raises(FalError) as raised:
            await self.answer()
        assert raised.value.attempts == len(self.inner.sent)
        return raised.value


async def test_a_success_is_sent_once() -> None:
    sending = Sending(OK)
    assert await sending.answer() is OK
    assert len(sending.inner.sent) == 1
    assert sending.clock.slept == []


# --- how often and how long after -----------------------------------------------------------------------


async def test_nothing_written_is_sent_four_times_with_a_doubling_backoff() -> None:
    sending = Sending(refused(), chance=1.0)
    error = await sending.error()
    assert isinstance(error, ConnectError)
    assert error.billing is NOT
    assert sending.clock.slept == [0.5, 1.0, 2.0]


async def test_the_doubling_ends_at_eight_seconds_and_the_whole_backoff_at_twenty() -> None:
    sending = Sending(refused(), chance=1.0, policy=RetryPolicy(sends=100))
    await sending.error()
    assert sending.clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0]


async def test_the_wait_is_drawn_from_nothing_to_the_whole() -> None:
    sending = Sending(refused(), chance=0.0)
    await sending.error()
    assert sending.clock.slept == []  # no wait, no turn of the loop
    assert len(sending.inner.sent) == 4


async def test_a_retry_after_is_waited_out_and_counts() -> None:
    asked = respond(503, {**ID, "X-Fal-Needs-Retry": "1", "Retry-After": "15"})
    sending = Sending(asked)
    error = await sending.error()
    assert sending.clock.slept == [15.0]  # a second would be 30 s in all, above the budget of 20
    assert error.retry_after == 15.0


async def test_what_succeeds_in_the_end_is_a_success() -> None:
    sending = Sending(refused(), INVITED, OK)
    assert await sending.answer() is OK
    assert sending.call.attempts == 3
    assert sending.call.settled is NOT


NEVER_RESENT: dict[str, tuple[Outcome, type[FalError]]] = {
    "lost": (lost(), ConnectionLostError),
    "a broken body": (BodyBrokenError("broken", billing=YES), BodyBrokenError),
    "an ingress page": (INGRESS, GatewayError),
    "a crash": (CRASHED, ServerError),
    "a start timeout": (
        respond(504, {**ID, "X-Fal-Request-Timeout-Type": "user"}),
        StartTimeoutError,
    ),
    "a wrong key": (respond(401), AuthenticationError),
    "a bad argument": (InputError("bad"), InputError),
    "a closed session": (SessionError("closed"), SessionError),
    "an invitation that was billed": (
        respond(503, {**ID, "X-Fal-Needs-Retry": "1", "x-fal-billable-units": "1"}),
        ServerError,
    ),
}


@pytest.mark.parametrize("name", NEVER_RESENT)
async def test_by_default_nothing_is_sent_again_that_may_cost_twice_or_fail_again(
    name: str,
) -> None:
    outcome, kind = NEVER_RESENT[name]
    sending = Sending(outcome, OK)
    assert type(await sending.error()) is kind
    assert len(sending.inner.sent) == 1


@pytest.mark.parametrize("outcome", [refused(), INVITED, CRASHED, INGRESS, lost(), respond(429)])
async def test_never_is_never(outcome: Outcome) -> None:
    sending = Sending(outcome, OK, policy=RetryPolicy.never(), url=FAL)
    await sending.error()
    assert len(sending.inner.sent) == 1


async def test_other_server_errors_and_losses_are_sent_again_when_asked_for() -> None:
    for outcome, kind in ((CRASHED, "server_error"), (INGRESS, "lost"), (lost(), "lost")):
        sending = Sending(outcome, OK, policy=RetryPolicy(resend=[kind]))
        assert await sending.answer() is OK


# --- the backup domain ----------------------------------------------------------------------------------


async def test_the_backup_domain_comes_first_and_at_once_then_the_backoff() -> None:
    sending = Sending(refused(), url=FAL, chance=1.0)
    await sending.error()
    assert sending.inner.urls == [FAL, BACKUP, FAL, BACKUP]
    assert sending.clock.slept == [1.0]


async def test_the_backup_domain_takes_the_same_request() -> None:
    sending = Sending(ConnectTimeoutError("stalled", retryable=True), OK, url=FAL + "/fast?x=1")
    await sending.answer()
    first, second = sending.inner.sent
    assert second.url == BACKUP + "/fast?x=1"
    assert (second.method, second.headers, second.body) == (first.method, first.headers, first.body)
    assert second.application == first.application


async def test_the_backup_domain_needs_no_budget_for_waiting() -> None:
    sending = Sending(refused(), OK, url=FAL, policy=RetryPolicy(budget=0.0), chance=1.0)
    assert await sending.answer() is OK
    assert sending.inner.urls == [FAL, BACKUP]


@pytest.mark.parametrize("outcome", [INVITED, CRASHED, INGRESS, lost()])
async def test_once_connected_the_backup_domain_is_not_tried(outcome: Outcome) -> None:
    sending = Sending(outcome, OK, url=FAL, policy=RetryPolicy(resend=list(Resend)))
    await sending.answer()
    assert sending.inner.urls == [FAL, FAL]


async def test_a_failure_on_the_backup_domain_leads_back_to_the_first() -> None:
    sending = Sending(refused(), INVITED, OK, url=FAL)
    await sending.answer()
    assert sending.inner.urls == [FAL, BACKUP, FAL]


async def test_other_hosts_have_no_backup_domain() -> None:
    for url in (LOCAL, "https://queue.example/owner/app", "http://fal.run/owner/app"):
        sending = Sending(refused(), OK, url=url)
        await sending.answer()
        assert sending.inner.urls == [url, url]


# --- what is told ---------------------------------------------------------------------------------------


async def test_the_first_failure_is_kept() -> None:
    first = refused()
    sending = Sending(first, INVITED, respond(401))
    error = await sending.error()
    assert type(error) is AuthenticationError
    assert error.first is first
    assert (first.attempts, error.attempts) == (1, 3)


async def test_a_failure_that_was_the_only_one_has_no_first() -> None:
    assert (await Sending(respond(401)).error()).first is None


async def test_what_an_earlier_send_may_have_cost_is_not_forgotten() -> None:
    policy = RetryPolicy(resend=["lost", "unsent"])
    error = await Sending(lost(), refused(), policy=policy).error()
    assert type(error) is ConnectError
    assert error.billing is MAYBE
    assert "may have been billed" in str(error)


OUTCOMES: list[tuple[Outcome, Billing]] = [
    (INVITED, NOT),
    (CRASHED, NOT),
    (INGRESS, MAYBE),
    (respond(429), NOT),
    (respond(500, {**ID, "x-fal-billable-units": "1"}), YES),
    (respond(422, {"x-fal-billable-units": "0"}), NOT),
    (respond(422), MAYBE),
]


@given(st.lists(st.sampled_from(range(len(OUTCOMES))), min_size=1, max_size=6), st.integers(1, 6))
def test_the_billing_of_a_call_is_the_gravest_of_its_sends(picks: list[int], sends: int) -> None:
    outcomes = [OUTCOMES[pick] for pick in picks]
    sending = Sending(
        *(outcome for outcome, _ in outcomes),
        policy=RetryPolicy(sends=sends, resend=list(Resend), budget=1e9),
    )
    coroutine = sending.error()
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)  # nothing here waits for anything
    error: FalError = stopped.value.value
    verdicts = list(itertools.islice((billing for _, billing in outcomes), error.attempts))
    gravest = verdicts[0]
    for verdict in verdicts:
        gravest = gravest.worse(verdict)
    assert error.attempts <= sends
    if error.attempts <= len(verdicts):
        assert error.billing is gravest


async def test_the_request_is_handed_on_as_it_is() -> None:
    seen: list[HttpRequest] = []

    def look(request: HttpRequest, _: Call) -> HttpResponse:
        seen.append(request)
        return OK

    sending = Sending(look)
    await sending.answer()
    assert seen == [sending.request]
    assert seen[0] is sending.request
