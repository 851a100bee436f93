"""Many prompts at once: as many in progress as the account lets through, and no answer lost.

python examples/many_prompts.py                                      # needs FAL_KEY
FAL_EMULATOR_URL=http://127.0.0.1:8765 python examples/many_prompts.py   # costs nothing

Kill it and run it again: what was answered comes from many_prompts.sqlite, and is not paid for twice.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from fal_async import AsyncFal, Billing, Failed, ImageOutput, Succeeded

PROMPTS = Path(__file__).with_name("prompts.txt")


async def main() -> None:
    """Fan the prompts out, and tell what became of each."""
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    inputs = ({"prompt": line} for line in lines if line and not line.startswith("#"))
    images = 0
    failures: list[Failed] = []
    async with (
        AsyncFal() as fal,
        fal.map(
            "fal-ai/fast-sdxl",
            inputs,
            result_type=ImageOutput,
            journal="many_prompts.sqlite",
            expire="1h",
        ) as outcomes,
    ):
        async for outcome in outcomes:
            match outcome:
                case Succeeded(input=given, output=output):
                    images += len(output.images)
                    print(f"{given['prompt'][:44]:<44}  {output.images[0].url}")
                case Failed(input=given, error=error):
                    failures.append(outcome)
                    print(f"{given['prompt'][:44]:<44}  {error}")
    unsure = [failed for failed in failures if failed.billing is not Billing.NOT_BILLED]
    print(f"{images} images; {len(failures)} failed, {len(unsure)} maybe billed")


if __name__ == "__main__":
    asyncio.run(main())
