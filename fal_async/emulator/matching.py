"""Which models a rule or a question is about. Pure; shared by faults and ledger."""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["matches"]


def matches(pattern: str | None, model: str) -> bool:
    """Whether ``pattern`` covers the model id: None all, an application all its paths, ``*`` anything."""
    if pattern is None or pattern == model:
        return True
    return model.startswith(f"{pattern}/") or fnmatchcase(model, pattern)
