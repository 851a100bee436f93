"""The machine under the measurement: its cores, its limits, its name.

What is set here is set for the calling process only.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fal_async._version import VERSION

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = [
    "cores",
    "describe",
    "open_files",
    "peak_memory",
    "pin",
    "resident_memory",
    "today",
    "versions",
]

_STATUS = Path("/proc/self/status")
#: As many as there were before anything was kept on one of them.
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cores() -> tuple[int | None, int | None]:
    """A core for the client and another one for the server; (None, None) where that cannot be had."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def open_files() -> int:
    """Raise the number of files that may be open as far as is allowed; how many that is."""
    if resource is None:
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def resident_memory() -> int | None:
    """Bytes of memory in use now; None where the system does not say."""
    return _status("VmRSS")


def peak_memory() -> int | None:
    """The most bytes of memory that were in use since the process began; None as above."""
    return _status("VmHWM")


def _status(field: str) -> int | None:
    if not _STATUS.exists():
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def versions() -> dict[str, str]:
    """What is compared, and what it stands on."""
    return {
        "Python": platform.python_version(),
        "fal-async": VERSION,
        **{name: version(name) for name in ("aiohttp", "fal-client", "httpx", "msgspec", "cattrs")},
    }


def describe() -> str:
    """The machine in a line."""
    release = ".".join(platform.release().split(".")[:2])
    return f"{_CORES} cores of {_processor()}, {platform.system()} {release}"


def today() -> str:
    """The day on which it is measured, in UTC."""
    return datetime.now(UTC).date().isoformat()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
