"""``spoolctl send`` and ``identify``: test events through the front door."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, TypeAlias

import typer
from google.protobuf.message import DecodeError
from rich.progress import Progress

from spoolctl.client import Admin, Target, analytics
from spoolctl.failure import Exit, Failure
from spoolctl.render import errors, print_json
from spoold.api.analytics.v1 import service_pb2
from spoold.units import parse_duration

#: Well below what the door takes in one message: 1 000 items and 4 MiB.
_BATCH_ITEMS, _BATCH_BYTES = 500, 2 * 1024 * 1024
_CALL_SECONDS = 30.0
_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.05, 1.0

#: Numbers travel as doubles, which hold every integer up to here.
_MAX_EXACT_INTEGER = 2**53

Json: TypeAlias = "bool | float | str | list[Json] | dict[str, Json] | None"

Prop = Annotated[
    list[str] | None,
    typer.Option("--prop", metavar="K=V", help="A property; V is JSON where it reads as JSON, else text. Repeatable."),
]
Anonymous = Annotated[str, typer.Option("--anonymous", metavar="ID", help="The anonymous id.")]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="The front door; default: what the daemon says."),
]
WaitFor = Annotated[bool, typer.Option("--wait", help="End with 0 when every lane has delivered it.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long --wait waits.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object an event, for scripts.")]


def send(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name.")],
    user: Annotated[str, typer.Option("--user", metavar="ID", help="The user's id.")] = "",
    anonymous: Anonymous = "",
    prop: Prop = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1_000_000, help="So many events.")] = 1,
    wait: WaitFor = False,
    timeout: Timeout = "60s",
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Send an event through the front door, as a service would."""
    target: Target = context.obj
    properties = _properties(prop or ())
    limit_seconds = _seconds(timeout)

    def item() -> service_pb2.BatchItem:
        with _building():
            request = service_pb2.TrackEventRequest(
                event_name=name, user_id=user, anonymous_id=anonymous, event_id=str(uuid.uuid4()), properties=properties
            )
            return service_pb2.BatchItem(track=request)

    ids: list[str] = []
    try:
        _send(target.front_door(address), item, count, ids)
    finally:
        # Those of the first thousands, too, when the door closes then.
        _print_ids(ids, as_json=as_json)
    if wait:
        _await_all(target, ids, limit_seconds)


