"""Chance that can be repeated: numbers, ids and names drawn from a seed and what they are for.

Pure. Nothing here remembers a draw: the same seed and the same labels give the same result, in any order.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

__all__ = ["Chance", "digest"]

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_ANIMALS: Final = (
    "elephant kangaroo koala lion monkey panda penguin rabbit tiger zebra".split()  # noqa: SIM905
)


def digest(*labels: object) -> bytes:
    """32 bytes that depend on the labels and nothing else."""
    text = "\x1f".join(str(label) for label in labels)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()


class Chance:
    """Draws of one emulator; ``seed`` is any number."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fraction(self, *labels: object) -> float:
        """A number from 0 (included) to 1 (excluded)."""
        return (self.integer(*labels) >> 11) / (1 << 53)

    def integer(self, *labels: object) -> int:
        """An unsigned number of 64 bits, as fal's seeds are (PROTOCOL 16)."""
        return int.from_bytes(digest(self.seed, *labels)[:8], "big")

    def uuid(self, *labels: object) -> str:
        """An id in the form of a random UUID."""
        return str(uuid.UUID(bytes=digest(self.seed, *labels)[:16], version=4))

    def file_name(self, *labels: object) -> str:
        """``{animal}/{21 characters}``, as objects are named (PROTOCOL 1, 3)."""
        raw = digest(self.seed, *labels)
        return f"{_ANIMALS[raw[0] % len(_ANIMALS)]}/{''.join(_ALPHABET[b & 63] for b in raw[1:22])}"
