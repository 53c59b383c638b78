"""Whatever comes in: nothing raises but what is documented, nothing that is accepted is altered, nobody dies."""

import asyncio
import math
import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from google.protobuf.message import DecodeError, Message

from spoold.admin.refusals import BadRequestError
from spoold.admin.replays import read_selection
from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock
from spoold.config import describe_config, load_config
from spoold.errors import ConfigError, InvalidEventError
from spoold.ingest.ids import CallerIds
from spoold.ingest.servicer import AnalyticsServicer
from spoold.ingest.status import refusal
from spoold.ingest.validation import MAX_DEPTH, Rules
from spoold.ingest.wire import is_plain
from spoold.metrics import Metrics
from spoold.record import Draft, decode_record, encode_record
from tests.abuse import drawing
from tests.abuse.replies import check_any_reply, providers
from tests.abuse.siege import wait_until
from tests.abuse.wire import SERVICE
from tests.support.daemon_process import DaemonProcess

_MESSAGES, _REPLIES, _CONFIGURATIONS, _SELECTIONS, _CALLS = 4_000, 4_000, 300, 500, 400
_PACKAGED = Path(__file__).parents[2] / "packaging" / "spoold.toml"
_MORE_TOML = """
[batch]
size = 50
interval = "10s"
[providers.mixpanel]
api_key = "a-key-of-some-length"
include = ["Order*"]
add = { plan = "pro", n = 1 }
[providers.crm]
kind = "webhook"
endpoint = "https://crm.example/hook"
headers = { Authorization = "Bearer a-token-of-some-length" }
retry = { max_attempts = 3 }
"""
_NOW_MS = 1_790_000_000_000
_REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}
_ADMIN_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}

Outcome = Counter[str]


def run_round(seed: int) -> dict[str, int]:
    """Some thousands of inputs of each kind, and some hundreds at a real daemon.

    Raises:
        AssertionError: Something else came out than what is documented.
    """
    rng = random.Random(seed)
    figures = Outcome()
    try:
        with TemporaryDirectory(prefix="spoold-fuzz-") as home:
            figures += messages(rng, _MESSAGES)
            figures += replies(rng, _REPLIES)
            figures += configurations(rng, _CONFIGURATIONS, Path(home))
            figures += selections(rng, _SELECTIONS)
            figures += daemon(rng, _CALLS, Path(home))
    except Exception as exc:
        raise AssertionError(f"tests.abuse.fuzz.run_round({seed}): {type(exc).__name__}: {exc}") from exc
    return dict(figures)


def messages(rng: random.Random, count: int) -> Outcome:
    """Events, profiles and batches at the door's rules, in process."""
    with asyncio.Runner() as runner:
        rules = Rules(max_event_bytes=32_000, ids=CallerIds(uuid.UUID(int=7)), clock=SystemClock())
        # The journal is never asked: what is looked at is what becomes a draft.
        servicer = AnalyticsServicer(
            None,  # type: ignore[arg-type]
            rules,
            Metrics(),
            condition=lambda: "healthy",
            queue_size=lambda: 0,
            loop=runner.get_loop(),
        )
        draw: list[Callable[[], Outcome]] = [
            lambda: _single(rng, rules.track, rules, drawing.track(rng)),
            lambda: _single(rng, rules.identify, rules, drawing.identify(rng)),
            lambda: _batch(rng, servicer),
        ]
        return sum((rng.choice(draw)() for _ in range(count)), Outcome())


def _single(rng: random.Random, admit: Callable[..., tuple[Draft, bool]], rules: Rules, message: Message) -> Outcome:
    body = drawing.changed(rng, message.SerializeToString())
    try:
        rules.check_bytes(body)
        draft, _ = admit(body, type(message).FromString(body), is_plain=is_plain(body, max_depth=MAX_DEPTH))
    except (InvalidEventError, DecodeError) as exc:
        return _refused(exc)
    _check_kept(draft, body)
    return Outcome(inputs=1, accepted=1)


