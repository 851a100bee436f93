"""The entry point of ``fal-async``. It knows only whether what the command line needs is installed."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with one of the statuses of ``exits``."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"fal-async needs {' and '.join(missing)} for its command line: "
            "pip install 'fal-async[cli]'"
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        # No terminal is so old that an answer which was paid for is lost on a letter it does not know.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from fal_async.cli.group import cli  # noqa: PLC0415 - it imports click, which may be missing

        cli(prog_name="fal-async")
    except KeyboardInterrupt:  # a wrong word is noticed as Enter is pressed: nothing has begun
        sys.exit(130)
