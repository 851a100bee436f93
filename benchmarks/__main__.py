"""All measurements one after another, and the README's tables: ``python -m benchmarks``, 22 minutes.

Each runs in a process of its own, so that none has the memory, the modules or the core of another. One that
fails does not keep the others from being measured.

Batches that are killed are measured apart, by ``python -m benchmarks.kill``, and so is a long mixed load with
faults, by ``python -m benchmarks.soak``. Given the same file of results, they go beside the others.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import attrs

from benchmarks.page import RESULTS, write_pages
from benchmarks.reporting import STDOUT, parser, say, told
from benchmarks.results import dumped, in_order, read, write

#: Each with what makes it quick.
_ALL: Final = {
    "throughput": ["--quick"],
    "sweep": ["--quick"],
    "limit": ["--quick"],
    "slots": ["--quick"],
    "queue": ["--quick"],
    "durations": ["--quick"],
    "batch": ["--scale", "0.05"],
    "files": ["--quick"],
    "streaming": ["--quick"],
    "imports": ["--quick"],
}


def _measure(results: Path, *, quick: bool) -> list[str]:
    """All into a file; the names of those that failed."""
    failed = []
    for name, faster in _ALL.items():
        say(f"== {name}")
        run = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(results)]
        before = read(results).get(name)
        done = subprocess.run(
            [*run, *(faster if quick else [])], check=False, stdout=subprocess.DEVNULL
        )
        parts = read(results)
        if done.returncode not in {0, 1} or parts.get(name) == before:
            failed.append(name)
        elif quick:
            write(results, {**parts, name: attrs.evolve(parts[name], quick=True)})
    return failed


def main() -> int:
    made = parser("All measurements.", quick=True)
    made.add_argument(
        "--page",
        action="store_true",
        help="keep them as the results that the documentation shows, and make its tables and plots",
    )
    options = made.parse_args()
    if options.page and options.json is not None:
        made.error("--page has a file of its own")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        if options.page:
            results = RESULTS
        elif options.json not in {None, STDOUT}:
            results = Path(options.json)
        failed = _measure(results, quick=options.quick)
        parts = {name: part for name, part in in_order(read(results)).items() if name in _ALL}
    print(dumped(parts) if options.json == STDOUT else told(parts))
    if options.page:
        write_pages()
    for name in failed:
        say(f"FAILED: {name}")
    missed = [target for part in parts.values() for target in part.targets if not target.met]
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
