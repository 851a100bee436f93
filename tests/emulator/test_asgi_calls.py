"""Direct calls of a mounted application: what it is told, and what its callers get (PROTOCOL 3, 5)."""

from __future__ import annotations

import asyncio
import gzip
import sys
from types import ModuleType
from typing import Any, ClassVar

import pytest

from fal_async.emulator import Answer, Emulator, Model, RunnerSettings, asgi_model
from tests.emulator.asgi_apps import ID, App, Given, call, echo, mount

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


@pytest.mark.parametrize("how", ["whole", "streamed", "distorted", "over the wire"])
async def test_each_cookie_that_it_sets_has_a_header_of_its_own(how: str, emu: Emulator) -> None:
    async def two(given: Given) -> None:
        pairs = [(b"set-cookie", b"a=1; Expires=Thu, 01 Jan 2037 00:00:00 GMT")]
        pairs.append((b"Set-Cookie", b"b=2"))
        await given.send({"type": "http.response.start", "status": 200, "headers": pairs})
        await given.add(b"{", more=True)
        await given.add(b"}", more=False)

    mount(emu, root=two, stream=two)
    if how in {"distorted", "over the wire"}:
        emu.faults.add("wrong_content_type" if how == "distorted" else "slow", seconds=0)
    answer = await call(emu, "/stream" if how == "streamed" else "")
    cookies = [value for name, value in answer.headers.items() if name.lower() == "set-cookie"]
    assert cookies == ["a=1; Expires=Thu, 01 Jan 2037 00:00:00 GMT", "b=2"]


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


async def test_where_another_model_has_taken_its_place_no_path_is_its_own(emu: Emulator) -> None:
    other = Model(id=ID, function=lambda _: 1)
    async with Emulator(models=[other]) as usual:
        expected = await call(usual, "/some:path")
    mount(emu, root=echo)
    emu.register(other)
    answer = await call(emu, "/some:path")
    assert (answer.status, answer.json) == (expected.status, expected.json)


async def test_who_may_call_it_is_the_platforms_to_say() -> None:
    private, public = App(root=echo), App(root=echo)
    models = [asgi_model("me/app", private), asgi_model("me/public", public, public=True)]
    async with Emulator(keys={"id:secret"}, models=models) as emu:
        assert (await call(emu)).status == 401
        assert (await call(emu, headers={"Authorization": "Key id:secret"})).status == 200
        assert (await call(emu, model="me/public")).status == 200
    assert len(private.given) == 1


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
