"""Samples: what went into a model and what came out, as JSON files to read, edit, commit and replay.

A sample is ``{"model": …, "input": …, "output": …}``, with a ``"status"`` if it is not 200. Whoever makes
the calls that are recorded is passed in.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from fal_async.emulator.answers import Answer
from fal_async.emulator.model import Model
from fal_async.emulator.raising import AppError
from fal_async.errors import InputError, StatusError
from fal_async.protocol.model import parse_model_id

__all__ = ["Caller", "Replay", "Sample", "read_samples", "record", "write_sample"]

_NEEDED: Final = frozenset(("model", "input", "output"))
_KNOWN: Final = _NEEDED | {"status"}
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9.]+")


@attrs.frozen
class Sample:
    """One call, and its answer.

    :param output: what the model gave; of a failure, the body of the answer.
    :param status: of the answer.
    """

    model: str
    input: Any = attrs.field(repr=False)
    output: Any = attrs.field(repr=False)
    status: int = 200


class Caller(Protocol):
    """What makes a call: an ``AsyncFal``."""

    async def run(self, model: str, input: Any, /, **options: Any) -> Any:
        """Call a model."""
        ...


def read_samples(place: str | os.PathLike[str]) -> list[Sample]:
    """The samples of a JSON file, or of each ``*.json`` in a folder and its subfolders, by name.

    A file holds one sample, or a list of them.

    :raises ValueError: if there is none, or one is not what it should be; it names the file.
    """
    path = Path(place)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    found = [sample for file in files for sample in _read(file)]
    if not found:
        raise ValueError(f"no samples in {path}: no JSON files, or empty ones")
    return found


def _read(file: Path) -> list[Sample]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"no samples in {file}: there is no such file or folder") from None
    except ValueError as error:
        raise ValueError(f"{file}: this is no JSON: {error}") from error
    return [_sample(entry, file) for entry in (content if isinstance(content, list) else [content])]


def _sample(entry: Any, file: Path) -> Sample:
    if not isinstance(entry, dict) or not _NEEDED <= set(entry) <= _KNOWN:
        raise ValueError(
            f'{file}: a sample is {{"model": …, "input": …, "output": …}}, and "status" if it is not 200'
        )
    sample = Sample(**entry)
    if type(sample.status) is not int or not 200 <= sample.status <= 599:
        raise ValueError(f"{file}: the status of a sample is a number from 200 to 599")
    try:
        parse_model_id(sample.model)
    except (InputError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from error
    return sample


def write_sample(
    folder: str | os.PathLike[str], model: str, input: Any, output: Any, *, status: int = 200
) -> Path:
    """Keep one call as a JSON file, in a folder that is made if need be; the file.

    Its name is made of the model and of the input, so that the same call is kept once, as it was last.

    :raises TypeError: for what JSON cannot say.
    """
    sample: dict[str, Any] = {"model": model, "input": input, "output": output}
    if status != 200:
        sample["status"] = status
    text = json.dumps(sample, indent=2, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # half a character, which only an escape can say
        content = json.dumps(sample, indent=2).encode()
    mark = hashlib.sha256(_canonical(input).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    path = _made(folder) / f"{_NOT_IN_A_NAME.sub('-', model)}-{mark}.json"
    path.write_bytes(content + b"\n")
    return path


def _made(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path


async def record(
    fal: Caller, folder: str | os.PathLike[str], model: str, input: Any, **options: Any
) -> Any:
    """Call a model for real, and keep what went in and what came out as a sample.

    :param fal: an ``AsyncFal``. What it calls is billed.
    :param input: plain JSON.
    :param options: those of ``AsyncFal.run``, but for ``result_type``.
    :returns: the output; if it is no JSON, it is not kept.
    :raises StatusError: as the call does; the answer is kept then, too, if its body is JSON.
    :raises TypeError: for an input that JSON cannot say, or a ``result_type``, before the call.
    :raises OSError: for a folder that cannot be made, before the call, or a file that cannot be written.
    """
    if "result_type" in options:
        raise TypeError("a sample is what the model gave, as plain JSON: there is no result_type")
    _canonical(input)
    _made(folder)
    try:
        output = await fal.run(model, input, **options)
    except StatusError as error:
        _keep_failure(folder, model, input, error)
        raise
    if not isinstance(output, bytes):
        write_sample(folder, model, input, output)
    return output


def _keep_failure(
    folder: str | os.PathLike[str], model: str, input: Any, error: StatusError
) -> None:
    if error.status is None or error.body is None:
        return
    try:
        body = json.loads(error.body)
    except ValueError:
        return
    write_sample(folder, model, input, body, status=error.status)


class Replay:
    """Answers calls from samples.

    :ivar missed: a sentence for each call that there was no sample for.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.missed: list[str] = []
        self._samples: dict[str, dict[str, Sample]] = {}
        for sample in samples:
            self._samples.setdefault(sample.model, {})[_canonical(sample.input)] = sample

    def models(self) -> list[Model]:
        """Each model that there are samples of."""
        return [
            Model(id=model, function=self._answering(model), takes_any=True)
            for model in self._samples
        ]

    def _answering(self, model: str) -> Callable[[Any], Any]:
        def answer(input: Any) -> Any:
            sample = self._samples[model].get(_canonical(input))
            if sample is None:
                raise AppError(400, self._miss(model, input))
            if sample.status == 200:
                return sample.output
            body = json.dumps(sample.output).encode()
            return Answer(body=body, content_type="application/json", status=sample.status)

        return answer

    def _miss(self, model: str, input: Any) -> str:
        """Tell whoever called, without what may be private; the list has the input, too."""
        samples = [sample.input for sample in self._samples[model].values()]
        sentence = f"there is no sample for this call of {model}"
        different = _different(input, samples)
        if different:
            sentence += f" (the nearest one differs in {', '.join(different)})"
        self.missed.append(f"{sentence}: {_short(_canonical(input))}")
        return sentence


def _different(input: Any, samples: list[Any]) -> list[str]:
    """The fields in which the sample most like it is different; none if no sample is like it."""
    if not isinstance(input, dict):
        return []
    each = [
        sorted(k for k in {*input, *sample} if k not in input or input[k] != sample.get(k, ...))
        for sample in samples
        if isinstance(sample, dict)
    ]
    return min(each, key=len, default=[])


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
