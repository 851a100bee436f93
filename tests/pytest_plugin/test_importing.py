"""Who waits for a module hears of its import."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from fal_async.pytest_plugin.importing import WhenImported


def test_all_who_wait_for_one_module_hear_of_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "awaited.py").write_text("told = []\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    finders = [
        WhenImported("awaited", lambda module, name=name: module.told.append(name))  # type: ignore[misc]
        for name in ("first", "second")
    ]
    monkeypatch.setattr(sys, "meta_path", [*finders, *sys.meta_path])
    module = importlib.import_module("awaited")
    monkeypatch.delitem(sys.modules, "awaited")
    assert sorted(module.told) == ["first", "second"]
