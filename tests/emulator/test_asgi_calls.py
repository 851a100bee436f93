"""Direct calls of a mounted application: what it is told, and what its callers get (PROTOCOL 3, 5)."""

from __future__ import annotations

import asyncio
import gzip
import logging
import sys
from decimal import Decimal
from types import ModuleType
from typing import Any, ClassVar

import pytest

from fal_async.emulator import Answer, Emulator, Fault, Model, RunnerSettings, asgi_model
from fal_async.errors import NotFoundError, ServerError
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, App, Gate, Given, call, echo, mount, until

pytestmark = pytest.mark.usefixtures("unheard")
UNITS = "x-fal-billable-units"


# --- what it is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "seen", "raw"),
    [
        ("", "/", b"/"),
        ("/", "/", b"/"),
        ("/sub", "/sub", b"/sub"),
        ("/items/", "/items/", b"/items/"),
        ("/a%20b/%C3%A9:1", "/a b/é:1", b"/a%20b/%C3%A9:1"),
        ("//twice", "//twice", b"//twice"),
    ],
)
async def test_it_gets_the_path_behind_its_id_whatever_it_is(
    emu: Emulator, path: str, seen: str, raw: bytes
) -> None:
    app = mount(emu)
    answer = await call(emu, path)
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})
    scope = app.given[0].scope
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == (seen, raw, "")


async def test_it_gets_method_body_and_query_as_they_came_but_for_what_the_platform_asks_there(
    emu: Emulator,
) -> None:
    bodies: list[Any] = []

    async def keep(given: Given) -> None:
        bodies.append(await given.receive())
        await given.answer("kept")

    app = mount(emu, x=keep)
    query = "?fal_webhook=http%3A%2F%2Fx&a=1&a=%20&fal_jwt_token=t&b"
    await call(emu, f"/x{query}", b"\x00no json\xff", method="PUT")
    scope = app.given[0].scope
    assert (scope["type"], scope["method"], scope["query_string"]) == (
        "http",
        "PUT",
        b"a=1&a=%20&b",
    )
    assert bodies == [{"type": "http.request", "body": b"\x00no json\xff", "more_body": False}]
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_it_answers_to_any_method(emu: Emulator, method: str) -> None:
    app = mount(emu, root=echo)
    answer = await call(emu, method=method)
    assert (answer.status, app.given[0].scope["method"]) == (200, method)


async def test_it_gets_the_callers_headers_without_what_is_the_platforms_and_with_what_it_adds(
    emu: Emulator,
) -> None:
    app = mount(emu, sub=echo)
    answer = await call(
        emu,
        "/sub",
        {"a": 1},
        headers={
            "Authorization": "Key id:secret",
            "X-My-Own": "kept",
            "X-App-Fal-Own": "kept",
            "X-Fal-Request-Timeout": "30",
            "x-fal-request-id": "forged",
            "x-fal-caller-user-id": "forged",
            "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds":60}',
            "Connection": "close",
        },
    )
    told = app.given[0].headers
    assert told["x-fal-request-id"] == answer.headers["x-fal-request-id"] != "forged"
    assert told["x-fal-endpoint"] == "me/app/sub"
    assert len(told["x-fal-caller-user-id"]) == 32
    assert (told["x-my-own"], told["x-app-fal-own"]) == ("kept", "kept")
    assert told["x-fal-object-lifecycle-preference"] == '{"expiration_duration_seconds":60}'
    assert told["content-length"] == str(len(answer.body))
    assert not {"authorization", "connection", "x-fal-request-timeout"} & told.keys()
    assert "secret" not in str(app.given[0].scope)


@pytest.mark.parametrize(
    ("said", "body", "told"),
    [
        ("application/x-www-form-urlencoded", b'{"a":1}', "application/json"),
        ("application/x-www-form-urlencoded", b"a=1", "application/x-www-form-urlencoded"),
        ("text/plain", b'{"a":1}', "text/plain"),
    ],
)
async def test_json_that_is_said_to_be_a_form_as_curl_does_is_said_to_be_json(
    emu: Emulator, said: str, body: bytes, told: str
) -> None:
    app = mount(emu, root=echo)
    await call(emu, "", body, headers={"Content-Type": said})
    assert app.given[0].headers["content-type"] == told


async def test_a_caller_without_a_key_is_nobody(emu: Emulator) -> None:
    app = mount(emu, root=echo)
    await call(emu)
    assert "x-fal-caller-user-id" not in app.given[0].headers


async def test_a_body_that_came_compressed_is_said_to_be_what_it_is_now(emu: Emulator) -> None:
    app = mount(emu, root=echo)
    body = gzip.compress(b'{"a":1}')
    answer = await call(emu, "", body, headers={"Content-Encoding": "gzip"})
    assert answer.body == b'{"a":1}'
    assert app.given[0].headers["content-length"] == "7"
    assert "content-encoding" not in app.given[0].headers


