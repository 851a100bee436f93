"""The gallery's page as text: what is in it, what is never in it, and how it gets to its place."""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.batch.gallery import Gallery, GalleryItem, GalleryNumbers, gallery_item
from fal_async.batch.gallery_item import kind_of, link_to, without_data
from fal_async.batch.outcome import Failed, SavedFile, Succeeded
from fal_async.errors import (
    Billing,
    ConnectionLostError,
    ErrorDetail,
    FalError,
    ModelError,
    ServerError,
)
from fal_async.types import ImageOutput

MODEL = "fal-ai/fast-sdxl"
SEED = 15860307465884635512
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</SCRIPT\n><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>{data}{script}{title}",
    '"}]}; alert(1) //',
    "\u2028\u2029\x00\x1b\ud800",
    "\u202egnp.elgnis",
]


@attrs.frozen
class Prompt:
    prompt: str
    seed: int | None = None


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "out" / "gallery.html", model=MODEL)


def done(index: int = 0, **facts: Any) -> Succeeded[Any]:
    facts = {"input": {"prompt": "a cat"}, "output": {"seed": SEED}, "elapsed": 1.0} | facts
    return Succeeded(index=index, **facts)


def failed(error: FalError | None = None, **facts: Any) -> Failed:
    error = error or ServerError("The runner failed", billing=Billing.NOT_BILLED)
    facts = {"index": 0, "input": {"prompt": "a cat"}, "billing": error.billing} | facts
    return Failed(error=error, **facts)


def page_of(gallery: Gallery, numbers: GalleryNumbers | None = None) -> str:
    gallery.path.parent.mkdir(exist_ok=True)
    return gallery.write(numbers).read_text(encoding="utf-8")


def told_by(gallery: Gallery, numbers: GalleryNumbers | None = None) -> dict[str, Any]:
    blocks = DATA.findall(page_of(gallery, numbers))
    assert len(blocks) == 1
    told: dict[str, Any] = json.loads(blocks[0])
    return told


def item_told(gallery: Gallery, **facts: Any) -> dict[str, Any]:
    gallery.add(done(**facts))
    item: dict[str, Any] = told_by(gallery)["items"][-1]
    return item


# --- what is found in an outcome ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_input", "output", "expected"),
    [
        ({"prompt": "a cat", "seed": 1}, {"seed": 2}, ("a cat", 2)),
        ({"prompt": "a cat", "seed": 1}, {"seed": None}, ("a cat", 1)),
        ({"prompt": "a cat", "seed": 1}, {"images": []}, ("a cat", 1)),
        (Prompt("a cat", 1), ImageOutput(images=[], seed=SEED), ("a cat", SEED)),
        (Prompt("a cat", 1), ImageOutput(images=[]), ("a cat", 1)),
        ({"text": "said aloud"}, {"seed": "42"}, ("said aloud", "42")),
        ({"prompt": ["no", "text"], "seed": True}, {"seed": 1.5}, (None, None)),
        ({}, None, (None, None)),
        (None, b"raw", (None, None)),
        (Prompt, [1], (None, None)),
    ],
)
def test_prompt_and_seed_are_found_by_the_shape_of_input_and_output(
    given_input: Any, output: Any, expected: tuple[Any, Any]
) -> None:
    item = gallery_item(done(input=given_input, output=output))
    assert (item.prompt, item.seed) == expected


@pytest.mark.parametrize("output", ["a tale", {"output": "a tale"}, {"text": "a tale"}])
def test_what_a_model_wrote_is_shown(output: Any) -> None:
    assert gallery_item(done(output=output)).text == "a tale"


def test_an_item_tells_the_outcomes_own_facts() -> None:
    units = Decimal("1E+2")
    item = gallery_item(done(7, request_id="r", billable_units=units, attempts=2, replayed=True))
    assert (item.index, item.request_id, item.units) == (7, "r", "100")
    assert (item.attempts, item.replayed, item.billing) == (2, True, Billing.BILLED)
    assert (item.error, item.error_class) == (None, None)


