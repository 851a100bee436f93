"""The front door is a table of contents: it lists what is seen, and all of that is documented."""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import get_origin

import pytest

import fal_async
import fal_async.emulator
from tests.architecture.sources import CHECKOUT

PUBLIC = [name for name in fal_async.__all__ if not name.startswith("_")]
DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>auto\w+|py:\w+):: (?P<name>fal_async[\w.]*)(?P<options>(?:\n {3,}.*)*)",
    re.MULTILINE,
)


def is_no_name_of_ours(value: object) -> bool:
    return isinstance(value, ModuleType | __future__._Feature)


def documented_in_the_docs() -> Counter[str]:
    """How often each name is described."""
    names: Counter[str] = Counter()
    for page in sorted((CHECKOUT / "docs").rglob("*.rst")):
        for found in DIRECTIVE.finditer(page.read_text(encoding="utf-8")):
            if found["kind"] != "automodule":
                names[found["name"]] += 1
            elif ":members:" in found["options"]:
                module = importlib.import_module(found["name"])
                names.update(f"{found['name']}.{name}" for name in module.__all__)
    return names


def test_all_lists_exactly_what_is_visible() -> None:
    visible = {name for name in dir(fal_async) if not name.startswith("_")}
    hidden = {name for name in visible if is_no_name_of_ours(getattr(fal_async, name))}
    assert visible - hidden == set(PUBLIC) - hidden


@pytest.mark.parametrize("package", [fal_async, fal_async.emulator], ids=lambda p: p.__name__)
def test_what_is_looked_up_is_what_those_who_read_types_see(package: ModuleType) -> None:
    source = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name: f"{statement.module}"
        for statement in ast.walk(source)
        if isinstance(statement, ast.ImportFrom) and f"{statement.module}".startswith("fal_async.")
        for alias in statement.names
    }
    found = {name: f"{package.__name__}.{home}" for name, home in package._HOMES.items()}
    assert found == seen
    assert set(found) == set(package.__all__)


@pytest.mark.parametrize("package", [fal_async, fal_async.emulator], ids=lambda p: p.__name__)
def test_what_is_not_there_is_no_attribute(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'No'"):
        _ = package.No


def test_everything_can_be_imported_at_once_and_listed_before() -> None:
    program = (
        "import fal_async; before = set(dir(fal_async)); from fal_async import *; "
        "assert before >= set(fal_async.__all__) <= set(globals()); "
        "assert AsyncFal is fal_async.AsyncFal"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=CHECKOUT, check=True)


def test_an_error_is_unpickled_where_nothing_was_imported_before() -> None:
    pickled = pickle.dumps(fal_async.ModelError("refused"))
    program = "import pickle, sys; print(repr(pickle.loads(sys.stdin.buffer.read())))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        input=pickled,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().startswith("ModelError(")


def test_nothing_is_listed_twice() -> None:
    assert len(fal_async.__all__) == len(set(fal_async.__all__))


def test_every_public_class_and_function_says_what_it_is() -> None:
    silent = []
    for name in PUBLIC:
        value = getattr(fal_async, name)
        if get_origin(value) is not None:  # an alias of types has no docstring but in the docs
            continue
        own = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
        if not (own or "").strip():
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize("package", [fal_async, fal_async.emulator], ids=lambda p: p.__name__)
def test_every_public_name_is_described_once_in_the_documentation(package: ModuleType) -> None:
    documented = documented_in_the_docs()
    times = {}
    for name in package.__all__:
        value = getattr(package, name)
        home = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        names = {f"{package.__name__}.{name}", ".".join(filter(None, home))}
        times[name] = sum(documented[name] for name in names)
    assert {name: described for name, described in times.items() if described != 1} == {}
