"""Direct calls by fal's JavaScript client."""

from __future__ import annotations

from decimal import Decimal

from fal_async.emulator import ThreadedEmulator
from tests.conformance.js.node import Node


def test_a_call_gives_the_output_and_its_request_id(js: Node, emulator: ThreadedEmulator) -> None:
    result = js("return await fal.run('fal-ai/fast-sdxl', {input: {prompt: 'a cat'}})")
    assert result["data"]["prompt"] == "a cat"
    assert result["data"]["images"][0]["url"].startswith("https://v3.fal.media/files/")
    [execution] = emulator.ledger
    assert result["requestId"] == execution.request_id
    assert (execution.billed, execution.status) == (True, 200)
    assert emulator.requests == {"run": 1}


def test_what_was_made_can_be_downloaded(js: Node, emulator: ThreadedEmulator) -> None:
    size = js("""
        const { data } = await fal.run("fal-ai/fast-sdxl", { input: { prompt: "a cat" } });
        const image = await fetch(data.images[0].url);
        return (await image.arrayBuffer()).byteLength;
    """)
    [stored] = emulator.storage
    assert size == stored.size


def test_it_comes_as_itself_with_the_key(js: Node, emulator: ThreadedEmulator) -> None:
    call = js("""
        const { data } = await fal.run("emulator/request", {
            input: { a: [1, null, "ü"] }, startTimeout: 30, storageSettings: { expiresIn: "1h" },
        });
        return data;
    """)
    assert call["key_id"] == "conformance"
    assert call["input"] == {"a": [1, None, "ü"]}
    headers = call["headers"]
    assert headers["host"] == "fal.run"
    assert headers["user-agent"] == "@fal-ai/client/1.10.1"
    assert headers["content-type"] == "application/json"
    assert headers["x-fal-request-timeout"] == "30"
    assert headers["x-fal-object-lifecycle-preference"] == '{"expiration_duration_seconds":3600}'


def test_a_path_behind_the_model_is_called(js: Node) -> None:
    paths = js("""
        const longer = await fal.run("emulator/request/some/path", { input: {} });
        const added = await fal.run("emulator/request", { path: "/some/path", input: {} });
        return [longer.data.path, added.data.path];
    """)
    assert paths == ["/some/path", "/some/path"]


def test_the_url_of_a_model_will_do(js: Node, emulator: ThreadedEmulator) -> None:
    value = js("return await fal.run('https://fal.run/emulator/echo', {input: {a: 1}})")
    assert value["data"] == {"a": 1}
    assert emulator.ledger.billed("emulator/echo") == 1


def test_the_expiry_it_asks_for_is_that_of_the_output(js: Node, emulator: ThreadedEmulator) -> None:
    js("""
        await fal.run("fal-ai/fast-sdxl", {
            input: { prompt: "a cat" }, storageSettings: { expiresIn: "1d" },
        });
    """)
    [stored] = emulator.storage
    assert stored.expires is not None
    assert round(stored.expires - stored.created) == 86_400


def test_files_in_the_input_are_uploaded_first(js: Node, emulator: ThreadedEmulator) -> None:
    result = js("""
        const image = new Blob(["not really"], { type: "image/png" });
        return await fal.run("emulator/echo", { input: { deep: [{ image }] } });
    """)
    [stored] = emulator.storage.files("put")
    assert result["data"]["deep"][0]["image"].endswith(stored.path)
    assert (stored.data, stored.content_type) == (b"not really", "image/png")


def test_other_methods_reach_the_model(js: Node) -> None:
    call = js("""
        return await fal.run("emulator/request", { method: "get", input: { q: "1" } });
    """)
    assert call["data"]["method"] == "GET"


def test_an_output_need_not_be_json(js: Node) -> None:
    kinds = js("""
        const raw = (input) => fal.run("emulator/raw", { input });
        const text = await raw({ text: "ä", content_type: "text/plain" });
        const html = await raw({ text: "<p>", content_type: "text/html" });
        const bytes = await raw({ base64: "AP8=" });
        return [text.data, html.data, [...new Uint8Array(bytes.data)]];
    """)
    assert kinds == ["ä", "<p>", [0, 255]]


def test_calls_side_by_side_are_all_billed_once(js: Node, emulator: ThreadedEmulator) -> None:
    ids = js("""
        const calls = [...Array(20).keys()].map((i) => fal.run("emulator/echo", { input: { i } }));
        return (await Promise.all(calls)).map((result) => result.requestId);
    """)
    assert sorted(ids) == sorted(execution.request_id for execution in emulator.ledger)
    assert emulator.ledger.units() == Decimal(20)


def test_a_call_that_is_aborted_runs_on(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown("""
        const controller = new AbortController();
        const call = fal.run("emulator/sleep", {
            input: { seconds: 60 }, abortSignal: controller.signal,
        });
        setTimeout(() => controller.abort(), 100);
        await call;
    """)
    assert error["name"] == "AbortError"
    [execution] = emulator.ledger
    assert execution.ended is None
