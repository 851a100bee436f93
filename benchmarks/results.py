"""The file of results: of each measurement what was found, where, when and with which versions.

Measurements go into it one by one, so that one may be repeated without the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs
import cattrs

from benchmarks.figures import Target

__all__ = ["HOME", "Part", "dumped", "in_order", "merged", "read", "write"]

#: Where the results that the documentation shows are kept, and what is made of them.
HOME: Final = Path(__file__).parents[1] / "docs" / "_static" / "numbers"

_ORDER: Final = (
    "throughput",
    "sweep",
    "limit",
    "slots",
    "queue",
    "durations",
    "batch",
    "files",
    "streaming",
    "imports",
    "kill",
    "soak",
)

#: What of a float is kept: more is noise.
_DIGITS: Final = 6


@attrs.frozen(kw_only=True)
class Part:
    """One measurement.

    :ivar text: its figures as it printed them.
    :ivar measured: its report, an attrs class, as plain JSON.
    :ivar quick: whether it was the form that only shows that it works.
    """

    machine: str
    versions: dict[str, str]
    date: str
    quick: bool
    text: str
    targets: list[Target]
    measured: dict[str, Any]

    @classmethod
    def of(cls, report: Any, **facts: Any) -> Self:
        """Of a report; ``facts`` are the other fields."""
        return cls(measured=_rounded(attrs.asdict(report)), **facts)


def read(path: Path) -> dict[str, Part]:
    """All parts of a file; none, if it is not there."""
    if not path.exists():
        return {}
    return cattrs.structure(json.loads(path.read_text(encoding="utf-8")), dict[str, Part])


def merged(old: Mapping[str, Part], new: Mapping[str, Part]) -> dict[str, Part]:
    """The new ones, and of the old ones those that were not measured again."""
    return {**old, **new}


def in_order(parts: Mapping[str, Part]) -> dict[str, Part]:
    """The calls first, those that are new here last."""
    places = {name: place for place, name in enumerate(_ORDER)}
    return {
        name: parts[name] for name in sorted(parts, key=lambda name: (places.get(name, 99), name))
    }


def write(path: Path, parts: Mapping[str, Part]) -> None:
    """Put them into a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(dumped(parts), encoding="utf-8")
    beside.replace(path)


def dumped(parts: Mapping[str, Part]) -> str:
    """As JSON, a line for each part."""
    lines = (
        f"{json.dumps(name)}: {json.dumps(attrs.asdict(part), separators=(',', ':'))}"
        for name, part in in_order(parts).items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
