"""The tables and plots of the documentation, out of the file of results: ``python -m benchmarks.page``.

The README's table stands between two comments; the numbers page includes files. All of that is made of the
results that are kept in ``docs/_static/numbers`` and of nothing else, and a test compares. Plots need
matplotlib, which comes with the development dependencies; building the documentation does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.plots import plots
from benchmarks.results import HOME, Part, in_order, merged, read, write
from benchmarks.summary import Summary

__all__ = ["README", "RESULTS", "includes", "readme_with", "write_pages"]

RESULTS: Final = HOME / "results.json"
README: Final = HOME.parents[2] / "README.md"

_BEGIN: Final = "<!-- numbers: made by python -m benchmarks.page -->"
_END: Final = "<!-- /numbers -->"


def readme_with(readme: str, parts: Mapping[str, Part]) -> str:
    """The README with the table of these results."""
    before, found, rest = readme.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise ValueError(f"the README has no place for the numbers: {_BEGIN} … {_END}")
    return f"{before}{_BEGIN}\n{Summary(parts).markdown()}\n{_END}{after}"


def includes(parts: Mapping[str, Part]) -> dict[str, str]:
    """What the numbers page includes, by the names of the files."""
    summary = Summary(parts)
    return {
        "summary.txt": summary.list_table(),
        "elsewhere.txt": _blocks("throughput-", parts, summary, summary.elsewhere()),
        "kill.txt": _blocks("kill", parts, summary, summary.kills()),
        "soak.txt": _blocks("soak", parts, summary, summary.soak()),
        "targets.txt": summary.targets(),
        **{name: _blocks(name.removesuffix(".txt"), parts, summary) for name in _ALWAYS},
    }


#: Included, whether it was measured or not.
_ALWAYS: Final = tuple(
    f"{name}.txt"
    for name in (
        "batch",
        "durations",
        "files",
        "imports",
        "limit",
        "queue",
        "slots",
        "streaming",
        "sweep",
        "throughput",
    )
)


def _blocks(name: str, parts: Mapping[str, Part], summary: Summary, told: str = "") -> str:
    """All measurements of that name; where it ends in a dash, of those that begin with it."""
    found = [
        _block(of, part, summary)
        for of, part in in_order(parts).items()
        if of == name or (name.endswith("-") and of.startswith(name))
    ]
    return "\n".join([*([f"{told}\n"] if told else []), *found])


def _block(name: str, part: Part, summary: Summary) -> str:
    """What a measurement printed, and where, if that was not where most were made."""
    where = "" if summary.place(part) == summary.place() else f"{summary.place(part)}\n\n"
    lines = "\n".join(f"   {line}".rstrip() for line in part.text.splitlines())
    command = f"python -m benchmarks.{name.partition('-')[0]}"
    return f"{where}.. code-block:: text\n   :caption: {command}\n\n{lines}\n"


def write_pages(results: Path = RESULTS, home: Path = HOME, readme: Path = README) -> None:
    """Write it all."""
    parts = read(results)
    text = readme_with(readme.read_text(encoding="utf-8"), parts)
    readme.write_text(text, encoding="utf-8")
    plotted = Summary(parts).plotted()
    drawn = {} if plotted is None else plots(*plotted)
    for name, content in (*includes(parts).items(), *drawn.items()):
        (home / name).write_text(content, encoding="utf-8")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("more", nargs="*", type=Path, help="files of results to be put in first")
    parts = read(RESULTS)
    for path in made.parse_args().more:
        parts = merged(parts, read(path))
    write(RESULTS, parts)
    write_pages()


if __name__ == "__main__":
    main()
