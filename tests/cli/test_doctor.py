from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fal_async.cli.checks import (
    Target,
    check_clock,
    check_emulator,
    check_key,
    check_limit,
    check_proxy,
    check_reached,
    check_setting,
    targets,
)
from fal_async.cli.probing import Probe, probe, skew_of
from fal_async.emulator import Emulator
from fal_async.protocol.hosts import Hosts
from fal_async.transport.proxies import ProxyRouter
from tests.cli.conftest import Shell
from tests.support.scripted_server import Script, answer, message, say_and

KEY_ID, SECRET = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "5ecret5ecret5ecret"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DIRECT = ProxyRouter(None)


def test_all_is_well_before_an_emulator(shell: Shell, emulator: Emulator) -> None:
    emulator.limit = 5
    result = shell.run("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "failed" not in result.stdout
    assert "on this machine none is needed" in result.stdout
    assert "limit     5 calls at once" in result.stdout
    assert "clock     right to within 2 s" in result.stdout
    assert emulator.received == 0  # it made no call


def test_an_emulator_that_is_not_running_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_EMULATOR_URL", "http://127.0.0.1:1")
    result = shell.run("doctor")
    assert result.exit_code == 5
    assert "Start one with: fal-async emulator" in result.stdout


def test_a_machine_without_a_network_gets_every_line_and_no_traceback(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that is not there keeps it from leaving this machine.
    monkeypatch.setenv("https_proxy", "http://user:pass@127.0.0.1:1")
    monkeypatch.setenv("FAL_KEY", f"{KEY_ID}:{SECRET}")
    result = shell.run("doctor")
    assert result.exit_code == 5
    subjects = [line.split()[1] for line in result.stdout.splitlines() if line[:1].strip()]
    assert subjects == [
        *("versions", "setting", "key", "proxy"),
        *("calls", "backup", "queue", "rest", "files", "clock", "limit"),
    ]
    assert "no connection to the proxy" in result.stdout
    assert "http://127.0.0.1:1 (with credentials)" in result.stdout
    assert not any(secret in result.stdout for secret in (SECRET, KEY_ID, "pass@"))


@pytest.mark.parametrize(
    ("name", "value", "status", "says"),
    [
        ("FAL_RUN_HOST", "https://fal.run", 2, "is a host name"),
        ("FAL_EMULATOR_URL", "nonsense", 2, "needs a scheme"),
        ("FAL_EMULATOR_URL", "http://192.0.2.1:1", 2, "travel readable"),
        ("https_proxy", "socks5://127.0.0.1:1", 2, "proxy for https is a URL such as"),
    ],
)
def test_a_bad_setting_is_told(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    status: int,
    says: str,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("FAL_KEY", f"{KEY_ID}:{SECRET}")
    monkeypatch.setenv(name, value)
    result = shell.run("doctor")
    assert result.exit_code == status
    assert says in result.stdout


@pytest.mark.parametrize(
    ("environ", "status", "text"),
    [
        ({"FAL_KEY": f"{KEY_ID}:{SECRET}"}, "ok", "FAL_KEY, its id begins with 0f1e ("),
        (
            {"FAL_KEY_ID": KEY_ID, "FAL_KEY_SECRET": SECRET},
            "ok",
            "FAL_KEY_ID and FAL_KEY_SECRET, its id begins with 0f1e (",
        ),
        (
            {"FAL_KEY": f"{KEY_ID}:{SECRET}", "FAL_KEY_ID": "x"},
            "ok",
            "FAL_KEY (which wins over FAL_KEY_ID and FAL_KEY_SECRET), its",
        ),
        ({"FAL_KEY": "short:secret"}, "ok", "FAL_KEY (not tried"),
        ({"FAL_KEY": SECRET}, "odd", "FAL_KEY, but not id:secret"),
        ({"FAL_KEY": f"{KEY_ID}:{SECRET}\n"}, "failed", "control character"),
        ({"FAL_KEY_ID": KEY_ID}, "failed", "only FAL_KEY_ID of the two is set"),
        ({}, "failed", "none in the environment"),
    ],
    ids=["key", "pair", "both", "short", "no id", "newline", "half", "none"],
)
def test_the_key_is_told_by_its_place_and_never_shown(
    environ: dict[str, str], status: str, text: str
) -> None:
    finding = check_key(environ, needed=True)
    assert finding.status == status
    assert text in finding.text
    said = finding.text + finding.advice
    assert SECRET not in said
    assert KEY_ID not in said
    assert (finding.exit == 0) is (status != "failed")


def test_no_key_is_needed_on_this_machine() -> None:
    assert check_key({}, needed=False).status == "ok"


def test_settings_are_named() -> None:
    assert check_setting({}, Hosts()).text == "fal's own hosts"
    finding = check_setting({"FAL_RUN_HOST": "fal.example"}, Hosts(run="https://fal.example"))
    assert finding.text == "FAL_RUN_HOST=fal.example"


def test_a_proxy_is_shown_without_its_password() -> None:
    assert check_proxy(None).text == "none"
    assert check_proxy("http://proxy.test").text == "http://proxy.test"
    text = check_proxy("http://user:pass@proxy.test:3128").text
    assert text == "http://proxy.test:3128 (with credentials)"


def test_calls_and_their_backup_are_what_is_needed() -> None:
    asked = list(targets(Hosts()))
    assert [t.url for t in asked if t.needed] == ["https://fal.run/", "https://falrun.com/"]
    assert [t.name for t in asked if not t.needed] == ["queue", "rest", "files"]
    assert len([t for t in targets(Hosts(run="https://own.test")) if t.needed]) == 1


def test_one_of_two_ways_is_enough() -> None:
    target = Target(name="calls", url="https://fal.run/", needed=True)
    broken = Probe(url=target.url, problem="the host's name does not resolve")
    assert check_reached(target, broken, stands_in=True).status == "odd"
    finding = check_reached(target, broken, stands_in=False)
    assert (finding.status, finding.exit) == ("failed", 5)
    other = Target(name="queue", url="https://queue.fal.run/")
    assert check_reached(other, broken, stands_in=False).status == "odd"


def test_how_long_each_step_took_is_told() -> None:
    target = Target(name="calls", url="https://fal.run/", needed=True)
    there = Probe(url=target.url, resolved=0.01, connected=0.05, answered=0.1, status=404)
    finding = check_reached(target, there, stands_in=True)
    text = "fal.run answers 404 (name 10 ms, connection 50 ms, answer 100 ms)"
    assert (finding.status, finding.text) == ("ok", text)


@pytest.mark.parametrize(
    ("skews", "status", "text"),
    [
        ([None], "odd", "nothing to compare it with"),
        ([400.0, 1.5, None], "ok", "right to within 2 s"),
        ([-20.0], "ok", "20 s behind"),
        ([60.0], "odd", "60 s ahead"),
        ([-400.0], "odd", "400 s behind"),
    ],
)
def test_the_clock_is_compared(skews: list[float | None], status: str, text: str) -> None:
    finding = check_clock([Probe(url="", skew=skew) for skew in skews])
    assert (finding.status, finding.text) == (status, text)


def test_a_date_header_tells_the_skew() -> None:
    header = format_datetime(NOW, usegmt=True)
    assert skew_of(header, NOW + timedelta(seconds=90.5)) == 90
    assert skew_of("yesterday", NOW) is None
    assert skew_of("Fri, 20 Nov 2026 12:00:00 -0000", NOW) is None
    assert skew_of(None, NOW) is None


def test_the_limit_is_known_of_an_emulator_only() -> None:
    assert "learned while calls are made" in check_limit(None).text
    assert check_limit(Probe(url="", facts={"limit": None})).text == "none"
    assert check_limit(Probe(url="", facts={"limit": 8})).text == "8 calls at once"


async def test_a_probe_carries_no_key_and_follows_nothing() -> None:
    elsewhere = answer(302, headers={"Location": "http://stranger.invalid/"})
    async with Script(elsewhere) as server:
        found = await probe(f"{server.url}/", DIRECT)
        (request,) = server.requests
    assert (found.status, found.problem) == (302, None)
    assert request.line == "GET / HTTP/1.1"
    assert "authorization" not in request.headers


async def test_something_else_at_the_emulators_address_is_told() -> None:
    async with Script(answer(200, ["a list"])) as server:
        found = await probe(f"{server.url}/", DIRECT)
    assert "does not say that it is an emulator" in check_emulator(found).text


@pytest.mark.parametrize(
    ("said", "facts"), [(b"<html>", None), (b'{"a": ' + b" " * 200_000 + b"1}", None)]
)
async def test_a_page_of_any_kind_and_size_is_an_answer(said: bytes, facts: object) -> None:
    async with Script(say_and(message(body=said), "finish")) as server:
        found = await probe(f"{server.url}/", DIRECT)
    assert (found.status, found.problem, found.facts) == (200, None, facts)


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (say_and(b"nonsense\r\n\r\n", "finish"), "what came back is not HTTP"),
        (say_and(b"", "finish"), "the server closed the connection without an answer"),
    ],
    ids=["no http", "closed"],
)
async def test_a_host_that_gives_no_answer_is_a_problem(act: object, problem: str) -> None:
    async with Script(act) as server:  # type: ignore[arg-type]
        found = await probe(f"{server.url}/", DIRECT)
    assert found.status is None
    assert found.problem is not None


async def test_a_port_where_nobody_listens_is_a_problem() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        found = await probe(f"http://127.0.0.1:{bound.getsockname()[1]}/", DIRECT)
    assert (found.problem or "").startswith("no connection to the host")
