"""Modules import what lies below them, and each of them on its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.sources import CHECKOUT, MODULES, PACKAGE

# Each module in a process of its own, forked from one that has loaded what others wrote; and not
# through the front door, whose imports would hide what a module forgot.
IMPORT_EACH_ALONE = """
import gc, os, sys, traceback, types, warnings
import aiohttp, aiohttp.web, asyncio, attrs, cattrs.preconf.msgspec, click, fractions, gzip, msgspec
import pytest, queue, rich.console, rich.live, rich.table, statistics
gc.disable()  # of a process that does nothing but import, everything stays
gc.freeze()
warnings.simplefilter("error")
failed = []
for name in sys.argv[2:]:
    child = os.fork()
    if not child:
        if name != "fal_async":
            sys.modules["fal_async"] = types.ModuleType("fal_async")
            sys.modules["fal_async"].__path__ = [sys.argv[1]]
        try:
            __import__(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
sys.exit(f"do not import alone: {failed}" if failed else 0)
"""


def said_by(program: str, *arguments: str, warnings: str = "error") -> str:
    """What a program prints that starts with nothing loaded, and ends well."""
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", program, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="one interpreter per module takes minutes")
def test_every_module_imports_alone_and_without_a_warning() -> None:
    # What others wrote may warn: the program says from where on it is an error.
    said_by(IMPORT_EACH_ALONE, str(PACKAGE), *MODULES, warnings="default")


@pytest.mark.parametrize("module", ["fal_async", "fal_async.emulator"])
def test_the_packages_load_nothing_before_it_is_asked_for(module: str) -> None:
    program = (
        f"import sys, {module}; given = {{'aiohttp', 'attrs', 'cattrs', 'msgspec', 'asyncio'}}; "
        "ours = {name for name in sys.modules if name.startswith('fal_async')}; "
        f"print(*sorted(given & set(sys.modules)), *sorted(ours - {{'fal_async', '{module}'}}))"
    )
    assert said_by(program) == ""


def test_the_client_loads_what_a_call_needs_and_the_rest_when_it_is_asked_for() -> None:
    program = (
        "import sys; from fal_async import AsyncFal; AsyncFal('id:secret'); "
        "late = ('batch', *(f'features.{name}' for name in ('placing', 'queue', 'realtime', 'uploading'))); "
        "print(*(name for name in late if f'fal_async.{name}' in sys.modules))"
    )
    assert said_by(program) == ""


def test_importing_the_package_loads_nothing_that_only_an_extra_installs() -> None:
    program = (
        "import sys; from fal_async import *; "
        "print(*sorted({'click', 'rich', 'PIL', 'pytest'} & set(sys.modules)))"
    )
    assert said_by(program) == ""


def test_the_import_contracts_hold() -> None:
    pytest.importorskip("importlinter", reason="import-linter comes with the dev extra")
    # In a process of its own: it sets up logging anew, and silences the loggers that exist by then.
    program = "from importlinter.cli import lint_imports_command as run; run()"
    said_by(program, "--no-cache", "--no-logo", warnings="default")
