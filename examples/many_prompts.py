"""Many prompts at once: start them all, the client finds out how many may be in progress.

python examples/many_prompts.py                                      # needs FAL_KEY
FAL_EMULATOR_URL=http://127.0.0.1:8765 python examples/many_prompts.py   # costs nothing
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from fal_async import AsyncFal, Billing, FalError, ImageOutput

PROMPTS = Path(__file__).with_name("prompts.txt")


async def make(fal: AsyncFal, prompt: str) -> ImageOutput | FalError:
    """One call. Its failure is a result, too: an exception would cancel its siblings, paid as they are."""
    try:
        return await fal.run(
            "fal-ai/fast-sdxl", {"prompt": prompt}, expire="1h", result_type=ImageOutput
        )
    except FalError as error:
        return error


async def main() -> None:
    """Fan the prompts out, and tell what became of each."""
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    prompts = [line for line in lines if line and not line.startswith("#")]
    async with AsyncFal() as fal, asyncio.TaskGroup() as group:
        tasks = [group.create_task(make(fal, prompt)) for prompt in prompts]
    results = [task.result() for task in tasks]
    for prompt, result in zip(prompts, results, strict=True):
        what = result if isinstance(result, FalError) else result.images[0].url
        print(f"{prompt[:44]:<44}  {what}")
    failures = [result for result in results if isinstance(result, FalError)]
    unsure = [error for error in failures if error.billing is not Billing.NOT_BILLED]
    print(
        f"{len(results) - len(failures)} images; {len(failures)} failed, {len(unsure)} maybe billed"
    )


if __name__ == "__main__":
    asyncio.run(main())
