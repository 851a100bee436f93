"""The ledger counts what was charged, and reads well."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fal_async.emulator.ledger import Execution, Ledger


def execution(model: str, *, billed: bool = True, units: str = "1", **more: object) -> Execution:
    application = "/".join(model.split("/")[:2])
    settings = {"ended": 2.0, "status": 200, "units": Decimal(units), "billed": billed} | more
    return Execution(
        request_id="r",
        model=model,
        application=application,
        started=1.0,
        **settings,  # type: ignore[arg-type]
    )


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.begin(execution("fal-ai/flux/dev", units="0.5"))
    ledger.begin(execution("fal-ai/flux/schnell", units="0.25", key_id="me"))
    ledger.begin(execution("fal-ai/fast-sdxl", billed=False, status=500, fault="stall"))
    ledger.begin(execution("fal-ai/fast-sdxl", billed=False, ended=None, status=None))
    ledger.begin(execution("fal-ai/any-llm", billed=False, status=None))
    return ledger


@pytest.mark.parametrize(
    ("model", "ran", "running", "billed", "units"),
    [
        (None, 5, 1, 2, "0.75"),
        ("fal-ai/flux/dev", 1, 0, 1, "0.5"),
        ("fal-ai/flux", 2, 0, 2, "0.75"),
        ("fal-ai/*", 5, 1, 2, "0.75"),
        ("fal-ai/fast-sdxl", 2, 1, 0, "0"),
        ("nobody/nothing", 0, 0, 0, "0"),
    ],
)
def test_it_is_asked_for_all_models_or_some(
    ledger: Ledger, model: str | None, ran: int, running: int, billed: int, units: str
) -> None:
    assert len(ledger.executions(model)) == ran
    assert ledger.running(model) == running
    assert ledger.billed(model) == billed
    assert ledger.units(model) == Decimal(units)


def test_it_says_in_a_failed_assertion_what_ran_and_at_what_price(ledger: Ledger) -> None:
    assert str(ledger).splitlines() == [
        "<Ledger: 5 executions, 2 billed, 0.75 units>",
        "  r fal-ai/flux/dev by anyone: 200, billed 0.5, 1.000 s",
        "  r fal-ai/flux/schnell by me: 200, billed 0.25, 1.000 s",
        "  r fal-ai/fast-sdxl by anyone: 500, not billed, 1.000 s, stall",
        "  r fal-ai/fast-sdxl by anyone: running",
        "  r fal-ai/any-llm by anyone: cut off",
    ]


def test_a_long_ledger_is_shown_in_part() -> None:
    ledger = Ledger()
    for _ in range(25):
        ledger.begin(execution("a/b"))
    assert str(ledger).endswith("  … and 5 more")
    assert "\n" not in repr(ledger)


def test_an_empty_ledger_is_true_and_a_cleared_one_empty(ledger: Ledger) -> None:
    ledger.clear()
    assert list(ledger) == []
    assert len(ledger) == 0
    assert ledger