def identify(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    prop: Prop = None,
    anonymous: Anonymous = "",
    wait: WaitFor = False,
    timeout: Timeout = "60s",
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Set properties of a user's profile; a property of null is removed."""
    target: Target = context.obj
    limit_seconds = _seconds(timeout)
    properties = _properties(prop or ())
    with _building():
        request = service_pb2.IdentifyUserRequest(
            user_id=user, anonymous_id=anonymous, event_id=str(uuid.uuid4()), properties=properties
        )
    with analytics(target.front_door(address)) as stub:
        reply: service_pb2.IdentifyUserResponse = stub.IdentifyUser(request, timeout=_CALL_SECONDS)
    _print_ids([reply.event_id], as_json=as_json)
    if wait:
        _await_all(target, [reply.event_id], limit_seconds)


def _send(address: str, item: Callable[[], service_pb2.BatchItem], count: int, ids: list[str]) -> None:
    """Send ``count`` events, each with an id of its own, and add the ids that the door answered to ``ids``."""
    try:
        with analytics(address) as stub, _progress("accepted", count) as advance:
            if count == 1:
                reply: service_pb2.TrackEventResponse = stub.TrackEvent(item().track, timeout=_CALL_SECONDS)
                ids.append(reply.event_id)
            while len(ids) < count:
                items = [item()]
                size = min(_BATCH_ITEMS, count - len(ids), max(1, _BATCH_BYTES // items[0].ByteSize()))
                items += [item() for _ in range(size - 1)]
                answer: service_pb2.TrackBatchResponse = stub.TrackBatch(
                    service_pb2.TrackBatchRequest(items=items), timeout=_CALL_SECONDS
                )
                refused = [result.error for result in answer.results if not result.success]
                if refused:
                    raise Failure(Exit.REFUSED, refused[0])
                ids += [result.event_id for result in answer.results]
                advance(len(items))
    except Failure as failure:
        if not ids:
            raise
        raise Failure(
            failure.code, f"{failure.error}\n{len(ids)} of {count} events had been accepted", failure.advice
        ) from failure


def _print_ids(ids: Sequence[str], *, as_json: bool) -> None:
    for event_id in ids:
        if as_json:
            print_json({"event_id": event_id})
        else:
            typer.echo(event_id)


def _await_all(target: Target, ids: Sequence[str], limit_seconds: float) -> None:
    deadline = time.monotonic() + limit_seconds
    with target.admin() as admin, _progress("delivered", len(ids)) as advance:
        for event_id in ids:
            _await_delivery(admin, event_id, deadline)
            advance(1)


def _await_delivery(admin: Admin, event_id: str, deadline: float) -> None:
    pause = _FIRST_POLL_SECONDS
    while True:
        fates = _fates(admin, event_id)
        dead = [f"{lane}: {reason}" for lane, (fate, reason) in fates.items() if fate == "dead"]
        if dead:
            raise Failure(Exit.FAILED, f"{event_id} was set aside by {'; '.join(dead)}")
        waiting = [lane for lane, (fate, _reason) in fates.items() if fate == "pending"]
        if not waiting:
            return
        if time.monotonic() >= deadline:
            raise Failure(
                Exit.FAILED,
                f"{event_id} is still pending in {', '.join(waiting)}; nothing is lost",
                "spoolctl status says why; --timeout waits longer",
            )
        time.sleep(pause)
        pause = min(2 * pause, _LAST_POLL_SECONDS)


def _fates(admin: Admin, event_id: str) -> Mapping[str, tuple[str, str]]:
    story = admin.story(event_id)
    if story is None:
        raise Failure(
            Exit.FAILED,
            f"{event_id} is not in the journal of the daemon on --socket: another one took it, or every lane has "
            "settled it and it is past the retention",
        )
    return {lane.lane: (lane.fate, lane.reason) for lane in story.lanes}


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream, for what takes long enough to want one."""
    with Progress(console=errors, transient=True, disable=total == 1 or not errors.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def _seconds(timeout: str) -> float:
    try:
        return parse_duration(timeout)
    except ValueError as exc:
        raise Failure(Exit.USAGE, f"--timeout: {exc}") from exc


def _properties(pairs: Iterable[str]) -> dict[str, service_pb2.PropertyValue]:
    properties: dict[str, service_pb2.PropertyValue] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise Failure(Exit.USAGE, f"--prop: {pair!r} is no key=value", "write it as --prop plan=pro")
        with _building(f"--prop {key}"):
            properties[key] = _value(_parsed(text))
    return properties


@contextmanager
def _building(what: str = "the event") -> Iterator[None]:
    """What a message can't hold was typed wrongly: a number of 400 digits, brackets a hundred deep, no UTF-8."""
    try:
        yield
    except UnicodeEncodeError as exc:
        raise Failure(Exit.USAGE, f"{what} can't be sent: it is not UTF-8 text") from exc
    except OverflowError as exc:
        raise Failure(
            Exit.USAGE,
            f"{what} can't be sent: the number is too large for its digits to be kept",
            """send it as text, in double quotes: --prop 'k="12345678901234567890"'""",
        ) from exc
    except (RecursionError, DecodeError) as exc:
        raise Failure(Exit.USAGE, f"{what} can't be sent: it is nested too deeply") from exc


def _parsed(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError:
        return text
    return value


def _value(value: Json) -> service_pb2.PropertyValue:
    match value:
        case None:
            return service_pb2.PropertyValue()
        case bool():
            return service_pb2.PropertyValue(bool_value=value)
        case int() if abs(value) > _MAX_EXACT_INTEGER:
            # An order's id, say: a double would change its last digits without a word.
            raise OverflowError
        case int() | float():
            return service_pb2.PropertyValue(number_value=value)
        case str():
            return service_pb2.PropertyValue(string_value=value)
        case list():
            items = service_pb2.ListValue(values=[_value(item) for item in value])
            return service_pb2.PropertyValue(list_value=items)
        case dict():
            fields = service_pb2.MapValue(fields={key: _value(item) for key, item in value.items()})
            return service_pb2.PropertyValue(map_value=fields)
