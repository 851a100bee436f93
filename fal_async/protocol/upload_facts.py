"""What an upload says of its file: name, media type, lifetime and readers (PROTOCOL 11).

Both directions. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire
from fal_async.protocol.lifecycle import LifecyclePreference, build_lifecycle, parse_lifecycle

__all__ = [
    "UploadFacts",
    "build_file_name",
    "build_lifecycle_headers",
    "build_upload_headers",
    "file_name_of",
    "is_header_value",
    "parse_file_name",
    "parse_lifecycle_headers",
    "parse_upload_headers",
    "readable_type",
]

# --- names --------------------------------------------------------------------------------------------

_SEPARATOR: Final = re.compile(r"[/\\]")
_UNSAYABLE: Final = re.compile(r"[^\x20-\x7e]+|%(?=[0-9A-Fa-f]{2})|^ +| +$")
#: Ours: a name of 255 bytes, as long as file systems have them, is at most three times that long.
_NAME_MAX: Final = 1024


def file_name_of(name: str) -> str | None:
    """The last step of what may be a path; None if that names nothing: ``""``, ``"."``, ``".."``.

    Directories, and steps up, are nobody's business there. Lone surrogates, which neither JSON nor UTF-8
    can say, become question marks.
    """
    last = _SEPARATOR.split(name)[-1].encode("utf-8", "replace").decode()
    return None if last.strip(" .") == "" else last


def build_file_name(name: str) -> str | None:
    """The value of ``X-Fal-File-Name``; None if there is no name to send.

    The sheet has the header and not its encoding; official clients send the name as it is, and cannot send
    one that is no ASCII. So a name of printable ASCII goes as it is, quotes and blanks within included.
    Everything else is percent-encoded as UTF-8: other letters, control characters (so that a line break
    cannot end the header), blanks at the ends, and a percent sign that would look like such a code.

    :raises InputError: for names of more than a kilobyte.
    """
    last = file_name_of(name)
    if last is None:
        return None
    value = _UNSAYABLE.sub(lambda found: _percent(found[0]), last)
    if len(value) > _NAME_MAX:
        raise InputError("file_name is too long to be sent: a kilobyte at most")
    return value


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def parse_file_name(value: str) -> str | None:
    """Read the header, in whatever of the two ways it was written."""
    return file_name_of(unquote(value, errors="replace"))


# --- what every upload says of its file ---------------------------------------------------------------

_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def is_header_value(text: str) -> bool:
    """Whether a header can say it: printable ASCII, no blanks at the ends."""
    return _HEADER_VALUE.fullmatch(text) is not None


def _check_content_type(_: object, __: object, value: str) -> None:
    if not isinstance(value, str) or not is_header_value(value):
        raise InputError("content_type is a media type such as image/png")


def _check_name(_: object, __: object, value: str | None) -> None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"file_name is a string, not {type(value).__name__}")


@attrs.frozen
class UploadFacts:
    """What an upload says of its file.

    :raises InputError: for a content type that no header can have.
    """

    content_type: str = attrs.field(
        default="application/octet-stream", validator=_check_content_type
    )
    file_name: str | None = attrs.field(default=None, validator=_check_name)
    lifecycle: LifecyclePreference | None = None


def build_lifecycle_headers(lifecycle: LifecyclePreference | None) -> dict[str, str]:
    """A lifecycle under both of its names; nothing where there is nothing to say."""
    value = None if lifecycle is None else build_lifecycle(lifecycle)
    names = (wire.LIFECYCLE_UPLOAD, wire.LIFECYCLE)
    return {} if value is None else dict.fromkeys(names, value)


def build_upload_headers(facts: UploadFacts) -> dict[str, str]:
    """The headers of an upload to the CDN, in one piece or in parts."""
    headers = {"Content-Type": facts.content_type}
    name = None if facts.file_name is None else build_file_name(facts.file_name)
    if name is not None:
        headers[wire.FILE_NAME] = name
    return headers | build_lifecycle_headers(facts.lifecycle)


def parse_upload_headers(headers: Mapping[str, str]) -> UploadFacts:
    """Read them, tolerantly: what cannot be read was not said."""
    name = headers.get(wire.FILE_NAME)
    return UploadFacts(
        readable_type(headers.get("Content-Type")),
        None if name is None else parse_file_name(name),
        parse_lifecycle_headers(headers),
    )


def readable_type(value: object) -> str:
    """A content type as it was said; that of any bytes where none was."""
    return (
        value if isinstance(value, str) and is_header_value(value) else "application/octet-stream"
    )


def parse_lifecycle_headers(headers: Mapping[str, str]) -> LifecyclePreference | None:
    """Read it under either name: that which calls are sent with, too, wins. None if neither can be read."""
    text = headers.get(wire.LIFECYCLE) or headers.get(wire.LIFECYCLE_UPLOAD)
    return None if text is None else parse_lifecycle(text)
