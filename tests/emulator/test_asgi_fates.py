"""Calls of a mounted application: what they cost, how they fail, how long they take (PROTOCOL 3.2, 5)."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

import pytest

from fal_async.emulator import Emulator, Fault, RunnerSettings, asgi_model
from fal_async.errors import NotFoundError, ServerError
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, App, Gate, Given, call, echo, mount, until

pytestmark = pytest.mark.usefixtures("unheard")
UNITS = "x-fal-billable-units"


# --- what it costs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "units"),
    [
        (200, None, "3"),
        (200, "2.5", "2.5"),
        (200, "0", "0"),
        (200, "nonsense", "3"),
        (200, "-1", "3"),
        (302, None, "3"),
        (422, None, "3"),
        (422, "0", "0"),
        (422, "1", "1"),
        (499, None, "0"),
        (500, None, "0"),
        (503, "7", "0"),
    ],
)
async def test_a_call_costs_what_it_says_or_what_the_model_does_and_no_failure_of_its_own(
    status: int, said: str | None, units: str
) -> None:
    async def priced(given: Given) -> None:
        await given.answer({}, status, {} if said is None else {UNITS: said})

    async with Emulator(models=[asgi_model(ID, App(root=priced), units=3)]) as emu:
        answer = await call(emu)
    execution = next(iter(emu.ledger))
    assert (execution.units, execution.billed) == (Decimal(units), units != "0")
    shown = answer.headers.get(UNITS)
    assert (
        shown is None if (status, said) == (500, None) else Decimal(shown or "x") == Decimal(units)
    )


async def test_calls_of_the_callers_own_application_are_exempt_from_the_limit_unless_told() -> None:
    models = [
        asgi_model("me/app", App(root=echo)),
        asgi_model("you/app", App(root=echo), own=False),
    ]
    async with Emulator(models=models, limit=0) as emu:
        assert (await call(emu)).status == 200
        assert (await call(emu, model="you/app")).status == 429


# --- how it fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raises", "returns", "cancels itself", "says nonsense"])
async def test_one_that_does_not_answer_is_an_unhandled_exception_and_told_in_the_log(
    emu: Emulator, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(given: Given) -> None:
        if how == "raises":
            raise ZeroDivisionError
        if how == "cancels itself":
            raise asyncio.CancelledError
        if how == "says nonsense":
            await given.send({"type": "http.response.trailers"})

    mount(emu, root=fail)
    answer = await call(emu)
    assert (answer.status, answer.json) == (500, {"detail": "Internal Server Error"})
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "me/app" in caplog.text
    assert not next(iter(emu.ledger)).billed


async def test_one_that_leaves_its_process_is_a_runner_that_died_and_not_ours(
    emu: Emulator,
) -> None:
    async def leave(given: Given) -> None:
        raise SystemExit(3)

    mount(emu, root=leave, other=echo)
    answer = await call(emu)
    assert (answer.status, answer.headers["X-Fal-Error-Type"]) == (503, "runner_disconnected")
    assert (await call(emu, "/other")).status == 200
    assert [e.runner for e in emu.ledger] == [1, 2]


@pytest.mark.parametrize("raised", [BaseExceptionGroup("", [SystemExit()]), GeneratorExit()])
async def test_whatever_it_raises_it_has_failed_at_once(
    emu: Emulator, raised: BaseException
) -> None:
    async def fail(given: Given) -> None:
        raise raised

    mount(emu, root=fail)
    assert (await call(emu)).status == 500


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (0, {}),
        (100, {}),
        (1000, {}),
        (200, {"x-split": "in\r\ntwo"}),
        (200, {"no name:": "at all"}),
        (200, {"": "no name"}),
    ],
)
async def test_one_that_begins_its_answer_as_http_cannot_has_failed(
    emu: Emulator, status: int, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(given: Given) -> None:
        await given.answer({}, status, headers)

    mount(emu, root=fail)
    assert (await call(emu)).status == 500
    assert "ValueError" in caplog.text
    assert not next(iter(emu.ledger)).billed


async def test_an_answer_that_has_been_given_stands_whatever_it_raises_after(
    emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def late(given: Given) -> None:
        await given.answer({"detail": "Internal Server Error"}, 500)
        raise ZeroDivisionError  # as Starlette does it

    mount(emu, root=late)
    assert (await call(emu)).status == 500
    assert "ZeroDivisionError" in caplog.text


async def test_work_after_the_answer_holds_up_neither_the_caller_nor_the_runner() -> None:
    gate = Gate()

    async def more(given: Given) -> None:
        await given.answer(1)
        await gate.wait()

    app = App(root=more)
    one = RunnerSettings(count=1)
    async with Emulator(models=[asgi_model(ID, app, runners=one)]) as emu:
        assert (await call(emu)).json == 1
        assert (await call(emu)).json == 1
        await gate.reached()
        assert app.ended == []
        gate.open()
        await until(lambda: len(app.ended) >= 2)


@pytest.mark.parametrize("length", [3, 5])
async def test_a_body_of_another_length_than_it_says_is_an_incomplete_answer(
    emu: Emulator, length: int
) -> None:
    async def wrong(given: Given) -> None:
        await given.begin(200, {"content-length": 4})
        await given.add(b"a" * length, more=False)

    mount(emu, root=wrong)
    answer = await call(emu)
    assert (answer.status, answer.headers["X-Fal-Error-Type"]) == (
        502,
        "runner_incomplete_response",
    )


async def test_an_answer_is_begun_once_and_before_its_body(emu: Emulator) -> None:
    said: list[str] = []

    async def wrong(given: Given) -> None:
        try:
            await given.add(b"", more=False)
        except RuntimeError as error:
            said.append(str(error))
        await given.begin()
        try:
            await given.begin()
        except RuntimeError as error:
            said.append(str(error))
        await given.add(b"ok", more=False)
        await given.add(b"and more", more=False)  # nobody reads it

    mount(emu, root=wrong)
    assert (await call(emu)).body == b"ok"
    assert said == [
        "http.response.start comes before http.response.body",
        "the answer has begun already",
    ]


async def test_one_that_takes_too_long_is_cut_off() -> None:
    gate = Gate()

    async def slow(given: Given) -> None:
        await gate.wait()

    app = App(root=slow)
    models = [asgi_model(ID, app, request_timeout=5)]
    async with Emulator(models=models, clock="virtual") as emu:
        calling = asyncio.ensure_future(call(emu))
        await gate.reached()
        await emu.advance(4.9)
        assert not calling.done()
        await emu.advance(0.2)
        answer = await calling
    assert (answer.status, answer.headers["X-Fal-Error-Type"]) == (504, "request_timeout")
    assert app.ended == ["/"]


async def test_a_run_lasts_at_least_as_long_as_it_is_told() -> None:
    models = [asgi_model(ID, App(root=echo), run_time=2)]
    async with Emulator(models=models, clock="virtual") as emu:
        calling = asyncio.ensure_future(call(emu))
        await emu.until(lambda: len(emu.ledger) == 1)
        await emu.advance(1.9)
        assert not calling.done()
        await emu.advance(0.2)
        assert (await calling).status == 200


async def test_its_calls_wait_for_its_runners() -> None:
    gate = Gate()

    async def slow(given: Given) -> None:
        await gate.wait()
        await given.answer(1)

    settings = RunnerSettings(count=1, cold_start=10)
    models = [asgi_model(ID, App(root=slow, quick=echo), runners=settings)]
    async with Emulator(models=models, clock="virtual") as emu:
        first = asyncio.ensure_future(call(emu))
        await emu.until(lambda: emu.received == 1)
        assert len(emu.ledger) == 0
        await emu.advance(10)
        await gate.reached()
        second = asyncio.ensure_future(call(emu, "/quick"))
        await emu.until(lambda: emu.received == 2)
        assert len(emu.ledger) == 1
        gate.open()
        assert [(await first).status, (await second).status] == [200, 200]


async def test_faults_befall_its_calls_as_any_others(emu: Emulator) -> None:
    mount(emu, root=echo)
    emu.faults.add(Fault("bad_json", times=1))
    emu.faults.add(Fault("ingress_502", model=ID, times=1, ran=False))
    spoilt = await call(emu, "", {"a": 1})
    assert spoilt.status == 200
    assert spoilt.body != b'{"a": 1}'
    assert (await call(emu)).status == 502
    assert len(emu.ledger) == 1


async def test_our_client_has_its_errors_by_class(emu: Emulator) -> None:
    async def fail(given: Given) -> None:
        await given.answer({"detail": "no GPU"}, 503, {"X-Fal-Needs-Retry": "0"})

    mount(emu, fail=fail)
    async with AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(NotFoundError):
            await fal.run(f"{ID}/nothing", {})
        with pytest.raises(ServerError, match="no GPU"):
            await fal.run(f"{ID}/fail", {})


def test_what_cannot_be_called_is_no_application() -> None:
    with pytest.raises(TypeError, match="an ASGI application is callable, which str is not"):
        asgi_model(ID, "no app")
