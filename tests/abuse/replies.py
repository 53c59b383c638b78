"""Replies of any provider: whatever comes back means something that a lane can act on."""

import random
from collections.abc import Sequence

import orjson

from spoold.providers.base import (
    Deferral,
    Delivered,
    HttpReply,
    Outcome,
    Provider,
    ProviderSettings,
    Rejected,
    Retry,
    Split,
    Stop,
)
from spoold.providers.http import MAX_REASON_CHARACTERS, common_outcome, retry_after_seconds
from spoold.providers.registry import Kinds, build_provider
from tests.abuse.drawing import changed, text
from tests.support.services import KINDS
from tests.support.webhook_rules import secret_of

_STATUSES = [
    100,
    199,
    200,
    202,
    204,
    206,
    301,
    302,
    400,
    401,
    403,
    404,
    405,
    408,
    410,
    413,
    421,
    422,
    429,
    500,
    502,
    503,
]
_CREDENTIALS = {"webhook": secret_of(b"a-secret-of-thirty-two-bytes-ok!")}
_NOW_MS = 1_790_000_000_000
#: Words of the providers' own, so that what is drawn comes past the first look.
_WORDS = [
    "code", "error", "status", "num_records_imported", "failed_records", "index", "insert_id", "field", "message",
    "missing_field", "events_with_invalid_fields", "events_with_missing_fields", "silenced_events",
    "silenced_devices", "throttled_events", "throttled_users", "throttled_devices", "exceeded_daily_quota_users",
    "exceeded_daily_quota_devices", "eps_threshold", "events_ingested", "success", "OK", "u-81", "time", "user_id",
]  # fmt: skip


def providers() -> dict[str, Provider]:
    """One of each built-in kind."""
    found: dict[str, Provider] = {}
    for name in KINDS:
        kind = Kinds()[name]
        options = {key: option.default for key, option in kind.options.items()}
        endpoint = kind.endpoint or "https://provider.example/hook"
        settings = ProviderSettings(endpoint, _CREDENTIALS.get(name, "k" * 32), options)
        found[name] = build_provider(name, kind, settings)
    return found


def check_any_reply(rng: random.Random, provider: Provider) -> bool:
    """Draw a reply and have it read; whether it meant that everything was taken.

    Raises:
        AssertionError: What it is said to mean makes no sense.
    """
    parts = [orjson.dumps({"event": "a", "user_id": "u-81", "n": number}) for number in range(rng.choice([1, 2, 5]))]
    route = rng.choice(list(provider.routes))
    wait = retry_after_seconds(
        rng.choice([None, "1", "-1", "9" * 400, "Wed, 21 Oct 2099 07:28:00 GMT", text(rng)]), _NOW_MS
    )
    status = rng.choice(_STATUSES) if rng.random() < 0.9 else rng.randrange(100, 1000)
    reply = HttpReply(status, _body(rng, len(parts)), wait)
    outcome = common_outcome(reply) if rng.random() < 0.1 else provider.read_reply(route, parts, reply)
    if outcome is not None:
        _check(outcome, len(parts), reply)
    return isinstance(outcome, Delivered) and not outcome.dead and not outcome.deferred


def _check(outcome: Outcome, parts: int, reply: HttpReply) -> None:
    if isinstance(outcome, Delivered):
        parts_named: list[Rejected | Deferral] = [*outcome.dead, *outcome.deferred]
        named = [part.index for part in parts_named]
        assert all(0 <= index < parts for index in named), (reply, outcome)
        assert len(set(named)) == len(named), (reply, outcome)
        _check_reasons([part.reason for part in parts_named], reply)
        assert all(part.after_seconds >= 0 for part in outcome.deferred), (reply, outcome)
        return
    assert isinstance(outcome, Retry | Split | Stop), (reply, outcome)
    _check_reasons([outcome.reason], reply)
    if isinstance(outcome, Retry):
        assert outcome.after_seconds is None or 0 <= outcome.after_seconds < 1e10, (reply, outcome)


def _check_reasons(reasons: Sequence[str], reply: HttpReply) -> None:
    for reason in reasons:
        assert reason.strip(), (reply, "an empty reason")
        assert reason.isprintable(), (reply, reason)
        # A provider's words, and what stands around them.
        assert len(reason) <= 2 * MAX_REASON_CHARACTERS, (reply, reason)


def _body(rng: random.Random, parts: int) -> bytes:
    how = rng.randrange(6)
    if how == 0:
        return rng.randbytes(rng.randrange(60))
    if how == 1:
        return b"<html><style>x</style>" + text(rng).encode() * rng.randrange(200)
    body = orjson.dumps(_json(rng, parts, 0), option=orjson.OPT_NON_STR_KEYS)
    return changed(rng, body) if how < 4 else body


def _json(rng: random.Random, parts: int, depth: int) -> object:
    if depth and (depth > 3 or rng.random() < 0.7):
        return _leaf(rng, parts)
    if rng.random() < 0.4:
        return [_json(rng, parts, depth + 1) for _ in range(rng.randrange(4))]
    keys = [rng.choice(_WORDS) if rng.random() < 0.9 else text(rng) for _ in range(rng.randrange(7))]
    return {key: _json(rng, parts, depth + 1) for key in keys}


def _leaf(rng: random.Random, parts: int) -> object:
    numbers = [0, 1, parts - 1, parts, -1, 200, 2**31, 2**63 - 1, 10**15, 0.5, -1.5, 1e300]
    return rng.choice([None, True, False, rng.choice(numbers), rng.choice(_WORDS), rng.choice(_WORDS), text(rng)])
