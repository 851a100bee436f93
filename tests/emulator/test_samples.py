"""Calls that were recorded as JSON files are answered as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fal_async import AsyncFal, ModelError, StatusError
from fal_async.emulator import Answer, Emulator
from fal_async.emulator.raising import AppError
from fal_async.emulator.samples import Replay, Sample, read_samples, record, write_sample

MODEL = "fal-ai/fast-sdxl"


async def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        first = await record(fal, tmp_path, MODEL, {"prompt": "ein Bär"}, expire="1h")
        with pytest.raises(StatusError) as refused:
            await record(fal, tmp_path, MODEL, {"prompt": 5})
    assert len(read_samples(tmp_path)) == 2
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        replay = emulator.replay(tmp_path)
        assert await fal.run(MODEL, {"prompt": "ein Bär"}) == first
        assert await fal.run(MODEL, {"prompt": "ein Bär"}, durable=True) == first
        with pytest.raises(type(refused.value)) as again:
            await fal.run(MODEL, {"prompt": 5})
        assert again.value.details == refused.value.details
        assert replay.missed == []


async def test_a_call_without_a_sample_fails_and_is_listed(tmp_path: Path) -> None:
    write_sample(tmp_path, MODEL, {"prompt": "a cat", "seed": 1}, {"images": []})
    write_sample(tmp_path, MODEL, {"prompt": "a bird", "seed": 2, "size": 3}, {"images": []})
    write_sample(tmp_path, "you/list", [1], [1])
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        replay = emulator.replay(tmp_path)
        with pytest.raises(StatusError) as missed:
            await fal.run(MODEL, {"prompt": "a private dog", "seed": 1})
        assert "no sample for this call of fal-ai/fast-sdxl" in str(missed.value)
        assert "nearest one differs in prompt" in str(missed.value)
        assert "private" not in str(missed.value)
        with pytest.raises(StatusError, match="no sample for this call of you/list"):
            await fal.run("you/list", {"other": 1})
        assert len(replay.missed) == 2
        assert replay.missed[0].endswith(
            '(the nearest one differs in prompt): {"prompt": "a private dog", "seed": 1}'
        )
        assert emulator.ledger.billed() == 0


def test_an_input_that_is_no_object_is_like_no_other() -> None:
    replay = Replay([Sample("you/list", [1], [1])])
    [model] = replay.models()
    assert model.function([1]) == [1]
    with pytest.raises(AppError, match=r"no sample for this call of you/list$"):
        model.function([2])
    assert replay.missed == ["there is no sample for this call of you/list: [2]"]


async def test_models_without_samples_answer_as_before(tmp_path: Path) -> None:
    write_sample(tmp_path, MODEL, {}, {})
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        emulator.replay(tmp_path)
        assert await fal.run("emulator/echo", {"a": 1}) == {"a": 1}


def test_the_order_of_an_inputs_fields_is_no_matter_and_a_call_is_kept_once(tmp_path: Path) -> None:
    one = write_sample(tmp_path / "new", MODEL, {"a": 1, "b": 2}, "first")
    two = write_sample(tmp_path / "new", MODEL, {"b": 2, "a": 1}, "last", status=422)
    assert one == two
    assert json.loads(one.read_text()) == {
        "model": MODEL,
        "input": {"a": 1, "b": 2},
        "output": "last",
        "status": 422,
    }


def test_a_file_may_hold_a_list_and_a_folder_folders(tmp_path: Path) -> None:
    write_sample(tmp_path / "deeper", MODEL, {}, 1)
    sample = {"model": "you/it", "input": None, "output": None}
    (tmp_path / "all.json").write_text(json.dumps([sample, sample | {"input": 2}]))
    found = read_samples(tmp_path)
    assert [(s.model, s.input) for s in found] == [("you/it", None), ("you/it", 2), (MODEL, {})]
    assert len(read_samples(tmp_path / "all.json")) == 2


GOOD: dict[str, Any] = {"model": "you/it", "input": {}, "output": {}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ('"text"', "a sample is"),
        ("[]", "no samples in"),
        (json.dumps({"model": "you/it", "input": {}}), "a sample is"),
        (json.dumps(GOOD | {"statu": 422}), "a sample is"),
        (json.dumps(GOOD | {"status": "422"}), "from 200 to 599"),
        (json.dumps(GOOD | {"status": True}), "from 200 to 599"),
        (json.dumps(GOOD | {"model": "it"}), "model"),
        (json.dumps(GOOD | {"model": 5}), "model"),
    ],
)
def test_a_file_that_is_no_sample_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as wrong:
        read_samples(path)
    assert str(path) in str(wrong.value)


def test_a_place_without_samples_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no samples in"):
        read_samples(tmp_path)
    with pytest.raises(ValueError, match="no such file or folder"):
        read_samples(tmp_path / "nowhere")


async def test_what_json_cannot_say_is_not_called(tmp_path: Path) -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        with pytest.raises(TypeError):
            await record(fal, tmp_path, MODEL, {"image": Path("cat.png")})
        assert emulator.received == 0


async def test_what_could_not_be_kept_is_not_called(tmp_path: Path) -> None:
    (tmp_path / "in the way").touch()
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        with pytest.raises(FileExistsError):
            await record(fal, tmp_path / "in the way", MODEL, {"prompt": "a cat"})
        with pytest.raises(TypeError, match="no result_type"):
            await record(fal, tmp_path, MODEL, {"prompt": "a cat"}, result_type=dict)
        assert emulator.received == 0


async def test_what_was_paid_for_is_given_if_json_cannot_say_it(tmp_path: Path) -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:

        @emulator.model("you/bytes")
        def answer(_: Any) -> Answer:
            return Answer(body=b"\xff", content_type="image/png")

        assert await record(fal, tmp_path, "you/bytes", {}) == b"\xff"
    with pytest.raises(ValueError, match="no samples in"):
        read_samples(tmp_path)


async def test_half_a_character_is_kept_as_it_was(tmp_path: Path) -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:

        @emulator.model("you/half")
        def answer(_: Any) -> Answer:
            return Answer(body=b'{"text":"\\ud83d"}', content_type="application/json")

        output = await record(fal, tmp_path, "you/half", {})
    [sample] = read_samples(tmp_path)
    assert sample.output == output == {"text": "\ud83d"}


class Failing:
    """A client whose call fails with this error."""

    def __init__(self, error: StatusError) -> None:
        self._error = error

    async def run(self, model: str, input: Any, /, **options: Any) -> Any:
        raise self._error


@pytest.mark.parametrize("body", [None, b"<html>"])
async def test_a_failure_without_json_leaves_no_sample(tmp_path: Path, body: bytes | None) -> None:
    error = ModelError("refused", status=502, body=body)
    with pytest.raises(ModelError):
        await record(Failing(error), tmp_path, MODEL, {})
    with pytest.raises(ValueError, match="no samples in"):
        read_samples(tmp_path)
