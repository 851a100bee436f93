"""Models of documents such as fal publishes, called as any other; jsonschema judges their outputs."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async import AsyncFal, ModelError, StatusError
from fal_async.emulator import Emulator, Fault, models_from_openapi
from tests.emulator.openapi.judge import DOCUMENTS, document, judge

MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "text_to_image": (
        "atelier/brush/text-to-image",
        "BrushTextToImageOutput",
        {"prompt": "a cat", "num_images": 3, "image_size": {"width": 64, "height": 48}, "seed": 5},
    ),
    "image_to_video": (
        "atelier/motion/v2/image-to-video",
        "MotionV2ImageToVideoOutput",
        {"prompt": "it waves", "image_url": "https://example.com/a.png", "duration": "10"},
    ),
    "speech": ("voices/narrator/tts", "NarratorTtsOutput", {"text": "Hello!"}),
    "llm": (
        "letters/any-llm",
        "LettersAnyLlmOutput",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    ),
    "nested_unions": (
        "atelier/collage",
        "AtelierCollageOutput",
        {"canvas": {"kind": "Group", "layers": [{"kind": "Caption", "text": "a", "size": "2em"}]}},
    ),
}


def urls(output: Any) -> list[str]:
    """Every URL in an output."""
    match output:
        case dict():
            return [url for each in output.values() for url in urls(each)]
        case list():
            return [url for each in output for url in urls(each)]
        case str() if output.startswith("http"):
            return [output]
        case _:
            return []


@pytest.mark.parametrize("name", MODELS)
async def test_what_a_model_gives_fits_its_document_whatever_is_drawn(name: str) -> None:
    model, output_name, given = MODELS[name]
    components = document(name)["components"]["schemas"]
    judging = judge(components[output_name], components)
    async with (
        Emulator(models=models_from_openapi(DOCUMENTS / f"{name}.json")) as emulator,
        AsyncFal(hosts=emulator.hosts) as fal,
    ):
        for _ in range(12):
            output = await fal.run(model, given)
            judging.validate(output)
        assert emulator.ledger.billed() == 12
        for url in urls(output):
            assert await fal.read(url), url


@pytest.mark.parametrize("name", MODELS)
async def test_what_a_model_is_called_with_is_checked(name: str) -> None:
    model, _, _ = MODELS[name]
    async with (
        Emulator(models=models_from_openapi(DOCUMENTS / f"{name}.json")) as emulator,
        AsyncFal(hosts=emulator.hosts) as fal,
    ):
        with pytest.raises(ModelError) as refused:
            await fal.run(model, {"unknown": 1})
        assert refused.value.status == 422
        assert {detail.type for detail in refused.value.details} == {"missing"}
        assert emulator.ledger.billed() == 0


async def served(name: str, input: Any, *, durable: bool = False, **settings: Any) -> Any:
    """What a model gives on an emulator of its own."""
    models = models_from_openapi(DOCUMENTS / f"{name}.json")
    async with (
        Emulator(models=models, **settings) as emulator,
        AsyncFal(hosts=emulator.hosts) as fal,
    ):
        output = await fal.run(MODELS[name][0], input, durable=durable)
        return _placeless(output)


def _placeless(output: Any) -> Any:
    """An output without where its files are: the port is another each time."""
    match output:
        case dict():
            return {name: _placeless(each) for name, each in output.items()}
        case list():
            return [_placeless(each) for each in output]
        case str() if output.startswith("http"):
            return "somewhere"
        case _:
            return output


async def test_the_same_input_and_seed_give_the_same_output_whoever_serves_it() -> None:
    given = {"prompt": "a cat", "seed": 2**64 - 1}
    first = await served("text_to_image", given)
    assert first == await served("text_to_image", given, seed=7)
    assert first == await served("text_to_image", given, durable=True)
    assert first["seed"] == 2**64 - 1
    other = await served("text_to_image", {**given, "seed": 1})
    assert other["images"][0]["file_name"] != first["images"][0]["file_name"]


async def test_without_a_seed_the_emulators_own_says_what_is_drawn() -> None:
    given = {"prompt": "a cat"}
    first = await served("text_to_image", given, seed=1)
    assert first == await served("text_to_image", given, seed=1)
    assert first["seed"] != (await served("text_to_image", given, seed=2))["seed"]


async def test_images_have_the_number_the_size_and_the_form_that_are_asked_for() -> None:
    async with (
        Emulator(models=models_from_openapi(DOCUMENTS / "text_to_image.json")) as emulator,
        AsyncFal(hosts=emulator.hosts) as fal,
    ):
        given = {"prompt": "a cat", "num_images": 2, "output_format": "png"}
        given["image_size"] = {"width": 40, "height": 24}
        output = await fal.run("atelier/brush/text-to-image", given)
        assert [(i["width"], i["height"]) for i in output["images"]] == [(40, 24)] * 2
        assert output["has_nsfw_concepts"] == [False, False]
        content = await fal.read(output["images"][0]["url"])
        assert content.startswith(b"\x89PNG")
        assert content[16:24] == bytes((0, 0, 0, 40, 0, 0, 0, 24))
        assert output["prompt"] == "a cat"


async def test_with_sync_mode_files_stand_in_the_answer_itself() -> None:
    async with (
        Emulator(models=models_from_openapi(DOCUMENTS / "text_to_image.json")) as emulator,
        AsyncFal(hosts=emulator.hosts) as fal,
    ):
        size = {"width": 8, "height": 8}
        given = {"prompt": "a cat", "sync_mode": True, "image_size": size}
        output = await fal.run("atelier/brush/text-to-image", given)
        assert output["images"][0]["url"].startswith("data:image/jpeg;base64,")


async def test_what_goes_in_and_comes_out_is_the_same_kind_of_model_for_queue_and_faults() -> None:
    models = models_from_openapi(DOCUMENTS / "llm.json", run_time=0.01, units=2)
    async with (
        Emulator(models=models, faults=[Fault("runner_disconnected", times=1)]) as emulator,
        AsyncFal(hosts=emulator.hosts) as fal,
    ):
        model, _, given = MODELS["llm"]
        with pytest.raises(StatusError):
            await fal.run(model, given)
        output = await fal.run(model, given, durable=True)
        assert output["output"]
        assert output.get("error") is None
        assert emulator.ledger.units() == 2


async def test_a_stream_ends_with_the_output_and_all_its_events_fit() -> None:
    models = models_from_openapi(DOCUMENTS / "application.json", id="you/app")
    components = document("application")["components"]["schemas"]
    judging = judge(components["Description"], components)
    async with Emulator(models=models) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        given = {"image_url": "https://example.com/a.png"}
        async with fal.stream("you/app", given) as events:
            told = [event async for event in events]
        assert len(told) == 3
        for event in told:
            judging.validate(event)
        judging.validate(await fal.run("you/app", given))
        async with fal.stream("you/app/speak", {"text": "a"}) as events:
            sounds = [event async for event in events]
        judge(components["Sound"], components).validate(sounds[-1])
        with pytest.raises(ModelError, match=r"body\.image_url: Field required"):
            async with fal.stream("you/app", {}) as events:
                _ = [event async for event in events]


async def test_what_only_streams_is_not_called_directly() -> None:
    models = models_from_openapi(DOCUMENTS / "application.json", id="you/app")
    components = document("application")["components"]["schemas"]
    async with Emulator(models=models) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        async with fal.stream("you/app/shape", {"text": "a"}) as events:
            told = [event async for event in events]
        judge(components["Mesh"], components).validate(told[-1])
        content = await fal.read(told[-1]["model_mesh"]["url"])
        assert content[:4] == b"glTF"
        with pytest.raises(StatusError, match="Path /shape not found"):
            await fal.run("you/app/shape", {"text": "a"})
