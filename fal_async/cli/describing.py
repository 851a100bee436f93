"""``--openapi [owner/app=]FILE``: models that an OpenAPI document describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

import fal_async.emulator  # by its name, so that what reads documents is loaded once there is one
from fal_async.emulator import Model

__all__ = ["described"]

_NAMED: Final = re.compile(r"(?P<id>[\w.-]+(?:/[\w.-]+)+)=(?P<place>.+)", re.DOTALL)


def described(text: str) -> list[Model]:
    """The models that an option asks for.

    :raises click.UsageError: there are none; it names the file and the place in it.
    """
    match = None if Path(text).exists() else _NAMED.fullmatch(text)
    place, model_id = (match["place"], match["id"]) if match else (text, None)
    try:
        return fal_async.emulator.models_from_openapi(place, id=model_id)
    except ValueError as error:
        raise click.UsageError(f"--openapi {error}") from None