def test_a_failure_tells_its_class_its_sentence_and_every_detail() -> None:
    details = [
        ErrorDetail(loc=("body", "size"), msg="too large"),
        ErrorDetail(loc=("body", "seed"), msg="no integer"),
        ErrorDetail(msg="and so on"),
    ]
    error = ModelError("body.size: too large", details=details, error_type="value_error")
    item = gallery_item(failed(error))
    assert item.error_class == "ModelError"
    assert item.error == "body.size: too large\nbody.seed: no integer\nand so on\n(value_error)"


@pytest.mark.parametrize(
    ("content_type", "name", "expected"),
    [
        ("image/png", "a.bin", "image"),
        ("VIDEO/mp4; codecs=x", "a", "video"),
        ("audio/wav", "a.png", "audio"),
        ("application/octet-stream", "a.WEBP", "image"),
        (None, "a.mp3", "audio"),
        ("model/gltf-binary", "a.glb", "file"),
        (None, "a", "file"),
    ],
)
def test_a_file_is_shown_by_its_media_type_else_by_its_name(
    content_type: str | None, name: str, expected: str
) -> None:
    saved = SavedFile(url="", path=Path("out", name), content_type=content_type)
    unsaved = SavedFile(url=f"https://v3.fal.media/files/{name}?x=.mp4", content_type=content_type)
    assert kind_of(saved) == kind_of(unsaved) == expected


@pytest.mark.parametrize(
    "url", ["", "data:image/png;base64,AAAA", "https://[", "https://[x]/a.png"]
)
def test_a_url_that_cannot_be_read_is_some_file(url: str) -> None:
    assert kind_of(SavedFile(url=url)) == "file"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        PNG,
        "https:///",
        "//host/a",
        "https://h/" + "a" * 2_000,
    ],
)
def test_only_web_addresses_of_bearable_length_become_links(url: str) -> None:
    assert link_to(url) is None
    assert link_to("HTTPS://v3.fal.media/a") is not None


# --- hostile text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_inside_the_data(gallery: Gallery, text: str) -> None:
    gallery.add(done(input={"prompt": text}, output={"output": text}, request_id=text))
    gallery.add(failed(ServerError(text)))
    items = told_by(gallery)["items"]
    expected = text.encode("utf-8", "replace").decode()
    assert [items[0]["prompt"], items[0]["text"], items[0]["id"]] == [expected] * 3
    assert items[1]["error"] == expected


@given(text=st.text(st.characters(codec="utf-8")) | st.sampled_from(HOSTILE[:-2]))
def test_any_text_comes_back_as_it_was_and_nothing_in_the_data_opens_a_tag(text: str) -> None:
    if "data:" in text.lower():
        return
    gallery = Gallery(Path("gallery.html"), model=text)
    gallery.add_item(GalleryItem(index=0, prompt=text, error=text, error_class="FalError"))
    (line,) = gallery._lines
    assert b"<" not in line
    assert b"\n" not in line
    told = json.loads(line)
    assert (told["prompt"], told["error"]) == (text, text)


@pytest.mark.parametrize("title", [*HOSTILE, "</title><script>alert(1)</script>"])
def test_a_hostile_title_stays_a_title(tmp_path: Path, title: str) -> None:
    page = page_of(Gallery(tmp_path / "gallery.html", model=MODEL, title=title))
    head = page.partition("</head>")[0]
    assert head.lower().count("<script") == 0
    assert head.lower().count("</title") == 1


@pytest.mark.parametrize("around", ["{}", "see {} there", "({})", "DATA:{}", "x{}"])
def test_a_data_uri_is_never_put_into_the_page(gallery: Gallery, around: str) -> None:
    text = around.format(PNG)
    detail = ErrorDetail(loc=("body",), msg="other")
    gallery.add(
        done(
            input={"prompt": text},
            output={"seed": text, "output": text},
            files=(SavedFile(url=PNG), SavedFile(url=PNG, error=ConnectionLostError(text))),
        )
    )
    gallery.add(failed(ModelError(text, details=[detail, ErrorDetail(msg=text)])))
    block = DATA.findall(page_of(gallery))[0]
    assert "iVBOR" not in block
    assert "base64" not in block


def test_a_data_uri_in_a_text_is_cut_to_its_media_type() -> None:
    assert without_data(f"put {PNG} on it") == "put [image/png] on it"
    assert without_data("data:,hello") == "[data]"
    assert without_data("the data: three, four") == "the data: three, four"


