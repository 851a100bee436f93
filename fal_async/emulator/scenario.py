"""What the emulated fal is told to be: the account and its keys, as values. Pure.

How calls fare under it is told by ``concurrency`` and ``runners``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from fal_async.emulator.chance import digest
from fal_async.protocol import auth, failures, wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["Account", "Caller"]


def _key_set(keys: Collection[str] | None) -> frozenset[str] | None:
    if isinstance(keys, str):
        raise TypeError("keys is a collection of keys, not one string")
    return None if keys is None else frozenset(keys)


def _reasons(locked: Mapping[str, str] | None) -> Mapping[str, str]:
    return dict(locked or {})


@attrs.frozen
class Caller:
    """Who asks. ``key_id`` is the part of the key before its colon, empty without a key.

    Of a key that has no colon it is a mark that tells it from others: all of it may be secret.
    """

    key_id: str = ""


def _known_by(key: str) -> str:
    key_id, colon, _ = key.partition(":")
    return key_id if colon else digest(key).hex()[:8]


@attrs.frozen(kw_only=True)
class Account:
    """Whose keys are accepted, and how many of its calls may be in progress at once.

    :param keys: the keys that exist. None: any key and no key are accepted.
    :param locked: key → the reason its account is locked for (PROTOCOL 2.1 has fal's sentences); such
        keys exist, too.
    :param limit: requests in progress at once, direct and queued; None is no limit (PROTOCOL 3.3: 2 to 40).
    :param name_limit: whether the 429 body names the limit.
    """

    keys: frozenset[str] | None = attrs.field(default=None, converter=_key_set, repr=False)
    locked: Mapping[str, str] = attrs.field(default=None, converter=_reasons, repr=False)
    limit: int | None = None
    name_limit: bool = True

    def judge(
        self, authorization: str | None, *, application: str, public: bool
    ) -> Caller | HttpResponse:
        """The caller that an ``Authorization`` header stands for, or the answer that turns it away.

        PROTOCOL 2.1; the order of the checks is an inference: key, account, permission.
        """
        key = auth.parse_authorization(authorization)
        if key is not None and key in self.locked:
            return failures.locked(self.locked[key])
        if self.keys is None or key in self.keys or (public and authorization is None):
            return Caller("" if key is None else _known_by(key))
        if authorization is None:
            return failures.no_credentials(application)
        if ":" not in authorization and authorization.lower().startswith(wire.KEY_SCHEME.lower()):
            return failures.malformed_key()  # an empty one, too: of a variable that is not set
        return failures.unknown_key()
