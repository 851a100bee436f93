"""Answers, handles and files as the JSON text a journal keeps, and back. Bodies are kept as they are.

On the path of every item: built by hand, and by the fast encoder wherever that says the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from fal_async.batch.journal.records import Answer
from fal_async.batch.outcome import SavedFile
from fal_async.errors import Billing
from fal_async.protocol.messages import Headers

__all__ = [
    "pack_answer",
    "pack_files",
    "pack_handle",
    "unpack_answer",
    "unpack_files",
    "unpack_json",
]

_fast: Final = msgspec.json.Encoder().encode
_fast_back: Final = msgspec.json.Decoder().decode


def _pack(value: Any) -> bytes:
    try:
        return _fast(value)
    except UnicodeEncodeError:  # header bytes that are no UTF-8 come as lone surrogates
        return json.dumps(value).encode("ascii")


def unpack_json(text: str) -> Any:
    """What was packed here."""
    try:
        return _fast_back(text)
    except msgspec.DecodeError:  # lone surrogates, NaN: not JSON, and kept all the same
        return json.loads(text)


def pack_answer(answer: Answer) -> bytes:
    """All of an answer but its body, its files and whether it succeeded."""
    headers = answer.headers
    facts: dict[str, Any] = {
        "status": answer.status,
        "request_id": answer.request_id,
        "attempts": answer.attempts,
        "elapsed": answer.elapsed,
        "billing": answer.billing.value,
        "billable_units": answer.billable_units,
        "headers": headers if type(headers) is dict else dict(headers.items()),
    }
    if answer.error is None:
        return _pack(facts)
    facts["error"] = answer.error
    return json.dumps(facts, default=repr).encode("ascii")  # the fast one would make NaN null


def unpack_answer(
    text: str, body: bytes, *, succeeded: bool, files: tuple[SavedFile, ...]
) -> Answer:
    """The answer that was packed into ``text``."""
    facts = unpack_json(text)
    return Answer(
        succeeded=succeeded,
        status=facts["status"],
        headers=Headers(facts["headers"]),
        body=body,
        request_id=facts["request_id"],
        attempts=facts["attempts"],
        elapsed=facts["elapsed"],
        billing=Billing(facts["billing"]),
        billable_units=facts["billable_units"],
        error=facts.get("error"),
        files=files,
    )


def pack_handle(handle: Mapping[str, str]) -> str:
    """The facts of a handle."""
    return _pack(dict(handle)).decode()


def pack_files(files: Iterable[SavedFile]) -> str:
    """Saved files; of a file that the output holds by value, no more than that it does."""
    return json.dumps(
        [
            {
                "url": "data:" if file.url.startswith("data:") else file.url,
                "path": None if file.path is None else str(file.path),
                "size": file.size,
                "content_type": file.content_type,
            }
            for file in files
        ]
    )


def unpack_files(text: str | None) -> tuple[SavedFile, ...]:
    """The files that were packed into ``text``; none if there is none."""
    if text is None:
        return ()
    return tuple(
        SavedFile(**{**facts, "path": None if facts["path"] is None else Path(facts["path"])})
        for facts in json.loads(text)
    )
