"""``--app owner/app=package.module:attribute``: the user's own application, found as servers find theirs."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from fal_async.emulator import Model, asgi_model
from fal_async.errors import InputError

__all__ = ["mounted"]


def mounted(text: str) -> Model:
    """The model that an option asks for. Its module may also be in the folder of whoever calls.

    :raises click.UsageError: there is no such thing. What its module raises by itself is raised: it is a
        mistake whose place has to be seen.
    """
    model_id, equals, place = text.partition("=")
    module, colon, attribute = place.partition(":")
    if not (equals and colon and module and attribute):
        raise click.UsageError(f"--app {text}: it is owner/app=package.module:attribute")
    # What is printed meanwhile must not come before the URL.
    with redirect_stdout(sys.stderr):
        try:
            app = _found(module, attribute)
        except _NotFoundError as error:
            raise click.UsageError(f"--app {text}: {error}") from None
        try:
            return asgi_model(model_id, app, prints=True)
        except InputError as error:
            raise click.UsageError(f"--app {text}: {error.what}") from None
        except TypeError as error:
            raise click.UsageError(f"--app {text}: {error}") from None


class _NotFoundError(Exception):
    """What was named is not there."""


def _found(module: str, attribute: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = _imported(module)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise _NotFoundError(str(error)) from None
    return found


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):  # it, or a package that it should be in
            raise _NotFoundError(str(error)) from None
        raise
