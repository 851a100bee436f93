"""What ``fal-async doctor`` looks at, and what it makes of it. The environment is handed in.

Nothing here prints, and no finding holds a key or a proxy's password.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal
from urllib.parse import urlsplit

import attrs

from fal_async._version import VERSION
from fal_async.cli.exits import Exit
from fal_async.cli.probing import Probe
from fal_async.errors import FalError
from fal_async.protocol import wire
from fal_async.protocol.auth import key_from_environment
from fal_async.protocol.hosts import Hosts, backup_url

__all__ = [
    "Finding",
    "Target",
    "check_clock",
    "check_emulator",
    "check_key",
    "check_limit",
    "check_proxy",
    "check_reached",
    "check_setting",
    "check_versions",
    "targets",
]

#: Beyond it, signatures of webhooks are refused (PROTOCOL 7); certificates may be, much later.
_SKEW_BAD: Final = 300.0
_SKEW_ODD: Final = 30.0


@attrs.frozen(kw_only=True)
class Finding:
    """One line: what was looked at, what was found, what to do about it.

    :param status: "failed" is what keeps a call from working; "odd" is not.
    :param exit: what the process ends with because of it.
    """

    subject: str
    text: str
    status: Literal["ok", "odd", "failed"] = "ok"
    advice: str = ""
    exit: Exit = Exit.OK


def check_versions() -> Finding:
    """What is installed."""
    found = [f"fal-async {VERSION}", f"Python {platform.python_version()} on {platform.system()}"]
    for name in ("aiohttp", "attrs", "cattrs", "msgspec"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # imported from somewhere else than an installation
            found.append(f"{name} of unknown version")
    return Finding(subject="versions", text=", ".join(found))


def check_key(environ: Mapping[str, str], *, needed: bool) -> Finding:
    """Whether there is a key and where; of the key itself, four characters of its public half at most."""
    try:
        key = key_from_environment(environ)
    except FalError as error:
        advice = "Set it again, without quotes, spaces or a line break inside."
        return _failed("key", error.what, advice, Exit.USAGE)  # as a call would end
    if key is None:
        return _no_key(environ, needed=needed)
    if environ.get(wire.ENV_KEY):
        where = wire.ENV_KEY
        if environ.get(wire.ENV_KEY_ID) or environ.get(wire.ENV_KEY_SECRET):
            where += f" (which wins over {wire.ENV_KEY_ID} and {wire.ENV_KEY_SECRET})"
    else:
        where = f"{wire.ENV_KEY_ID} and {wire.ENV_KEY_SECRET}"
    key_id, colon, secret = key.partition(":")
    if not colon or not key_id or not secret:
        advice = "fal's keys are id:secret; it will refuse this one (401) unless that has changed."
        return Finding(
            subject="key", text=f"{where}, but not id:secret", status="odd", advice=advice
        )
    # Ids are UUIDs: of one, the beginning tells a person which it is. Of anything shorter, nothing is shown.
    shown = f", its id begins with {key_id[:4]}" if len(key_id) >= 16 else ""
    return Finding(subject="key", text=f"{where}{shown} (not tried: only a call would)")


def _no_key(environ: Mapping[str, str], *, needed: bool) -> Finding:
    half = [n for n in (wire.ENV_KEY_ID, wire.ENV_KEY_SECRET) if environ.get(n)]
    text = f"none: only {half[0]} of the two is set" if half else "none in the environment"
    if not needed:
        return Finding(subject="key", text=f"{text}; on this machine none is needed")
    names = f"{wire.ENV_KEY}, or {wire.ENV_KEY_ID} and {wire.ENV_KEY_SECRET}"
    advice = f"Set {names} (fal.ai/dashboard/keys), or give AsyncFal a key."
    return _failed("key", text, advice, Exit.KEY)


def check_setting(environ: Mapping[str, str], hosts: Hosts) -> Finding:
    """Which variables say where the services are, and whether a key may travel there."""
    names = (wire.ENV_EMULATOR_URL, wire.ENV_RUN_HOST, wire.ENV_QUEUE_HOST)
    found = [f"{name}={environ[name]}" for name in names if environ.get(name)]
    text = ", ".join(found) or "fal's own hosts"
    if hosts.insecure():
        advice = "The key would travel readable: use https, or an emulator on this machine."
        return _failed("setting", text, advice, Exit.USAGE)
    if environ.get(wire.ENV_EMULATOR_URL):
        text += ": calls go to an emulator, not to fal"
    return Finding(subject="setting", text=text)


def check_proxy(proxy: str | None) -> Finding:
    """Whether calls go through a proxy; its password is not shown."""
    if proxy is None:
        return Finding(subject="proxy", text="none")
    parts = urlsplit(proxy)
    port = f":{parts.port}" if parts.port else ""
    secret = " (with credentials)" if parts.username or parts.password else ""
    return Finding(subject="proxy", text=f"{parts.scheme}://{parts.hostname}{port}{secret}")


@attrs.frozen(kw_only=True)
class Target:
    """A host to ask. ``needed``: without it, or its backup domain, no direct call works."""

    name: str
    url: str
    needed: bool = False


def targets(hosts: Hosts) -> Iterator[Target]:
    """The hosts to ask, the one that direct calls go to first."""
    yield Target(name="calls", url=f"{hosts.run}/", needed=True)
    backup = backup_url(f"{hosts.run}/")
    if backup is not None:
        yield Target(name="backup", url=backup, needed=True)
    yield Target(name="queue", url=f"{hosts.queue}/")
    yield Target(name="rest", url=f"{hosts.rest}/")
    yield Target(name="files", url=f"{hosts.cdn}/")


def check_reached(target: Target, probe: Probe, *, stands_in: bool) -> Finding:
    """How far a host was reached. ``stands_in``: another one does what this one cannot."""
    host = urlsplit(target.url).netloc
    if probe.problem is None:
        return Finding(subject=target.name, text=f"{host} answers {probe.status} ({_times(probe)})")
    text = f"{host}: {probe.problem}"
    if target.needed and not stands_in:
        advice = "Check network, DNS, firewall and proxy."
        return _failed(target.name, text, advice, Exit.NOT_BILLED)
    advice = "" if not target.needed else "Calls can go another way."
    return Finding(subject=target.name, text=text, status="odd", advice=advice)


def _times(probe: Probe) -> str:
    steps = (("name", probe.resolved), ("connection", probe.connected), ("answer", probe.answered))
    return ", ".join(f"{name} {1000 * at:.0f} ms" for name, at in steps if at is not None)


def check_emulator(probe: Probe) -> Finding:
    """Whether what FAL_EMULATOR_URL names is an emulator, and running."""
    host = urlsplit(probe.url).netloc
    if probe.problem is not None:
        advice = f"Start one with: fal-async emulator --port N. Or unset {wire.ENV_EMULATOR_URL}."
        return _failed("emulator", f"{host}: {probe.problem}", advice, Exit.NOT_BILLED)
    facts = probe.facts or {}
    if facts.get("service") != "fal-async emulator":
        text = f"{host} answers {probe.status}, and does not say that it is an emulator"
        return Finding(subject="emulator", text=text, status="odd")
    models = facts.get("models")
    number = len(models) if isinstance(models, list) else 0
    text = f"{host}, version {facts.get('version')}, {number} models ({_times(probe)})"
    return Finding(subject="emulator", text=text)


def check_clock(probes: list[Probe]) -> Finding:
    """The clock of this machine against those of the hosts that answered."""
    skews = sorted((p.skew for p in probes if p.skew is not None), key=abs)
    if not skews:
        return Finding(subject="clock", text="nothing to compare it with", status="odd")
    skew = skews[0]
    if abs(skew) < 2:
        return Finding(subject="clock", text="right to within 2 s")
    text = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) <= _SKEW_ODD:
        return Finding(subject="clock", text=text)
    advice = "Set the clock"
    advice += ": signatures of webhooks will be refused." if abs(skew) > _SKEW_BAD else "."
    return Finding(subject="clock", text=text, status="odd", advice=advice)


def check_limit(probe: Probe | None) -> Finding:
    """How many calls may be in progress at once, where that can be known without making any."""
    if probe is None or not probe.facts or "limit" not in probe.facts:
        text = "learned while calls are made (AsyncFal.limits); fal gives accounts 2 to 40 at once"
        return Finding(subject="limit", text=text)
    limit = probe.facts["limit"]
    return Finding(subject="limit", text="none" if limit is None else f"{limit} calls at once")


def _failed(subject: str, text: str, advice: str, status: Exit) -> Finding:
    return Finding(subject=subject, text=text, status="failed", advice=advice, exit=status)
