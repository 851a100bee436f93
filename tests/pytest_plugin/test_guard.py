"""No test calls fal by accident, and none is hindered in calling anybody else."""

from __future__ import annotations

import socket
import sys

import pytest

from fal_async.pytest_plugin.guard import Guard, is_fal
from fal_async.pytest_plugin.state import GUARD
from tests.pytest_plugin.conftest import Run

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    "host",
    [
        "fal.run",
        "queue.fal.run",
        "FAL.run.",
        b"rest.fal.ai",
        "fal.ai",
        "v3b.fal.media",
        "falrun.com",
        "queue.falrun.com",
        "a.b.fal.run",
    ],
)
def test_these_are_fals(host: str | bytes) -> None:
    assert is_fal(host)


@pytest.mark.parametrize(
    "host", ["", None, 5, "localhost", "127.0.0.1", "::1", "run", "notfal.run", "fal.run.example"]
)
def test_these_are_not(host: object) -> None:
    assert not is_fal(host)


@pytest.fixture
def unguarded(request: pytest.FixtureRequest) -> None:
    """Without the guard of this very test, where the plugin is loaded: it would be met as well."""
    guard = request.config.stash.get(GUARD, None)
    if guard is not None:
        guard.leave()


def test_every_way_to_fal_fails_the_test_with_a_sentence(run: Run) -> None:
    done = run(
        """
        import asyncio, socket, urllib.request
        import pytest
        from fal_async import AsyncFal

        ways = {
            "a": lambda: socket.getaddrinfo("queue.fal.run", 443),
            "b": lambda: socket.getaddrinfo(host=b"queue.fal.run", port=443),
            "c": lambda: socket.gethostbyname("v3.fal.media"),
            "d": lambda: socket.gethostbyname_ex("rest.fal.ai"),
            "e": lambda: socket.create_connection(("fal.run", 443)),
            "f": lambda: urllib.request.urlopen("https://falrun.com/"),
        }

        @pytest.mark.parametrize("way", list(ways))
        def test_way(way):
            ways[way]()

        @pytest.mark.parametrize("method", ["connect", "connect_ex"])
        def test_raw(method):
            with socket.socket() as raw:
                getattr(raw, method)(("fal.run", 443))

        async def test_client():
            async with AsyncFal(key="id:secret") as fal:
                await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})
        """
    )
    done.assert_outcomes(failed=9)
    sentence = (
        "*Failed: this test would have called fal itself (queue.fal.run), which is billed."
        " Use the fixture fal_emulator, which an AsyncFal finds that is made within the test, not before;"
        " or allow it with @pytest.mark.fal(allow_network=True)*"
    )
    done.stdout.fnmatch_lines([sentence])


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("early", [True, False])
def test_who_resolves_names_by_aiodns_as_aiohttp_does_where_it_is_fails_too(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    monkeypatch.delitem(sys.modules, "aiodns", raising=False)
    pytester.makepyfile(
        aiodns="""
        class DNSResolver:
            async def getaddrinfo(self, host, **more):
                return host

            def query(self, host, kind):
                return host
        """
    )
    done = run(
        f"""
        import sys
        import pytest

        if {early}:
            import aiodns

        @pytest.mark.parametrize("host", ["fal.run", "example.org"])
        async def test_lookup(host):
            from aiodns import DNSResolver
            assert await DNSResolver().getaddrinfo(host=host, port=443) == host

        def test_query():
            from aiodns import DNSResolver
            DNSResolver().query("queue.fal.run", "A")

        @pytest.mark.fal(allow_network=True)
        def test_allowed():
            from aiodns import DNSResolver
            assert DNSResolver().query("queue.fal.run", "A") == "queue.fal.run"
            assert not [finder for finder in sys.meta_path if "fal_async" in type(finder).__module__]
        """
    )
    done.assert_outcomes(failed=2, passed=2)


def test_code_that_swallows_the_failure_does_not_save_the_test(run: Run) -> None:
    done = run(
        """
        import socket
        import pytest

        def swallow():
            try:
                socket.gethostbyname("fal.run")
            except BaseException:
                pass

        def test_call():
            swallow()

        @pytest.fixture
        def early():
            swallow()

        @pytest.fixture
        def late():
            yield
            swallow()

        def test_setup(early):
            pass

        def test_teardown(late):
            pass
        """
    )
    done.assert_outcomes(failed=1, passed=1, errors=2)


REAL = """
import socket
import pytest

def test_it():
    with pytest.raises(OSError):  # it is asked for, and is not there
        socket.getaddrinfo("fal.run", -5)
"""


def test_a_marker_or_the_configuration_allows_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*_: object) -> None:
        raise OSError("asked for")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    run(REAL).assert_outcomes(failed=1)
    run(REAL, "-o", "fal_allow_network=true").assert_outcomes(passed=1)
    marked = REAL.replace("def test_it", "@pytest.mark.fal(allow_network=True)\ndef test_it")
    run(marked).assert_outcomes(passed=1)


def test_other_hosts_are_left_alone_and_nothing_stays_behind(run: Run) -> None:
    before = socket.getaddrinfo, vars(socket.socket).get("connect")
    done = run(
        """
        import socket

        def test_it():
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(("localhost", server.getsockname()[1])).close()
        """
    )
    done.assert_outcomes(passed=1)
    assert (socket.getaddrinfo, vars(socket.socket).get("connect")) == before


def test_what_somebody_puts_over_it_stays_and_is_not_hindered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostbyname", lambda host: f"found {host}")
    guard = Guard()
    guard.enter()
    inner = socket.gethostbyname

    def over(host: str) -> str:
        return inner(host)

    monkeypatch.setattr(socket, "gethostbyname", over)
    guard.leave()
    assert socket.gethostbyname("fal.run") == "found fal.run"
    assert guard.met == []
