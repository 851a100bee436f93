"""``fal-async emulator``: a local fal in a terminal of its own."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import sys
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs
import click

from fal_async.cli.describing import described
from fal_async.cli.directing import directions
from fal_async.cli.exits import Exit
from fal_async.cli.following import CallLog, closing_account
from fal_async.cli.mounting import mounted
from fal_async.cli.running import run
from fal_async.cli.saying import say
from fal_async.emulator import AppStartError, Emulator, Fault, Model, default_models

__all__ = ["command"]

_PORT: Final = 8765
_LOOK_EVERY: Final = 0.1


def _seconds(_: click.Context, __: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


def _keys(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for key in value:  # any other one is refused by the gateway, whoever knows it
        key_id, _colon, secret = key.partition(":")
        if not (key_id and secret):
            raise click.UsageError("--key: a key is key_id:key_secret")
    return value


@click.command(name="emulator")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=_PORT,
    show_default=True,
    help="0: any that is free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Calls in progress at once; without it, any number."
)
@click.option(
    "--unnamed-limit", is_flag=True, help="A refusal (429) does not say what the limit is."
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    callback=_keys,
    help="A key that is accepted, may be repeated; without it, all are.",
)
@click.option(
    "--run-time",
    type=click.FloatRange(min=0),
    default=0.0,
    callback=_seconds,
    help="Seconds that a model runs.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=0.0,
    callback=_seconds,
    help="Seconds added to each round trip.",
)
@click.option("--seed", type=int, default=0, help="Of everything that is left to chance.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[:PROBABILITY]",
    help="What goes wrong, such as ingress_502:0.1; may be repeated. KINDS of fal_async.emulator.faults.",
)
@click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="OWNER/APP=MODULE:ATTRIBUTE",
    help="An ASGI application, or a subclass of fal.App, as a model; may be repeated.",
)
@click.option(
    "--openapi",
    "documents",
    multiple=True,
    metavar="[OWNER/APP=]FILE",
    help="An OpenAPI document, or a folder of them: models that behave as it says; may be repeated.",
)
@click.option(
    "--tls",
    is_flag=True,
    help="Answer for fal's hosts by name, over https and as an HTTPS proxy: for any other client.",
)
@click.option(
    "--ca",
    "authority",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="With --tls: a file for the certificate that clients are to trust.",
)
@click.option("--quiet", is_flag=True, help="Calls are not logged.")
def command(
    port: int,
    host: str,
    limit: int | None,
    unnamed_limit: bool,  # noqa: FBT001 - click calls by name
    keys: tuple[str, ...],
    run_time: float,
    latency: float,
    seed: int,
    faults: tuple[str, ...],
    apps: tuple[str, ...],
    documents: tuple[str, ...],
    tls: bool,  # noqa: FBT001
    authority: Path | None,
    quiet: bool,  # noqa: FBT001
) -> None:
    """Serve a local fal until Ctrl-C: real answers, real images, no key, no cost.

    The first line of stdout is its URL. Calls are logged on stderr as they end.
    """
    if authority is not None and not tls:
        raise click.UsageError("--ca goes with --tls")
    emulator = _made(
        host=host,
        port=port,
        tls=tls,
        keys=keys or None,
        limit=limit,
        name_limit=not unnamed_limit,
        latency=latency,
        models=[
            _lasting(model, run_time)
            for model in (
                *default_models(),
                *(model for place in documents for model in described(place)),
                *map(mounted, apps),
            )
        ],
        faults=[_fault(text) for text in faults],
        seed=seed,
    )
    run(
        _serve(
            emulator, f"{host}:{port}", quiet=quiet, authority=authority, key_is_known=bool(keys)
        )
    )


class _CannotListenError(click.ClickException):
    exit_code = Exit.USAGE


class _CannotStartError(click.ClickException):
    exit_code = Exit.USAGE


def _made(**settings: Any) -> Emulator:
    try:
        return Emulator(**settings)
    except ImportError as error:  # an extra that is not installed: it says which
        raise click.UsageError(str(error)) from None


def _lasting(model: Model, seconds: float) -> Model:
    return model if model.run_time else attrs.evolve(model, run_time=seconds)


def _fault(text: str) -> Fault:
    kind, colon, said = text.partition(":")
    try:
        return Fault(kind, probability=float(said) if colon else None)
    except ValueError as error:
        raise click.UsageError(f"--fault {text}: {error}") from None


def _why_not(error: OSError) -> str:
    """Why there is no listening; asyncio's own words repeat the address."""
    if error.errno is None or error.errno <= 0:  # the name of a host that nobody knows
        return error.strerror or str(error)
    why = os.strerror(error.errno)
    return f"{why}; --port 0 takes any free port" if error.errno == errno.EADDRINUSE else why


async def _serve(
    emulator: Emulator,
    address: str,
    *,
    quiet: bool,
    authority: Path | None = None,
    key_is_known: bool = False,
) -> None:
    try:
        with redirect_stdout(sys.stderr):  # what an application prints must not come before the URL
            await emulator.start()
    except AppStartError as error:
        raise _CannotStartError(str(error)) from None
    except OSError as error:
        raise _CannotListenError(f"cannot listen on {address}: {_why_not(error)}") from None
    log = CallLog(emulator)
    try:
        how = directions(emulator, authority, key_is_known=key_is_known)
        click.echo(f"{emulator.url}\n{how}")
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            _tell(log, quiet=quiet)
    except asyncio.CancelledError:  # being stopped is how a server ends
        _tell(log, quiet=quiet)
        say(closing_account(emulator))
    finally:
        await emulator.stop()


def _tell(log: CallLog, *, quiet: bool) -> None:
    for line in () if quiet else log.news():
        say(f"{datetime.now().astimezone():%H:%M:%S}  {line}")
