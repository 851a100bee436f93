"""Outcomes as JSON documents: the lines of ``results.jsonl``, ``errors.jsonl`` and of a piped stdout."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from fal_async.batch.outcome import Failed, Outcome, SavedFile
from fal_async.batch.rows import BadRow
from fal_async.errors import FalError

__all__ = ["bad_row_document", "outcome_document"]


def outcome_document(outcome: Outcome[Any], *, line: int | None, folder: Path) -> dict[str, Any]:
    """What became of an input. The paths of files are relative to the folder.

    :param line: where in the file of rows it stands.
    """
    units = outcome.billable_units
    came = (
        {"error": _error(outcome.error)}
        if isinstance(outcome, Failed)
        else {"output": _output(outcome.output, saved=bool(outcome.files))}
    )
    return {
        "index": outcome.index,
        "line": line,
        "ok": outcome.ok,
        "input": outcome.input,
        **came,
        "request_id": outcome.request_id,
        "billing": outcome.billing.value,
        "billable_units": None if units is None else f"{units:f}",  # exact, as fal writes it
        "attempts": outcome.attempts,
        "elapsed": round(outcome.elapsed, 6),
        "replayed": outcome.replayed,
        "files": [_file(file, folder) for file in outcome.files],
    }


def bad_row_document(row: BadRow) -> dict[str, Any]:
    """A row that is no input."""
    return {"line": row.line, "ok": False, "error": {"type": "BadRow", "message": row.reason}}


def _output(output: Any, *, saved: bool) -> Any:
    if not isinstance(output, bytes):
        return output
    content = {} if saved else {"base64": b64encode(output).decode()}
    return {"bytes": len(output), **content}


def _error(error: FalError) -> dict[str, Any]:
    facts = {
        "type": type(error).__name__,
        "message": error.what,
        "advice": error.advice,
        "status": error.status,
        "error_type": error.error_type,
        "details": [
            {"path": detail.path, "type": detail.type, "msg": detail.msg}
            for detail in error.details
        ],
    }
    return {name: value for name, value in facts.items() if value not in (None, [], "")}


def _file(file: SavedFile, folder: Path) -> dict[str, Any]:
    if file.path is None:
        url = None if file.url.startswith("data:") else file.url
        return {"path": None, "url": url, "error": None if file.error is None else file.error.what}
    path = Path(os.path.relpath(file.path, folder)).as_posix()
    return {"path": path, "bytes": file.size, "content_type": file.content_type}
