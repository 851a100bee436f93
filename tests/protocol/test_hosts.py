"""Where the services live, and who may be given the key."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.hosts import Hosts, backup_url, hosts_from_environment, is_loopback

FAL = Hosts()
LOCAL = Hosts.local("http://127.0.0.1:8000")


def test_by_default_every_service_is_where_fal_has_it() -> None:
    assert attrs.asdict(FAL) == {
        "run": "https://fal.run",
        "queue": "https://queue.fal.run",
        "ws": "wss://ws.fal.run",
        "realtime": "wss://fal.run",
        "rest": "https://rest.fal.ai",
        "cdn": "https://v3.fal.media",
        "api": "https://api.fal.ai",
    }


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "HTTP://127.0.0.1:8000//"]
)
def test_a_local_server_has_every_service_under_its_own_prefix(url: str) -> None:
    assert attrs.asdict(Hosts.local(url)) == {
        "run": "http://127.0.0.1:8000/fal.run",
        "queue": "http://127.0.0.1:8000/queue.fal.run",
        "ws": "ws://127.0.0.1:8000/ws.fal.run",
        "realtime": "ws://127.0.0.1:8000/fal.run",
        "rest": "http://127.0.0.1:8000/rest.fal.ai",
        "cdn": "http://127.0.0.1:8000/v3.fal.media",
        "api": "http://127.0.0.1:8000/api.fal.ai",
    }


def test_a_local_server_over_tls_has_its_sockets_over_tls_too() -> None:
    hosts = Hosts.local("https://localhost:9/http")
    assert (hosts.run, hosts.ws) == (
        "https://localhost:9/http/fal.run",
        "wss://localhost:9/http/ws.fal.run",
    )


# --- what is no base URL ----------------------------------------------------------------------------

NO_HTTP_URL = [
    "",
    "fal.run",
    "//fal.run",
    "https://",
    "https:///path",
    "httpx://fal.run",
    "ftp://fal.run",
    "ws://fal.run",
    "wss://fal.run",
    "https://fal.run:0",
    "https://fal.run:99999",
    "https://fal.run:port",
    "https://[::1",
    "https://user@fal.run",
    "https://user:word@fal.run",
    "https://@fal.run",
    "https://fal.run?",
    "https://fal.run?a=b",
    "https://fal.run#",
    "https://fal.run#a",
    "https://fal .run",
    " https://fal.run",
    "https://fal.run/a b",
    "https://fal\n.run",
    "https://fal.run\t",
    "https://fal.run\\a",
    "https://fal.run/../a",
    "https://fal.run/%2E%2e/a",
]


@pytest.mark.parametrize("url", NO_HTTP_URL)
def test_what_is_no_base_url_is_a_bad_argument_that_is_named(url: str) -> None:
    with pytest.raises(InputError, match=r"Hosts\.run"):
        Hosts(run=url)
    with pytest.raises(InputError, match="the URL of an emulator"):
        Hosts.local(url)
    if url:
        with pytest.raises(InputError, match="FAL_EMULATOR_URL"):
            hosts_from_environment({"FAL_EMULATOR_URL": url})


@pytest.mark.parametrize("url", [None, 5, b"https://fal.run", yarl.URL("https://fal.run")])
def test_only_text_is_a_base_url(url: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(url).__name__}"):
        Hosts(queue=url)
    with pytest.raises(InputError, match=f"not {type(url).__name__}"):
        Hosts.local(url)


def test_each_service_speaks_its_own_kind_of_scheme() -> None:
    for name in ("run", "queue", "rest", "cdn", "api"):
        with pytest.raises(InputError, match=rf"Hosts\.{name} needs a scheme \(http or https\)"):
            Hosts(**{name: "wss://fal.run"})
    for name in ("ws", "realtime"):
        with pytest.raises(InputError, match=rf"Hosts\.{name} needs a scheme \(ws or wss\)"):
            Hosts(**{name: "https://fal.run"})


def test_a_secret_given_for_a_port_is_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        Hosts(run="https://id:secret")
    assert "secret" not in str(caught.value)


def test_a_slash_at_the_end_of_a_base_url_goes() -> None:
    assert Hosts(run="HTTPS://example.com/a//").run == "https://example.com/a"


# --- who may be given the key -----------------------------------------------------------------------

TRUSTED = [
    "https://fal.run",
    "https://fal.run/",
    "https://fal.run/fal-ai/flux/dev",
    "https://fal.run:443/x",
    "https://FAL.run/x",
    "HTTPS://fal.run/x",
    "https://fal.run/x?a=@evil.com",
    "https://fal.run/x#@evil.com",
    "wss://fal.run/x/realtime",
    "https://fal.run/a..b/../c",
    "https://queue.fal.run/x",
    "wss://queue.fal.run/x",
    "wss://ws.fal.run/x",
    "https://ws.fal.run/x",
    "https://rest.fal.ai/tokens/",
    "https://api.fal.ai/v1/models",
    "https://falrun.com/x",
    "https://queue.falrun.com/x",
]
STRANGE = [
    "",
    "fal.run/x",
    "//fal.run/x",
    "https:fal.run",
    "https:///fal.run",
    "http://fal.run/x",
    "ws://fal.run/x",
    "ftp://fal.run/x",
    "https://evilfal.run/x",
    "https://fal.run.evil.com/x",
    "https://evil.fal.run/x",
    "https://fal.runx/x",
    "https://falrun/x",
    "https://evilfalrun.com/x",
    "https://fal.run./x",
    "https://fal.run@evil.com/x",
    "https://fal.run:443@evil.com/x",
    "https://user@fal.run/x",
    "https://user:word@fal.run/x",
    "https://@fal.run/x",
    "https://evil.com/https://fal.run",
    "https://evil.com?https://fal.run",
    "https://evil.com#https://fal.run",
    "https://evil.com\\@fal.run/x",
    "https://fal.run\\@evil.com/x",
    "https://fal.run\\x",
    "https://fal.run%2eevil.com/x",
    "https://fal.run%00.evil.com",
    "https://fal.run:80/x",
    "https://fal.run:444/x",
    "https://fal.run:0/x",
    "https://fal.run:99999/x",
    "https://fal.run:x/x",
    "https://fal.run:٤٤٣/x",
    "https://[fal.run/x",
    "https://fаl.run/x",  # its a is Cyrillic
    "https://fal。run/x",
    " https://fal.run/x",
    "https://fal.run\t/x",
    "https://fal.run\n.evil.com/x",
    "https://fal.run/x y",
    "https://v3.fal.media/files/x",
    "https://rest.alpha.fal.ai/x",
    "https://127.0.0.1/fal.run",
]


@pytest.mark.parametrize("url", TRUSTED)
def test_fals_own_origins_may_be_given_the_key(url: str) -> None:
    assert FAL.trusts(url)


@pytest.mark.parametrize("url", STRANGE)
def test_nobody_else_may(url: str) -> None:
    assert not FAL.trusts(url)


@pytest.mark.parametrize(
    ("path", "trusted"),
    [
        ("/fal.run", True),
        ("/fal.run/", True),
        ("/fal.run/fal-ai/flux", True),
        ("/fal.run/a.b/v1.0", True),
        ("/fal.run/x?to=../..", True),
        ("/queue.fal.run/x", True),
        ("/ws.fal.run/x", True),
        ("/rest.fal.ai/tokens/", True),
        ("/api.fal.ai/v1", True),
        ("", False),
        ("/", False),
        ("/fal.runx", False),
        ("/fal.run.evil/x", False),
        ("//fal.run/x", False),
        ("/x/fal.run", False),
        ("/FAL.RUN/x", False),
        ("/v3.fal.media/files/x", False),
        ("/fal.run/../v3.fal.media", False),
        ("/fal.run/x/..", False),
        ("/fal.run/%2e%2e/v3.fal.media", False),
        ("/fal.run/%2E./v3.fal.media", False),
        ("/fal.run/.%2e/v3.fal.media", False),
        ("/fal.run/%252e%252e/v3.fal.media", False),
        ("/fal.run/..%2fv3.fal.media", False),
        ("/fal.run/..;/v3.fal.media", False),
        ("/fal.run/..\\v3.fal.media", False),
    ],
)
def test_on_a_shared_origin_only_what_lies_under_the_services_prefix_may(
    path: str, trusted: bool
) -> None:
    assert LOCAL.trusts(f"http://127.0.0.1:8000{path}") is trusted
    assert LOCAL.trusts(f"ws://127.0.0.1:8000{path}") is trusted
    assert not LOCAL.trusts(f"http://127.0.0.1:8001{path}")
    assert not LOCAL.trusts(f"http://localhost:8000{path}")
    assert not LOCAL.trusts(f"https://127.0.0.1:8000{path}")


def test_the_usual_port_may_be_named_or_not() -> None:
    assert Hosts.local("http://localhost").trusts("http://localhost:80/fal.run/x")
    assert Hosts.local("http://localhost:80").trusts("ws://localhost/fal.run/x")
    assert not Hosts.local("http://localhost:80").trusts("http://localhost:443/fal.run/x")


def test_whoever_sets_hosts_of_their_own_trusts_those_and_no_longer_fals() -> None:
    own = Hosts(run="https://gate.example.com/fal", realtime="wss://gate.example.com/fal")
    assert own.trusts("https://gate.example.com/fal/x")
    assert own.trusts("wss://gate.example.com/fal/x")
    assert not own.trusts("https://gate.example.com/x")
    assert not own.trusts("https://fal.run/x")
    assert not own.trusts("https://falrun.com/x")
    assert own.trusts("https://queue.fal.run/x")


SIGNS = "https: http: wss: / // \\ @ : 443 80 ? # %2e .. . [ ] ; \u3002"
NAMES = "fal.run falrun.com queue.fal.run FAL.RUN evil.com fal run"
PIECES = st.sampled_from([*SIGNS.split(), *NAMES.split(), " ", "\t"])
ORIGINS = {yarl.URL(url).with_scheme("https").origin() for url in TRUSTED}


@given(st.lists(PIECES, max_size=10).map("".join).map(lambda rest: f"https://fal.run{rest}"))
@example("https://fal.run\\@evil.com")
def test_a_trusted_url_leads_to_fal_by_the_reading_of_the_http_library_too(url: str) -> None:
    if FAL.trusts(url):
        read = yarl.URL(url)
        assert read.with_scheme("https").origin() in ORIGINS
        assert not read.user


@given(st.text(max_size=40) | st.lists(PIECES, max_size=12).map("".join))
def test_no_text_makes_the_questions_fail(text: str) -> None:
    assert FAL.trusts(text) in {True, False}
    assert is_loopback(text) in {True, False}


# --- plain http -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8000", True),
        ("http://LOCALHOST", True),
        ("http://127.0.0.1", True),
        ("ws://127.5.5.5:1/x", True),
        ("http://[::1]:80", True),
        ("http://localhost.evil.com", False),
        ("http://localhost@evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://128.0.0.1", False),
        ("http://[::2]", False),
        ("http://[::1", False),
        ("https://fal.run", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_names_and_addresses(url: str, here: bool) -> None:
    assert is_loopback(url) is here


def test_plain_schemes_beyond_this_machine_are_insecure() -> None:
    assert FAL.insecure() == ()
    assert LOCAL.insecure() == ()
    hosts = Hosts(run="http://fal.run", ws="ws://127.0.0.1", realtime="WS://fal.run")
    assert hosts.insecure() == ("http://fal.run", "ws://fal.run")


def test_hosts_are_local_only_if_every_service_is() -> None:
    assert LOCAL.is_local
    assert not FAL.is_local
    for field in attrs.fields(Hosts):
        assert not attrs.evolve(LOCAL, **{field.name: getattr(FAL, field.name)}).is_local


# --- the backup domains -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "backup"),
    [
        ("https://fal.run", "https://falrun.com"),
        ("https://fal.run/fal-ai/flux?a=b", "https://falrun.com/fal-ai/flux?a=b"),
        ("https://FAL.RUN:443/x", "https://falrun.com/x"),
        ("https://queue.fal.run/x/requests/1", "https://queue.falrun.com/x/requests/1"),
        ("http://fal.run/x", None),
        ("wss://fal.run/x", None),
        ("https://fal.run:444/x", None),
        ("https://ws.fal.run/x", None),
        ("https://rest.fal.ai/x", None),
        ("https://v3.fal.media/x", None),
        ("https://falrun.com/x", None),
        ("https://evilfal.run/x", None),
        ("http://127.0.0.1:8000/fal.run/x", None),
        ("", None),
    ],
)
def test_only_fals_two_hosts_have_a_backup_domain(url: str, backup: str | None) -> None:
    assert backup_url(url) == backup


# --- the environment --------------------------------------------------------------------------------


def test_an_empty_environment_means_fals_own_hosts() -> None:
    assert hosts_from_environment({}) == FAL
    empty = dict.fromkeys(("FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST", "FAL_EMULATOR_URL"), "")
    assert hosts_from_environment(empty) == FAL


def test_the_run_host_moves_the_queue_and_the_sockets_along() -> None:
    assert hosts_from_environment({"FAL_RUN_HOST": "run.example.com:8443"}) == Hosts(
        run="https://run.example.com:8443",
        realtime="wss://run.example.com:8443",
        queue="https://queue.run.example.com:8443",
    )


def test_the_queue_host_moves_the_queue_alone_and_wins() -> None:
    moved = Hosts(queue="https://q.example.com")
    assert hosts_from_environment({"FAL_QUEUE_RUN_HOST": "q.example.com"}) == moved
    both = {"FAL_RUN_HOST": "fal.run", "FAL_QUEUE_RUN_HOST": "q.example.com"}
    assert hosts_from_environment(both) == moved


def test_an_emulator_in_the_environment_wins_over_the_rest() -> None:
    environ = {"FAL_EMULATOR_URL": "http://127.0.0.1:8000", "FAL_RUN_HOST": "example.com"}
    assert hosts_from_environment(environ) == LOCAL


@pytest.mark.parametrize("name", ["FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST"])
@pytest.mark.parametrize(
    "host",
    ["https://fal.run", "fal.run/x", "id@fal.run", "fal.run ", "fal\\run", "a?b", "a#b", " "],
)
def test_a_host_in_the_environment_is_a_bare_name(name: str, host: str) -> None:
    with pytest.raises(InputError, match=f"{name} is a host name"):
        hosts_from_environment({name: host})


def test_a_host_in_the_environment_with_a_bad_port_is_a_bad_argument() -> None:
    with pytest.raises(InputError, match="port"):
        hosts_from_environment({"FAL_RUN_HOST": "fal.run:x"})