async def test_after_the_body_it_hears_of_its_callers_end_when_the_answer_is_whole(
    emu: Emulator,
) -> None:
    heard: list[str] = []

    async def listen(given: Given) -> None:
        await given.receive()
        waiting = asyncio.ensure_future(given.receive())
        await given.answer(1)
        heard.append((await waiting)["type"])

    mount(emu, root=listen)
    await call(emu)
    await emu.until(lambda: bool(heard))
    assert heard == ["http.disconnect"]


# --- what its callers get -------------------------------------------------------------------------------


async def test_status_headers_and_body_are_its_own(emu: Emulator) -> None:
    async def image(given: Given) -> None:
        await given.answer(
            b"\x89PNG",
            201,
            {
                "content-type": "image/png",
                "x-own": "é",
                "Location": "/elsewhere",
                "connection": "close",
                "x-fal-runner-hints": "a,b",
                "x-fal-stop-runner": "0",
                "X-Fal-Needs-Retry": "1",
            },
        )

    mount(emu, root=image)
    answer = await call(emu)
    assert (answer.status, answer.body) == (201, b"\x89PNG")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["x-own"] == "é"
    assert answer.headers["Location"] == "/elsewhere"
    assert answer.headers["x-fal-runner-hints"] == "a,b"
    assert answer.headers["x-fal-request-id"]
    assert not {"x-fal-stop-runner", "X-Fal-Needs-Retry", "Connection"} & {*answer.headers}


async def test_a_header_said_twice_is_passed_on_with_both_values(emu: Emulator) -> None:
    async def twice(given: Given) -> None:
        pairs = [(b"vary", b"a"), (b"vary", b"b")]
        await given.send({"type": "http.response.start", "status": 200, "headers": pairs})
        await given.add(b"", more=False)

    mount(emu, root=twice)
    assert (await call(emu)).headers["Vary"] == "a, b"


async def test_a_redirect_is_the_callers_to_follow(emu: Emulator) -> None:
    async def away(given: Given) -> None:
        await given.answer(b"", 307, {"location": "https://fal.run/other/app"})

    mount(emu, root=away)
    answer = await call(emu)
    assert (answer.status, answer.headers["Location"]) == (307, "https://fal.run/other/app")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_has_none(emu: Emulator, status: int) -> None:
    async def nothing(given: Given) -> None:
        await given.begin(status)
        await given.add(b"", more=False)

    mount(emu, root=nothing)
    answer = await call(emu)
    assert (answer.status, answer.body) == (status, b"")


async def test_more_headers_than_the_platform_takes_fail_the_answer(emu: Emulator) -> None:
    async def much(given: Given) -> None:
        await given.answer(1, headers={"x-long": "a" * 16_400})

    mount(emu, root=much)
    answer = await call(emu)
    assert (answer.status, answer.headers["X-Fal-Error-Type"]) == (500, "runner_server_error")


async def test_its_callers_find_it_beside_other_models(emu: Emulator) -> None:
    mount(emu, root=echo)
    emu.register(Model(id=f"{ID}/own", function=lambda _: Answer(body=b"the model's")))
    assert (await call(emu, "/own")).body == b"the model's"
    assert (await call(emu, "/own/")).body == b"the model's"
    assert (await call(emu, "/own/more")).status == 404
    assert (await call(emu, "", {"a": 1})).json == {"a": 1}


async def test_who_may_call_it_is_the_platforms_to_say() -> None:
    private, public = App(root=echo), App(root=echo)
    models = [asgi_model("me/app", private), asgi_model("me/public", public, public=True)]
    async with Emulator(keys={"id:secret"}, models=models) as emu:
        assert (await call(emu)).status == 401
        assert (await call(emu, headers={"Authorization": "Key id:secret"})).status == 200
        assert (await call(emu, model="me/public")).status == 200
    assert len(private.given) == 1


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


# --- fal's framework, as far as it is known without it ----------------------------------------------------


class _Served:
    """What a subclass of fal.App looks like to a server (``test_asgi_fal`` has real ones)."""

    host_kwargs: ClassVar = {
        "request_timeout": 600,
        "max_concurrency": 2,
        "max_multiplexing": 4,
        "keep_alive": 60,
    }
    app_auth = "public"

    def __init__(self, *, _allow_init: bool = False) -> None:
        assert _allow_init

    def _build_app(self) -> App:
        return App(root=echo)


async def test_a_class_of_fals_framework_is_built_and_keeps_its_own_limits() -> None:
    model = asgi_model(ID, _Served)
    assert (model.request_timeout, model.public) == (600.0, True)
    assert model.runners == RunnerSettings(count=8)
    async with Emulator(models=[model], keys={"id:secret"}) as emu:
        assert (await call(emu, "", {"a": 1})).json == {"a": 1}
    told = asgi_model(ID, _Served(_allow_init=True), request_timeout=5, public=False)
    assert (told.request_timeout, told.public) == (5, False)


async def test_the_one_that_is_served_is_fals_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[object] = []
    ref = ModuleType("fal.ref")
    vars(ref).update(
        set_current_app=current.append, get_current_app=lambda: current[0] if current else None
    )
    monkeypatch.setitem(sys.modules, "fal.ref", ref)
    for _ in range(2):
        asgi_model(ID, _Served)
    assert [type(each) for each in current] == [_Served], "and no other after it"