def test_no_prompt_is_longer_than_a_page_can_carry(gallery: Gallery) -> None:
    prompt = item_told(gallery, input={"prompt": "ä" * 1_000_000})["prompt"]
    assert prompt == "ä" * 4_000 + "…"


# --- the data -------------------------------------------------------------------------------------------


def test_a_seed_of_64_bits_is_told_in_digits(gallery: Gallery) -> None:
    assert item_told(gallery)["seed"] == str(SEED)


def test_an_item_says_nothing_of_what_it_has_not(gallery: Gallery) -> None:
    told = item_told(gallery, input={}, output={}, elapsed=float("nan"))
    assert told == {"index": 0}


def test_saved_files_are_linked_relative_to_the_page(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "run" / "gallery.html", model=MODEL)
    paths = [tmp_path / "run" / "a b.png", tmp_path / "run" / "x" / "1.png", tmp_path / "2.png"]
    files = item_told(gallery, files=tuple(SavedFile(url="", path=path) for path in paths))["files"]
    assert [file["src"] for file in files] == ["a%20b.png", "x/1.png", "../2.png"]


def test_a_path_that_was_given_relative_is_taken_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gallery = Gallery(Path("out/gallery.html"), model=MODEL)
    saved = SavedFile(url="", path=Path("out/1.png"))
    assert item_told(gallery, files=(saved,))["files"] == [{"kind": "image", "src": "1.png"}]


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
        lambda name: name not in {".", ".."}
    )
)
def test_any_file_name_becomes_a_reference_that_stays_in_the_folder(name: str) -> None:
    gallery = Gallery(Path("/out/gallery.html"), model=MODEL)
    saved = SavedFile(url="", path=Path("/out") / name)
    gallery.add_item(GalleryItem(index=0, files=(saved,)))
    src = json.loads(gallery._lines[0])["files"][0]["src"]
    assert re.fullmatch(r"[\w.~%-]+", src, re.ASCII)
    assert unquote(src) == name


def test_a_name_that_is_no_text_is_linked_by_its_bytes(gallery: Gallery) -> None:
    saved = SavedFile(url="", path=gallery.path.with_name(os.fsdecode(b"\xff.png")))
    assert item_told(gallery, files=(saved,))["files"][0]["src"] == "%FF.png"


def test_a_file_that_was_not_saved_is_a_link_and_the_reason(gallery: Gallery) -> None:
    error = ConnectionLostError("Only 5 of 9 bytes came")
    files = (
        SavedFile(url="https://v3.fal.media/a.png", error=error),
        SavedFile(url="javascript:alert(1)"),
        SavedFile(url=PNG, content_type="image/png"),
    )
    assert item_told(gallery, files=files)["files"] == [
        {"kind": "image", "url": "https://v3.fal.media/a.png", "why": "Only 5 of 9 bytes came"},
        {"kind": "file"},
        {"kind": "image"},
    ]


# --- the numbers ----------------------------------------------------------------------------------------


def test_the_numbers_follow_from_the_outcomes(gallery: Gallery) -> None:
    lost = ConnectionLostError("lost", billing=Billing.UNKNOWN)
    gallery.add(done(0, elapsed=1.0, billable_units=Decimal("0.1"), request_id="a"))
    gallery.add(done(1, elapsed=2.0, billable_units=Decimal("0.2"), request_id="b"))
    gallery.add(done(2, elapsed=6.0, billable_units=Decimal("0.3")))
    gallery.add(failed(index=3, billable_units=Decimal(5)))
    gallery.add(failed(lost, index=4, billable_units=Decimal(5)))
    assert len(gallery) == 5
    batch = told_by(gallery)["batch"]
    assert (batch["failed"], batch["unknown"], batch["units"]) == (2, 1, "0.6")
    assert (batch["elapsed"], batch["median"]) == (9.0, 2.0)
    assert (batch["model"], batch["title"]) == (MODEL, MODEL)


def test_a_call_that_equal_inputs_share_is_paid_once(gallery: Gallery) -> None:
    for index in range(3):
        gallery.add(
            done(index, billable_units=Decimal(1), request_id="the same", replayed=index > 0)
        )
    assert told_by(gallery)["batch"]["units"] == "1"


