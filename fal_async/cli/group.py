"""The group of commands: which there are, and how their failures end the process.

A command's module is imported when the command is used, so that ``--help`` loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from fal_async._version import VERSION
from fal_async.cli.exits import Exit, exit_of
from fal_async.cli.saying import say_failure
from fal_async.errors import FalError

__all__ = ["COMMANDS", "cli"]

#: name → what it does. The module of the same name in ``commands`` has it as ``command``.
COMMANDS: Final = {
    "run": "Call a model and print its answer.",
    "stream": "Call a model and print what it says as it comes.",
    "map": "Call a model for every row of a file, and go on after a crash.",
    "submit": "Put a request into fal's queue.",
    "status": "Tell where a queued request stands.",
    "result": "Print the answer of a queued request.",
    "cancel": "Stop a queued request.",
    "upload": "Put files into fal's storage and print their URLs.",
    "download": "Fetch files by their URLs.",
    "demo": "Fan two dozen prompts out against an emulator and save the images.",
    "doctor": "Check key, hosts, proxy and clock: would a call work from here?",
    "emulator": "Serve a local fal until Ctrl-C.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"fal_async.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FalError as error:
            say_failure(error)
            ctx.exit(exit_of(error))
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="fal-async")
def cli() -> None:
    """Call fal's models, and run a local emulator of fal.

    The key is taken from FAL_KEY, or from FAL_KEY_ID and FAL_KEY_SECRET. FAL_EMULATOR_URL points every
    command at an emulator, which needs none.
    """
