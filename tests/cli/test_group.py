"""The frame around the commands: help, version, what is loaded, what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from fal_async._version import VERSION
from fal_async.cli.exits import MEANINGS
from fal_async.cli.group import COMMANDS
from fal_async.cli.main import main
from tests.cli.conftest import CHECKOUT, Shell


def python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_stands_in_a_file_of_its_name_and_helps(name: str, shell: Shell) -> None:
    command = import_module(f"fal_async.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    result = shell.run(name, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (command.help or "").split()[:3] == result.stdout.split("\n\n")[1].split()[:3]


def test_help_lists_the_commands(shell: Shell) -> None:
    result = shell.run("--help")
    for name, meaning in COMMANDS.items():
        assert f"  {name}" in result.stdout
        assert meaning in result.stdout


def test_the_exit_statuses_are_in_the_help_of_run(shell: Shell) -> None:
    text = " ".join(shell.run("run", "--help").stdout.split())
    for status, meaning in MEANINGS.items():
        assert f"{status} {meaning}" in text


def test_the_version_is_told(shell: Shell) -> None:
    assert VERSION in shell.run("--version").stdout


def test_an_unknown_command_is_a_bad_argument(shell: Shell) -> None:
    result = shell.run("rum")
    assert result.exit_code == 2
    assert "rum" in result.stderr


def test_ctrl_c_before_it_has_begun_ends_it_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(CHECKOUT))))
    done = python("from fal_async.cli.main import main; main()")
    assert (done.returncode, done.stderr) == (130, "")


def test_help_loads_neither_rich_nor_any_command(shell: Shell) -> None:
    done = python(
        "import sys\n"
        "sys.argv = ['fal-async', '--help']\n"
        "from fal_async.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    loaded = {name for name in sys.modules if name.startswith('fal_async.cli.commands')}\n"
        "    print('loaded:', *sorted(loaded | {'rich'} & set(sys.modules)))\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("loaded:\n")


def test_the_entry_point_is_the_group(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"fal-async, version {VERSION}\n")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_sentence_says_how_to_install_it(missing: str, shell: Shell) -> None:
    done = python(
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from fal_async.cli.main import main\n"
        "main()\n"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"fal-async needs {missing} for its command line: pip install 'fal-async[cli]'\n"
    )
