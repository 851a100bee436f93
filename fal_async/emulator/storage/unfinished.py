"""Uploads that have begun: their parts, and whether these make a file (PROTOCOL 11, C to E). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from fal_async.emulator.objects import Came
from fal_async.emulator.pieces import Pieces
from fal_async.protocol.multipart import Part
from fal_async.protocol.upload_facts import UploadFacts

__all__ = ["PART_NUMBER_MAX", "Unfinished"]

#: As S3 has it; what fal has is not known.
PART_NUMBER_MAX: Final = 10_000


@attrs.define
class Unfinished:
    """An upload in parts, or one to a presigned URL.

    :ivar path: of the file that it will be.
    :ivar signature: of its presigned URL; empty where a token is asked for.
    :ivar expires: when its presigned URL does.
    :ivar completed: with which parts.
    """

    path: str
    facts: UploadFacts
    owner: str
    came: Came
    signature: str = attrs.field(default="", repr=False)
    expires: float | None = None
    parts: dict[int, Pieces] = attrs.field(factory=dict, repr=False)
    completed: tuple[Part, ...] | None = None

    def receive(self, number: int, content: Pieces) -> None:
        """A part has arrived; it takes the place of an earlier one of that number."""
        self.parts[number] = content

    def objection(self, listed: Sequence[Part], *, sorted_only: bool) -> str | None:
        """Why these parts do not make the file; None if they do."""
        if not listed:
            return "There are no parts"
        numbers = [part.number for part in listed]
        if sorted_only and numbers != sorted(numbers):
            return "The parts are not in ascending order"
        if len(set(numbers)) < len(numbers):
            return "A part is listed twice"
        for part in listed:
            known = self.parts.get(part.number)
            if known is None:
                return f"Part {part.number} was not uploaded"
            if known.etag != part.etag:
                return f"The ETag of part {part.number} is another"
        missing = sorted(set(range(1, max(self.parts) + 1)) - set(numbers))
        return f"Part {missing[0]} is missing" if missing else None

    def complete(self, listed: Sequence[Part]) -> Pieces:
        """The file. The upload lets go of its parts."""
        whole = Pieces.in_a_row(self.parts[number] for number in sorted(self.parts))
        self.completed = tuple(sorted(listed))
        self.parts.clear()
        return whole