def _batch(rng: random.Random, servicer: AnalyticsServicer) -> Outcome:
    body = drawing.changed(rng, drawing.batch(rng).SerializeToString())
    try:
        admissions, errors = servicer._admit_items(body)
    except DecodeError as exc:
        assert not _is_batch(body), body
        return _refused(exc)
    except InvalidEventError as exc:
        return _refused(exc)
    items = pb.TrackBatchRequest.FromString(body).items
    assert len(admissions) + len(errors) == len(items), body
    assert all(errors.values()), body
    taken = iter(admissions)
    for index, item in enumerate(items):
        if index in errors:
            continue
        draft, _ = next(taken)
        assert draft.kind == item.WhichOneof("item"), body
        _check_kept(draft, getattr(item, draft.kind).SerializeToString())
    return Outcome(inputs=1, accepted=len(admissions), refused=len(errors))


def _is_batch(body: bytes) -> bool:
    try:
        pb.TrackBatchRequest.FromString(body)
    except DecodeError:
        return False
    return True


def _refused(error: Exception) -> Outcome:
    answer = refusal(error)
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT, error
    assert answer.message
    return Outcome(inputs=1, refused=1)


def _check_kept(draft: Draft, sent: bytes) -> None:
    """What a provider will see is what protobuf itself reads from what was sent."""
    message: pb.TrackEventRequest | pb.IdentifyUserRequest
    message = (pb.TrackEventRequest if draft.kind == "track" else pb.IdentifyUserRequest).FromString(sent)
    event = decode_record(1, encode_record(draft, draft.event_id or bytes(16), _NOW_MS))
    assert event.kind == draft.kind
    assert event.user_id == message.user_id
    assert event.anonymous_id == message.anonymous_id
    assert event.event_name == (message.event_name if isinstance(message, pb.TrackEventRequest) else "")
    assert event.properties == {key: _plain(value) for key, value in message.properties.items()}


def _plain(value: pb.PropertyValue) -> object:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if which == "map_value":
        return {key: _plain(item) for key, item in value.map_value.fields.items()}
    plain: object = getattr(value, which)
    assert not isinstance(plain, float) or math.isfinite(plain), "a number that no JSON can hold"
    return plain


def replies(rng: random.Random, count: int) -> Outcome:
    """What providers may answer."""
    built = list(providers().values())
    taken = sum(check_any_reply(rng, rng.choice(built)) for _ in range(count))
    return Outcome(inputs=count, replies_read=count, replies_of_success=taken)


def configurations(rng: random.Random, count: int, home: Path) -> Outcome:
    """Configuration files with bytes changed."""
    file = home / "spoold.toml"
    texts = [_PACKAGED.read_bytes(), _MORE_TOML.encode(), _PACKAGED.read_bytes() + _MORE_TOML.encode()]
    accepted = 0
    for _ in range(count):
        file.write_bytes(drawing.changed(rng, rng.choice(texts)))
        file.chmod(0o600)
        try:
            loaded = load_config(file, _environment(rng))
        except ConfigError:
            continue
        accepted += 1
        assert describe_config(loaded)
    return Outcome(inputs=count, accepted=accepted, refused=count - accepted)


def _environment(rng: random.Random) -> Mapping[str, str]:
    names = [
        "ANALYTICS_PROVIDER",
        "BATCH_SIZE",
        "FLUSH_INTERVAL_SECONDS",
        "TEST_MODE",
        "SPOOL_URL",
        "LOG_LEVEL",
        "HOST",
    ]
    texts = ["", "1", "-1", "1e400", "mixpanel,,segment", "sqlite:///tmp/x", "yes", "99999999999999999999"]
    drawn = {
        rng.choice(names): rng.choice(texts) if rng.random() < 0.8 else _printable(rng) for _ in range(rng.randrange(3))
    }
    return {"MIXPANEL_API_KEY": "a-key-of-some-length", **drawn}


def _printable(rng: random.Random) -> str:
    return drawing.text(rng).replace("\x00", "")


