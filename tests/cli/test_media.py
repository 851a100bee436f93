from __future__ import annotations

import pytest

from fal_async.cli.media import Media, decode_data_uri, extension_of, find_media, safe_stem

PNG = "https://v3.fal.media/files/lion/a.png"


def places(output: object) -> list[tuple[str, str]]:
    return [(media.place, media.url) for media in find_media(output)]


def test_files_are_found_wherever_they_stand() -> None:
    output = {
        "images": [{"url": PNG, "content_type": "image/png"}, {"url": "https://x.test/2"}],
        "video": {"url": "https://x.test/v", "file_name": "v.mp4"},
        "mask_url": "https://x.test/mask.webp?size=2",
        "thumbnail": "data:image/png;base64,AAAA",
    }
    assert places(output) == [
        ("images[0]", PNG),
        ("images[1]", "https://x.test/2"),
        ("video", "https://x.test/v"),
        ("mask_url", "https://x.test/mask.webp?size=2"),
        ("thumbnail", "data:image/png;base64,AAAA"),
    ]


def test_a_file_is_found_once_however_often_it_is_named() -> None:
    assert places({"image": {"url": PNG}, "images": [{"url": PNG}], "first": PNG}) == [
        ("image", PNG)
    ]


@pytest.mark.parametrize(
    "output",
    [
        {"prompt": f"like {PNG}"},
        {"source": "https://x.test/page.html"},
        {"url": "ftp://x.test/a.png"},
        {"url": "file:///etc/passwd"},
        {"url": 3},
        {"note": "data: is what we need, and more of it"},
        {"broken": "https://[x.test/a.png"},
        "a text",
        None,
        7,
    ],
)
def test_what_is_no_file_is_let_be(output: object) -> None:
    assert find_media(output) == []


def test_the_output_itself_may_be_a_file() -> None:
    assert places({"url": PNG}) == [("url", PNG)]
    assert places(PNG) == [("output", PNG)]


def test_a_file_is_called_what_its_maker_says_or_what_its_url_ends_with() -> None:
    assert Media(place="", url=PNG).name == "a.png"
    assert Media(place="", url=PNG, file_name="b.png").name == "b.png"
    assert Media(place="", url="https://x.test/a%2Fb.png?c=d").name == "a/b.png"
    assert Media(place="", url="data:image/png,x").name == ""


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("cat.png", "cat"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32", "system32"),
        ("/absolute/a b.png", "a-b"),
        ("...", "file"),
        (".hidden", "hidden"),
        ("", "file"),
        ("a\x00b\n.png", "a-b"),
        ("CON.png", "_CON"),
        ("com1", "_com1"),
        ("кот.png", "file"),
        ("-rf.png", "rf"),
        ("x" * 300 + ".png", "x" * 80),
    ],
)
def test_a_name_is_safe_in_any_folder(name: str, stem: str) -> None:
    assert safe_stem(name, "file") == stem


@pytest.mark.parametrize(
    ("name", "kind", "extension"),
    [
        ("a.png", "", ".png"),
        ("a.PNG", "image/jpeg", ".png"),
        ("a", "image/jpeg; charset=x", ".jpg"),
        ("a.php7", "image/webp", ".webp"),
        ("a", "audio/mpeg", ".mp3"),
        ("a", "", ".bin"),
        ("a", "application/octet-stream", ".bin"),
        ("a", "nothing/known", ".bin"),
        ("a./../b", "video/mp4", ".mp4"),
    ],
)
def test_an_extension_is_the_names_or_the_media_types(name: str, kind: str, extension: str) -> None:
    assert extension_of(name, kind) == extension


@pytest.mark.parametrize(
    ("uri", "content", "kind"),
    [
        ("data:image/png;base64,AAEC", b"\x00\x01\x02", "image/png"),
        ("data:image/png;BASE64,AAE%43", b"\x00\x01\x02", "image/png"),
        ("data:text/plain;charset=utf-8,a%20cat", b"a cat", "text/plain"),
        ("data:,x", b"x", ""),
    ],
)
def test_a_data_uri_is_its_content(uri: str, content: bytes, kind: str) -> None:
    assert decode_data_uri(uri) == (content, kind)


@pytest.mark.parametrize("uri", ["data:image/png", "data:;base64,A", "data:;base64,A_*"])
def test_a_damaged_data_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="data: URI"):
        decode_data_uri(uri)
