"""All measurements one after another, and the README's tables: ``python -m benchmarks``, twenty minutes.

Batches that are killed are measured apart, by ``python -m benchmarks.kill``.
"""

from __future__ import annotations

import sys

from benchmarks import batch, files, imports, limit, queue, streaming, throughput
from benchmarks.reporting import parser, tell

if __name__ == "__main__":
    options = parser("All measurements.").parse_args()
    sys.exit(
        tell(
            {
                "throughput": throughput.measure(),
                "limit": limit.measure(),
                "queue": queue.measure(),
                "batch": batch.measure(),
                "files": files.measure(),
                "streaming": streaming.measure(),
                "imports": imports.measure(),
            },
            as_json=options.json,
        )
    )
