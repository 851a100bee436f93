"""``fal-async doctor``: whether a call would work from here, and if not, why."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

import click

from fal_async.cli import checks
from fal_async.cli.checks import Finding
from fal_async.cli.exits import Exit
from fal_async.cli.probing import Probe, probe
from fal_async.cli.running import run
from fal_async.errors import FalError
from fal_async.protocol import wire
from fal_async.protocol.hosts import Hosts, hosts_from_environment
from fal_async.transport.proxies import ProxyRouter

__all__ = ["command"]

_STYLES: Final = {"ok": "green", "odd": "yellow", "failed": "red"}


@click.command(name="doctor")
def command() -> None:
    """Check what a call needs: key, hosts, proxy, clock. Costs nothing, and sends the key nowhere.

    The exit status is 0 if a call could work from here; 2, 3 or 5 if settings, key or network are in its way.
    """
    findings = run(_examine(os.environ))
    sys.exit(next((f.exit for f in findings if f.status == "failed"), Exit.OK))


async def _examine(environ: Mapping[str, str]) -> list[Finding]:
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        _print(finding)

    tell(checks.check_versions())
    try:
        hosts = hosts_from_environment(environ)
    except FalError as error:
        advice = f"Look at {wire.ENV_EMULATOR_URL}, {wire.ENV_RUN_HOST}, {wire.ENV_QUEUE_HOST}."
        problem = Finding(
            subject="setting", text=error.what, status="failed", advice=advice, exit=Exit.USAGE
        )
        tell(problem)
        return findings
    tell(checks.check_setting(environ, hosts))
    tell(checks.check_key(environ, needed=not hosts.is_local))
    proxies = ProxyRouter("env")
    try:
        tell(checks.check_proxy(proxies.proxy_of(f"{hosts.run}/")))
    except FalError as error:
        tell(Finding(subject="proxy", text=error.what, status="failed", exit=Exit.USAGE))
        return findings
    emulator = environ.get(wire.ENV_EMULATOR_URL)
    if emulator:
        found = await probe(f"{emulator.rstrip('/')}/", proxies)
        tell(checks.check_emulator(found))
        probes = [found]
    else:
        probes = await _reach(hosts, proxies, tell)
    tell(checks.check_clock(probes))
    tell(checks.check_limit(probes[0] if emulator else None))
    return findings


async def _reach(
    hosts: Hosts, proxies: ProxyRouter, tell: Callable[[Finding], None]
) -> list[Probe]:
    wanted = list(checks.targets(hosts))
    probes = await asyncio.gather(*(probe(target.url, proxies) for target in wanted))
    both = list(zip(wanted, probes, strict=True))
    stands_in = any(target.needed and found.problem is None for target, found in both)
    for target, found in both:
        tell(checks.check_reached(target, found, stands_in=stands_in))
    return probes


def _print(finding: Finding) -> None:
    word = click.style(f"{finding.status:<6}", fg=_STYLES[finding.status])
    click.echo(f"{word} {finding.subject:<9} {finding.text}")
    if finding.advice:
        click.echo(f"{'':<17}{finding.advice}")
