"""Names come from strangers; what is left of them is safe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.protocol.file_names import name_for, safe_name
from fal_async.protocol.media import Media


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cat.png", "cat.png"),
        ("a cat.png", "a cat.png"),
        ("Ka\u0308tzchen 猫.png", "Kätzchen 猫.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/", ""),
        ("..", ""),
        ("...hidden", "hidden"),
        ("  .. x . ", "x"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("a:b|c?.png", "a-b-c-.png"),
        ("a\nb\0c", "a-b-c"),
        ("cat\u202egnp.exe", "catgnp.exe"),
        ("a\u2028b", "a b"),
        ("x" * 300 + ".png", "x" * 196 + ".png"),
        ("猫" * 100, "猫" * 66),
        ("a." + "x" * 300, "a." + "x" * 198),
    ],
)
def test_what_is_left_of_a_name_is_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text())
def test_no_name_leaves_its_folder_or_is_too_long(name: str) -> None:
    safe = safe_name(name)
    assert not set(safe) & set('/\\:\0\n"<>|?*')
    assert safe.strip(" ") == safe
    assert not safe.startswith(".")
    assert not safe.endswith(".")
    assert len(safe.encode()) <= 201
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("media", "served_as", "name"),
    [
        (Media(path="image", url="https://a/b/cat.png?x=1"), "image/jpeg", "cat.png"),
        (Media(path="image", url="https://a/b/cat"), "image/jpeg", "cat.jpg"),
        (Media(path="image", url="https://a/b/cat", content_type="image/webp"), None, "cat.webp"),
        (Media(path="image", url="https://a/b/cat.xyz"), None, "cat.xyz"),
        (Media(path="image", url="https://a/b/cat"), None, "cat.bin"),
        (Media(path="images[0]", url="data:image/png;base64,"), "image/png", "images-0.png"),
        (Media(path="[0]", url="data:,"), "text/plain", "0.txt"),
        (Media(path="", url="data:,"), None, "file.bin"),
        (Media(path="x", url="https://a/b", file_name="../a b.mp4"), None, "a b.mp4"),
    ],
)
def test_a_file_is_called_as_it_is_called_with_an_extension_that_fits(
    media: Media, served_as: str | None, name: str
) -> None:
    assert name_for(media, served_as) == name
