"""The queue's URLs, built and matched."""

from __future__ import annotations

import pytest

from fal_async.errors import InputError
from fal_async.protocol import routes
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.routes import QueueRoute, match_queue

BASE = "https://queue.fal.run"
ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"


@pytest.mark.parametrize(
    ("webhook", "length", "query"),
    [
        (None, None, ""),
        (
            "https://h/hook?cid=1&x=ä",
            None,
            "?fal_webhook=https%3A%2F%2Fh%2Fhook%3Fcid%3D1%26x%3D%C3%A4",
        ),
        (None, 0, "?fal_max_queue_length=0"),
        ("https://h", 5, "?fal_webhook=https%3A%2F%2Fh&fal_max_queue_length=5"),
    ],
)
def test_a_submit_goes_to_the_whole_id_with_its_parameters(
    webhook: str | None, length: int | None, query: str
) -> None:
    model = parse_model_id("fal-ai/flux/dev")
    built = routes.submit_url(BASE, model, webhook=webhook, max_length=length)
    assert built == f"{BASE}/fal-ai/flux/dev{query}"


@pytest.mark.parametrize("application", ["fal-ai/flux", "workflows/me/flow"])
@pytest.mark.parametrize(
    ("build", "operation"),
    [
        (routes.result_url, "result"),
        (routes.status_url, "status"),
        (routes.cancel_url, "cancel"),
    ],
)
def test_what_is_built_is_matched(build: object, operation: str, application: str) -> None:
    url = build(BASE, application, ID)  # type: ignore[operator]
    assert match_queue(url.removeprefix(BASE)) == QueueRoute(operation, application, ID)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/fal-ai/flux/dev", QueueRoute("submit", "fal-ai/flux/dev")),
        ("/fal-ai/flux/dev/", QueueRoute("submit", "fal-ai/flux/dev")),
        (f"/fal-ai/flux/dev/requests/{ID}", QueueRoute("result", "fal-ai/flux/dev", ID)),
        (f"/fal-ai/flux/requests/{ID}/", QueueRoute("result", "fal-ai/flux", ID)),
        (f"/fal-ai/flux/requests/{ID}/response", QueueRoute("result", "fal-ai/flux", ID)),
        (f"/fal-ai/flux/requests/{ID}/status/stream", QueueRoute("stream", "fal-ai/flux", ID)),
        (f"/me/app/requests/x/requests/{ID}/status", QueueRoute("status", "me/app/requests/x", ID)),
        (
            f"/fal-ai/flux/requests/{ID}/elsewhere",
            QueueRoute("submit", f"fal-ai/flux/requests/{ID}/elsewhere"),
        ),
        ("/me/requests", QueueRoute("submit", "me/requests")),
    ],
)
def test_a_path_is_read_with_or_without_what_may_be_left_out(path: str, route: QueueRoute) -> None:
    assert match_queue(path) == route


def test_the_wish_for_logs_joins_what_a_url_already_asks() -> None:
    assert routes.with_logs("u", logs=True) == "u?logs=1"
    assert routes.with_logs("u?a=b", logs=False) == "u?a=b&logs=0"


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a b", None, "a?b"])
def test_a_request_id_that_would_leave_its_path_is_refused(bad: object) -> None:
    with pytest.raises(InputError):
        routes.check_request_id(bad)


def test_a_request_id_of_fals_is_accepted() -> None:
    assert routes.check_request_id(ID) == ID