def test_the_rate_counts_what_was_called_for_now(gallery: Gallery) -> None:
    for index in range(10):
        gallery.add(done(index, replayed=index >= 4))
    assert told_by(gallery, GalleryNumbers(seconds=8.0))["batch"]["rate"] == 0.5
    assert told_by(gallery, GalleryNumbers(seconds=0.0))["batch"]["rate"] is None


def test_what_the_gallery_cannot_count_is_told_by_whoever_writes_it(gallery: Gallery) -> None:
    when = datetime(2026, 11, 21, 4, 30, tzinfo=UTC)
    numbers = GalleryNumbers(written=when, in_doubt=3, expected=9, seconds=60.5, finished=False)
    batch = told_by(gallery, numbers)["batch"]
    assert (batch["written"], batch["in_doubt"]) == ("2026-11-21T04:30:00+00:00", 3)
    assert (batch["expected"], batch["seconds"], batch["finished"]) == (9, 60.5, False)


def test_an_empty_batch_is_a_page_too(gallery: Gallery) -> None:
    told = told_by(gallery)
    assert told["items"] == []
    assert (told["batch"]["units"], told["batch"]["median"]) == ("0", None)


# --- the page -------------------------------------------------------------------------------------------


def test_the_page_names_nothing_outside_it(gallery: Gallery) -> None:
    page = page_of(gallery)
    names = {"http://www.w3.org/2000/svg"}  # of a kind of element: nothing that is fetched
    assert set(re.findall(r"\b(?:https?|ftp|wss?)://[^\"'\s]+", page)) == names
    assert not re.search(r"<(link|iframe|object|embed|base)\b|@import|url\(", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", page)


def test_the_policy_allows_the_pages_own_script_and_style_and_no_network(gallery: Gallery) -> None:
    policy = re.findall(
        r'http-equiv="Content-Security-Policy" content="([^"]+)"', page_of(gallery)
    )[0]
    assert policy.startswith("default-src 'none'; img-src 'self' file:; media-src 'self' file:;")
    assert len(re.findall(r"'sha256-[\w+/]{43}='", policy)) == 2
    assert "unsafe" not in policy


def test_a_page_is_written_again_with_what_came_since(gallery: Gallery) -> None:
    gallery.add(done(0))
    assert len(told_by(gallery)["items"]) == 1
    gallery.add(done(1))
    assert [item["index"] for item in told_by(gallery)["items"]] == [0, 1]
    assert [path.name for path in gallery.path.parent.iterdir()] == ["gallery.html"]


def test_a_write_that_fails_leaves_the_old_page(gallery: Gallery) -> None:
    before = page_of(gallery)
    gallery.add(done())
    # A folder where the new page is to be: it can be neither written there nor removed.
    gallery.path.with_name(".gallery.html.part").mkdir()
    with pytest.raises(IsADirectoryError):
        gallery.write()
    assert gallery.path.read_text(encoding="utf-8") == before


def test_a_page_that_cannot_take_its_place_is_removed(gallery: Gallery) -> None:
    gallery.path.mkdir(parents=True)
    with pytest.raises(OSError, match="gallery"):
        gallery.write()
    assert [path.name for path in gallery.path.parent.iterdir()] == ["gallery.html"]


def test_whoever_looks_while_it_is_written_sees_a_whole_page(gallery: Gallery) -> None:
    for index in range(200):
        gallery.add(done(index, input={"prompt": "x" * 2_000}))
    page_of(gallery)
    ended = threading.Event()

    def keep_writing() -> None:
        for _ in range(20):
            gallery.write()
        ended.set()

    writing = threading.Thread(target=keep_writing)
    writing.start()
    sizes = set()
    while not ended.is_set():
        gallery.add(done())
        page = gallery.path.read_bytes()
        assert page.rstrip().endswith(b"</html>")
        sizes.add(len(page))
    writing.join()
    assert len(told_by(gallery)["items"]) == len(gallery)


def test_the_folder_has_to_be_there(gallery: Gallery) -> None:
    with pytest.raises(FileNotFoundError):
        gallery.write()
