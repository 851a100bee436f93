"""The demo without its looks: an emulator, many prompts at once, every image saved and looked at."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Self

import attrs

from fal_async.cli.saving import Saved, Saver, SavingError
from fal_async.emulator import Emulator, default_models
from fal_async.errors import FalError
from fal_async.policy.concurrency import Limits
from fal_async.protocol.media import find_media
from fal_async.session import AsyncFal

__all__ = ["MODEL", "Demonstration", "Report", "read_prompts"]

MODEL: Final = "fal-ai/fast-sdxl"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xaeB\x60\x82"


def read_prompts(path: Path | None) -> list[str]:
    """The prompts of a file, one a line, comments left out; None: those that come with the package.

    :raises OSError: if it cannot be read.
    :raises UnicodeDecodeError: if it is not UTF-8.
    """
    # `prompts.txt` of this package is `examples/prompts.txt`: a link here, a file in what is installed.
    source = resources.files("fal_async.cli") / "prompts.txt" if path is None else path
    lines = (line.strip() for line in source.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@attrs.frozen(kw_only=True)
class Report:
    """What became of it all. Times in seconds, from the first call on."""

    calls: int
    answered: int
    answers_in: float
    """Until the last answer was there."""
    ideal: float
    """As little as that could have taken, had the limit been known from the start."""
    saved_in: float
    """Until the last image was saved."""
    limit: int
    learned: int | None
    refused: int
    executed: int
    billed: int
    units: str
    images: int
    size: int
    folder: Path
    failures: tuple[FalError | SavingError, ...]


class Demonstration:
    """Runs once; its numbers can be read meanwhile.

    :param limit: the account's limit, which the client is not told.
    :param seconds: what a model takes for an image.
    """

    def __init__(self, prompts: Sequence[str], *, limit: int, seconds: float, folder: Path) -> None:
        self.prompts = prompts
        self.limit = limit
        self.seconds = seconds
        self.folder = folder
        self.answered = 0
        self.saved: list[Saved] = []
        self.failures: list[FalError | SavingError] = []
        self._answers_in = 0.0
        # The 429 does not name the limit: the client must find it by itself.
        self.emulator = Emulator(
            limit=limit,
            name_limit=False,
            models=[attrs.evolve(m, run_time=seconds) for m in default_models() if m.id == MODEL],
        )
        self._fal: AsyncFal | None = None

    async def __aenter__(self) -> Self:
        """Start the emulator; the folder must exist."""
        await self.emulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.emulator.stop()

    @property
    def limits(self) -> Limits | None:
        """What the client has learned so far."""
        return None if self._fal is None else self._fal.limits

    async def run(self) -> Report:
        """Call, and save. Failures are in the report."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with (
            # A key of its own, so that the user's is not used: an emulator takes any.
            AsyncFal("demo:demo", hosts=self.emulator.hosts) as fal,
            Saver(self.folder, local=True) as saver,
            asyncio.TaskGroup() as tasks,
        ):
            self._fal = fal
            for number, prompt in enumerate(self.prompts, 1):
                tasks.create_task(self._make(fal, saver, number, prompt, began))
        return self._report(loop.time() - began)

    async def _make(
        self, fal: AsyncFal, saver: Saver, number: int, prompt: str, began: float
    ) -> None:
        try:
            output = await fal.run(
                MODEL, {"prompt": prompt, "seed": number, "format": "png"}, expire="1h"
            )
        except FalError as error:
            self.failures.append(error)
            return
        self.answered += 1
        self._answers_in = asyncio.get_running_loop().time() - began
        try:
            await self._save(saver, output, f"{number:02}-{_slug(prompt)}")
        except SavingError as error:
            self.failures.append(error)

    async def _save(self, saver: Saver, output: Any, stem: str) -> None:
        for media in find_media(output):
            saved = await saver.save(media, stem)
            if not await asyncio.to_thread(_is_whole_png, saved.path):
                raise SavingError(f"{saved.path.name}: not a whole PNG")
            self.saved.append(saved)

    def _report(self, elapsed: float) -> Report:
        calls, limits, ledger = len(self.prompts), self.limits, self.emulator.ledger
        return Report(
            calls=calls,
            answered=self.answered,
            answers_in=self._answers_in,
            ideal=math.ceil(calls / self.limit) * self.seconds,
            saved_in=elapsed,
            limit=self.limit,
            learned=None if limits is None else limits.learned,
            refused=self.emulator.refused,
            executed=len(ledger),
            billed=ledger.billed(),
            units=f"{ledger.units().normalize():f}",
            images=len(self.saved),
            size=sum(saved.size for saved in self.saved),
            folder=self.folder,
            failures=tuple(self.failures),
        )


def _slug(prompt: str) -> str:
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    return "-".join(words[:5])[:48] or "image"


def _is_whole_png(path: Path) -> bool:
    content = path.read_bytes()
    return content.startswith(_PNG) and content.endswith(_PNG_END)
