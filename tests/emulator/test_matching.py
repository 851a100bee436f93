"""Which models a pattern covers."""

from __future__ import annotations

import pytest

from fal_async.emulator.matching import matches


@pytest.mark.parametrize(
    ("pattern", "model", "covered"),
    [
        (None, "fal-ai/flux/dev", True),
        ("fal-ai/flux/dev", "fal-ai/flux/dev", True),
        ("fal-ai/flux", "fal-ai/flux/dev", True),
        ("fal-ai", "fal-ai/flux/dev", True),
        ("fal-ai/flu", "fal-ai/flux/dev", False),
        ("fal-ai/flux/dev", "fal-ai/flux", False),
        ("fal-ai/*", "fal-ai/flux/dev", True),
        ("*/flux/*", "fal-ai/flux/dev", True),
        ("other/*", "fal-ai/flux/dev", False),
    ],
)
def test_a_pattern_is_an_id_an_application_or_a_wildcard(
    pattern: str | None, model: str, covered: bool
) -> None:
    assert matches(pattern, model) is covered
