"""Model ids: text to value and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.model import ModelId, parse_model_id

TABLE = [
    ("fal-ai/fast-sdxl", ModelId("fal-ai", "fast-sdxl"), "fal-ai/fast-sdxl"),
    ("fal-ai/flux/dev", ModelId("fal-ai", "flux", "dev"), "fal-ai/flux"),
    (
        "fal-ai/wan/v2.2-a14b/text-to-video",
        ModelId("fal-ai", "wan", "v2.2-a14b/text-to-video"),
        "fal-ai/wan",
    ),
    ("openai/gpt_image.1", ModelId("openai", "gpt_image.1"), "openai/gpt_image.1"),
    ("a/b", ModelId("a", "b"), "a/b"),
    ("a/workflows", ModelId("a", "workflows"), "a/workflows"),
    ("a/.../b", ModelId("a", "...", "b"), "a/..."),
    ("workflows/me/mine", ModelId("me", "mine", "", "workflows"), "workflows/me/mine"),
    ("comfy/me/mine/a/b", ModelId("me", "mine", "a/b", "comfy"), "comfy/me/mine"),
    ("Workflows/me/mine", ModelId("Workflows", "me", "mine"), "Workflows/me"),
]


@pytest.mark.parametrize(("text", "model", "application"), TABLE, ids=[row[0] for row in TABLE])
def test_an_id_reads_as_its_parts_and_writes_as_it_was(
    text: str, model: ModelId, application: str
) -> None:
    assert parse_model_id(text) == model
    assert str(model) == text
    assert model.application == application


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("110602490-fast-sdxl", ModelId("110602490", "fast-sdxl")),
        ("1-a", ModelId("1", "a")),
        ("1--", ModelId("1", "-")),
    ],
)
def test_a_legacy_id_is_written_the_new_way(text: str, model: ModelId) -> None:
    assert parse_model_id(text) == model
    assert str(model) == text.replace("-", "/", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "flux",
        "fal-ai",
        "fal-ai/",
        "/flux",
        "/fal-ai/flux",
        "fal-ai/flux/",
        "fal-ai//flux",
        "fal-ai/./flux",
        "fal-ai/../flux",
        "fal-ai/flux/..",
        "fal-ai/flux dev",
        " fal-ai/flux",
        "fal-ai/flux\n",
        "fal-ai/flux?a=b",
        "fal-ai/flux#a",
        "fal-ai/flux%2e",
        "fal-ai\\flux",
        "fal-ai/flüx",
        "fal-ai/flux@1",
        "fal-ai:x/flux",
        "workflows",
        "workflows/me",
        "comfy/me",
        "1-",
        "1-fast_sdxl",
        "a1-fast",
        "١-fast",
        "1-fast\n",
    ],
)
def test_what_is_no_id_is_a_bad_argument_with_an_example_beside_it(text: str) -> None:
    with pytest.raises(InputError, match='such as "fal-ai/fast-sdxl"'):
        parse_model_id(text)


@pytest.mark.parametrize("text", ["https://fal.run/fal-ai/flux", "http://x", "://"])
def test_a_url_is_no_id_and_is_told_so(text: str) -> None:
    with pytest.raises(InputError, match="not a URL"):
        parse_model_id(text)


@pytest.mark.parametrize("text", [None, 5, b"fal-ai/flux", ModelId("fal-ai", "flux")])
def test_what_is_no_text_is_told_so_by_its_type(text: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(text).__name__}"):
        parse_model_id(text)


def test_a_prompt_in_the_models_place_is_not_shown_whole() -> None:
    prompt = "a cat on a mat, " * 10
    with pytest.raises(InputError) as caught:
        parse_model_id(prompt)
    assert prompt[:37] in str(caught.value)
    assert prompt[:38] not in str(caught.value)
    with pytest.raises(InputError, match=f"'{'x' * 40}' is not"):
        parse_model_id("x" * 40)
    with pytest.raises(InputError, match=f"'{'x' * 37}…' is not"):
        parse_model_id("x" * 41)


SEGMENT = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True).filter(
    lambda text: text not in {".", ".."}
)
OWNER = SEGMENT.filter(lambda text: text not in {"workflows", "comfy"})


@given(
    st.builds(
        ModelId,
        OWNER,
        SEGMENT,
        st.lists(SEGMENT, max_size=3).map("/".join),
        st.sampled_from(["", "workflows", "comfy"]),
    )
)
def test_every_id_survives_being_written_and_read(model: ModelId) -> None:
    assert parse_model_id(str(model)) == model
    assert str(model).startswith(model.application)


@given(st.text(max_size=30) | st.lists(SEGMENT, max_size=4).map("/".join))
def test_any_text_is_an_id_that_can_stand_in_a_url_or_a_bad_argument(text: str) -> None:
    try:
        model = parse_model_id(text)
    except InputError:
        return
    assert parse_model_id(str(model)) == model
    assert str(model).isascii()
    assert not set(str(model)) & set(" ?#%@:\\")
    assert ".." not in str(model).split("/")
