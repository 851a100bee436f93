"""``fal-async map``: one model, a file of prompts, a folder of results that survives a kill."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import click
from rich.console import Console
from rich.text import Text

from fal_async.batch.naming import DEFAULT_NAME, parse_template
from fal_async.batch.reconciling import Reconcile
from fal_async.batch.resuming import InDoubt
from fal_async.batch.rows import RowFormat
from fal_async.cli.answering import echo_json
from fal_async.cli.batch.carrying_out import Batch, Plan
from fal_async.cli.batch.folder import Folder
from fal_async.cli.batch.inputs import Recipe, Survey, parse_grid, survey
from fal_async.cli.batch.source import RowSource
from fal_async.cli.batch.tally import number
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.options import build_input, has_options_of_a_call, read_options
from fal_async.cli.render import to_json
from fal_async.cli.running import run
from fal_async.cli.saying import say
from fal_async.features.run import request_headers
from fal_async.protocol.auth import key_from_environment, missing_key
from fal_async.protocol.model import parse_model_id
from fal_async.session import AsyncFal
from fal_async.transport.limiting import Limit

__all__ = ["command"]

#: Queued requests wait at fal, not here; yet each one that is waited for takes some room.
_IN_FLIGHT: Final = 1000
#: Options that stay on this side.
_NO_HEADERS: Final = {"timeout", "inline_below"}
_SECONDS: Final = click.FloatRange(min=0)


@click.command(name="map", epilog=statuses())
@click.argument("model")
@click.argument(
    "prompts", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option(
    "--format",
    "row_format",
    type=click.Choice(["txt", "jsonl", "csv"]),
    help="What PROMPTS holds; without it, its name or first line tells.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of every input; a row's own wins. VALUE as for run.",
)
@click.option(
    "--grid",
    "grids",
    multiple=True,
    metavar="NAME=VALUES",
    help='Every row with each of these: seed=1..4, guidance=2,4, style=\'["ink", "oil"]\'.',
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the batch: journal, results, errors, files, gallery.",
)
@click.option(
    "--limit",
    default="auto",
    show_default=True,
    metavar="auto|NUMBER|none",
    help="Calls at once: auto finds the account's limit, a number is a ceiling.",
)
@click.option("--durable", is_flag=True, help="Through fal's queue, which keeps each result.")
@click.option("--resume", is_flag=True, help="Go on with the batch in --out.")
@click.option(
    "--in-doubt",
    type=click.Choice(["report", "retry", "reconcile"]),
    default="report",
    show_default=True,
    help="Calls that a killed run was about to send: tell, send again (may pay twice), or look up "
    "in fal's history.",
)
@click.option(
    "--reconcile-wait",
    type=_SECONDS,
    metavar="SECONDS",
    help="How long to go on looking in the history, where that may tell more; 0 unless given.",
)
@click.option(
    "--reconcile-listed-within",
    type=_SECONDS,
    metavar="SECONDS",
    help="After its start a request is listed by then; 3900 unless given.",
)
@click.option(
    "--reconcile-settled-after",
    type=_SECONDS,
    metavar="SECONDS",
    help="Your own word: so long after the killed run, what is not listed will never run.",
)
@click.option(
    "--reconcile-without-witness",
    is_flag=True,
    help="Believe a history that shows no request known to be of this batch.",
)
@click.option(
    "--max-calls", type=click.IntRange(min=1), help="Never make more calls than this, this time."
)
@click.option(
    "--stop-after-errors", type=click.IntRange(min=1), help="Send no more after so many failures."
)
@click.option("--ordered", is_flag=True, help="Results in the order of the rows.")
@click.option(
    "--name",
    "template",
    default=DEFAULT_NAME,
    show_default=True,
    metavar="TEMPLATE",
    help="What files are called, with fields such as {seed}, {prompt}, {request_id}.",
)
@click.option("--no-save", is_flag=True, help="Leave the files at fal.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@has_options_of_a_call
def command(
    model: str,
    prompts: Path,
    row_format: str | None,
    params: tuple[str, ...],
    grids: tuple[str, ...],
    out: Path,
    limit: str,
    durable: bool,  # noqa: FBT001 - click calls by name
    resume: bool,  # noqa: FBT001
    in_doubt: str,
    reconcile_wait: float | None,
    reconcile_listed_within: float | None,
    reconcile_settled_after: float | None,
    reconcile_without_witness: bool,  # noqa: FBT001
    max_calls: int | None,
    stop_after_errors: int | None,
    ordered: bool,  # noqa: FBT001
    template: str,
    no_save: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    **words: Any,
) -> None:
    """Call a model for every row of PROMPTS; - is stdin.

    .txt: a prompt a line. .jsonl: an object a line, or a text, which is a prompt. .csv: a table whose first
    row names the fields. Rows that are none of these are told by line, and do not stop the others.

    Everything is written down before it is sent, in --out. After a Ctrl-C, a crash or a power cut the same
    command with --resume goes on, and pays for nothing twice.
    """
    parse_model_id(model)
    source = RowSource(
        None if str(prompts) == "-" else prompts, cast("RowFormat | None", row_format)
    )
    recipe = Recipe(fixed=build_input(params), varied=parse_grid(grids))
    options = read_options(**words)
    ceiling = _limit(limit)
    terms = {
        "wait": reconcile_wait,
        "listed_within": reconcile_listed_within,
        "settled_after": reconcile_settled_after,
        "witness": False if reconcile_without_witness else None,
    }
    doubts = _in_doubt(
        in_doubt, {name: value for name, value in terms.items() if value is not None}
    )
    folder = Folder(out)
    # What a call would refuse later, a dry run refuses, too.
    parse_template(folder.template(template))
    request_headers(**{name: value for name, value in options.items() if name not in _NO_HEADERS})
    folder.check(resume=resume)
    found = _survey(source, recipe, max_calls) if dry_run or source.is_regular else None
    if found is not None and not found.calls and not found.bad:
        raise click.UsageError(f"{source.name}: there is no row in it")
    if dry_run and found is not None:
        _show(model, folder, found, max_calls)
        sys.exit(Exit.USAGE if found.bad else Exit.OK)
    plan = Plan(
        model=model,
        source=source,
        recipe=recipe,
        folder=folder,
        expected=None if found is None else found.calls,
        max_calls=max_calls,
        in_doubt=doubts,
        template=None if no_save else template,
        options={
            **options,
            # What is left behind in the queue is collected by the next run.
            **({"durable": True, "cancel_on_exit": False} if durable else {}),
            "ordered": ordered,
            "stop_after_errors": stop_after_errors,
            "in_flight": _in_flight(ceiling, durable=durable),
        },
    )
    sys.exit(run(_carry_out(plan, ceiling)))


async def _carry_out(plan: Plan, limit: Limit) -> Exit:
    async with AsyncFal(limit=limit) as fal:
        if not fal.hosts.is_local and key_from_environment(os.environ) is None:
            raise missing_key()  # before there is a folder that has to be resumed
        batch = Batch(plan, fal, asyncio.get_running_loop().time)
        await batch.run()
    return batch.tally.status()


def _limit(text: str) -> Limit:
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        ceiling = int(text)
    except ValueError:
        ceiling = 0
    if ceiling < 1:
        raise click.UsageError(f"--limit {text!r} is neither auto, nor none, nor a number above 0")
    return ceiling


def _in_doubt(word: str, terms: Mapping[str, Any]) -> InDoubt | Reconcile:
    if word == "reconcile":
        return Reconcile(**terms)
    if terms:
        raise click.UsageError("--reconcile-... is for --in-doubt reconcile")
    return cast("InDoubt", word)


def _in_flight(limit: Limit, *, durable: bool) -> int:
    if not isinstance(limit, int):
        return _IN_FLIGHT
    return limit if durable else max(limit, _IN_FLIGHT)


# --- without sending anything ---------------------------------------------------------------------------


def _survey(source: RowSource, recipe: Recipe, max_calls: int | None) -> Survey:
    with source.rows() as rows:
        # A pipe may have no end.
        return survey(recipe, rows, most=None if source.is_regular else max_calls)


def _show(model: str, folder: Folder, found: Survey, max_calls: int | None) -> None:
    calls = found.calls if max_calls is None else min(found.calls, max_calls)
    for row in found.first_bad:
        say(f"line {row.line}: {row.reason}", head="bad row:")
    if found.bad > len(found.first_bad):
        say(f"and {number(found.bad - len(found.first_bad), 'bad row')} more")
    if not sys.stdout.isatty():
        echo_json(
            {
                "model": model,
                "calls": calls,
                "inputs": found.calls,
                "bad_rows": found.bad,
                "first": [{"line": item.line, "input": item.input} for item in found.first],
            }
        )
        return
    console = Console()
    for item in found.first:
        text = to_json(item.input).decode()
        console.print(Text(f"line {item.line}: {text}"), soft_wrap=True)
    if found.calls > len(found.first):
        console.print(Text(f"and {found.calls - len(found.first):,} more"), soft_wrap=True)
    known = f"; what {folder.journal} knows is not called again" if folder.journal.exists() else ""
    bad = f", {number(found.bad, 'bad row')}" if found.bad else ""
    told = f"{model}: {number(calls, 'call')}{bad}{known}. Nothing was sent."
    console.print(Text(told), soft_wrap=True)