def selections(rng: random.Random, count: int) -> Outcome:
    """What an operator's program may ask for."""
    accepted = 0
    for _ in range(count):
        try:
            message = admin_pb2.Selection.FromString(drawing.changed(rng, _selection(rng).SerializeToString()))
            read_selection(message)
        except (BadRequestError, DecodeError):
            continue
        accepted += 1
    return Outcome(inputs=count, accepted=accepted, refused=count - accepted)


def _selection(rng: random.Random) -> admin_pb2.Selection:
    return admin_pb2.Selection(
        lane=rng.choice(["mixpanel", "", drawing.text(rng)]),
        is_dead=rng.random() < 0.5,
        since_ms=rng.choice([0, -1, 2**63 - 1, _NOW_MS]) if rng.random() < 0.5 else None,
        until_ms=rng.choice([0, -(2**63), 1, _NOW_MS]) if rng.random() < 0.5 else None,
        event_ids=[
            rng.choice([str(uuid.UUID(int=rng.getrandbits(128))), drawing.text(rng)]) for _ in range(rng.randrange(3))
        ],
        event_names=[drawing.text(rng) for _ in range(rng.randrange(3))],
        user_id=drawing.text(rng),
    )


def daemon(rng: random.Random, count: int, home: Path) -> Outcome:
    """A sample of all that at a real daemon: the door's methods, and the operator's."""
    figures = Outcome()
    with DaemonProcess(home) as running:
        with (
            grpc.insecure_channel(running.address) as door,
            grpc.insecure_channel(f"unix:{running.admin_socket}") as desk,
        ):
            for _ in range(count):
                figures += _call_door(rng, door) if rng.random() < 0.7 else _call_desk(rng, desk)
        wait_until(lambda: running.process.poll() is None, "the daemon to live", 1)
        # An event that its provider refuses for its user is a dead letter, as it should be.
        bad = [log for log in running.logs if log["event"] != "dead letter" and log.get("level", "error") == "error"]
        assert not bad, bad[:3]
        assert running.stop() == 0
    return figures


def _call_door(rng: random.Random, channel: grpc.Channel) -> Outcome:
    drawn = {"TrackEvent": drawing.track, "IdentifyUser": drawing.identify, "TrackBatch": drawing.batch}
    method = rng.choice(list(drawn))
    body = drawing.changed(rng, drawn[method](rng).SerializeToString())
    call = channel.unary_unary(
        f"/{SERVICE}/{rng.choice([method, method, 'HealthCheck', 'GetUserCount'])}", bytes, bytes
    )
    return _outcome(call, body, _REFUSALS)


def _call_desk(rng: random.Random, channel: grpc.Channel) -> Outcome:
    lane = rng.choice(["mixpanel", drawing.text(rng)])
    requests: dict[str, Message] = {
        "GetStory": admin_pb2.GetStoryRequest(event_id=rng.choice([str(uuid.UUID(int=5)), drawing.text(rng)])),
        "CommandLane": admin_pb2.CommandLaneRequest(
            lane=lane, command=rng.choice(["flush", "resume", drawing.text(rng)])
        ),
        "StartReplay": _selection(rng),
        "CancelReplay": admin_pb2.CancelReplayRequest(id=rng.choice([0, 1, -1, 2**62])),
        "StartSalvage": admin_pb2.StartSalvageRequest(path=rng.choice(["", "/nowhere", "x", _printable(rng)])),
        "GetStatus": admin_pb2.GetStatusRequest(),
    }
    method = rng.choice(list(requests))
    call = channel.unary_unary(f"/spoold.admin.v1.AdminService/{method}", bytes, bytes)
    return _outcome(call, requests[method].SerializeToString(), _ADMIN_REFUSALS)


def _outcome(
    call: "grpc.UnaryUnaryMultiCallable[bytes, bytes]", body: bytes, documented: set[grpc.StatusCode]
) -> Outcome:
    try:
        call(body, timeout=20)
    except grpc.RpcError as error:
        if error.code() not in documented:
            raise
        return Outcome(inputs=1, refused=1)
    return Outcome(inputs=1, accepted=1)
