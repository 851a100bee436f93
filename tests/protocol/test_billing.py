

def test_units_of_zero_decide_for_a_success_too() -> None:
    assert billing_of(200, {"x-fal-billable-units": "0"}) is Billing.NOT_BILLED
    assert billing_of(200, {}) is Billing.BILLED
