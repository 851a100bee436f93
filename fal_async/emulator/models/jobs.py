"""``emulator/work``: a long job that says how far it is and, if told to, stops at a cancel. Ours, not fal's.

======================  ============================================================
``seconds``             how long it works; 1
``steps``               in how many steps, each of which it logs; 4
``cancellable``         whether it stops when its request is cancelled (499); false
``fail_first``          how many attempts fail first, as if their GPU had broken; 0
======================  ============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fal_async.emulator.model import Call, Model
from fal_async.emulator.models.checking import Fields
from fal_async.emulator.raising import GpuFaultError

__all__ = ["job_models"]


async def _work(content: Mapping[str, Any], call: Call) -> dict[str, Any]:
    fields = Fields(content)
    steps = fields.integer("steps", 4, ge=1) or 1
    cancellable = fields.flag("cancellable", default=False)
    failing = fields.integer("fail_first", 0, ge=0) or 0
    seconds = content.get("seconds", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        fields.reject("seconds", "float_type", "Input should be a valid number", given=seconds)
    fields.done()
    for step in range(1, steps + 1):
        await call.sleep(seconds / steps, cancellable=cancellable)
        call.log(f"step {step} of {steps}")
    if call.attempt <= failing:
        call.log("the GPU has fallen off the bus", "ERROR")
        raise GpuFaultError
    return {"worked": seconds, "attempt": call.attempt}


def job_models() -> list[Model]:
    """``emulator/work``."""
    return [Model(id="emulator/work", function=_work, run_time=0.0)]
