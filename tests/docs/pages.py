"""A page of the documentation, run from top to bottom as its reader would.

Python blocks share one module and one event loop, and may ``await`` where they stand. Of shell
blocks the commands are run: every line of ``sh``, the lines after a ``$`` of ``console``. Each must
succeed, an ``export`` holds from there on, an emulator that is started serves until the page ends;
of one with TLS the reader pastes the exports that it prints. A block of ``javascript`` is a program
of its own.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import dropwhile, takewhile
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document, Example
from sybil.parsers import markdown, rest
from sybil.typing import Evaluator, Parser

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.rst"))]

RUN = {"console", "javascript", "python", "sh"}
#: What a reader looks at, and nothing can be run of.
SHOWN = {"ini", "json", "text"}

#: Setting up needs an index of packages, so CI does that, with the README's own lines.
SET_UP = ("python3 -m venv ", "pip install ", "git clone ", "npm install ")


class Page:
    """What the reader of a page does.

    :param node: the command that runs JavaScript, once the reader has installed all it takes.
    """

    def __init__(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, node: Callable[[], str]
    ) -> None:
        self._path = path
        self._monkeypatch = monkeypatch
        self._node = node
        self._command: str | None = None
        self._module = ModuleType("the_reader")
        self._closing = ExitStack()

    def run(self) -> None:
        document = Document.parse(str(self._path), *self._parsers())
        document.namespace = self._module.__dict__
        with self._closing:
            # What is structured by its annotations is looked up through its module.
            self._monkeypatch.setitem(sys.modules, self._module.__name__, self._module)
            self._loop = self._closing.enter_context(asyncio.Runner())
            missing = self._look_for_node()
            for example in document:
                example.evaluate()
            self._loop.run(nothing_runs_on())
        if missing is not None:
            raise missing

    def _look_for_node(self) -> BaseException | None:
        """Before the reader's surroundings change. Where there is none, all but JavaScript is run."""
        if "javascript" in map(str.strip, languages(self._path)):
            try:
                self._command = self._node()
            except pytest.skip.Exception as skipped:
                return skipped
        return None

    def _parsers(self) -> list[Parser]:
        evaluators: dict[str, Evaluator] = {
            "console": self._console,
            "javascript": self._javascript,
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

    def _javascript(self, example: Example) -> None:
        if self._command is not None:
            command = [self._command, "--input-type=module"]
            subprocess.run(command, input=example.parsed, text=True, check=True, timeout=60)

    def _shell(self, example: Example) -> None:
        self._type(joined(example.parsed))

    def _type(self, commands: Iterable[str]) -> None:
        for command in commands:
            if command.startswith("export "):
                self._export(command)
            elif command.startswith("fal-async emulator") and "--help" not in command:
                for line in self._closing.enter_context(serving(command)):
                    self._export(line)
            elif not any(part in command for part in SET_UP):
                subprocess.run(["bash", "-euc", command], check=True, timeout=60)

    def _export(self, line: str) -> None:
        name, _, value = line.removeprefix("export ").partition("=")
        self._monkeypatch.setenv(name, "".join(shlex.split(value)))


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
def serving(command: str) -> Iterator[list[str]]:
    """The emulator of another terminal, ready once it has said where it is.

    With TLS, it gives the exports that are to be pasted.
    """
    tls = "--tls" in command
    with subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{command} ended at once"
            yield list(pasted(process.stdout)) if tls else []
        finally:
            process.terminate()


def pasted(lines: Iterable[str]) -> Iterator[str]:
    """The block of exports that comes first."""
    block = dropwhile(lambda line: not line.startswith("export "), map(str.strip, lines))
    return takewhile(bool, block)


def languages(path: Path) -> list[str]:
    """The language of each block of the page, in order."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"^ *```(.*)$", text, re.MULTILINE)[::2]
    return re.findall(
        r"^ *\.\. (?:code-block|code|sourcecode|parsed-literal)::(.*)$", text, re.MULTILINE
    )
