"""All measurements one after another, and the README's tables: ``python -m benchmarks``, four minutes."""

from __future__ import annotations

import sys

from benchmarks import imports, limit, throughput
from benchmarks.reporting import parser, tell

if __name__ == "__main__":
    options = parser("All measurements.").parse_args()
    sys.exit(
        tell(
            {
                "throughput": throughput.measure(),
                "limit": limit.measure(),
                "imports": imports.measure(),
            },
            as_json=options.json,
        )
    )
