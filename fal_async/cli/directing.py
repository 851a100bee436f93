"""What a person does to have other programs find an emulator: the lines to copy into a shell."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from shutil import copyfile

import click

from fal_async.emulator import Emulator
from fal_async.protocol import wire

__all__ = ["directions"]


def directions(emulator: Emulator, authority: Path | None, *, key_is_known: bool) -> str:
    """The lines to show.

    :param authority: where the certificate of an emulator with TLS is put; None: it stays where it is.
    :param key_is_known: to whoever reads this, so that it is not shown.
    :raises click.UsageError: if the certificate cannot be written there.
    """
    variables = {wire.ENV_EMULATOR_URL: emulator.url}
    how = "Point a client at it:"
    if emulator.tls:
        variables = emulator.environment(_put(emulator.authority, authority))
        if key_is_known:
            del variables[wire.ENV_KEY]
        how = "In a shell of its own, any client takes it for fal, and reaches nobody else over https:"
    lines = [f"    export {name}={quote(value)}" for name, value in variables.items()]
    return "\n".join([f"A local fal; Ctrl-C ends it. {how}", "", *lines, ""])


def _put(authority: Path, where: Path | None) -> Path:
    if where is None:
        return authority
    try:
        return Path(copyfile(authority, where)).absolute()
    except OSError as error:
        raise click.UsageError(f"--ca {where}: {os.strerror(error.errno or 0)}") from None
