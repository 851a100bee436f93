"""Which files an output speaks of, and which texts and links are none."""

from __future__ import annotations

import dataclasses

import pytest

from fal_async.protocol.media import Media, decode_data_uri, find_media
from fal_async.protocol.media_types import extension_of, type_of_name
from fal_async.types import Image, ImageOutput

PNG = "https://v3.fal.media/files/lion/a.png"


def places(output: object) -> list[tuple[str, str]]:
    return [(media.path, media.url) for media in find_media(output)]


def test_files_are_found_wherever_they_stand_in_the_order_of_the_document() -> None:
    output = {
        "images": [{"url": PNG, "content_type": "image/png"}, {"url": "https://x.test/2"}],
        "video": {"url": "https://x.test/v", "file_name": "v.mp4"},
        "parts": {"deep": [[{"mask": {"url": "https://x.test/3", "width": 3}}]]},
        "mask_url": "https://x.test/mask.webp?size=2",
        "thumbnail": "data:image/png;base64,AAAA",
    }
    assert places(output) == [
        ("images[0]", PNG),
        ("images[1]", "https://x.test/2"),
        ("video", "https://x.test/v"),
        ("parts.deep[0][0].mask", "https://x.test/3"),
        ("mask_url", "https://x.test/mask.webp?size=2"),
        ("thumbnail", "data:image/png;base64,AAAA"),
    ]


@pytest.mark.parametrize("name", ["audio_url", "video_url", "image_url", "model_mesh_url"])
def test_a_text_whose_name_says_so_is_a_file_whatever_it_ends_with(name: str) -> None:
    assert places({name: "https://x.test/made/1"}) == [(name, "https://x.test/made/1")]


def test_so_is_each_text_of_a_list_of_that_name() -> None:
    output = {"image_urls": ["https://x.test/1", "https://x.test/2"]}
    assert places(output) == [
        ("image_urls[0]", "https://x.test/1"),
        ("image_urls[1]", "https://x.test/2"),
    ]


def test_a_file_is_found_once_however_often_it_is_named() -> None:
    assert places({"image": {"url": PNG}, "images": [{"url": PNG}], "first": PNG}) == [
        ("image", PNG)
    ]


def test_what_the_model_says_of_a_file_is_kept_and_nonsense_is_not() -> None:
    [media] = find_media(
        {
            "image": {
                "url": PNG,
                "content_type": "image/png",
                "file_name": "a.png",
                "file_size": 12,
                "width": 512,
                "height": 512.0,
                "duration": 1.5,
            }
        }
    )
    assert media == Media(
        path="image",
        url=PNG,
        content_type="image/png",
        file_name="a.png",
        file_size=12,
        width=512,
        height=512,
        duration=1.5,
    )
    nonsense = {"content_type": 3, "file_name": "", "file_size": -1, "width": True, "height": 1.5}
    [media] = find_media({"url": PNG, **nonsense, "duration": float("nan")})
    assert media == Media(path="url", url=PNG)


@pytest.mark.parametrize(
    "output",
    [
        {"prompt": f"like {PNG}"},
        {"source": "https://x.test/page.html"},
        {"citations": [{"url": "https://x.test/page", "title": "A page"}]},
        {"url": "ftp://x.test/a.png"},
        {"url": "file:///etc/passwd"},
        {"url": 3},
        {"url": "http", "width": 3},
        {"note": "data: is what we need, and more of it"},
        {"broken": "https://[x.test/a.png"},
        {"url": "https://[x.test/a.png", "title": ""},
        "a text",
        None,
        7,
    ],
)
def test_what_is_no_file_is_let_be(output: object) -> None:
    assert find_media(output) == []


@pytest.mark.parametrize("url", [PNG, "https://v3b.fal.media/files/b/1", "data:image/png,x"])
def test_an_object_with_other_fields_is_a_file_if_its_url_is_one(url: str) -> None:
    assert places({"shot": {"url": url, "label": "a cat"}}) == [("shot", url)]


def test_the_output_itself_may_be_a_file() -> None:
    assert places({"url": PNG}) == [("url", PNG)]
    assert places(PNG) == [("output", PNG)]


def test_it_may_be_made_of_classes() -> None:
    @dataclasses.dataclass
    class Pair:
        left: Image
        right: tuple[str, ...]

    made = Pair(Image(url=PNG, width=3), ("https://x.test/b.mp4",))
    assert places(made) == [("left", PNG), ("right[0]", "https://x.test/b.mp4")]
    assert places(ImageOutput(images=[Image(url=PNG)])) == [("images[0]", PNG)]


def test_no_depth_is_too_deep() -> None:
    output: object = {"url": PNG}
    for _ in range(100_000):
        output = [output]
    [media] = find_media(output)
    assert media.url == PNG


def test_a_file_is_called_what_its_maker_says_or_what_its_url_ends_with() -> None:
    assert Media(path="", url=PNG).name == "a.png"
    assert Media(path="", url=PNG, file_name="b.png").name == "b.png"
    assert Media(path="", url="https://x.test/a%2Fb.png?c=d").name == "a/b.png"
    assert Media(path="", url="data:image/png,x").name == ""


def test_a_file_by_value_is_not_shown() -> None:
    assert "AAAA" not in repr(find_media({"url": "data:image/png;base64,AAAA"}))


@pytest.mark.parametrize(
    ("name", "kinds", "extension"),
    [
        ("a.png", [], "png"),
        ("a.PNG", [None], "png"),
        ("a.png", ["image/jpeg; charset=x"], "jpg"),
        ("a.php7", ["image/webp"], "webp"),
        ("a", ["audio/mpeg"], "mp3"),
        ("a", [None, "", "video/mp4"], "mp4"),
        ("a.srt", ["text/plain"], "srt"),
        ("a.mp4", ["application/octet-stream", "video/webm"], "webm"),
        ("a", ["text/plain"], "txt"),
        ("a", [], "bin"),
        ("a", ["application/octet-stream"], "bin"),
        ("a", ["nothing/known"], "bin"),
        ("a./../b", ["image/jpeg"], "jpg"),
        ("a.jpeg", [], "jpeg"),
    ],
)
def test_an_extension_is_the_media_types_or_the_names(
    name: str, kinds: list[str | None], extension: str
) -> None:
    assert extension_of(name, *kinds) == extension


def test_a_name_tells_a_type_or_does_not() -> None:
    assert type_of_name("a.b.JPG") == "image/jpeg"
    assert type_of_name("jpg") is None
    assert type_of_name("a.p g") is None


@pytest.mark.parametrize(
    ("uri", "content", "kind"),
    [
        ("data:image/png;base64,AAEC", b"\x00\x01\x02", "image/png"),
        ("DATA:image/png;BASE64,AAE%43", b"\x00\x01\x02", "image/png"),
        ("data:text/plain;charset=utf-8,a%20cat", b"a cat", "text/plain"),
        ("data:,x", b"x", ""),
        ("data:;base64,", b"", ""),
    ],
)
def test_a_data_uri_is_its_content(uri: str, content: bytes, kind: str) -> None:
    assert decode_data_uri(uri) == (content, kind)


@pytest.mark.parametrize("uri", ["data:image/png", "data:;base64,A", "data:;base64,A_*", "x,y"])
def test_a_damaged_data_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="data: URI"):
        decode_data_uri(uri)
