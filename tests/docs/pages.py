"""A page of the documentation, run from top to bottom as its reader would.

Python blocks share one module and one event loop, and may ``await`` where they stand. Of shell
blocks the commands are run: every line of ``sh``, the lines after a ``$`` of ``console``. Each must
succeed, an ``export`` holds from there on, an emulator that is started serves until the page ends.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document, Example
from sybil.parsers import markdown, rest
from sybil.typing import Evaluator, Parser

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.rst"))]

RUN = {"console", "python", "sh"}
#: What a reader looks at, and nothing can be run of.
SHOWN = {"ini", "json", "text"}

#: Setting up needs an index of packages, so CI does that, with the README's own lines.
SET_UP = ("python3 -m venv ", "pip install ", "git clone ")


class Page:
    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = path
        self._monkeypatch = monkeypatch
        self._module = ModuleType("the_reader")
        self._closing = ExitStack()

    def run(self) -> None:
        document = Document.parse(str(self._path), *self._parsers())
        document.namespace = self._module.__dict__
        with self._closing:
            # What is structured by its annotations is looked up through its module.
            self._monkeypatch.setitem(sys.modules, self._module.__name__, self._module)
            self._loop = self._closing.enter_context(asyncio.Runner())
            for example in document:
                example.evaluate()
            self._loop.run(nothing_runs_on())

    def _parsers(self) -> list[Parser]:
        evaluators: dict[str, Evaluator] = {
            "console": self._console,
            "python": self._python,
            "sh": self._shell,
        }
        if self._path.suffix == ".md":
            return [markdown.CodeBlockParser(name, run) for name, run in evaluators.items()]
        blocks = [rest.CodeBlockParser(name, run) for name, run in evaluators.items()]
        return [*blocks, rest.DocTestParser()]

    def _python(self, example: Example) -> None:
        # Blank lines above it, so that a traceback names the page's own line.
        source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            self._loop.run(eval(code, example.namespace))
        else:
            exec(code, example.namespace)

    def _console(self, example: Example) -> None:
        self._type(line[2:] for line in joined(example.parsed) if line.startswith("$ "))

    def _shell(self, example: Example) -> None:
        self._type(joined(example.parsed))

    def _type(self, commands: Iterable[str]) -> None:
        for command in commands:
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                self._monkeypatch.setenv(name, value.strip("'\""))
            elif command.startswith("fal-async emulator") and "--help" not in command:
                self._closing.enter_context(serving(command))
            elif not any(part in command for part in SET_UP):
                subprocess.run(["bash", "-euc", command], check=True, timeout=60)


async def nothing_runs_on() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"the page leaves tasks running: {left}"


def joined(block: str) -> Iterator[str]:
    """The lines of a block, put together where one ends in a backslash."""
    lines = iter(block.splitlines())
    for line in lines:
        whole = line
        while whole.endswith("\\"):
            whole = whole[:-1] + next(lines).strip()
        yield whole


@contextmanager
def serving(command: str) -> Iterator[None]:
    """The emulator of another terminal, ready once it has said where it is."""
    with subprocess.Popen(command.split(), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{command} ended at once"
            yield
        finally:
            process.terminate()


def languages(path: Path) -> list[str]:
    """The language of each block of the page, in order."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"^ *```(.*)$", text, re.MULTILINE)[::2]
    return re.findall(
        r"^ *\.\. (?:code-block|code|sourcecode|parsed-literal)::(.*)$", text, re.MULTILINE
    )
