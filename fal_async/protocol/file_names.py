"""Names of files come from strangers: what is left of them here is safe in any folder of any system. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from fal_async.protocol.media import Media
from fal_async.protocol.media_types import extension_of, type_of_name

__all__ = ["harmless", "name_for", "safe_name"]

_FORBIDDEN: Final = re.compile(r'[/\\<>:"|?*]')
#: Names that Windows keeps for devices, whatever the extension.
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
#: Bytes of a name: systems take 255, and a number may come in front of the extension.
_BYTES_MAX: Final = 200


def safe_name(name: str) -> str:
    """The last step of a path, without what any file system minds; empty if nothing is left.

    ``../../etc/passwd`` becomes ``passwd``; letters of any script, and blanks within, stay.
    """
    last = re.split(r"[/\\]", name)[-1]
    clean = harmless(last[: 4 * _BYTES_MAX]).strip(" ").lstrip(".").strip(" ")
    clean = _cut(clean.rstrip(". "))
    return f"_{clean}" if _DEVICES.fullmatch(clean) else clean


def harmless(text: str) -> str:
    """A text without separators of paths, control characters and what no file system takes, in NFC."""
    return "".join(map(_kept, _FORBIDDEN.sub("-", unicodedata.normalize("NFC", text))))


def _kept(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in {"Zs", "Zl", "Zp"}:
        return " "
    if kind == "Cf":  # marks of direction, and such: not to be seen, and a way to deceive
        return ""
    return "-" if kind.startswith("C") else character


def _cut(name: str) -> str:
    if len(name.encode()) <= _BYTES_MAX:
        return name
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 16:
        stem, dot, ending = name, "", ""
    room = _BYTES_MAX - len((dot + ending).encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + dot + ending


def name_for(media: Media, served_as: str | None) -> str:
    """What to call a file of an output on disk: as it is called, with an extension that fits.

    :param served_as: the media type that its server names.
    """
    name = safe_name(media.name) or re.sub(r"\W+", "-", media.path).strip("-_") or "file"
    if type_of_name(name) is not None:
        return name
    ending = extension_of(name, media.content_type, served_as)
    return name if ending == "bin" and "." in name else f"{name}.{ending}"
