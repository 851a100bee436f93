"""Checking a model's input field by field, with the words that Pydantic has for what is wrong.

Pure. The framework of fal's applications passes those words on (PROTOCOL 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fal_async.emulator.raising import InvalidInputError
from fal_async.errors import ErrorDetail

__all__ = ["Fields"]


class Fields:
    """Reads one input; collects what is wrong, and raises it all at once in :meth:`done`.

    Fields nobody asks for are ignored, as the framework does.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        self._wrong: list[tuple[ErrorDetail, Any]] = []

    def text(self, name: str, default: str | None = None) -> str:
        """A string; required if there is no default."""
        if name not in self._content and default is None:
            self.reject(name, "missing", "Field required", given=self._content)
            return ""
        value = self._content.get(name, default)
        if not isinstance(value, str):
            self.reject(name, "string_type", "Input should be a valid string", given=value)
            return ""
        return value

    def integer(
        self, name: str, default: int | None, *, ge: int | None = None, le: int | None = None
    ) -> int | None:
        """A whole number within bounds; null is the default."""
        value = self._content.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.reject(name, "int_type", "Input should be a valid integer", given=value)
            return default
        if ge is not None and value < ge:
            sentence = f"Input should be greater than or equal to {ge}"
            self.reject(name, "greater_than_equal", sentence, given=value, ge=ge)
        elif le is not None and value > le:
            sentence = f"Input should be less than or equal to {le}"
            self.reject(name, "less_than_equal", sentence, given=value, le=le)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._content.get(name, default)
        if not isinstance(value, bool):
            self.reject(name, "bool_type", "Input should be a valid boolean", given=value)
            return default
        return value

    def one_of(self, name: str, words: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self._content.get(name, default)
        if value not in words:
            expected = " or ".join(repr(word) for word in words)
            sentence = f"Input should be {expected}"
            self.reject(name, "literal_error", sentence, given=value, expected=expected)
            return default
        return str(value)

    def reject(self, name: str, kind: str, msg: str, *, given: Any, **ctx: object) -> None:
        """Note that a field is wrong; ``name`` may go deeper by dots."""
        detail = ErrorDetail(loc=("body", *name.split(".")), msg=msg, type=kind, ctx=ctx)
        self._wrong.append((detail, given))

    def done(self) -> None:
        """Raise what is wrong, if anything is.

        :raises InvalidInputError: with every entry.
        """
        if self._wrong:
            raise InvalidInputError(self._wrong)
