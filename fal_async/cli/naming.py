"""What to call a single file on disk, where no template says it. Pure.

Names come from strangers: they are taken apart here, and only what no file system minds is left of them.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

__all__ = ["safe_stem"]

_STEM_MAX: Final = 80
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
#: Names that Windows keeps for devices, whatever the extension.
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def safe_stem(name: str, fallback: str) -> str:
    """A file's name without its extension that is safe in any folder of any system.

    ``../../etc/passwd`` becomes ``passwd``; what is left empty becomes ``fallback``.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    stem = _UNSAFE.sub("-", last.removesuffix(_suffix(last)))[:_STEM_MAX].strip(".-_")
    if not stem:
        return fallback
    return f"_{stem}" if _DEVICES.fullmatch(stem) else stem


def _suffix(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).suffix
