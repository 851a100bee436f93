"""How long what a request makes shall live, and for whom: value to header and back."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.lifecycle import (
    AclRule,
    InitialAcl,
    LifecyclePreference,
    build_lifecycle,
    parse_expire,
    parse_lifecycle,
)

LONGEST = 2**53

#: Value and header, each way.
TABLE = [
    (LifecyclePreference(3600), '{"expiration_duration_seconds":3600}'),
    (LifecyclePreference(1), '{"expiration_duration_seconds":1}'),
    (LifecyclePreference(LONGEST), f'{{"expiration_duration_seconds":{LONGEST}}}'),
    (
        LifecyclePreference(initial_acl=InitialAcl("forbid")),
        '{"initial_acl":{"default":"forbid","rules":[]}}',
    ),
    (
        LifecyclePreference(
            60, InitialAcl("hide", (AclRule("ann", "allow"), AclRule("bob", "forbid")))
        ),
        (
            '{"expiration_duration_seconds":60,"initial_acl":{"default":"hide","rules":'
            '[{"user":"ann","decision":"allow"},{"user":"bob","decision":"forbid"}]}}'
        ),
    ),
    (
        LifecyclePreference(initial_acl=InitialAcl("hide", [AclRule('ä"\\😀\x7f\n', "allow")])),
        (
            '{"initial_acl":{"default":"hide","rules":'
            '[{"user":"\\u00e4\\"\\\\\\ud83d\\ude00\\u007f\\n","decision":"allow"}]}}'
        ),
    ),
]


@pytest.mark.parametrize(("preference", "header"), TABLE)
def test_a_preference_is_written_and_read_alike(
    preference: LifecyclePreference, header: str
) -> None:
    assert build_lifecycle(preference) == header
    assert parse_lifecycle(header) == preference


def test_nothing_to_say_is_no_header() -> None:
    assert build_lifecycle(LifecyclePreference()) is None
    assert build_lifecycle(LifecyclePreference("never")) is None


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [
        (3600, 3600),
        (3600.0, 3600),
        (1, 1),
        (datetime.timedelta(hours=1), 3600),
        (datetime.timedelta(days=7), 604_800),
        ("immediate", 60),
        ("1h", 3600),
        ("1d", 86_400),
        ("7d", 604_800),
        ("30d", 2_592_000),
        ("1y", 31_536_000),
        ("never", None),
        (LONGEST, LONGEST),
    ],
)
def test_a_lifetime_is_seconds_a_timedelta_or_one_of_fals_words(
    given_: Any, seconds: int | None
) -> None:
    preference = LifecyclePreference(given_)
    assert preference.expire == seconds
    assert type(preference.expire) in {int, type(None)}
    assert parse_expire(given_) == preference


@pytest.mark.parametrize("value", [0, 0.0, -1, datetime.timedelta(0), -math.inf])
def test_zero_is_refused_since_fal_reads_it_as_for_ever(value: Any) -> None:
    with pytest.raises(InputError, match="fal reads 0 as for ever"):
        LifecyclePreference(value)


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        0.5,
        math.nan,
        math.inf,
        LONGEST + 1,
        pytest.param(10**400, id="beyond floats"),
        datetime.timedelta(seconds=1, microseconds=1),
    ],
)
def test_a_lifetime_is_whole_seconds_that_json_holds_exactly(value: Any) -> None:
    with pytest.raises(InputError, match="whole number of seconds"):
        LifecyclePreference(value)


@pytest.mark.parametrize("value", ["2h", "", "Never", "3600"])
def test_another_word_is_refused_and_all_words_are_listed(value: Any) -> None:
    with pytest.raises(InputError, match="never, immediate, 1h, 1d, 7d, 30d, 1y"):
        LifecyclePreference(value)


@pytest.mark.parametrize("value", [True, [3600], b"1h", InitialAcl("allow")])
def test_another_type_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(value).__name__}"):
        LifecyclePreference(value)


def test_what_expire_takes_is_nothing_a_lifetime_or_a_whole_preference() -> None:
    preference = LifecyclePreference(60, InitialAcl("hide"))
    assert parse_expire(None) is None
    assert parse_expire(preference) is preference


@pytest.mark.parametrize("decision", ["deny", "", None, "Allow", []])
def test_a_decision_is_one_of_three_words(decision: Any) -> None:
    with pytest.raises(InputError, match="allow, forbid, hide"):
        InitialAcl(decision)
    with pytest.raises(InputError, match="allow, forbid, hide"):
        AclRule("ann", decision)


@pytest.mark.parametrize("user", ["", None, 5, "a\ud800"])
def test_a_rule_names_its_user_in_text_that_can_be_sent(user: Any) -> None:
    with pytest.raises(InputError, match="nickname"):
        AclRule(user, "allow")


@pytest.mark.parametrize(
    "rules", [None, 5, "ann", [("ann", "allow")], [AclRule("a", "hide"), None]]
)
def test_the_rules_of_an_acl_are_rules(rules: Any) -> None:
    with pytest.raises(InputError, match="AclRule"):
        InitialAcl("hide", rules)


@pytest.mark.parametrize("acl", ["hide", {"default": "hide"}, AclRule("a", "hide")])
def test_an_acl_is_an_initial_acl(acl: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(acl).__name__}"):
        LifecyclePreference(60, acl)


# --- as the platform reads it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "preference"),
    [
        ("{}", LifecyclePreference()),
        ('{"expiration_duration_seconds":null}', LifecyclePreference()),
        ('{"expiration_duration_seconds":0}', LifecyclePreference()),
        ('{"expiration_duration_seconds":-5}', LifecyclePreference()),
        ('{"expiration_duration_seconds":"60"}', LifecyclePreference()),
        ('{"expiration_duration_seconds":true}', LifecyclePreference()),
        ('{"expiration_duration_seconds":60.9}', LifecyclePreference(60)),
        ('{"expiration_duration_seconds":0.2}', LifecyclePreference(1)),
        ('{"expiration_duration_seconds":1e300}', LifecyclePreference(LONGEST)),
        ('{"expiration_duration_seconds":60,"new":1}', LifecyclePreference(60)),
        ('{"initial_acl":null}', LifecyclePreference()),
        ('{"initial_acl":"hide"}', LifecyclePreference()),
        ('{"initial_acl":{"rules":[]}}', LifecyclePreference()),
        (
            '{"initial_acl":{"rules":[{"user":"b","decision":"forbid"}]}}',
            LifecyclePreference(None, InitialAcl("allow", (AclRule("b", "forbid"),))),
        ),
        ('{"initial_acl":{"default":[]}}', LifecyclePreference()),
        ('{"initial_acl":{"default":"deny"}}', LifecyclePreference()),
        ('{"initial_acl":{"default":"hide"}}', LifecyclePreference(None, InitialAcl("hide"))),
        (
            '{"initial_acl":{"default":"hide","rules":{}}}',
            LifecyclePreference(None, InitialAcl("hide")),
        ),
        (
            (
                '{"initial_acl":{"default":"hide","rules":[1,{},{"user":""},{"user":5},{"user":"a"},'
                '{"user":"","decision":"allow"},{"user":"a","decision":"deny"},'
                '{"user":"b","decision":"allow"}]}}'
            ),
            LifecyclePreference(None, InitialAcl("hide", (AclRule("b", "allow"),))),
        ),
        ("", None),
        ("[]", None),
        ("60", None),
        ("{", None),
        ('{"a":NaN}', None),
        ("{\ud800", None),
        pytest.param("[" * 5000 + "]" * 5000, None, id="deep"),
    ],
)
def test_the_platform_drops_what_it_cannot_read(
    header: str, preference: LifecyclePreference | None
) -> None:
    assert parse_lifecycle(header) == preference


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text()
    | st.fixed_dictionaries(
        {},
        optional={
            "expiration_duration_seconds": JSON,
            "initial_acl": JSON
            | st.fixed_dictionaries(
                {"default": st.sampled_from(["allow", "hide"])},
                optional={
                    "rules": st.lists(
                        JSON | st.fixed_dictionaries({"user": JSON, "decision": JSON})
                    )
                },
            ),
        },
    ).map(json.dumps)
)
def test_no_header_makes_the_platform_fail(header: str) -> None:
    preference = parse_lifecycle(header)
    assert preference is None or isinstance(preference, LifecyclePreference)


@given(
    st.none() | st.integers(1, LONGEST),
    st.none()
    | st.builds(
        InitialAcl,
        st.sampled_from(["allow", "forbid", "hide"]),
        st.lists(
            st.builds(
                AclRule,
                st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
                st.sampled_from(["allow", "forbid", "hide"]),
            ),
            max_size=3,
        ),
    ),
)
def test_every_preference_survives_a_header_of_printable_ascii(
    expire: int | None, acl: InitialAcl | None
) -> None:
    preference = LifecyclePreference(expire, acl)
    header = build_lifecycle(preference)
    if header is None:
        assert preference == LifecyclePreference()
        return
    assert header.isascii()
    assert header.isprintable()
    assert parse_lifecycle(header) == preference
