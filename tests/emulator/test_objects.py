"""Objects live as long as they were told to, for those who may read them."""

from __future__ import annotations

import pytest

from fal_async.emulator.objects import ObjectStore, StoredObject, decide
from fal_async.protocol.lifecycle import AclRule, Decision, InitialAcl, LifecyclePreference


def test_an_object_without_a_lifetime_stays() -> None:
    store = ObjectStore()
    store.put("/files/a", b"1", "text/plain", 0.0)
    kept = store.get("/files/a", 1e9)
    assert kept is not None
    assert kept.content == b"1"
    assert store.get("/files/b", 0.0) is None


def test_an_object_is_gone_the_instant_its_lifetime_ends() -> None:
    store = ObjectStore()
    for name, seconds in (("late", 20), ("soon", 10)):
        store.put(name, b"", "text/plain", 5.0, lifecycle=LifecyclePreference(seconds))
    assert store.get("soon", 14.999) is not None
    assert store.get("soon", 15.0) is None
    assert store.get("late", 24.999) is not None
    assert len(store) == 1
    assert store.get("late", 25.0) is None
    assert len(store) == 0


def test_an_object_that_was_replaced_lives_by_its_new_lifetime() -> None:
    store = ObjectStore()
    store.put("a", b"1", "text/plain", 0.0, lifecycle=LifecyclePreference(10))
    store.put("a", b"2", "text/plain", 1.0, lifecycle=LifecyclePreference(20))
    assert store.get("a", 20.0) is not None
    assert store.get("a", 21.0) is None


ACL = InitialAcl(
    "forbid", [AclRule("ann", "allow"), AclRule("bob", "hide"), AclRule("bob", "forbid")]
)


@pytest.mark.parametrize(
    ("acl", "reader", "decision"),
    [
        (None, None, "allow"),
        (InitialAcl("hide"), None, "hide"),
        (InitialAcl("hide"), "me", "allow"),
        (ACL, None, "forbid"),
        (ACL, "ann", "allow"),
        (ACL, "bob", "forbid"),
        (ACL, "carl", "forbid"),
    ],
)
def test_the_most_permissive_rule_for_a_reader_wins_and_the_owner_always_may(
    acl: InitialAcl | None, reader: str | None, decision: Decision
) -> None:
    stored = StoredObject(b"", "text/plain", 0.0, None, acl, owner="me")
    assert decide(stored, reader) == decision
